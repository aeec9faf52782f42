//! Plays the script as a model: words at a readable pace, then the call.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use codex_agent::{
    RawItem,
    model::{ModelError, ModelEvent},
    ports::{Model, Prompt},
    tools::ToolSpec,
};
use futures_util::{StreamExt, future, stream, stream::BoxStream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    project::Project,
    script::{Call, Reply, reply},
    talk::{COMMENTARY, FINAL},
};

/// What the model is called, everywhere.
pub(crate) const NAME: &str = "scripted-demo";
/// Between two words: faster than one reads, slow enough to be seen.
const WORD_PAUSE: Duration = Duration::from_millis(20);
/// Before the first word, as if something were thought.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// The model of a demonstration host. It remembers nothing: the prompt tells how far it has come.
pub(crate) struct Scripted {
    project: &'static Project,
    /// Makes ids different from those of earlier runs, which a thread may hold.
    started: u128,
    next_id: AtomicU64,
}

impl Scripted {
    pub(crate) fn new(project: &'static Project) -> Scripted {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Scripted {
            project,
            started: since.as_millis(),
            next_id: AtomicU64::new(0),
        }
    }

    fn id(&self, kind: &str) -> String {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        format!("{kind}-{:x}-{number}", self.started)
    }

    fn events(&self, prompt: &Prompt) -> Vec<(Duration, ModelEvent)> {
        let Reply { text, call } = reply(self.project, &prompt.input, !prompt.tools.is_empty());
        let id = self.id("message");
        let phase = if call.is_some() { COMMENTARY } else { FINAL };
        let mut events = vec![(
            FIRST_PAUSE,
            ModelEvent::MessageStarted {
                id: Some(id.clone()),
                phase: Some(phase.to_owned()),
            },
        )];
        events.extend(text.split_inclusive(' ').map(|word| {
            let delta = ModelEvent::TextDelta {
                id: Some(id.clone()),
                delta: word.to_owned(),
            };
            (WORD_PAUSE, delta)
        }));
        let message = json!({
            "type": "message", "id": id, "role": "assistant", "phase": phase,
            "content": [{"type": "output_text", "text": text}],
        });
        let whole = |item: Value| (Duration::ZERO, ModelEvent::ItemDone(RawItem::new(item)));
        events.push(whole(message));
        events.extend(call.map(|it| whole(call_item(&self.id("call"), it, &prompt.tools))));
        // Nothing was counted, so nothing is told.
        events.push((Duration::ZERO, ModelEvent::Completed { usage: None }));
        events
    }
}

impl Model for Scripted {
    fn sample(
        &self,
        prompt: Prompt,
        cancel: CancellationToken,
    ) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        stream::iter(self.events(&prompt))
            .then(move |(pause, event)| {
                let cancel = cancel.clone();
                async move {
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => None,
                        () = tokio::time::sleep(pause) => Some(Ok(event)),
                    }
                }
            })
            .take_while(|event| future::ready(event.is_some()))
            .filter_map(future::ready)
            .boxed()
    }
}

/// The call as the Responses API writes it.
fn call_item(id: &str, call: Call, tools: &[ToolSpec]) -> Value {
    let function = |name: &str, arguments: Value| json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments.to_string()});
    match call {
        Call::Command {
            line,
            yield_ms,
            justification,
        } => {
            let mut arguments = json!({ "cmd": line });
            if let Some(yield_ms) = yield_ms {
                arguments["yield_time_ms"] = yield_ms.into();
            }
            if let Some(justification) = justification {
                arguments["sandbox_permissions"] = "require_escalated".into();
                arguments["justification"] = justification.into();
            }
            function("exec_command", arguments)
        }
        Call::Patch(patch) => {
            let is_freeform =
                |it: &ToolSpec| matches!(it, ToolSpec::Freeform { name, .. } if name == "apply_patch");
            match tools.iter().any(is_freeform) {
                true => {
                    json!({"type": "custom_tool_call", "call_id": id, "name": "apply_patch", "input": patch})
                }
                false => function("apply_patch", json!({ "input": patch })),
            }
        }
        Call::Plan(steps) => {
            let steps: Vec<_> = steps
                .iter()
                .map(|(step, status)| json!({"step": step, "status": status}))
                .collect();
            function("update_plan", json!({ "plan": steps }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use codex_agent::{
        model::wire::{ModelItem, message, read_item},
        tools::{Invocation, PatchTool, built_in, understand},
    };

    use super::*;
    use crate::project::API;

    fn prompt(text: &str, patch: PatchTool) -> Prompt {
        Prompt {
            model: NAME.to_owned(),
            instructions: Arc::from(""),
            input: vec![message("user", text)],
            tools: built_in(patch).into(),
            cache_key: String::new(),
            effort: None,
            summary: None,
            output_schema: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_words_are_streamed_and_are_those_of_the_whole_message() {
        let model = Scripted::new(&API);
        let began = tokio::time::Instant::now();
        let events: Vec<_> = model
            .sample(prompt("go", PatchTool::Freeform), CancellationToken::new())
            .collect()
            .await;
        let (mut streamed, mut whole) = (String::new(), String::new());
        for event in events.iter().flatten() {
            match event {
                ModelEvent::TextDelta { delta, .. } => streamed.push_str(delta),
                ModelEvent::ItemDone(item) => {
                    if let ModelItem::Message { text, .. } = read_item(item) {
                        whole = text;
                    }
                }
                _ => {}
            }
        }
        assert_eq!(streamed, whole);
        assert!(matches!(
            events.last(),
            Some(Ok(ModelEvent::Completed { usage: None }))
        ));
        assert!(
            began.elapsed() > FIRST_PAUSE + WORD_PAUSE * 10,
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_answer_ends_at_once_and_says_nothing_more() {
        let model = Scripted::new(&API);
        let cancel = CancellationToken::new();
        let mut answer = model.sample(prompt("go", PatchTool::Freeform), cancel.clone());
        assert!(answer.next().await.is_some());
        cancel.cancel();
        assert!(answer.next().await.is_none());
    }

    #[test]
    fn every_call_is_understood_by_the_agent_and_has_an_id_of_its_own() {
        let calls = || {
            let command = Call::Command {
                line: "rm -rf build".to_owned(),
                yield_ms: Some(1),
                justification: Some("Sure?"),
            };
            [
                command,
                Call::Patch(API.mend()),
                Call::Plan(vec![("a", "in_progress")]),
            ]
        };
        let model = Scripted::new(&API);
        let mut ids = BTreeSet::new();
        for tool in [PatchTool::Freeform, PatchTool::Function] {
            for call in calls() {
                let item = RawItem::new(call_item(&model.id("call"), call, &built_in(tool)));
                let ModelItem::Call(call) = read_item(&item) else {
                    panic!("{item:?} is no call")
                };
                match understand(&call).unwrap() {
                    Invocation::Exec(it) => {
                        assert_eq!(it.wants(), codex_agent::approval::Permission::Unsandboxed);
                        assert_eq!(
                            (it.yield_time_ms, it.justification.as_deref()),
                            (Some(1), Some("Sure?"))
                        );
                    }
                    Invocation::Patch(text) => assert_eq!(text, API.mend()),
                    Invocation::Plan(it) => assert_eq!(it.plan.len(), 1),
                    other => panic!("{other:?}"),
                }
                ids.insert(call.id);
            }
        }
        assert_eq!(ids.len(), 6);
    }
}

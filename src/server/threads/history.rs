//! Changes of a thread's history: compaction, reviews, injected items, reverts, and what is known about it.

use codex_agent::{
    RawItem,
    model::wire as model_wire,
    review::ReviewTarget,
    turn::{Said, TurnKind},
};
use codex_protocol::{
    TurnId,
    v2::{Idle, ThreadItem, ThreadStatus, UserInput, UserMessage},
};
use codex_threads::{Durability, Metadata, Record};
use serde_json::{Value, json};

use super::{
    new_id,
    owner::{METADATA, Owner},
    turn::Beginning,
    wire,
};
use crate::{
    notice::{Notice, unix_millis},
    refusal::Refusal,
    responder::Responder,
};

/// Items that a client may inject at once.
const INJECTED_MAX: usize = 10_000;

impl Owner {
    fn at_rest(&self, what: &str) -> Result<(), Refusal> {
        match &self.active {
            None => Ok(()),
            Some(active) => Err(Refusal::invalid(format!(
                "{what} has to wait: turn {} is running; interrupt it first",
                active.id
            ))),
        }
    }

    /// `thread/compact/start`
    pub(crate) fn compact(&mut self, responder: Responder) {
        let began = self
            .at_rest("a compaction")
            .and_then(|()| Beginning::new(TurnKind::Compact, Vec::new()))
            .and_then(|beginning| self.begin(beginning));
        self.starting(began.map(|()| json!({})), responder);
    }

    /// `review/start`
    pub(crate) fn review(&mut self, target: &ReviewTarget, responder: Responder) {
        let began = self.at_rest("a review").and_then(|()| {
            let text = target.request(None);
            let message = UserMessage {
                id: codex_protocol::ItemId(new_id()?),
                client_id: None,
                content: vec![UserInput::text(target.subject())],
            };
            let said = Said {
                message,
                raw: model_wire::message("user", &text),
            };
            let kind = TurnKind::Review {
                subject: target.subject(),
            };
            let beginning = Beginning::new(kind, vec![said])?;
            let mut turn = wire::new_turn(&beginning.id, None);
            turn["items"] = beginning
                .said
                .iter()
                .map(|it| json!(ThreadItem::UserMessage(it.message.clone())))
                .collect();
            let answer = json!({ "turn": turn, "reviewThreadId": self.id });
            self.begin(beginning).map(|()| answer)
        });
        self.starting(began, responder);
    }

    /// `thread/inject_items`: items of the model's API, after everything that was said.
    pub(crate) fn inject(&mut self, items: Vec<Value>, responder: Responder) {
        if items.is_empty() {
            return responder.refuse(Refusal::invalid("items must not be empty"));
        }
        if INJECTED_MAX < items.len() {
            return responder.refuse(Refusal::invalid(format!("more than {INJECTED_MAX} items")));
        }
        if let Some(wrong) = items.iter().find(|it| !it.is_object()) {
            return responder.refuse(Refusal::invalid(format!("Invalid request: {wrong} is no item")));
        }
        let lacks_role = |it: &Value| it["type"] == "message" && !it["role"].is_string();
        if let Some(at) = items.iter().position(lacks_role) {
            let text = format!("items[{at}] is not a valid response item: missing field `role`");
            return responder.refuse(Refusal::invalid(text));
        }
        match self.remember(items) {
            Ok(()) => responder.answer(&json!({})),
            Err(error) => responder.refuse(wire::refuse(&error)),
        }
    }

    /// Adds to the conversation as the model sees it, outside of any turn.
    pub(super) fn remember(&mut self, items: Vec<Value>) -> Result<(), codex_threads::StoreError> {
        let records = items.iter().map(|item| Record::ModelItem {
            turn: None,
            item: item.clone(),
        });
        self.log.append_all(unix_millis(), records, Durability::Synced)?;
        self.is_outdated = self.active.is_some();
        if let Some(history) = &mut self.history {
            history.extend(items.into_iter().map(RawItem::new));
        }
        Ok(())
    }

    /// `thread/revert`: takes a turn and everything after it out of the thread.
    pub(crate) fn revert(&mut self, before: &TurnId, responder: Responder) {
        if let Err(refusal) = self.at_rest("a revert") {
            return responder.refuse(refusal);
        }
        if let Err(error) = self.log.revert_before(unix_millis(), before) {
            return responder.refuse(wire::refuse(&error));
        }
        self.history = None;
        self.failed = false;
        let status = ThreadStatus::Idle(Idle {});
        let mut answer = json!({ "thread": wire::thread(&self.log.summary(), &status, &[]) });
        if let Ok(reader) = self.log.reader() {
            wire::add_cursors(&mut answer, &reader);
        }
        responder.answer(&answer);
        self.show_status();
        self.server
            .broadcast(&Notice::new("thread/reverted", &wire::named(&self.id)));
    }

    /// `thread/metadata/update`: a field that is missing stays, null clears it.
    pub(crate) fn update_metadata(&mut self, git: Option<&Value>, responder: Responder) {
        if let Err(refusal) = self.must_be_kept(METADATA) {
            return responder.refuse(refusal);
        }
        let mut metadata: Metadata = self.log.state().metadata.clone();
        if let Some(changes) = git.filter(|it| !it.is_null()) {
            let mut info = metadata.git_info.take().unwrap_or_default();
            for (key, field) in [
                ("branch", &mut info.branch),
                ("sha", &mut info.sha),
                ("originUrl", &mut info.origin_url),
            ] {
                match changes.get(key) {
                    Some(Value::String(text)) if text.trim().is_empty() => {
                        return responder
                            .refuse(Refusal::invalid(format!("gitInfo.{key} must not be empty")));
                    }
                    Some(Value::String(text)) => *field = Some(text.clone()),
                    Some(Value::Null) => *field = None,
                    _ => {}
                }
            }
            metadata.git_info = Some(info);
        }
        match self.append(Record::MetadataSet(metadata)) {
            Ok(()) => {
                let thread = wire::thread(&self.log.summary(), &self.status(), &[]);
                responder.answer(&json!({ "thread": thread }));
            }
            Err(error) => responder.refuse(wire::refuse(&error)),
        }
    }

    /// `thread/backgroundTerminals/list`
    pub(crate) fn terminals(&self, responder: Responder) {
        let terminals: Vec<_> = self
            .sessions
            .running()
            .into_iter()
            .map(|it| {
                json!({
                    "processId": it.session, "itemId": it.item, "command": it.command, "cwd": it.cwd, "osPid": it.pid,
                })
            })
            .collect();
        responder.answer(&json!({ "data": terminals, "nextCursor": null }));
    }

    /// `thread/backgroundTerminals/terminate`
    pub(crate) fn terminate(&self, session: &str, responder: Responder) {
        responder.answer(&json!({ "terminated": self.sessions.end(session) }));
    }

    /// `thread/backgroundTerminals/clean`
    pub(crate) fn terminate_all(&self, responder: Responder) {
        for it in self.sessions.running() {
            self.sessions.end(&it.session);
        }
        responder.answer(&json!({}));
    }
}

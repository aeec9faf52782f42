//! What a turn begins with: the conversation, the surroundings, the rules, the model.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use codex_agent::{
    RawItem,
    approval::{ApprovalPolicy, Containment},
    context::{AGENTS_BYTES_MAX, Environment, Guidance, HostFiles, INSTRUCTIONS},
    model::wire,
    review,
    tools::{PatchTool, built_in},
    turn::{ModelSettings, TurnKind},
};
use codex_protocol::v2::{SandboxPolicy, UserInput};
use codex_threads::{Header, Settings};
use serde_json::Value;

use super::hands::shell_name;
use crate::config::Config;

/// Keys of [`Header::extra`]: what a client gave when it started the thread.
pub(crate) const BASE_INSTRUCTIONS: &str = "baseInstructions";
pub(crate) const DEVELOPER_INSTRUCTIONS: &str = "developerInstructions";
/// The window of OpenAI's models, in tokens, of which the official program also goes out where nothing is
/// configured.
const OPENAI_WINDOW: i64 = 258_400;
/// How the names of OpenAI's models begin. They know `apply_patch` as a tool of its own kind, and namespaces.
const OPENAI_MODELS: [&str; 2] = ["gpt-", "codex"];
/// The largest local image in a user's message, in bytes.
const IMAGE_BYTES_MAX: u64 = 20 << 20;

/// What is new to the model before the user speaks: its surroundings and the project's words, where they differ
/// from what it was told last. The second part is what could not be read.
pub(super) fn news(
    history: &[RawItem],
    header: &Header,
    settings: &Settings,
    config: &Config,
    codex_home: &Path,
    shell: &str,
) -> (Vec<RawItem>, Vec<String>) {
    let cwd = PathBuf::from(&settings.cwd);
    let limit = config.project_doc_max_bytes.unwrap_or(AGENTS_BYTES_MAX);
    let guidance = Guidance::collect(&HostFiles, Some(codex_home), &cwd, limit);
    let environment = Environment {
        cwd,
        shell: shell_name(shell),
        policy: ApprovalPolicy::read(&settings.approval_policy),
        sandbox: settings.sandbox.clone(),
        date: None,
    };
    let text = |key: &str| header.extra.get(key).and_then(Value::as_str);
    let developer = text(DEVELOPER_INSTRUCTIONS)
        .or_else(|| config.value.get("developer_instructions").and_then(Value::as_str))
        .filter(|it| !it.trim().is_empty())
        .map(|it| wire::message("developer", it));
    let wanted = [developer, guidance.item(), Some(environment.item())];
    let news = wanted.into_iter().flatten().filter(|it| !is_known(history, it));
    (news.collect(), guidance.problems)
}

/// Whether the model was told this, and nothing else of its kind since.
fn is_known(history: &[RawItem], item: &RawItem) -> bool {
    let mark = mark(item);
    let last = history
        .iter()
        .rev()
        .find(|it| mark.is_some() && self::mark(it) == mark);
    match mark {
        Some(_) => last.is_some_and(|it| it.value() == item.value()),
        None => history.iter().any(|it| it.value() == item.value()),
    }
}

/// The tag at the beginning of a message that was made by a program.
fn mark(item: &RawItem) -> Option<&str> {
    let text = item.value().pointer("/content/0/text")?.as_str()?;
    let tag = text.strip_prefix('<')?.split_once('>')?.0;
    ["environment_context", "user_instructions"]
        .contains(&tag)
        .then_some(tag)
}

/// The system prompt.
pub(super) fn instructions(header: &Header, config: &Config, kind: &TurnKind) -> Arc<str> {
    if matches!(kind, TurnKind::Review { .. }) {
        return review::INSTRUCTIONS.into();
    }
    let given = header.extra.get(BASE_INSTRUCTIONS);
    given
        .or_else(|| config.value.get("instructions"))
        .and_then(Value::as_str)
        .filter(|it| !it.trim().is_empty())
        .unwrap_or(INSTRUCTIONS)
        .into()
}

/// How the model is asked.
pub(super) fn model(settings: &Settings, config: &Config, kind: &TurnKind) -> ModelSettings {
    let whole = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    let name = match (kind, &config.review_model) {
        (TurnKind::Review { .. }, Some(model)) => model.clone(),
        _ => settings.model.clone(),
    };
    let usual_window = is_openai(&name).then_some(OPENAI_WINDOW);
    ModelSettings {
        name,
        effort: settings.reasoning_effort.clone(),
        summary: config.model_reasoning_summary.clone(),
        output_schema: None,
        context_window: config.model_context_window.map(whole).or(usual_window),
        compact_at: config.model_auto_compact_token_limit.map(whole),
    }
}

/// Whether it is a model of OpenAI.
pub(super) fn is_openai(model: &str) -> bool {
    OPENAI_MODELS.iter().any(|it| model.starts_with(it))
}

/// The tools of every thread that this model is offered.
pub(super) fn tools(model: &str) -> Vec<codex_agent::tools::ToolSpec> {
    built_in(if is_openai(model) {
        PatchTool::Freeform
    } else {
        PatchTool::Function
    })
}

/// Whether there is a sandbox to leave.
pub(super) fn containment(policy: &SandboxPolicy) -> Containment {
    match policy {
        SandboxPolicy::DangerFullAccess(_) => Containment::None,
        _ => Containment::Sandboxed,
    }
}

/// What the user said, for the model. Reads the images that it names.
pub(super) fn words(content: &[UserInput], cwd: &Path) -> RawItem {
    wire::user_message(content, |path| {
        let path = cwd.join(path);
        let metadata = std::fs::metadata(&path)?;
        if !metadata.is_file() || IMAGE_BYTES_MAX < metadata.len() {
            let text = format!("it is no file of at most {IMAGE_BYTES_MAX} bytes");
            return Err(std::io::Error::other(text));
        }
        std::fs::read(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_told_its_surroundings_when_they_change_and_not_else() {
        let environment = |cwd: &str| {
            wire::message(
                "user",
                &format!("<environment_context>{cwd}</environment_context>"),
            )
        };
        let (here, there) = (environment("/here"), environment("/there"));
        let said = wire::message("user", "<b>no tag of ours</b>");
        assert!(!is_known(&[], &here));
        assert!(is_known(&[here.clone(), said.clone()], &here));
        assert!(!is_known(&[here.clone(), there.clone()], &here));
        assert!(is_known(&[there, said, here.clone()], &here));
    }
}

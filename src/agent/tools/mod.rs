//! The tools that are offered to the model: what they are called, what they take, and what a call of them means.

pub mod patch;
mod registry;

pub use registry::{PatchTool, ToolSpec, built_in};

use codex_protocol::v2::{TurnPlanStep, TurnPlanStepStatus};
use serde::Deserialize;
use serde_json::Value;

use crate::approval::Permission;
use crate::model::wire::{CallKind, ModelCall};

/// The longest shell command, in bytes. Longer ones do not fit into an argument vector anyway.
const COMMAND_BYTES_MAX: usize = 128 * 1024;

/// A call whose arguments are understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    Exec(ExecCommand),
    WriteStdin(WriteStdin),
    /// The text of a patch, from `*** Begin Patch` on; parsed when it is prepared.
    Patch(String),
    Plan(PlanUpdate),
    ViewImage(ViewImage),
    /// A tool of somebody else: MCP, dynamic.
    Other {
        namespace: Option<String>,
        name: String,
        arguments: Value,
    },
}

/// Arguments of `exec_command`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ExecCommand {
    /// For a shell.
    pub cmd: String,
    /// Relative to the thread's folder; that folder when missing.
    #[serde(default)]
    pub workdir: Option<String>,
    /// Whether the command gets a terminal.
    #[serde(default)]
    pub tty: bool,
    /// How long to wait for the end before the call returns with the output so far.
    #[serde(default)]
    pub yield_time_ms: Option<u64>,
    /// How much of the output the model wants.
    #[serde(default)]
    pub max_output_tokens: Option<u64>,
    /// Whether the shell reads its login files.
    #[serde(default)]
    pub login: Option<bool>,
    /// The path of another shell.
    #[serde(default)]
    pub shell: Option<String>,
    #[serde(default)]
    sandbox_permissions: Option<String>,
    /// What to ask the user.
    #[serde(default)]
    pub justification: Option<String>,
    /// The words for which the model proposes a rule.
    #[serde(default)]
    pub prefix_rule: Option<Vec<String>>,
}

impl ExecCommand {
    /// A script, with everything as usual.
    pub fn plain(script: &str) -> ExecCommand {
        ExecCommand {
            cmd: script.to_owned(),
            workdir: None,
            tty: false,
            yield_time_ms: None,
            max_output_tokens: None,
            login: None,
            shell: None,
            sandbox_permissions: None,
            justification: None,
            prefix_rule: None,
        }
    }

    /// What the model asks for. A word that is not known asks for nothing.
    pub fn wants(&self) -> Permission {
        match self.sandbox_permissions.as_deref() {
            Some("require_escalated") => Permission::Unsandboxed,
            _ => Permission::Sandboxed,
        }
    }
}

/// Arguments of `write_stdin`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct WriteStdin {
    /// What `exec_command` told about a command that goes on.
    #[serde(deserialize_with = "text_or_number")]
    pub session_id: String,
    /// Empty: only wait for output.
    #[serde(default)]
    pub chars: String,
    #[serde(default)]
    pub yield_time_ms: Option<u64>,
    #[serde(default)]
    pub max_output_tokens: Option<u64>,
}

/// Arguments of `update_plan`.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanUpdate {
    pub explanation: Option<String>,
    pub plan: Vec<TurnPlanStep>,
}

/// Arguments of `view_image`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ViewImage {
    pub path: String,
}

/// Understands a call. The error is what the model is told.
pub fn understand(call: &ModelCall) -> Result<Invocation, String> {
    let wrong =
        |error: serde_json::Error| format!("The arguments of `{}` are not understood: {error}", call.name);
    let input = if call.input.trim().is_empty() {
        "{}"
    } else {
        &call.input
    };
    if call.namespace.is_some() {
        // Its own tools are in none, so that no name of a client's stands for one of them.
        return Ok(Invocation::Other {
            namespace: call.namespace.clone(),
            name: call.name.clone(),
            arguments: serde_json::from_str(input).map_err(wrong)?,
        });
    }
    Ok(match (call.name.as_str(), call.kind) {
        ("exec_command", CallKind::Function) => exec(serde_json::from_str(input).map_err(wrong)?)?,
        ("write_stdin", CallKind::Function) => {
            Invocation::WriteStdin(serde_json::from_str(input).map_err(wrong)?)
        }
        ("apply_patch", CallKind::Custom) => Invocation::Patch(call.input.clone()),
        ("apply_patch", CallKind::Function) => Invocation::Patch(patch_argument(input).map_err(wrong)?),
        ("update_plan", CallKind::Function) => plan(serde_json::from_str(input).map_err(wrong)?),
        ("view_image", CallKind::Function) => {
            Invocation::ViewImage(serde_json::from_str(input).map_err(wrong)?)
        }
        (name, CallKind::Function) => Invocation::Other {
            namespace: None,
            name: name.to_owned(),
            arguments: serde_json::from_str(input).map_err(wrong)?,
        },
        (name, CallKind::Custom) => Invocation::Other {
            namespace: None,
            name: name.to_owned(),
            arguments: Value::String(call.input.clone()),
        },
    })
}

fn exec(command: ExecCommand) -> Result<Invocation, String> {
    if command.cmd.trim().is_empty() {
        return Err("The command is empty.".to_owned());
    }
    if command.cmd.len() > COMMAND_BYTES_MAX || command.cmd.contains('\0') {
        return Err("The command is too long, or holds a NUL character.".to_owned());
    }
    Ok(match patch_in_shell(&command.cmd) {
        Some(patch) => Invocation::Patch(patch),
        None => Invocation::Exec(command),
    })
}

/// Models also write patches as a here-document of a command that does not exist on the host.
fn patch_in_shell(command: &str) -> Option<String> {
    let document = command
        .trim()
        .strip_prefix("apply_patch")?
        .trim_start()
        .strip_prefix("<<")?;
    let (mark, body) = document.split_once('\n')?;
    let mark = mark.trim().trim_matches(['\'', '"']);
    let body = body.trim_end().strip_suffix(mark)?;
    (!mark.is_empty() && body.ends_with('\n')).then(|| body.to_owned())
}

fn patch_argument(input: &str) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Argument {
        #[serde(alias = "patch", alias = "diff")]
        input: String,
    }
    serde_json::from_str::<Argument>(input).map(|it| it.input)
}

#[derive(Deserialize)]
struct PlanArguments {
    #[serde(default)]
    explanation: Option<String>,
    #[serde(default)]
    plan: Vec<PlanStep>,
}

#[derive(Deserialize)]
struct PlanStep {
    step: String,
    #[serde(default)]
    status: String,
}

fn plan(arguments: PlanArguments) -> Invocation {
    let step = |it: PlanStep| TurnPlanStep {
        step: it.step,
        // The model's spelling differs from the protocol's.
        status: match it.status.as_str() {
            "completed" | "done" => TurnPlanStepStatus::Completed,
            "in_progress" | "inProgress" => TurnPlanStepStatus::InProgress,
            _ => TurnPlanStepStatus::Pending,
        },
    };
    Invocation::Plan(PlanUpdate {
        explanation: arguments.explanation,
        plan: arguments.plan.into_iter().map(step).collect(),
    })
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    use serde::de::Error;
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(D::Error::custom(format!("a session id is no {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::CallId;

    fn call(kind: CallKind, name: &str, input: &str) -> Result<Invocation, String> {
        understand(&ModelCall {
            id: CallId("c".into()),
            kind,
            namespace: None,
            name: name.into(),
            input: input.into(),
        })
    }

    fn function(name: &str, input: &str) -> Result<Invocation, String> {
        call(CallKind::Function, name, input)
    }

    #[test]
    fn arguments_are_read_leniently_and_refused_with_a_reason() {
        let Ok(Invocation::Exec(exec)) = function(
            "exec_command",
            r#"{"cmd":"ls","sandbox_permissions":"require_escalated","x":1}"#,
        ) else {
            panic!("no command")
        };
        assert_eq!(
            (exec.cmd.as_str(), exec.wants(), exec.tty),
            ("ls", Permission::Unsandboxed, false)
        );
        assert!(function("exec_command", "").unwrap_err().contains("cmd"));
        assert!(
            function("exec_command", r#"{"cmd":" "}"#)
                .unwrap_err()
                .contains("empty")
        );
        assert!(
            function("exec_command", "no json")
                .unwrap_err()
                .contains("not understood")
        );
        let Ok(Invocation::WriteStdin(write)) = function("write_stdin", r#"{"session_id":7}"#) else {
            panic!("no write")
        };
        assert_eq!((write.session_id.as_str(), write.chars.as_str()), ("7", ""));
        let Ok(Invocation::Plan(plan)) = function(
            "update_plan",
            r#"{"plan":[{"step":"a","status":"in_progress"},{"step":"b"}]}"#,
        ) else {
            panic!("no plan")
        };
        assert_eq!(plan.plan[0].status, TurnPlanStepStatus::InProgress);
        assert_eq!(plan.plan[1].status, TurnPlanStepStatus::Pending);
        assert!(matches!(function("mcp__a__b", ""), Ok(Invocation::Other { .. })));
    }

    #[test]
    fn a_tool_in_a_namespace_is_never_taken_for_one_of_ours() {
        let call = ModelCall {
            id: CallId("c".into()),
            kind: CallKind::Function,
            namespace: Some("app".into()),
            name: "exec_command".into(),
            input: r#"{"cmd":"ls"}"#.into(),
        };
        let other = Invocation::Other {
            namespace: Some("app".into()),
            name: "exec_command".into(),
            arguments: serde_json::json!({"cmd": "ls"}),
        };
        assert_eq!(understand(&call), Ok(other));
        let wrong = ModelCall {
            input: "no json".into(),
            ..call
        };
        assert!(understand(&wrong).unwrap_err().contains("not understood"));
    }

    #[test]
    fn a_patch_is_understood_in_every_way_models_write_it() {
        let patch = "*** Begin Patch\n*** Delete File: a\n*** End Patch\n";
        let is_patch = |it: Result<Invocation, String>| it == Ok(Invocation::Patch(patch.to_owned()));
        assert!(is_patch(call(CallKind::Custom, "apply_patch", patch)));
        let argument = serde_json::json!({"input": patch}).to_string();
        assert!(is_patch(function("apply_patch", &argument)));
        for mark in ["'EOF'", "EOF", "\"EOF\""] {
            let command =
                serde_json::json!({"cmd": format!("apply_patch <<{mark}\n{patch}EOF\n")}).to_string();
            assert!(is_patch(function("exec_command", &command)), "{mark}");
        }
        let other =
            serde_json::json!({"cmd": format!("apply_patch <<EOF\n{patch}EOF\nrm -rf /")}).to_string();
        assert!(matches!(
            function("exec_command", &other),
            Ok(Invocation::Exec(_))
        ));
    }
}

//! What the model is told about the tools.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A tool as it is offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ToolSpec {
    /// Takes JSON by a schema.
    Function {
        name: String,
        description: String,
        parameters: Value,
    },
    /// Takes text by a grammar (lark).
    Freeform {
        name: String,
        description: String,
        grammar: String,
    },
    /// Functions under one name, which the model says with each call.
    Namespace {
        name: String,
        description: String,
        tools: Vec<ToolSpec>,
    },
}

impl ToolSpec {
    /// The name by which the model calls it.
    pub fn name(&self) -> &str {
        match self {
            ToolSpec::Function { name, .. }
            | ToolSpec::Freeform { name, .. }
            | ToolSpec::Namespace { name, .. } => name,
        }
    }

    /// Whether a call of this name, in this namespace, is one of it.
    pub fn takes(&self, namespace: Option<&str>, name: &str) -> bool {
        match (self, namespace) {
            (ToolSpec::Namespace { name: own, tools, .. }, Some(namespace)) => {
                own == namespace && tools.iter().any(|it| it.takes(None, name))
            }
            (ToolSpec::Namespace { .. }, None) | (_, Some(_)) => false,
            (tool, None) => tool.name() == name,
        }
    }
}

/// How `apply_patch` is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchTool {
    /// As a custom tool; OpenAI's models know it best so.
    Freeform,
    /// As a function, for servers that know no custom tools.
    Function,
}

/// The tools of every thread: commands, patches, the plan and images.
pub fn built_in(patch: PatchTool) -> Vec<ToolSpec> {
    vec![
        exec_command(),
        write_stdin(),
        apply_patch(patch),
        update_plan(),
        view_image(),
    ]
}

fn function(name: &str, description: &str, required: &[&str], properties: Value) -> ToolSpec {
    ToolSpec::Function {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        }),
    }
}

const YIELD: &str = "How many milliseconds to wait for the end before returning with the output so far.";
const TOKENS: &str = "At most this many tokens of output are returned; the middle is left out.";

fn exec_command() -> ToolSpec {
    let properties = json!({
        "cmd": {"type": "string", "description": "The command, for the user's shell."},
        "workdir": {"type": "string", "description": "Where to run it. The default is the working directory."},
        "tty": {"type": "boolean", "description": "Whether it needs a terminal, as interactive programs do. The default is false."},
        "yield_time_ms": {"type": "integer", "description": YIELD},
        "max_output_tokens": {"type": "integer", "description": TOKENS},
        "login": {"type": "boolean", "description": "Whether the shell is a login shell. The default is true."},
        "shell": {"type": "string", "description": "The path of another shell."},
        "sandbox_permissions": {
            "type": "string", "enum": ["use_default", "require_escalated"],
            "description": "`require_escalated` asks to run outside the sandbox, which the user may have to allow.",
        },
        "justification": {
            "type": "string",
            "description": "With `require_escalated`: one short question to the user that says what the command needs.",
        },
        "prefix_rule": {
            "type": "array", "items": {"type": "string"},
            "description": "With `require_escalated`: the first words of the command for which the user could allow \
                            similar ones in future, for example [\"cargo\", \"fetch\"].",
        },
    });
    let description = "Runs a shell command. A command that has not ended in time goes on in the background; the \
                       answer then holds a session id for `write_stdin`.";
    function("exec_command", description, &["cmd"], properties)
}

fn write_stdin() -> ToolSpec {
    let properties = json!({
        "session_id": {"type": "integer", "description": "The session of a command that goes on."},
        "chars": {"type": "string", "description": "What to type; empty to wait for more output. \\u0003 is Ctrl-C."},
        "yield_time_ms": {"type": "integer", "description": YIELD},
        "max_output_tokens": {"type": "integer", "description": TOKENS},
    });
    let description =
        "Types into a command that goes on in the background, or waits for it, and returns its new output.";
    function("write_stdin", description, &["session_id"], properties)
}

const PATCH: &str = "Changes files. The whole patch is applied or nothing of it. Paths are relative to the working \
                     directory. Give three unchanged lines before and after each change, and `@@` with the line of \
                     the enclosing function or class where that is not enough to find the place.";

fn apply_patch(tool: PatchTool) -> ToolSpec {
    match tool {
        PatchTool::Freeform => ToolSpec::Freeform {
            name: "apply_patch".to_owned(),
            description: format!("{PATCH} The input is the patch itself, not JSON."),
            grammar: include_str!("patch/grammar.lark").to_owned(),
        },
        PatchTool::Function => {
            let description = format!(
                "{PATCH} The input follows this grammar:\n{}",
                include_str!("patch/grammar.lark")
            );
            let properties = json!({"input": {"type": "string", "description": "The patch."}});
            function("apply_patch", &description, &["input"], properties)
        }
    }
}

fn update_plan() -> ToolSpec {
    let properties = json!({
        "explanation": {"type": "string", "description": "Why the plan changes."},
        "plan": {"type": "array", "description": "All steps, in order.", "items": {
            "type": "object", "required": ["step", "status"], "additionalProperties": false, "properties": {
                "step": {"type": "string"},
                "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]},
            },
        }},
    });
    let description = "Shows the user the plan of a longer task. At most one step is in progress at a time.";
    function("update_plan", description, &["plan"], properties)
}

fn view_image() -> ToolSpec {
    let properties =
        json!({"path": {"type": "string", "description": "The path of a PNG, JPEG, GIF or WebP file."}});
    function("view_image", "Looks at an image file.", &["path"], properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_required_parameter_is_described() {
        for tool in [PatchTool::Freeform, PatchTool::Function] {
            let specs = built_in(tool);
            assert_eq!(
                specs.iter().map(ToolSpec::name).collect::<Vec<_>>(),
                [
                    "exec_command",
                    "write_stdin",
                    "apply_patch",
                    "update_plan",
                    "view_image"
                ]
            );
            for spec in specs {
                let ToolSpec::Function { name, parameters, .. } = spec else {
                    continue;
                };
                for required in parameters["required"].as_array().unwrap() {
                    assert!(
                        parameters["properties"].get(required.as_str().unwrap()).is_some(),
                        "{name} {required}"
                    );
                }
            }
        }
    }
}

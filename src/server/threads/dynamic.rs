//! Tools that clients bring along with a thread: what is taken, and how they are offered to the model.

use std::collections::BTreeSet;

use codex_agent::tools::ToolSpec;
use codex_protocol::v2::{
    DynamicToolFunction, DynamicToolNamespace, DynamicToolNamespaceTool, DynamicToolSpec,
};
use codex_threads::Header;
use serde_json::Value;

use crate::refusal::Refusal;

/// A key of [`Header::extra`]: the tools of the thread's clients.
pub(crate) const DYNAMIC_TOOLS: &str = "dynamicTools";

/// Tools of one thread, those in namespaces counted one by one; more are refused. Every request to the model
/// carries them all.
const TOOLS_MAX: usize = 1024;
/// All tools of a thread as JSON, in bytes; more are refused. They are a part of the first line of its log.
const TOOLS_BYTES_MAX: usize = 1 << 20;
/// Bytes in the name of a tool, as the Responses API takes it.
const NAME_BYTES_MAX: usize = 128;
/// Bytes in the name of a namespace, as the Responses API takes it.
const NAMESPACE_BYTES_MAX: usize = 64;
/// Characters in the description of a namespace, as the Responses API takes it.
const DESCRIPTION_CHARS_MAX: usize = 1024;
/// Namespaces that the Responses API keeps for itself.
const RESERVED: [&str; 14] = [
    "api_tool",
    "browser",
    "computer",
    "container",
    "file_search",
    "functions",
    "image_gen",
    "multi_tool_use",
    "python",
    "python_user_visible",
    "submodel_delegator",
    "terminal",
    "tool_search",
    "web",
];
/// Between namespace and name where a provider knows no namespaces.
const JOINT: &str = "__";

/// The tools of a thread's clients.
#[derive(Debug, Default)]
pub(super) struct DynamicTools(Vec<DynamicToolSpec>);

/// A tool as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) namespace: Option<String>,
    pub(super) tool: String,
}

impl DynamicTools {
    /// Those that are kept with the thread.
    pub(super) fn of(header: &Header) -> DynamicTools {
        let kept = header.extra.get(DYNAMIC_TOOLS).cloned();
        DynamicTools(
            kept.and_then(|it| serde_json::from_value(it).ok())
                .unwrap_or_default(),
        )
    }

    /// How they are offered beside those that are offered already; of two with the same name the first one counts.
    ///
    /// Tools with `deferLoading` are offered like the others. The official server keeps them back until the model
    /// looks for them with `tool_search`, which few models and providers know; where they do not, its tools are
    /// never found. Ours can be called at once, for a longer prompt.
    pub(super) fn offered(&self, has_namespaces: bool, beside: &[ToolSpec]) -> Vec<ToolSpec> {
        let mut taken: BTreeSet<String> = beside.iter().map(|it| it.name().to_owned()).collect();
        let mut offered = Vec::new();
        for spec in &self.0 {
            match spec {
                DynamicToolSpec::Function(it) => offered.push(function(it.name.clone(), it)),
                DynamicToolSpec::Namespace(it) if has_namespaces => offered.push(ToolSpec::Namespace {
                    name: it.name.clone(),
                    description: it.description.clone(),
                    tools: functions(it)
                        .map(|tool| function(tool.name.clone(), tool))
                        .collect(),
                }),
                DynamicToolSpec::Namespace(it) => {
                    offered.extend(functions(it).map(|tool| function(joined(&it.name, &tool.name), tool)));
                }
                DynamicToolSpec::Unknown(_) => {}
            }
        }
        // A namespace may have the name of a function: they are called differently.
        offered.retain(|it| matches!(it, ToolSpec::Namespace { .. }) || taken.insert(it.name().to_owned()));
        offered
    }

    /// The tool that a call means.
    pub(super) fn find(&self, namespace: Option<&str>, name: &str) -> Option<Known> {
        self.0.iter().find_map(|spec| match (spec, namespace) {
            (DynamicToolSpec::Function(it), None) => (it.name == name).then(|| Known {
                namespace: None,
                tool: name.to_owned(),
            }),
            (DynamicToolSpec::Namespace(it), _) => {
                let is_meant = |tool: &&DynamicToolFunction| match namespace {
                    Some(namespace) => it.name == namespace && tool.name == name,
                    None => joined(&it.name, &tool.name) == name,
                };
                functions(it).find(is_meant).map(|tool| Known {
                    namespace: Some(it.name.clone()),
                    tool: tool.name.clone(),
                })
            }
            _ => None,
        })
    }
}

fn joined(namespace: &str, name: &str) -> String {
    format!("{namespace}{JOINT}{name}")
}

fn functions(namespace: &DynamicToolNamespace) -> impl Iterator<Item = &DynamicToolFunction> {
    namespace.tools.iter().filter_map(|it| match it {
        DynamicToolNamespaceTool::Function(it) => Some(it),
        DynamicToolNamespaceTool::Unknown(_) => None,
    })
}

fn function(name: String, tool: &DynamicToolFunction) -> ToolSpec {
    ToolSpec::Function {
        name,
        description: tool.description.clone(),
        parameters: tool.input_schema.clone(),
    }
}

/// Reads what a client brings along, as it is to be kept. Refused as a whole where a part of it is wrong: the
/// provider would refuse every request of the thread.
pub(crate) fn read(tools: &Value) -> Result<Vec<DynamicToolSpec>, Refusal> {
    if TOOLS_BYTES_MAX < tools.to_string().len() {
        return Err(refuse(format!(
            "dynamic tools are larger than {TOOLS_BYTES_MAX} bytes"
        )));
    }
    let Some(entries) = tools.as_array() else {
        return Err(refuse("Invalid request: dynamicTools is no array".to_owned()));
    };
    let mut specs = Vec::new();
    let (mut names, mut namespaces, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
    for entry in entries {
        let spec = spec(entry)?;
        match &spec {
            DynamicToolSpec::Function(it) => {
                check_function(it)?;
                if it.defer_loading {
                    let text = format!("deferred dynamic tool must include a namespace: {}", it.name);
                    return Err(refuse(text));
                }
                if !names.insert(it.name.clone()) {
                    return Err(refuse(format!("duplicate dynamic tool name: {}", it.name)));
                }
                count += 1;
            }
            DynamicToolSpec::Namespace(it) => {
                check_namespace(it)?;
                if !namespaces.insert(it.name.clone()) {
                    return Err(refuse(format!("duplicate dynamic tool namespace: {}", it.name)));
                }
                count += it.tools.len();
            }
            DynamicToolSpec::Unknown(_) => {}
        }
        specs.push(spec);
    }
    if TOOLS_MAX < count {
        return Err(refuse(format!("more than {TOOLS_MAX} dynamic tools")));
    }
    Ok(specs)
}

/// One entry. One without a type is a function, as clients wrote them before there were namespaces.
fn spec(entry: &Value) -> Result<DynamicToolSpec, Refusal> {
    let wrong = |error: serde_json::Error| refuse(format!("Invalid request: {error}"));
    let function = |it: &Value| serde_json::from_value::<DynamicToolFunction>(it.clone()).map_err(wrong);
    match entry["type"].as_str() {
        Some("function") => function(entry).map(DynamicToolSpec::Function),
        None if entry["type"].is_null() => {
            let tool = function(entry)?;
            Ok(match entry["namespace"].as_str() {
                Some(namespace) => DynamicToolSpec::Namespace(DynamicToolNamespace {
                    name: namespace.to_owned(),
                    description: String::new(),
                    tools: vec![DynamicToolNamespaceTool::Function(tool)],
                }),
                None => DynamicToolSpec::Function(tool),
            })
        }
        Some("namespace") => {
            let namespace: DynamicToolNamespace = serde_json::from_value(entry.clone()).map_err(wrong)?;
            for tool in &namespace.tools {
                if let DynamicToolNamespaceTool::Unknown(tool) = tool {
                    return match tool["type"].as_str() {
                        Some("function") => Err(function(tool)
                            .err()
                            .unwrap_or_else(|| unknown(tool, "`function`"))),
                        _ => Err(unknown(tool, "`function`")),
                    };
                }
            }
            Ok(DynamicToolSpec::Namespace(namespace))
        }
        _ => Err(unknown(entry, "`function` or `namespace`")),
    }
}

fn unknown(entry: &Value, expected: &str) -> Refusal {
    let word = entry["type"].as_str().unwrap_or_default();
    refuse(format!(
        "Invalid request: unknown variant `{word}`, expected {expected}"
    ))
}

fn check_function(tool: &DynamicToolFunction) -> Result<(), Refusal> {
    check_name("dynamic tool name", &tool.name, NAME_BYTES_MAX)?;
    if is_of_mcp(&tool.name) {
        return Err(refuse(format!("dynamic tool name is reserved: {}", tool.name)));
    }
    if !tool.input_schema.is_object() && !tool.input_schema.is_boolean() {
        let text = format!(
            "dynamic tool input schema is not supported for {}: it is no JSON Schema",
            tool.name
        );
        return Err(refuse(text));
    }
    Ok(())
}

fn check_namespace(namespace: &DynamicToolNamespace) -> Result<(), Refusal> {
    let name = &namespace.name;
    check_name("dynamic tool namespace", name, NAMESPACE_BYTES_MAX)?;
    if is_of_mcp(name) {
        return Err(refuse(format!("dynamic tool namespace is reserved: {name}")));
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(refuse(format!(
            "dynamic tool namespace collides with a reserved Responses API namespace: {name}"
        )));
    }
    if DESCRIPTION_CHARS_MAX < namespace.description.chars().count() {
        return Err(refuse(format!(
            "dynamic tool namespace description must be at most {DESCRIPTION_CHARS_MAX} characters"
        )));
    }
    if namespace.tools.is_empty() {
        return Err(refuse(format!(
            "dynamic tool namespace must contain at least one tool: {name}"
        )));
    }
    let mut names = BTreeSet::new();
    for tool in functions(namespace) {
        check_function(tool)?;
        if !names.insert(&tool.name) {
            let text = format!("duplicate dynamic tool name in namespace {name}: {}", tool.name);
            return Err(refuse(text));
        }
    }
    Ok(())
}

/// What the Responses API takes for a name.
fn check_name(what: &str, name: &str, bytes_max: usize) -> Result<(), Refusal> {
    let is_allowed = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if name.is_empty() {
        return Err(refuse(format!("{what} must not be empty")));
    }
    if name.trim() != name {
        return Err(refuse(format!("{what} has leading/trailing whitespace: {name}")));
    }
    if !name.chars().all(is_allowed) {
        return Err(refuse(format!(
            "{what} must match ^[a-zA-Z0-9_-]+$ to match Responses API: {}",
            name.escape_default()
        )));
    }
    if bytes_max < name.len() {
        return Err(refuse(format!(
            "{what} must be at most {bytes_max} characters to match Responses API: {name}"
        )));
    }
    Ok(())
}

/// Tools of MCP servers are offered under such names.
fn is_of_mcp(name: &str) -> bool {
    name == "mcp" || name.starts_with("mcp__")
}

fn refuse(text: String) -> Refusal {
    Refusal::invalid(text)
}

#[cfg(test)]
#[path = "dynamic_tests.rs"]
mod tests;

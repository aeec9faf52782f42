//! The tools of servers, as they are offered to the model.

use std::collections::BTreeSet;
use std::sync::Arc;

use rmcp::model::ToolAnnotations;
use serde_json::Value;

use crate::config::ServerConfig;
use crate::desk::cut;
use crate::limits::{DESCRIPTION_BYTES_MAX, TOOL_BYTES_MAX, TOOLS_PER_SERVER_MAX};
use crate::names::qualified_name;

/// A tool of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    pub server: String,
    /// The server's own name for it.
    pub name: String,
    /// The model's name for it: see [`qualified_name`].
    pub qualified_name: String,
    pub title: Option<String>,
    /// Empty if the server gives none.
    pub description: String,
    /// A JSON Schema of an object.
    pub input_schema: Value,
    pub hints: Hints,
    /// The whole definition, as the server gives it.
    pub definition: Value,
}

/// What a server says about the effects of a tool (MCP, `ToolAnnotations`). Nobody checks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    pub read_only: Option<bool>,
    pub destructive: Option<bool>,
    pub idempotent: Option<bool>,
    pub open_world: Option<bool>,
}

impl Hints {
    /// Whether a call could destroy something or reach out, with the defaults of the specification for what is not
    /// said.
    pub fn is_harmful(&self) -> bool {
        if self.destructive == Some(true) {
            return true;
        }
        self.read_only != Some(true) && (self.destructive.unwrap_or(true) || self.open_world.unwrap_or(true))
    }
}

impl From<&ToolAnnotations> for Hints {
    fn from(given: &ToolAnnotations) -> Hints {
        Hints {
            read_only: given.read_only_hint,
            destructive: given.destructive_hint,
            idempotent: given.idempotent_hint,
            open_world: given.open_world_hint,
        }
    }
}

/// The tools of one server that are offered, by name, and what has been left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Catalog {
    pub(crate) tools: Vec<Arc<Tool>>,
    /// Why some tools are missing, though nobody has disabled them.
    pub(crate) left_out: Option<String>,
}

impl Catalog {
    pub(crate) fn new(server: &str, config: &ServerConfig, given: Vec<rmcp::model::Tool>) -> Catalog {
        let mut tools = Vec::new();
        let mut names = BTreeSet::new();
        let mut left_out = Vec::new();
        for given in given.into_iter().filter(|it| config.allows(&it.name)) {
            let name = cut(given.name.to_string(), 100);
            if tools.len() >= TOOLS_PER_SERVER_MAX {
                left_out.push(format!(
                    "`{name}` and what follows: there are more than {TOOLS_PER_SERVER_MAX}"
                ));
                break;
            }
            let Some(tool) = read(server, given) else {
                left_out.push(format!("`{name}`: it has more than {TOOL_BYTES_MAX} bytes"));
                continue;
            };
            if names.insert(tool.qualified_name.clone()) {
                tools.push(Arc::new(tool));
            } else {
                left_out.push(format!("`{name}`: there is another with this name"));
            }
        }
        tools.sort_by(|one, other| one.name.cmp(&other.name));
        left_out.truncate(10);
        Catalog {
            tools,
            left_out: (!left_out.is_empty()).then(|| format!("left out: {}", left_out.join("; "))),
        }
    }
}

fn read(server: &str, given: rmcp::model::Tool) -> Option<Tool> {
    let definition = serde_json::to_value(&given).ok()?;
    if definition.to_string().len() > TOOL_BYTES_MAX {
        return None;
    }
    let description = given.description.unwrap_or_default().into_owned();
    Some(Tool {
        server: server.to_owned(),
        qualified_name: qualified_name(server, &given.name),
        name: given.name.into_owned(),
        title: given.title,
        description: cut(description, DESCRIPTION_BYTES_MAX),
        input_schema: definition.get("inputSchema").cloned().unwrap_or_default(),
        hints: given.annotations.as_ref().map(Hints::from).unwrap_or_default(),
        definition,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn catalog(config: Value, tools: Vec<Value>) -> Catalog {
        let config = ServerConfig::read("docs", &config).unwrap_or_else(|_| panic!("it is right"));
        let tools = tools
            .into_iter()
            .map(|it| serde_json::from_value(it).unwrap())
            .collect();
        Catalog::new("docs", &config, tools)
    }

    fn tool(name: &str) -> Value {
        json!({ "name": name, "inputSchema": { "type": "object" } })
    }

    fn names(catalog: &Catalog) -> Vec<&str> {
        catalog.tools.iter().map(|it| it.name.as_str()).collect()
    }

    #[test]
    fn only_allowed_tools_are_offered_in_a_fixed_order() {
        let config = json!({ "command": "x", "enabled_tools": ["c", "a", "b"], "disabled_tools": ["b"] });
        let catalog = catalog(config, ["c", "b", "a", "d"].map(tool).to_vec());
        assert_eq!(names(&catalog), ["a", "c"]);
        assert_eq!(catalog.left_out, None);
    }

    #[test]
    fn too_many_too_large_and_equal_tools_are_left_out_and_told() {
        let mut tools = vec![tool("same"), tool("same")];
        tools.push(json!({ "name": "big", "inputSchema": { "type": "object", "description": "x".repeat(TOOL_BYTES_MAX) } }));
        tools.extend((0..TOOLS_PER_SERVER_MAX).map(|it| tool(&format!("t{it}"))));
        let catalog = catalog(json!({ "command": "x" }), tools);
        assert_eq!(catalog.tools.len(), TOOLS_PER_SERVER_MAX);
        let told = catalog.left_out.unwrap();
        for part in [
            "`same`: there is another",
            "`big`: it has more",
            "`t127` and what follows",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn a_long_description_is_cut_for_the_model() {
        let mut tool = tool("a");
        tool["description"] = json!("é".repeat(DESCRIPTION_BYTES_MAX));
        let catalog = catalog(json!({ "command": "x" }), vec![tool]);
        assert_eq!(catalog.tools[0].description.len(), DESCRIPTION_BYTES_MAX);
    }

    #[test]
    fn a_tool_is_harmful_unless_it_says_otherwise() {
        let hints = |read_only, destructive, open_world| Hints {
            read_only,
            destructive,
            idempotent: None,
            open_world,
        };
        assert!(hints(None, None, None).is_harmful());
        assert!(hints(Some(true), Some(true), None).is_harmful());
        assert!(hints(None, Some(false), None).is_harmful());
        assert!(!hints(None, Some(false), Some(false)).is_harmful());
        assert!(!hints(Some(true), None, None).is_harmful());
    }
}

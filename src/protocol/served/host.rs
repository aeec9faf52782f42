//! The host itself: logins and MCP servers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

// Without `Debug`: it holds a key.
/// `account/login/start`
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum LoginAccountParams {
    #[serde(rename_all = "camelCase")]
    ApiKey {
        #[cfg_attr(feature = "schema", schemars(with = "String"), ts(type = "string"))]
        api_key: Zeroizing<String>,
    },
    /// Every other way to log in is refused.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip), ts(skip))]
    Other,
}

/// Who is logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Account {
    /// Whoever has the key.
    ApiKey {},
}

/// An answer that is never given: the method is always refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(ts_rs::TS))]
pub enum Never {}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Never {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Never".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "not": {} })
    }
}

/// `mcpServerStatus/list`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ListMcpServerStatusParams {
    /// `toolsAndAuthOnly` leaves the resources out.
    pub detail: Option<String>,
    /// Only this server.
    pub server_name: Option<String>,
    pub cursor: Option<String>,
    pub limit: Option<usize>,
}

/// How an MCP server is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatus {
    pub name: String,
    /// `unknown`, `unsupported`, `notLoggedIn` or `bearerToken`.
    pub auth_status: String,
    /// `starting`, `connected`, `authenticationRequired`, `failed`, `cancelled` or `disabled`.
    pub runtime_status: String,
    pub http_origin: Option<String>,
    pub server_info: Option<Value>,
    pub server_capabilities: Option<Value>,
    /// By name, as the server describes them.
    pub tools: Map<String, Value>,
    pub tools_error: Option<String>,
    pub resources: Vec<Value>,
    pub resource_templates: Vec<Value>,
    pub plugin_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ListMcpServerStatusResponse {
    pub data: Vec<McpServerStatus>,
    pub next_cursor: Option<String>,
}

/// `mcpServer/resource/read`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct McpResourceReadParams {
    pub server: String,
    pub uri: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct McpResourceReadResponse {
    pub contents: Vec<Value>,
}

/// `mcpServer/tool/call`: in the user's name, so that nobody is asked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct McpServerToolCallParams {
    pub server: String,
    pub tool: String,
    pub arguments: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct McpServerToolCallResponse {
    pub content: Vec<Value>,
    pub structured_content: Option<Value>,
    pub is_error: Option<bool>,
    #[serde(rename = "_meta")]
    pub meta: Option<Value>,
}

/// The answer to `mcpServer/elicitation/request`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
pub struct ElicitationResponse {
    /// `accept`, `decline` or `cancel`.
    pub action: String,
    /// What was filled in.
    pub content: Option<Value>,
    /// `persist: "session"` allows a tool for the rest of the thread.
    #[serde(rename = "_meta")]
    pub meta: Option<Value>,
}

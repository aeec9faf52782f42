//! MCP servers: how they are, what they hold, and calls of clients.

use std::time::Duration;

use codex_mcp::{Call as McpCall, Detail, Status};
use codex_protocol::{
    served::{ListMcpServerStatusParams, McpResourceReadParams, McpServerToolCallParams},
    v2::Empty,
};
use serde_json::{Value, json};

use crate::{
    refusal::Refusal,
    router::{Call, Router, Stability::*},
    scope::{Access, Scope},
};

/// How long a list waits for servers that are starting, and for what is asked of them.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn routes(router: &mut Router) {
    router.answer(
        "mcpServerStatus/list",
        Stable,
        |_: &ListMcpServerStatusParams| Scope::free(),
        list,
    );
    router.answer(
        "config/mcpServer/reload",
        Stable,
        |_: &Empty| Scope::global("config", Access::Shared),
        reload,
    );
    router.answer(
        "mcpServer/resource/read",
        Stable,
        |_: &McpResourceReadParams| Scope::free(),
        read,
    );
    router.answer(
        "mcpServer/tool/call",
        Stable,
        |_: &McpServerToolCallParams| Scope::free(),
        tool,
    );
}

async fn list(call: Call, params: ListMcpServerStatusParams) -> Result<Value, Refusal> {
    let Some(servers) = call.server.mcp().servers(&call.server) else {
        return Ok(json!({ "data": [], "nextCursor": null }));
    };
    let detail = match params.detail.as_deref() {
        Some("toolsAndAuthOnly") => Detail::ToolsAndAuthOnly,
        _ => Detail::Full,
    };
    let all = servers
        .status(params.server_name.as_deref(), detail, STATUS_PATIENCE)
        .await;
    let mut rest = all
        .iter()
        .filter(|it| params.cursor.as_ref().is_none_or(|after| *after < it.name));
    let page: Vec<&Status> = rest.by_ref().take(params.limit.unwrap_or(usize::MAX)).collect();
    let next = rest.next().and(page.last()).map(|it| it.name.clone());
    let data: Vec<Value> = page.into_iter().map(on_the_wire).collect();
    Ok(json!({ "data": data, "nextCursor": next }))
}

fn on_the_wire(status: &Status) -> Value {
    json!({
        "name": status.name,
        "authStatus": status.auth.as_str(),
        "runtimeStatus": status.connection.as_str(),
        "httpOrigin": status.http_origin,
        "serverInfo": status.server_info,
        "serverCapabilities": status.capabilities,
        "tools": status.tools,
        "toolsError": status.tools_error,
        "resources": status.resources,
        "resourceTemplates": status.resource_templates,
        "pluginId": null,
    })
}

async fn reload(call: Call, _: Empty) -> Result<Empty, Refusal> {
    call.server.mcp().reload(&call.server);
    Ok(Empty {})
}

async fn read(call: Call, params: McpResourceReadParams) -> Result<Value, Refusal> {
    let servers = servers(&call, &params.server)?;
    let contents = servers.read_resource(&params.server, &params.uri).await;
    let contents = contents.map_err(|it| Refusal::failed(it.to_string()))?;
    Ok(json!({ "contents": contents }))
}

/// A client calls a tool in the user's name: nobody else is asked.
async fn tool(call: Call, params: McpServerToolCallParams) -> Result<Value, Refusal> {
    let servers = servers(&call, &params.server)?;
    let question = McpCall {
        server: params.server,
        tool: params.tool,
        arguments: params.arguments.unwrap_or(Value::Null),
        progress: None,
        elicit: None,
    };
    let outcome = servers.call(question, call.connection.leaving()).await;
    let result = outcome.result.map_err(|it| Refusal::failed(it.to_string()))?;
    Ok(json!({
        "content": result.content,
        "structuredContent": result.structured_content,
        "isError": result.is_error,
        "_meta": result.meta,
    }))
}

fn servers<'c>(call: &'c Call, name: &str) -> Result<&'c codex_mcp::Servers, Refusal> {
    let servers = call.server.mcp().servers(&call.server);
    servers.ok_or_else(|| Refusal::invalid(format!("no MCP server `{name}` is configured")))
}

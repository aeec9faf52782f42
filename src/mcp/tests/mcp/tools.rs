//! The tools of the servers that the tests talk to, made with the server side of the SDK.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ElicitRequestParams,
    ElicitationSchema, Implementation, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Resource, ResourceContents, ResourceTemplate, ServerCapabilities, ServerConfig, Tool,
    ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServerHandler};
use serde_json::{Value, json};

#[derive(Clone, Default)]
pub(crate) struct Tools {
    has_changed: Arc<AtomicBool>,
}

fn tool(name: &'static str) -> Tool {
    let schema = json!({ "type": "object", "properties": { "text": { "type": "string" } } });
    Tool::new(
        name,
        format!("does {name}"),
        Arc::new(schema.as_object().cloned().unwrap_or_default()),
    )
}

fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text.into())])
}

impl Tools {
    async fn ask(&self, context: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
        let schema: ElicitationSchema = serde_json::from_value(schema).map_err(wrong)?;
        let params = json!({ "mode": "form", "message": "who are you?", "requestedSchema": schema });
        let params: ElicitRequestParams = serde_json::from_value(params).map_err(wrong)?;
        let answer = context.peer.create_elicitation(params).await.map_err(wrong)?;
        Ok(text(serde_json::to_string(&answer).map_err(wrong)?))
    }

    async fn advance(&self, context: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let token = context
            .meta
            .get_progress_token()
            .ok_or_else(|| wrong("no token"))?;
        for step in 1..=3 {
            let notice = ProgressNotificationParam::new(token.clone(), f64::from(step))
                .with_total(3.0)
                .with_message(format!("step {step}"));
            context.peer.notify_progress(notice).await.map_err(wrong)?;
        }
        Ok(text("done"))
    }
}

fn wrong(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

/// Ends this process as a crash would.
fn die() -> ! {
    use std::io::Write;
    let token = std::env::var("SECRET_TOKEN").unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "out of cheese {token}");
    std::process::exit(3)
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new("rig", "1.2.3"))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let names = [
            "echo", "fail", "die", "env", "pid", "family", "advance", "ask", "big", "hang", "change",
        ];
        let mut tools: Vec<Tool> = names.into_iter().map(tool).collect();
        tools[0].annotations = Some(ToolAnnotations::new().read_only(true).open_world(false));
        if self.has_changed.load(Ordering::SeqCst) {
            tools.push(tool("novelty"));
        }
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let given = arguments["text"].as_str().unwrap_or_default();
        let result = match &*request.name {
            "echo" => {
                let mut result = text(given);
                result.structured_content = Some(json!({ "echo": given }));
                result
            }
            "fail" => CallToolResult::error(vec![ContentBlock::text("it went wrong")]),
            "die" => die(),
            "env" => {
                let all: std::collections::BTreeMap<String, String> = std::env::vars().collect();
                text(json!(all).to_string())
            }
            "pid" => text(std::process::id().to_string()),
            "family" => {
                let child = std::process::Command::new("sleep")
                    .arg("1000")
                    .spawn()
                    .map_err(wrong)?;
                text(child.id().to_string())
            }
            "advance" => self.advance(&context).await?,
            "ask" => self.ask(&context).await?,
            "big" => text("x".repeat(1024 * 1024)),
            // Says in a file that it began, and that nobody waits any more.
            "hang" => {
                std::fs::write(given, "begun").map_err(wrong)?;
                context.ct.cancelled().await;
                std::fs::write(given, "cancelled").map_err(wrong)?;
                tokio::time::sleep(Duration::from_secs(1000)).await;
                text("never")
            }
            "change" => {
                self.has_changed.store(true, Ordering::SeqCst);
                context.peer.notify_tool_list_changed().await.map_err(wrong)?;
                text("changed")
            }
            other => return Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        };
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut large = Resource::new("rig://large", "large");
        large.description = Some("x".repeat(1024 * 1024));
        Ok(ListResourcesResult::with_all_items(vec![
            Resource::new("rig://one", "one"),
            large,
        ]))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = ResourceTemplate::new("rig://{name}", "any");
        Ok(ListResourceTemplatesResult::with_all_items(vec![template]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != "rig://one" {
            return Err(ErrorData::resource_not_found("no such resource", None));
        }
        let contents = vec![ResourceContents::text("one", request.uri)];
        Ok(ReadResourceResult::new(contents).into())
    }
}

//! Calls of tools of MCP servers.

use std::sync::Arc;

use codex_agent::{
    approval::ApprovalPolicy,
    ports::{CallId, OutputSink, Prepared, ToolOutcome, ToolOutput, ToolResult},
};
use codex_mcp::{Answer, Call, CallOutcome, CallResult, Elicit, Elicitation, OnProgress, Tool};
use codex_protocol::{
    ItemId,
    v2::{ElicitationResponse, McpToolCall, ThreadItem, ToolCallStatus},
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Hands;
use crate::threads::ask::{Elicited, Wish};

/// Notices of progress that wait to be told; more are left out, as each is only the latest state.
const PROGRESS_MAX: usize = 16;

impl Hands {
    pub(super) fn prepare_other(&self, call: &CallId, name: &str, arguments: &Value) -> Prepared {
        match self.find(name) {
            Some(tool) => Prepared::Item(item(call, &tool, arguments)),
            None => Prepared::Refused(format!("There is no tool `{name}`.")),
        }
    }

    fn find(&self, name: &str) -> Option<Arc<Tool>> {
        self.server.mcp().servers(&self.server)?.find(name)
    }

    pub(super) async fn run_other(
        &self,
        call: CallId,
        name: &str,
        arguments: Value,
        output: OutputSink,
        cancel: CancellationToken,
    ) -> ToolOutcome {
        let Some(tool) = self.find(name) else {
            return super::nothing(&format!("The tool `{name}` is gone: its server was removed."));
        };
        if let Err(why) = self.permit(&tool, &arguments, &cancel).await {
            return ended(item(&call, &tool, &arguments), Err(why), None);
        }
        let (telling, mut told) = mpsc::channel::<String>(PROGRESS_MAX);
        let progress: OnProgress = Arc::new(move |progress| {
            let of = progress.total.map(|it| format!("/{it}")).unwrap_or_default();
            let words = progress.message.unwrap_or_default();
            // Only the latest state matters.
            _ = telling.try_send(format!("{}{of} {words}", progress.progress).trim().to_owned());
        });
        let Some(servers) = self.server.mcp().servers(&self.server) else {
            return super::nothing("There is no such server any more.");
        };
        let question = Call {
            server: tool.server.clone(),
            tool: tool.name.clone(),
            arguments: arguments.clone(),
            progress: Some(progress),
            elicit: Some(Arc::new(self.clone())),
        };
        let calling = servers.call(question, &cancel);
        tokio::pin!(calling);
        let CallOutcome { result, duration } = loop {
            tokio::select! {
                outcome = &mut calling => break outcome,
                Some(message) = told.recv() => output.text(message).await,
            }
        };
        let result = result.map_err(|error| match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        });
        let duration = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        ended(item(&call, &tool, &arguments), result, Some(duration))
    }

    /// Asks the user where a call could do harm. The error is what the model is told.
    async fn permit(&self, tool: &Tool, arguments: &Value, cancel: &CancellationToken) -> Result<(), String> {
        let name = format!("{}/{}", tool.server, tool.name);
        let is_asked = match self.policy_of_questions {
            ApprovalPolicy::Never => false,
            ApprovalPolicy::Untrusted => tool.hints.read_only != Some(true),
            ApprovalPolicy::OnRequest => tool.hints.is_harmful(),
        };
        if !is_asked || self.sessions.is_permitted(&name) {
            return Ok(());
        }
        let params = json!({
            "threadId": self.thread,
            "turnId": self.turn,
            "serverName": tool.server,
            "mode": "form",
            "message": format!("Allow the MCP server {} to run `{}`?", tool.server, tool.name),
            "requestedSchema": { "type": "object", "properties": {} },
            "_meta": {
                "codex_approval_kind": "mcp_tool_call",
                "persist": ["session"],
                "tool_params": arguments,
            },
        });
        let answer = tokio::select! {
            answer = self.ask(params) => answer,
            () = cancel.cancelled() => None,
        };
        let accepted = answer.as_ref().is_some_and(|it| it["action"] == "accept");
        if !accepted {
            return Err("The call was rejected by the user and has had no effect.".to_owned());
        }
        if answer.is_some_and(|it| it["_meta"]["persist"] == "session") {
            self.sessions.permit(name);
        }
        Ok(())
    }

    /// Asks the users of the thread; `None` where no useful answer came.
    async fn ask(&self, params: Value) -> Option<Value> {
        let (answer, answered) = oneshot::channel();
        let question = Elicited {
            turn: self.turn.clone(),
            params,
            answer,
        };
        self.questions.send(Wish::Elicit(question)).await.ok()?;
        answered.await.ok()
    }
}

impl Elicit for Hands {
    fn elicit(&self, question: Elicitation) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let params = json!({
                "threadId": self.thread,
                "turnId": self.turn,
                "serverName": question.server,
                "mode": "form",
                "message": question.message,
                "requestedSchema": question.schema,
                "_meta": null,
            });
            let answer = self.ask(params).await;
            match answer.and_then(|it| serde_json::from_value::<ElicitationResponse>(it).ok()) {
                Some(it) if it.action == "accept" => Answer::Accept(it.content.unwrap_or_else(|| json!({}))),
                Some(it) if it.action == "decline" => Answer::Decline,
                _ => Answer::Cancel,
            }
        })
    }
}

fn item(call: &CallId, tool: &Tool, arguments: &Value) -> ThreadItem {
    ThreadItem::McpToolCall(McpToolCall {
        id: ItemId(call.0.clone()),
        server: tool.server.clone(),
        tool: tool.name.clone(),
        status: ToolCallStatus::InProgress,
        arguments: arguments.clone(),
        result: None,
        error: None,
        duration_ms: None,
    })
}

fn ended(item: ThreadItem, result: Result<CallResult, String>, duration_ms: Option<i64>) -> ToolOutcome {
    let output = match &result {
        Ok(result) => output(result),
        Err(why) => ToolOutput::Text(format!("The call failed: {why}")),
    };
    let ThreadItem::McpToolCall(mut item) = item else {
        return super::nothing("The call failed because of a defect in the tool.");
    };
    item.duration_ms = duration_ms;
    item.status = match &result {
        Ok(result) if !result.is_error => ToolCallStatus::Completed,
        _ => ToolCallStatus::Failed,
    };
    match result {
        Ok(result) => {
            item.result = Some(json!({
                "content": result.content,
                "structuredContent": result.structured_content,
                "_meta": result.meta,
            }));
        }
        Err(why) => item.error = Some(json!({ "message": why })),
    }
    ToolOutcome {
        output,
        result: ToolResult::Item(ThreadItem::McpToolCall(item)),
    }
}

/// What the model is told: text as it is, images where there are any, everything else as JSON.
fn output(result: &CallResult) -> ToolOutput {
    let text = |block: &Value| match block["text"].as_str() {
        Some(text) if block["type"] == "text" => text.to_owned(),
        _ => block.to_string(),
    };
    let mut parts = Vec::new();
    for block in &result.content {
        match (
            block["type"].as_str(),
            block["mimeType"].as_str(),
            block["data"].as_str(),
        ) {
            (Some("image"), Some(kind), Some(data)) => {
                parts.push(
                    json!({ "type": "input_image", "image_url": format!("data:{kind};base64,{data}") }),
                );
            }
            _ => parts.push(json!({ "type": "input_text", "text": text(block) })),
        }
    }
    if let Some(structured) = result.structured_content.as_ref().filter(|_| parts.is_empty()) {
        return ToolOutput::Text(structured.to_string());
    }
    if parts.iter().any(|it| it["type"] == "input_image") {
        return ToolOutput::Parts(parts);
    }
    let words: Vec<String> = result.content.iter().map(text).collect();
    ToolOutput::Text(words.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(content: Value, structured: Option<Value>) -> ToolOutput {
        output(&CallResult {
            content: serde_json::from_value(content).unwrap(),
            structured_content: structured,
            ..CallResult::default()
        })
    }

    #[test]
    fn the_model_is_told_text_as_text_and_images_as_images() {
        let text = told(
            json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            None,
        );
        assert_eq!(text, ToolOutput::Text("a\nb".to_owned()));
        let image = told(
            json!([{"type": "image", "mimeType": "image/png", "data": "AA=="}]),
            None,
        );
        let part = json!({ "type": "input_image", "image_url": "data:image/png;base64,AA==" });
        assert_eq!(image, ToolOutput::Parts(vec![part]));
        let structured = told(json!([]), Some(json!({ "n": 1 })));
        assert_eq!(structured, ToolOutput::Text("{\"n\":1}".to_owned()));
        let link = told(json!([{"type": "resource_link", "uri": "x:y"}]), None);
        assert!(matches!(link, ToolOutput::Text(text) if text.contains("x:y")));
    }
}

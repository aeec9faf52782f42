//! The only translation between our words and those of the Responses API.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use codex_protocol::v2::UserInput;
use serde_json::{Map, Value, json};

use super::retry::retry_after_in_text;
use super::{ErrorClass, ModelError, ModelEvent, Usage};
use crate::RawItem;
use crate::ports::{CallId, Prompt, ToolOutput};
use crate::tools::ToolSpec;

/// The body of `POST /responses`.
pub fn request_body(prompt: &Prompt) -> Value {
    let mut body = json!({
        "model": prompt.model,
        "instructions": &*prompt.instructions,
        "input": prompt.input.iter().filter_map(sent).collect::<Vec<_>>(),
        "tools": prompt.tools.iter().map(tool).collect::<Vec<_>>(),
        "tool_choice": "auto",
        "parallel_tool_calls": !prompt.tools.is_empty(),
        "store": false,
        "stream": true,
        "prompt_cache_key": prompt.cache_key,
    });
    let summary = prompt.summary.as_deref().filter(|it| *it != "none");
    if prompt.effort.is_some() || summary.is_some() {
        let mut reasoning = Map::new();
        if let Some(effort) = &prompt.effort {
            reasoning.insert("effort".into(), effort.as_str().into());
        }
        if let Some(summary) = summary {
            reasoning.insert("summary".into(), summary.into());
        }
        body["reasoning"] = reasoning.into();
        // Nothing is stored at the provider, so its thoughts have to travel with us. Models that do not think refuse
        // the wish for them.
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    if let Some(schema) = &prompt.output_schema {
        body["text"] =
            json!({"format": {"type": "json_schema", "name": "output", "strict": true, "schema": schema}});
    }
    body
}

fn tool(spec: &ToolSpec) -> Value {
    match spec {
        ToolSpec::Function {
            name,
            description,
            parameters,
        } => json!({
            "type": "function", "name": name, "description": description, "strict": false, "parameters": parameters,
        }),
        ToolSpec::Freeform {
            name,
            description,
            grammar,
        } => json!({
            "type": "custom", "name": name, "description": description,
            "format": {"type": "grammar", "syntax": "lark", "definition": grammar},
        }),
        ToolSpec::Namespace {
            name,
            description,
            tools,
        } => json!({
            "type": "namespace", "name": name, "description": description,
            "tools": tools.iter().map(tool).collect::<Vec<_>>(),
        }),
    }
}

/// An item as it is sent back. Ids name what the provider stored, and nothing was; only encrypted thoughts keep theirs.
fn sent(item: &RawItem) -> Option<Value> {
    let mut value = item.value().clone();
    let object = value.as_object_mut()?;
    let filled = |it: Option<&Value>| {
        it.is_some_and(|it| {
            it.as_str()
                .map_or(!it.is_null() && *it != json!([]), |it| !it.is_empty())
        })
    };
    if item.kind() == "reasoning" {
        // Thoughts that cannot be read by the model again would only be refused.
        if !filled(object.get("encrypted_content")) && !filled(object.get("content")) {
            return None;
        }
    } else {
        object.remove("id");
    }
    object.remove("status");
    Some(value)
}

/// A message in the name of `role` (`user`, `developer`).
pub fn message(role: &str, text: &str) -> RawItem {
    RawItem::new(json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}))
}

/// What the model said, also when it was cut short.
pub fn assistant_message(text: &str) -> RawItem {
    RawItem::new(
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}),
    )
}

/// What the user said. `load` reads the local images; one that cannot be read becomes a sentence that says so, so that
/// the model does not guess.
pub fn user_message(content: &[UserInput], load: impl Fn(&str) -> io::Result<Vec<u8>>) -> RawItem {
    let parts: Vec<Value> = content
        .iter()
        .filter_map(|input| user_part(input, &load))
        .collect();
    RawItem::new(json!({"type": "message", "role": "user", "content": parts}))
}

fn user_part(input: &UserInput, load: &impl Fn(&str) -> io::Result<Vec<u8>>) -> Option<Value> {
    let text = |text: String| Some(json!({"type": "input_text", "text": text}));
    match input {
        UserInput::Text(it) => text(it.text.clone()),
        UserInput::LocalImage(it) => match load(&it.path).map(|bytes| image_part(&bytes)) {
            Ok(Some(part)) => Some(part),
            Ok(None) => text(format!(
                "[The image {} is of a kind that cannot be shown.]",
                it.path
            )),
            Err(error) => text(format!("[The image {} could not be read: {error}]", it.path)),
        },
        UserInput::Unknown(value) => match input.tag() {
            "image" => {
                let url = value.get("url").or_else(|| value.get("imageUrl"))?;
                Some(json!({"type": "input_image", "image_url": url}))
            }
            "mention" | "skill" => text(format!(
                "[{}]({})",
                value.get("name").and_then(Value::as_str).unwrap_or_default(),
                value.get("path").and_then(Value::as_str).unwrap_or_default(),
            )),
            _ => None,
        },
    }
}

/// An image as a part of a message or of a tool's output; nothing when the bytes are no PNG, JPEG, GIF or WebP.
pub fn image_part(bytes: &[u8]) -> Option<Value> {
    let kind = match bytes {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xFF, 0xD8, 0xFF, ..] => "jpeg",
        [b'G', b'I', b'F', b'8', ..] => "gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "webp",
        _ => return None,
    };
    let url = format!("data:image/{kind};base64,{}", STANDARD.encode(bytes));
    Some(json!({"type": "input_image", "image_url": url}))
}

/// How a tool was called, which decides the kind of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Function,
    Custom,
}

/// The output of a call.
pub fn call_output(kind: CallKind, id: &CallId, output: &ToolOutput) -> RawItem {
    let kind = match kind {
        CallKind::Function => "function_call_output",
        CallKind::Custom => "custom_tool_call_output",
    };
    let output = match output {
        ToolOutput::Text(text) => text.as_str().into(),
        ToolOutput::Parts(parts) => Value::Array(parts.clone()),
    };
    RawItem::new(json!({"type": kind, "call_id": id.0, "output": output}))
}

/// The output of a call that never got one.
pub(crate) fn aborted(call: &RawItem) -> RawItem {
    let kind = if call.kind() == "custom_tool_call" {
        CallKind::Custom
    } else {
        CallKind::Function
    };
    let id = CallId(call.call_id().unwrap_or_default().to_owned());
    call_output(kind, &id, &ToolOutput::Text("aborted".to_owned()))
}

/// A whole item in our words.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelItem {
    Message {
        id: Option<String>,
        text: String,
        phase: Option<String>,
    },
    Reasoning {
        id: Option<String>,
        summary: Vec<String>,
        content: Vec<String>,
    },
    Call(ModelCall),
    /// Of no meaning to us; it stays in the history.
    Other,
}

/// A call as the model wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCall {
    pub id: CallId,
    pub kind: CallKind,
    /// Under which the tool was offered, if under any.
    pub namespace: Option<String>,
    pub name: String,
    /// JSON for a function, text for a custom tool.
    pub input: String,
}

/// Reads an item that the model completed.
pub fn read_item(item: &RawItem) -> ModelItem {
    let value = item.value();
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    match item.kind() {
        "message" => ModelItem::Message {
            id: text("id"),
            text: texts(value.get("content")).concat(),
            phase: text("phase"),
        },
        "reasoning" => ModelItem::Reasoning {
            id: text("id"),
            summary: texts(value.get("summary")),
            content: texts(value.get("content")),
        },
        kind @ ("function_call" | "custom_tool_call") => {
            let Some(id) = item.call_id() else {
                return ModelItem::Other;
            };
            let (kind, input) = match kind {
                "function_call" => (CallKind::Function, "arguments"),
                _ => (CallKind::Custom, "input"),
            };
            ModelItem::Call(ModelCall {
                id: CallId(id.to_owned()),
                kind,
                namespace: text("namespace").filter(|it| !it.is_empty()),
                name: text("name").unwrap_or_default(),
                input: text(input).unwrap_or_default(),
            })
        }
        _ => ModelItem::Other,
    }
}

fn texts(parts: Option<&Value>) -> Vec<String> {
    let text = |part: &Value| {
        let text = part.get("text").or_else(|| part.get("refusal")).unwrap_or(part);
        text.as_str().map(str::to_owned)
    };
    match parts {
        Some(Value::Array(parts)) => parts.iter().filter_map(text).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// Reads one event of the stream; nothing for an event without meaning to us, also one that is no JSON.
pub fn read_event(data: &str) -> Option<Result<ModelEvent, ModelError>> {
    let event: Value = serde_json::from_str(data).ok()?;
    let text = |name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
    let index = |name: &str| {
        let index = event.get(name).and_then(Value::as_u64).unwrap_or(0);
        usize::try_from(index).unwrap_or(usize::MAX)
    };
    let (id, delta) = (text("item_id"), text("delta").unwrap_or_default());
    Some(Ok(match event.get("type")?.as_str()? {
        "response.output_item.added" => return started(event.get("item")?).map(Ok),
        "response.output_text.delta" | "response.refusal.delta" => ModelEvent::TextDelta { id, delta },
        "response.reasoning_summary_part.added" => ModelEvent::SummaryPart {
            id,
            index: index("summary_index"),
        },
        "response.reasoning_summary_text.delta" => ModelEvent::SummaryDelta {
            id,
            index: index("summary_index"),
            delta,
        },
        "response.reasoning_text.delta" => ModelEvent::ReasoningDelta {
            id,
            index: index("content_index"),
            delta,
        },
        "response.output_item.done" => ModelEvent::ItemDone(RawItem::new(event.get("item")?.clone())),
        "response.completed" | "response.done" => ModelEvent::Completed {
            usage: usage(event.get("response")?.get("usage")),
        },
        "response.incomplete" => return Some(Err(incomplete(&event))),
        "response.failed" => return Some(Err(failed(event.get("response").and_then(|it| it.get("error"))))),
        "error" => return Some(Err(failed(event.get("error").or(Some(&event))))),
        _ => return None,
    }))
}

fn started(item: &Value) -> Option<ModelEvent> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    match item.get("type")?.as_str()? {
        "message" => Some(ModelEvent::MessageStarted {
            id: text("id"),
            phase: text("phase"),
        }),
        "reasoning" => Some(ModelEvent::ReasoningStarted { id: text("id") }),
        _ => None,
    }
}

fn usage(usage: Option<&Value>) -> Option<Usage> {
    let usage = usage.filter(|it| it.is_object())?;
    let number = |path: &str| usage.pointer(path).and_then(Value::as_i64).unwrap_or(0).max(0);
    let (input, output) = (number("/input_tokens"), number("/output_tokens"));
    Some(Usage {
        input,
        cached_input: number("/input_tokens_details/cached_tokens"),
        output,
        reasoning_output: number("/output_tokens_details/reasoning_tokens"),
        total: number("/total_tokens").max(input.saturating_add(output)),
    })
}

fn incomplete(event: &Value) -> ModelError {
    let reason = event
        .pointer("/response/incomplete_details/reason")
        .and_then(Value::as_str)
        .unwrap_or("unknown");
    ModelError::fatal(
        ErrorClass::Other,
        format!("the model stopped before its answer was complete: {reason}"),
    )
}

/// The error of `response.failed`, of an `error` event, or of a refused request's body.
pub(super) fn failed(error: Option<&Value>) -> ModelError {
    let text = |name: &str| error.and_then(|it| it.get(name)).and_then(Value::as_str);
    let code = text("code")
        .or_else(|| text("type").filter(|it| *it != "error"))
        .unwrap_or_default();
    let said = text("message")
        .filter(|it| !it.is_empty())
        .unwrap_or("the model's server gave no reason");
    match code_class(code) {
        Some(ErrorClass::ContextWindowExceeded) => {
            let message = "the conversation no longer fits into the model's context window";
            ModelError::fatal(ErrorClass::ContextWindowExceeded, message)
                .with_details(said)
                .with_details("compact the thread, or start a new one")
        }
        Some(ErrorClass::UsageLimitExceeded) => ModelError::fatal(
            ErrorClass::UsageLimitExceeded,
            format!("the account's quota is used up: {said}"),
        )
        .with_details("look at the plan and billing of the account whose key is used"),
        Some(ErrorClass::RateLimitExceeded) => ModelError {
            retry_after: retry_after_in_text(said),
            ..ModelError::transient(
                ErrorClass::RateLimitExceeded,
                format!("rate limit exceeded: {said}"),
            )
        },
        Some(ErrorClass::ServerOverloaded) => ModelError::fatal(
            ErrorClass::ServerOverloaded,
            format!("the model is at capacity: {said}"),
        )
        .with_details("try again later, or choose another model"),
        Some(ErrorClass::InternalServerError) => ModelError::transient(
            ErrorClass::InternalServerError,
            format!("the model's server failed: {said}"),
        ),
        Some(class) => ModelError::fatal(class, format!("the model's server refused the request: {said}")),
        None => ModelError::transient(
            ErrorClass::Other,
            format!("the model's server failed ({code}): {said}"),
        ),
    }
}

/// What an error code of the API means; nothing for one that we do not know.
pub(super) fn code_class(code: &str) -> Option<ErrorClass> {
    Some(match code {
        "context_length_exceeded" => ErrorClass::ContextWindowExceeded,
        "insufficient_quota"
        | "usage_not_included"
        | "usage_limit_reached"
        | "billing_hard_limit_reached" => ErrorClass::UsageLimitExceeded,
        "rate_limit_exceeded" => ErrorClass::RateLimitExceeded,
        "server_is_overloaded" | "slow_down" => ErrorClass::ServerOverloaded,
        "server_error" => ErrorClass::InternalServerError,
        "model_not_found" => ErrorClass::ModelNotFound,
        "invalid_prompt" | "invalid_request_error" => ErrorClass::BadRequest,
        "invalid_api_key" => ErrorClass::Unauthorized,
        _ => return None,
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

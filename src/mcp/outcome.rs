//! What a call brings, cut to what a conversation can hold.

use std::time::Duration;

use rmcp::model::{CallToolResult, ServerResult};
use serde_json::{Value, json};

use crate::desk::cut;
use crate::error::Error;
use crate::limits::{BLOCKS_MAX, RESULT_BINARY_BYTES_MAX, RESULT_TEXT_BYTES_MAX};

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct CallOutcome {
    pub result: Result<CallResult, Error>,
    /// From the call to its end, questions to the user included.
    pub duration: Duration,
}

impl CallOutcome {
    /// Whether the call failed: without a result, or with one that says so.
    pub fn is_error(&self) -> bool {
        self.result.as_ref().map_or(true, |it| it.is_error)
    }
}

/// What a tool has answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallResult {
    /// Content blocks as the protocol has them: `text`, `image`, `audio`, `resource`, `resource_link`.
    pub content: Vec<Value>,
    pub structured_content: Option<Value>,
    pub is_error: bool,
    pub meta: Option<Value>,
}

impl CallResult {
    pub(crate) fn new(server: &str, result: ServerResult) -> Result<CallResult, Error> {
        let strange = |what: &str| Error::Transport {
            server: server.to_owned(),
            why: format!("it answered a call with {what}"),
        };
        let whole = match result {
            ServerResult::CallToolResult(CallToolResult {
                content,
                structured_content,
                is_error,
                meta,
                ..
            }) => CallResult {
                content: content
                    .iter()
                    .filter_map(|it| serde_json::to_value(it).ok())
                    .collect(),
                structured_content,
                is_error: is_error.unwrap_or(false),
                meta: meta.and_then(|it| serde_json::to_value(it).ok()),
            },
            // Blocks of a kind that the SDK does not know make the whole result unknown to it.
            ServerResult::CustomResult(custom) => {
                lenient(&custom.0).ok_or_else(|| strange("something else than a result"))?
            }
            ServerResult::EmptyResult(_) => CallResult::default(),
            ServerResult::InputRequiredResult(_) => return Err(strange("a demand for input")),
            ServerResult::CreateTaskResult(_) => return Err(strange("a task to be polled")),
            _ => return Err(strange("the result of another request")),
        };
        Ok(whole.bounded())
    }

    fn bounded(self) -> CallResult {
        let mut text_left = RESULT_TEXT_BYTES_MAX;
        let mut other_left = RESULT_BINARY_BYTES_MAX;
        let surplus = self.content.len().saturating_sub(BLOCKS_MAX);
        let mut content: Vec<Value> = Vec::new();
        for mut block in self.content.into_iter().take(BLOCKS_MAX) {
            if let Some(Value::String(text)) = block.get_mut("text") {
                let whole = text.len();
                *text = cut(std::mem::take(text), text_left);
                text_left -= text.len();
                let missing = whole - text.len();
                if missing > 0 {
                    text.push_str(&format!("\n[{missing} more bytes were left out]"));
                }
                content.push(block);
                continue;
            }
            let size = block.to_string().len();
            match other_left.checked_sub(size) {
                Some(left) => {
                    other_left = left;
                    content.push(block);
                }
                None => content.push(note(&format!("a block of {size} bytes was left out"))),
            }
        }
        if surplus > 0 {
            content.push(note(&format!("{surplus} more blocks were left out")));
        }
        let mut small = |value: Option<Value>, what: &str| {
            let size = value.as_ref().map_or(0, |it| it.to_string().len());
            if size > RESULT_TEXT_BYTES_MAX {
                content.push(note(&format!("{what} of {size} bytes was left out")));
                return None;
            }
            value
        };
        let structured_content = small(self.structured_content, "structured content");
        let meta = small(self.meta, "metadata");
        CallResult {
            content,
            structured_content,
            meta,
            ..self
        }
    }
}

fn note(text: &str) -> Value {
    json!({ "type": "text", "text": format!("[{text}]") })
}

fn lenient(value: &Value) -> Option<CallResult> {
    Some(CallResult {
        content: value.get("content")?.as_array()?.clone(),
        structured_content: value.get("structuredContent").cloned(),
        is_error: value.get("isError").and_then(Value::as_bool).unwrap_or(false),
        meta: value.get("_meta").cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: Value) -> Result<CallResult, Error> {
        CallResult::new("docs", serde_json::from_value(result).unwrap())
    }

    #[test]
    fn a_result_is_taken_as_it_is() {
        let blocks = json!([{ "type": "text", "text": "a" }, { "type": "image", "data": "aa", "mimeType": "image/png" }]);
        let result =
            read(json!({ "content": blocks, "structuredContent": { "a": 1 }, "isError": true })).unwrap();
        assert_eq!(json!(result.content), blocks);
        assert_eq!(result.structured_content, Some(json!({ "a": 1 })));
        assert!(result.is_error);
    }

    #[test]
    fn blocks_of_a_later_version_are_no_error() {
        let blocks = json!([{ "type": "hologram", "x": 1 }]);
        assert_eq!(json!(read(json!({ "content": blocks })).unwrap().content), blocks);
    }

    #[test]
    fn all_text_together_is_cut_and_the_cut_is_said() {
        let half = "é".repeat(RESULT_TEXT_BYTES_MAX / 4 + 1);
        let block = json!({ "type": "text", "text": half });
        let result = read(json!({ "content": [block, block, block] })).unwrap();
        let text = |at: usize| result.content[at]["text"].as_str().unwrap();
        assert_eq!(text(0), half);
        assert!(
            text(1).ends_with("[4 more bytes were left out]"),
            "{}",
            &text(1)[text(1).len() - 40..]
        );
        assert_eq!(text(2), format!("\n[{} more bytes were left out]", half.len()));
    }

    #[test]
    fn large_images_many_blocks_and_large_structures_are_left_out_and_said() {
        let big =
            json!({ "type": "image", "data": "a".repeat(RESULT_BINARY_BYTES_MAX), "mimeType": "image/png" });
        let mut blocks = vec![json!({ "type": "text", "text": "x" }); BLOCKS_MAX + 2];
        blocks[0] = big;
        let result =
            read(json!({ "content": blocks, "structuredContent": "x".repeat(RESULT_TEXT_BYTES_MAX) }))
                .unwrap();
        let said = json!(result.content).to_string();
        for part in ["[a block of 4194", "[2 more blocks", "[structured content of"] {
            assert!(said.contains(part), "{part}");
        }
        assert_eq!(result.structured_content, None);
        assert!(said.len() < 64 * 1024);
    }
}

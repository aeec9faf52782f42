//! Calls of tools that clients of the thread run.

use std::time::Instant;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use codex_agent::{
    model::wire,
    ports::{CallId, Prepared, ToolOutcome, ToolOutput, ToolResult},
};
use codex_protocol::{
    ItemId,
    v2::{
        DynamicToolCall, DynamicToolCallOutputContentItem as Part, DynamicToolCallParams,
        DynamicToolCallResponse, ThreadItem, ToolCallStatus,
    },
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Hands;
use crate::threads::{ask::Wish, calls::Called, dynamic::Known};

/// All text in the answer to a call, in bytes; the rest is cut, with a mark.
const TEXT_BYTES_MAX: usize = 256 * 1024;

/// How a call ended.
enum Ended {
    Answered(DynamicToolCallResponse),
    /// The turn was ended before.
    Cancelled,
    /// In words for the model.
    Failed(String),
}

impl Hands {
    /// The item of a call; nothing where the thread has no such tool.
    pub(super) fn prepare_dynamic(
        &self,
        call: &CallId,
        namespace: Option<&str>,
        name: &str,
        arguments: &Value,
    ) -> Option<Prepared> {
        let known = self.dynamic.find(namespace, name)?;
        Some(Prepared::Item(ThreadItem::DynamicToolCall(item(
            call, known, arguments,
        ))))
    }

    pub(super) async fn run_dynamic(
        &self,
        call: CallId,
        known: Known,
        arguments: Value,
        cancel: CancellationToken,
    ) -> ToolOutcome {
        let started = Instant::now();
        let mut item = item(&call, known, &arguments);
        let ended = self.ask_clients(&item, cancel).await;
        item.duration_ms = Some(i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX));
        let (success, parts, output) = match ended {
            Ended::Answered(it) => {
                let parts = bounded(it.content_items);
                let output = output(&parts);
                (it.success, parts, output)
            }
            Ended::Failed(why) => {
                let text = format!("The call failed: {why}.");
                (false, vec![Part::text(text.clone())], ToolOutput::Text(text))
            }
            Ended::Cancelled => {
                let text = "The call was ended before there was an answer; what it has done is not known.";
                (false, Vec::new(), ToolOutput::Text(text.to_owned()))
            }
        };
        item.status = match success {
            true => ToolCallStatus::Completed,
            false => ToolCallStatus::Failed,
        };
        item.success = Some(success);
        item.content_items = Some(parts);
        ToolOutcome {
            output,
            result: ToolResult::Item(ThreadItem::DynamicToolCall(item)),
        }
    }

    async fn ask_clients(&self, item: &DynamicToolCall, cancel: CancellationToken) -> Ended {
        let (answer, answered) = oneshot::channel();
        let params = DynamicToolCallParams {
            thread_id: self.thread.clone(),
            turn_id: self.turn.clone(),
            call_id: item.id.0.clone(),
            namespace: item.namespace.clone(),
            tool: item.tool.clone(),
            arguments: item.arguments.clone(),
        };
        let asking = async {
            let wish = Wish::Call(Called { params, answer });
            self.questions.send(wish).await.ok()?;
            answered.await.ok()
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Ended::Cancelled,
            answer = asking => match answer {
                Some(Ok(response)) => Ended::Answered(response),
                Some(Err(why)) => Ended::Failed(why),
                None => Ended::Failed("the thread is not served any more".to_owned()),
            },
        }
    }
}

fn item(call: &CallId, known: Known, arguments: &Value) -> DynamicToolCall {
    DynamicToolCall {
        id: ItemId(call.0.clone()),
        namespace: known.namespace,
        tool: known.tool,
        status: ToolCallStatus::InProgress,
        arguments: arguments.clone(),
        content_items: None,
        success: None,
        duration_ms: None,
    }
}

/// The answer with no more text than is kept.
fn bounded(parts: Vec<Part>) -> Vec<Part> {
    let mut room = TEXT_BYTES_MAX;
    let mut bounded = Vec::new();
    for part in parts {
        bounded.push(match part {
            Part::Text(mut it) => {
                let kept = it.text.floor_char_boundary(room);
                let left_out = it.text.len() - kept;
                room -= kept;
                if 0 < left_out {
                    it.text.truncate(kept);
                    it.text += &format!("\n[{left_out} bytes are left out here]");
                }
                Part::Text(it)
            }
            other => other,
        });
    }
    bounded
}

/// What the model is told: one text as it is, everything else in parts.
fn output(parts: &[Part]) -> ToolOutput {
    match parts {
        [] => ToolOutput::Text(String::new()),
        [Part::Text(it)] => ToolOutput::Text(it.text.clone()),
        parts => ToolOutput::Parts(parts.iter().map(part).collect()),
    }
}

/// A part as the API takes it. What it would refuse becomes a sentence: it would refuse every later request too.
fn part(part: &Part) -> Value {
    let text = |text: &str| json!({ "type": "input_text", "text": text });
    match part {
        Part::Text(it) => text(&it.text),
        Part::Image(it) if it.image_url.starts_with("data:") => {
            let encoded = it.image_url.split_once(";base64,").map(|(_, encoded)| encoded);
            let bytes = encoded.and_then(|it| STANDARD.decode(it).ok());
            let image = bytes.and_then(|it| wire::image_part(&it));
            image.unwrap_or_else(|| {
                text("[The image is no PNG, JPEG, GIF or WebP image and cannot be shown.]")
            })
        }
        Part::Image(it) if it.image_url.starts_with("https://") => {
            json!({ "type": "input_image", "image_url": it.image_url })
        }
        Part::Image(_) => text("[The image is at an address that the model cannot reach.]"),
        Part::Audio(_) => text("[The sound cannot be played to the model.]"),
        Part::Unknown(it) => text(&it.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(parts: Value) -> ToolOutput {
        output(&bounded(serde_json::from_value(parts).unwrap()))
    }

    #[test]
    fn the_model_is_told_text_as_text_and_only_images_that_are_images() {
        let text = json!([{ "type": "inputText", "text": "a" }]);
        assert_eq!(told(text), ToolOutput::Text("a".to_owned()));
        assert_eq!(told(json!([])), ToolOutput::Text(String::new()));
        let png = format!(
            "data:image/png;base64,{}",
            STANDARD.encode([0x89, b'P', b'N', b'G'])
        );
        let ToolOutput::Parts(parts) = told(json!([
            { "type": "inputText", "text": "a" },
            { "type": "inputImage", "imageUrl": png },
            { "type": "inputImage", "imageUrl": "data:image/png;base64,AAAA" },
            { "type": "inputImage", "imageUrl": "file:///etc/passwd" },
            { "type": "inputImage", "imageUrl": "https://example.org/a.png" },
            { "type": "inputAudio", "audioUrl": "data:audio/wav;base64,AAAA" },
            { "type": "later", "x": 1 },
        ])) else {
            panic!("one text")
        };
        let kinds: Vec<_> = parts.iter().map(|it| it["type"].as_str().unwrap()).collect();
        let (words, image) = ("input_text", "input_image");
        assert_eq!(kinds, [words, image, words, words, image, words, words]);
        assert_eq!(parts[1]["image_url"], png);
        assert!(parts[6]["text"].as_str().unwrap().contains("later"));
    }

    #[test]
    fn a_long_answer_is_cut_where_a_letter_ends_and_says_how_much_is_missing() {
        let long = "ü".repeat(TEXT_BYTES_MAX);
        let parts = bounded(vec![Part::text("a"), Part::text(long), Part::text("last")]);
        let [Part::Text(first), Part::Text(second), Part::Text(third)] = &parts[..] else {
            panic!("{parts:?}")
        };
        assert_eq!(first.text, "a");
        let left_out = format!("[{} bytes are left out here]", TEXT_BYTES_MAX + 2);
        assert!(
            second.text.ends_with(&left_out),
            "{:.60}",
            &second.text[second.text.len() - 60..]
        );
        assert!(second.text.len() < TEXT_BYTES_MAX + 60);
        assert_eq!(third.text, "l\n[3 bytes are left out here]");
    }
}

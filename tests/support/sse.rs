//! The model's side of HTTP/1.1 and of the Responses API's server-sent events.

use std::io::{Result, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Step;

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Whole: the connection can carry the next request.
    Whole,
    /// In the middle: the connection has to be closed.
    Cut,
}

/// Answers with a status and a plain body.
pub(crate) fn status(mut stream: &TcpStream, code: u16, text: &str) -> Result<()> {
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 {code} Scripted\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{text}"
    )
}

/// Streams one response made of these steps; `number` makes its ids unique.
pub(crate) fn answer(mut stream: &TcpStream, number: usize, steps: &[Step]) -> Result<End> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
          transfer-encoding: chunked\r\n\r\n",
    )?;
    let mut events = Events {
        stream,
        number,
        items: 0,
    };
    let response = format!("resp_{number:06}");
    events.send(json!({"type": "response.created", "response": {"id": response}}))?;
    for step in steps {
        match step {
            Step::Cut => return Ok(End::Cut),
            Step::Fail { code, message } => {
                let error = json!({"code": code, "message": message});
                events
                    .send(json!({"type": "response.failed", "response": {"id": response, "error": error}}))?;
                return events.finish();
            }
            step => events.step(step)?,
        }
    }
    events.send(
        json!({"type": "response.completed", "response": {"id": response, "usage": {
            "input_tokens": 100, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 120,
        }}}),
    )?;
    events.finish()
}

struct Events<'a> {
    stream: &'a TcpStream,
    number: usize,
    items: usize,
}

impl Events<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Say { deltas, pause } => {
                let id = self.open_message()?;
                self.deltas(&id, deltas, *pause)?;
                self.close_message(&id, &deltas.concat())
            }
            Step::Held { before, gate, after } => {
                let id = self.open_message()?;
                self.deltas(&id, before, Duration::ZERO)?;
                gate.pass();
                self.deltas(&id, after, Duration::ZERO)?;
                self.close_message(&id, &(before.concat() + &after.concat()))
            }
            Step::Reason(parts) => self.reason(parts),
            Step::Call { name, arguments } => {
                let id = self.id("call");
                let (namespace, name) = match name.split_once('.') {
                    Some((namespace, name)) => (Some(namespace), name),
                    None => (None, name.as_str()),
                };
                let mut item = json!({"type": "function_call", "id": self.id("fc"), "call_id": id, "name": name,
                    "arguments": arguments.to_string()});
                if let Some(namespace) = namespace {
                    item["namespace"] = namespace.into();
                }
                self.send(json!({"type": "response.output_item.done", "item": item}))
            }
            Step::Custom { name, input } => {
                let id = self.id("call");
                let item = json!({"type": "custom_tool_call", "id": self.id("ctc"), "call_id": id, "name": name,
                    "input": input, "status": "completed"});
                self.send(json!({"type": "response.output_item.done", "item": item}))
            }
            Step::Pause(time) => {
                std::thread::sleep(*time);
                Ok(())
            }
            Step::Hold(gate) => {
                gate.pass();
                Ok(())
            }
            Step::Fail { .. } | Step::Cut => Ok(()),
        }
    }

    fn open_message(&mut self) -> Result<String> {
        let id = self.id("msg");
        let item = json!({"type": "message", "role": "assistant", "id": id, "content": []});
        self.send(json!({"type": "response.output_item.added", "item": item}))?;
        Ok(id)
    }

    fn deltas(&mut self, id: &str, deltas: &[String], pause: Duration) -> Result<()> {
        for delta in deltas {
            self.send(json!({"type": "response.output_text.delta", "item_id": id, "delta": delta}))?;
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        Ok(())
    }

    fn close_message(&mut self, id: &str, text: &str) -> Result<()> {
        let item = json!({"type": "message", "role": "assistant", "id": id,
            "content": [{"type": "output_text", "text": text}]});
        self.send(json!({"type": "response.output_item.done", "item": item}))
    }

    fn reason(&mut self, parts: &[String]) -> Result<()> {
        let id = self.id("rs");
        let item = json!({"type": "reasoning", "id": id, "summary": []});
        self.send(json!({"type": "response.output_item.added", "item": item}))?;
        let mut summary = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let begun = json!({"type": "response.reasoning_summary_part.added", "item_id": id,
                "summary_index": index});
            self.send(begun)?;
            for delta in part.split_inclusive(' ') {
                self.send(
                    json!({"type": "response.reasoning_summary_text.delta", "item_id": id,
                    "summary_index": index, "delta": delta}),
                )?;
            }
            summary.push(json!({"type": "summary_text", "text": part}));
        }
        let item = json!({"type": "reasoning", "id": id, "summary": summary, "encrypted_content": "none"});
        self.send(json!({"type": "response.output_item.done", "item": item}))
    }

    fn id(&mut self, kind: &str) -> String {
        self.items += 1;
        format!("{kind}_{:04}{:02}", self.number, self.items)
    }

    fn send(&mut self, event: Value) -> Result<()> {
        let kind = event["type"].as_str().unwrap_or_default();
        let text = format!("event: {kind}\ndata: {event}\n\n");
        write!(self.stream, "{:x}\r\n{text}\r\n", text.len())
    }

    fn finish(&mut self) -> Result<End> {
        self.stream.write_all(b"0\r\n\r\n")?;
        Ok(End::Whole)
    }
}

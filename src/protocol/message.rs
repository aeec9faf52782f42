//! The JSON-RPC shapes, classified by which fields are present.
//!
//! The dialect is the official one: JSON-RPC 2.0 without the `jsonrpc` member. Notifications carry
//! `emittedAtMs` beside `params`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The parameters of a call, or its result: JSON that is not looked into.
pub type Params = Box<RawValue>;

/// A request's id. The official server drops messages whose id is null, a float or a boolean.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", schemars(rename = "RequestId"), ts(rename = "RequestId"))]
#[serde(untagged)]
pub enum Id {
    Integer(i64),
    String(String),
}

#[derive(Clone, Debug)]
pub enum Message {
    Request(Request),
    Notification(Notification),
    Response(Response),
}

#[derive(Clone, Debug)]
pub struct Request {
    pub id: Id,
    pub method: String,
    pub params: Option<Params>,
}

#[derive(Clone, Debug)]
pub struct Notification {
    pub method: String,
    pub params: Option<Params>,
    /// Unix time in milliseconds at which the server made it.
    pub emitted_at_ms: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub id: Id,
    pub outcome: Result<Params, ErrorObject>,
}

/// A JSON-RPC error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(
    feature = "schema",
    schemars(rename = "JSONRPCErrorError"),
    ts(rename = "JSONRPCErrorError")
)]
pub struct ErrorObject {
    pub code: i64,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

/// Why a line is not a message.
#[derive(Debug)]
pub enum Malformed {
    Json(serde_json::Error),
    Shape(&'static str),
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::Json(error) => write!(f, "not JSON: {error}"),
            Malformed::Shape(what) => f.write_str(what),
        }
    }
}

impl Message {
    /// Reads one message from one line (or one WebSocket text frame).
    pub fn parse(line: &[u8]) -> Result<Message, Malformed> {
        // A derived `Deserialize` also takes a struct from an array; JSON-RPC does not.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(Malformed::Shape("not a JSON object"));
        }
        let envelope: Envelope = serde_json::from_slice(line).map_err(Malformed::Json)?;
        match envelope {
            Envelope {
                id: Some(id),
                method: Some(method),
                params,
                result: None,
                error: None,
                ..
            } => Ok(Message::Request(Request { id, method, params })),
            Envelope {
                id: None,
                method: Some(method),
                params,
                result: None,
                error: None,
                emitted_at_ms,
            } => Ok(Message::Notification(Notification {
                method,
                params,
                emitted_at_ms,
            })),
            Envelope {
                id: Some(id),
                method: None,
                result: Some(result),
                error: None,
                ..
            } => Ok(Message::Response(Response {
                id,
                outcome: Ok(result),
            })),
            Envelope {
                id: Some(id),
                method: None,
                result: None,
                error: Some(error),
                ..
            } => Ok(Message::Response(Response {
                id,
                outcome: Err(error),
            })),
            _ => Err(Malformed::Shape("neither request, notification nor response")),
        }
    }

    /// Writes the message as one line, without the line's end.
    pub fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        // By reference: a file of hundreds of megabytes may be in it.
        let line = match self {
            Message::Request(it) => Line {
                id: Some(&it.id),
                method: Some(&it.method),
                params: it.params.as_deref(),
                ..Line::default()
            },
            Message::Notification(it) => Line {
                method: Some(&it.method),
                params: it.params.as_deref(),
                emitted_at_ms: it.emitted_at_ms,
                ..Line::default()
            },
            Message::Response(it) => Line {
                id: Some(&it.id),
                result: it.outcome.as_deref().ok(),
                error: it.outcome.as_ref().err(),
                ..Line::default()
            },
        };
        serde_json::to_vec(&line)
    }
}

/// A message as it is written, in the official order.
#[derive(Default, Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ErrorObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(rename = "emittedAtMs", skip_serializing_if = "Option::is_none")]
    emitted_at_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    error: Option<ErrorObject>,
    #[serde(default)]
    id: Option<Id>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    params: Option<Params>,
    /// `null` is a result; only absence is none.
    #[serde(default, deserialize_with = "present")]
    result: Option<Params>,
    #[serde(default, rename = "emittedAtMs")]
    emitted_at_ms: Option<i64>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Params>, D::Error> {
    Params::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_by_fields() {
        let kind = |line: &str| match Message::parse(line.as_bytes()) {
            Ok(Message::Request(_)) => "request",
            Ok(Message::Notification(_)) => "notification",
            Ok(Message::Response(it)) if it.outcome.is_ok() => "result",
            Ok(Message::Response(_)) => "error",
            Err(Malformed::Json(_)) => "json",
            Err(Malformed::Shape(_)) => "shape",
        };
        for (line, expected) in [
            (r#"{"id":1,"method":"thread/start","params":{}}"#, "request"),
            (r#"{"method":"initialized"}"#, "notification"),
            (r#"{"method":"x","params":null,"emittedAtMs":17}"#, "notification"),
            (r#"{"id":"a","result":null}"#, "result"),
            (r#"{"id":1,"result":{"ok":true},"jsonrpc":"2.0"}"#, "result"),
            (r#"{"error":{"code":-32001,"message":"busy"},"id":1}"#, "error"),
            (r#"{"id":1}"#, "shape"),
            (r#"{"id":1,"method":"x","result":1}"#, "shape"),
            ("{", "json"),
            (r#"[1,"thread/start"]"#, "shape"),
            ("", "shape"),
        ] {
            assert_eq!(kind(line), expected, "{line}");
        }
    }

    #[test]
    fn what_was_read_is_written_again() {
        for line in [
            r#"{"id":1,"method":"m","params":{"a":1.50}}"#,
            r#"{"method":"m","params":[],"emittedAtMs":3}"#,
            r#"{"id":"x","result":null}"#,
            r#"{"error":{"code":1,"message":"m","data":{"k":null}},"id":2}"#,
        ] {
            let message = Message::parse(line.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(message.to_line().unwrap()).unwrap(), line);
        }
    }
}

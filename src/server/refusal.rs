//! A request that is refused: the JSON-RPC error that the peer gets.

use std::io;

use codex_protocol::{CODE_INTERNAL, CODE_METHOD_NOT_FOUND, CODE_OVERLOADED, ErrorObject};
use serde_json::Value;

/// JSON-RPC: what arrived is not JSON.
const CODE_PARSE: i64 = -32700;
/// The code of nearly every error of the official server: parameters, states, things that are not there.
const CODE_INVALID_REQUEST: i64 = -32600;
/// JSON-RPC: parameters that are each right and wrong together.
const CODE_INVALID_PARAMS: i64 = -32602;

/// How much of an error's text is sent. Errors of the JSON reader quote what they read, of any length.
const TEXT_BYTES_MAX: usize = 500;

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal(ErrorObject);

impl Refusal {
    fn new(code: i64, text: impl Into<String>) -> Refusal {
        let mut message: String = text.into();
        if TEXT_BYTES_MAX < message.len() {
            message.truncate(message.floor_char_boundary(TEXT_BYTES_MAX));
            message.push('…');
        }
        Refusal(ErrorObject {
            code,
            message,
            data: None,
        })
    }

    /// `-32600`: wrong now, or wrong at all.
    pub fn invalid(text: impl Into<String>) -> Refusal {
        Refusal::new(CODE_INVALID_REQUEST, text)
    }

    /// `-32602`: the parameters contradict each other or exceed a limit.
    pub fn params(text: impl Into<String>) -> Refusal {
        Refusal::new(CODE_INVALID_PARAMS, text)
    }

    /// `-32603`: it was tried and failed.
    pub fn failed(text: impl Into<String>) -> Refusal {
        Refusal::new(CODE_INTERNAL, text)
    }

    /// `-32001`: a queue is full.
    pub fn overloaded() -> Refusal {
        Refusal::new(CODE_OVERLOADED, "Server overloaded; retry later.")
    }

    /// `-32601`.
    pub fn method_not_found(method: &str) -> Refusal {
        Refusal::new(CODE_METHOD_NOT_FOUND, format!("method not found: {method}"))
    }

    /// `-32601` with a text of its own: the method cannot be answered in this state.
    pub fn not_supported(text: impl Into<String>) -> Refusal {
        Refusal::new(CODE_METHOD_NOT_FOUND, text)
    }

    /// `-32700`.
    pub(crate) fn not_json(text: impl Into<String>) -> Refusal {
        Refusal::new(CODE_PARSE, text)
    }

    /// A handler that answered nothing.
    pub(crate) fn unanswered() -> Refusal {
        Refusal::failed("internal error")
    }

    /// Adds details for programs.
    pub fn with_data(mut self, data: Value) -> Refusal {
        self.0.data = Some(data);
        self
    }

    /// The error as it is sent.
    pub fn into_error(self) -> ErrorObject {
        self.0
    }
}

/// Parameters that do not fit.
impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Refusal {
        // Where in the text means nothing to a client, which has written no text.
        let text = error.to_string();
        let text = text.split_once(" at line ").map_or(text.as_str(), |(why, _)| why);
        Refusal::invalid(format!("Invalid request: {text}"))
    }
}

/// The operating system refused.
impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::failed(error.to_string())
    }
}

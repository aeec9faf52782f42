//! Why a model did not answer, by what can be done about it.

use std::time::Duration;

use codex_protocol::v2::TurnError;
use serde_json::{Value, json};

/// The documented classes (`codexErrorInfo`) that a model's failure can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    ContextWindowExceeded,
    /// The account's quota is used up: waiting minutes does not help.
    UsageLimitExceeded,
    RateLimitExceeded,
    ServerOverloaded,
    ModelNotFound,
    Unauthorized,
    BadRequest,
    /// No answer at all, or one with this status.
    HttpConnectionFailed(Option<u16>),
    /// The answer broke off.
    ResponseStreamDisconnected(Option<u16>),
    /// Given up after all retries; the last status.
    ResponseTooManyFailedAttempts(Option<u16>),
    InternalServerError,
    Other,
}

impl ErrorClass {
    /// The value of `codexErrorInfo`.
    pub fn info(self) -> Value {
        match self {
            ErrorClass::ContextWindowExceeded => "contextWindowExceeded".into(),
            ErrorClass::UsageLimitExceeded => "usageLimitExceeded".into(),
            ErrorClass::RateLimitExceeded => "rateLimitExceeded".into(),
            ErrorClass::ServerOverloaded => "serverOverloaded".into(),
            ErrorClass::ModelNotFound => "modelNotFound".into(),
            ErrorClass::Unauthorized => "unauthorized".into(),
            ErrorClass::BadRequest => "badRequest".into(),
            ErrorClass::InternalServerError => "internalServerError".into(),
            ErrorClass::Other => "other".into(),
            ErrorClass::HttpConnectionFailed(code) => with_status("httpConnectionFailed", code),
            ErrorClass::ResponseStreamDisconnected(code) => with_status("responseStreamDisconnected", code),
            ErrorClass::ResponseTooManyFailedAttempts(code) => {
                with_status("responseTooManyFailedAttempts", code)
            }
        }
    }
}

fn with_status(class: &str, code: Option<u16>) -> Value {
    json!({ class: { "httpStatusCode": code } })
}

/// A failure of the model or of the way to it. The text never holds the credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelError {
    pub class: ErrorClass,
    /// What was tried and what came back, for people.
    pub message: String,
    /// What the server said beyond that, and what the user can do.
    pub details: Option<String>,
    /// Whether the same question may be asked again by itself.
    pub transient: bool,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

impl ModelError {
    /// An error that ends the turn.
    pub fn fatal(class: ErrorClass, message: impl Into<String>) -> ModelError {
        ModelError {
            class,
            message: message.into(),
            details: None,
            transient: false,
            status: None,
            retry_after: None,
        }
    }

    /// An error after which the question is asked again.
    pub fn transient(class: ErrorClass, message: impl Into<String>) -> ModelError {
        ModelError {
            transient: true,
            ..ModelError::fatal(class, message)
        }
    }

    /// The stream ended without having completed.
    pub fn disconnected(reason: &str) -> ModelError {
        let message = format!("stream disconnected before completion: {reason}");
        ModelError::transient(ErrorClass::ResponseStreamDisconnected(None), message)
    }

    /// Adds what the server said, or what can be done.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> ModelError {
        let details = details.into();
        if !details.is_empty() {
            self.details = Some(match self.details {
                Some(before) => format!("{before}; {details}"),
                None => details,
            });
        }
        self
    }

    /// The error as the end of a turn.
    pub fn turn_error(&self) -> TurnError {
        TurnError {
            message: self.message.clone(),
            codex_error_info: self.class.info(),
            additional_details: self.details.clone(),
        }
    }

    /// The error as news that retry `retry` of `retries_max` is under way.
    pub fn retry_notice(&self, retry: u32, retries_max: u32) -> TurnError {
        TurnError {
            message: format!("Reconnecting... {retry}/{retries_max}"),
            codex_error_info: ErrorClass::ResponseStreamDisconnected(self.status).info(),
            additional_details: Some(self.message.clone()),
        }
    }
}

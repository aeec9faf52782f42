//! What is told: notifications, made once for all who hear them.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use codex_protocol::{Notification, ServerNotification};
use serde::Serialize;
use serde_json::json;

/// A notification, ready to be sent to any number of peers.
#[derive(Clone, Debug)]
pub struct Notice(Arc<Notification>);

impl Notice {
    /// Makes a notification; `emittedAtMs` is the time of this call.
    pub fn new(method: &str, params: &impl Serialize) -> Notice {
        let params = serde_json::value::to_raw_value(params);
        if let Err(error) = &params {
            tracing::error!(method, %error, "a notification could not be written as JSON");
        }
        Notice(Arc::new(Notification {
            method: method.to_owned(),
            params: params.ok(),
            emitted_at_ms: Some(unix_millis()),
        }))
    }

    /// Its method.
    pub fn method(&self) -> &str {
        &self.0.method
    }

    pub(crate) fn into_notification(self) -> Notification {
        Arc::unwrap_or_clone(self.0)
    }
}

impl From<&ServerNotification> for Notice {
    fn from(notification: &ServerNotification) -> Notice {
        match notification.params() {
            Ok(params) => Notice::new(notification.method(), &params),
            Err(error) => {
                tracing::error!(method = notification.method(), %error, "a notification could not be written as JSON");
                Notice::new(notification.method(), &())
            }
        }
    }
}

/// What a piece of text is appended to: one part of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextStream {
    /// The notification's method, for instance `item/agentMessage/delta`.
    pub method: &'static str,
    pub thread_id: String,
    pub turn_id: String,
    pub item_id: String,
    /// For reasoning: `summaryIndex` or `contentIndex`, and its value.
    pub part: Option<(&'static str, i64)>,
}

impl TextStream {
    /// The notification that appends `text`; `omitted` bytes after it were given up.
    pub(crate) fn notification(&self, mut text: String, omitted: usize) -> Notification {
        if 0 < omitted {
            text.push_str(&format!(
                "\n[{omitted} bytes are left out here: the connection is too slow for all of it as it comes]\n"
            ));
        }
        let mut params = json!({
            "threadId": self.thread_id,
            "turnId": self.turn_id,
            "itemId": self.item_id,
            "delta": text,
        });
        if let Some((name, index)) = self.part {
            params[name] = index.into();
        }
        Notice::new(self.method, &params).into_notification()
    }
}

/// The wall clock, in milliseconds since the Unix epoch; 0 before it.
pub(crate) fn unix_millis() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

//! A connection that is up: the conversation with its server.

use std::{sync::Weak, time::Duration};

use codex_hosts::{CallFailure, Ticket};
use codex_protocol::{CODE_OVERLOADED, ClientRequest};
use codex_rpc::{CallError, Client, Event};
use codex_ssh::Session;
use tokio::sync::mpsc;

use crate::limits;

pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) pulse: Pulse,
    /// The user's home directory on the host.
    pub(crate) home: String,
}

/// How to ask whether the peer is there.
#[derive(Clone)]
pub(crate) enum Pulse {
    /// The attempt owns the connection: what is left of a link must not keep it open.
    Session(Weak<Session>),
    /// By a call.
    Call,
    /// It is in this process.
    Here,
}

/// Of what a server says that may not write a thread because another one does.
const WRITER: &str = "already has an active writer";

/// A call whose answer is waited for.
pub(crate) struct Pending {
    pub(crate) ticket: Ticket,
    pub(crate) request: ClientRequest,
    pub(crate) tries: u32,
}

impl Pending {
    pub(crate) fn new(ticket: Ticket, request: ClientRequest) -> Pending {
        Pending {
            ticket,
            request,
            tries: 0,
        }
    }

    /// How long to wait before the same call, which had no effect, is made again; `None`: its failure counts. `returned`:
    /// how long ago the host came back, if it was there before.
    pub(crate) fn again_after(
        &self,
        error: &CallError,
        returned: Option<Duration>,
        jitter: f64,
    ) -> Option<Duration> {
        let CallError::Refused(refusal) = error else {
            return None;
        };
        let is_former = matches!(self.request, ClientRequest::ThreadResume(_))
            && refusal.message.contains(WRITER)
            && returned.is_some_and(|it| it < limits::FORMER_PATIENCE);
        let backoff = match refusal.code {
            CODE_OVERLOADED if self.tries < limits::OVERLOADED_TRIES_MAX => limits::OVERLOADED_BACKOFF,
            _ if is_former => limits::FORMER_BACKOFF,
            _ => return None,
        };
        Some(backoff.delay(self.tries, jitter))
    }
}

pub(crate) fn failure(error: CallError) -> CallFailure {
    let (code, lost) = match &error {
        CallError::Refused(error) => (Some(error.code), false),
        CallError::Closed { .. } | CallError::TimedOut { .. } => (None, true),
        CallError::TooLong { .. } | CallError::Busy(_) => (None, false),
    };
    CallFailure {
        code,
        message: error.to_string(),
        lost,
    }
}

/// A call that found no connection, or did not go out.
pub(crate) fn refused(message: String) -> CallFailure {
    CallFailure {
        code: None,
        message,
        lost: false,
    }
}

/// Makes the paths of a request absolute: users write `~/src`, the server takes only `/home/dev/src`.
pub(crate) fn absolute(mut request: ClientRequest, home: &str) -> ClientRequest {
    let path = match &mut request {
        ClientRequest::ThreadStart(it) => it.cwd.as_mut(),
        ClientRequest::ThreadResume(it) => it.cwd.as_mut(),
        ClientRequest::TurnStart(it) => it.cwd.as_mut(),
        ClientRequest::FsGetMetadata(it) => Some(&mut it.path),
        _ => None,
    };
    if let Some(path) = path
        && !path.starts_with('/')
        && !home.is_empty()
    {
        let rest = path.strip_prefix("~/").unwrap_or(path);
        *path = match rest {
            "" | "~" | "." => home.to_owned(),
            rest => format!(
                "{}/{}",
                home.trim_end_matches('/'),
                rest.strip_prefix("./").unwrap_or(rest)
            ),
        };
    }
    request
}

#[cfg(test)]
mod tests {
    use codex_protocol::v2::FsGetMetadataParams;

    use super::*;

    #[test]
    fn paths_are_made_absolute_from_the_home_of_the_host() {
        for (path, expected) in [
            ("~", "/home/dev"),
            ("~/src", "/home/dev/src"),
            ("src/app", "/home/dev/src/app"),
            ("./src", "/home/dev/src"),
            ("/srv", "/srv"),
        ] {
            let request = ClientRequest::FsGetMetadata(FsGetMetadataParams {
                path: path.to_owned(),
            });
            let expected = ClientRequest::FsGetMetadata(FsGetMetadataParams {
                path: expected.to_owned(),
            });
            assert_eq!(absolute(request, "/home/dev"), expected, "{path}");
        }
    }
}

//! A connection that is up: the conversation with its server.

use std::sync::Arc;

use codex_hosts::CallFailure;
use codex_protocol::{CODE_OVERLOADED, ClientRequest, ClientResponse};
use codex_rpc::{CallError, Client, Event};
use codex_ssh::Session;
use tokio::{sync::mpsc, time::sleep};

use crate::limits;

pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) session: Arc<Session>,
    /// The user's home directory on the host.
    pub(crate) home: String,
}

impl Link {
    /// Asks the server. A refusal because of overload is repeated: nothing was done.
    pub(crate) fn call(
        &self,
        request: ClientRequest,
    ) -> impl Future<Output = Result<ClientResponse, CallFailure>> + Send + use<> {
        let client = self.client.clone();
        let request = absolute(request, &self.home);
        async move {
            let refused = |message: String| CallFailure {
                code: None,
                message,
                lost: false,
            };
            let mut tries = 0;
            loop {
                let params = request.params().map_err(|it| refused(it.to_string()))?;
                let patience = Some(limits::CALL_PATIENCE);
                let outcome = client.call(request.method(), Some(params), patience).await;
                match outcome {
                    Ok(answer) => {
                        let unreadable =
                            |it| format!("the answer to {} cannot be read: {it}", request.method());
                        return request.decode(&answer).map_err(|it| refused(unreadable(it)));
                    }
                    Err(CallError::Refused(error))
                        if error.code == CODE_OVERLOADED && tries < limits::OVERLOADED_TRIES_MAX =>
                    {
                        sleep(limits::OVERLOADED_BACKOFF.delay(tries, fastrand::f64())).await;
                        tries += 1;
                    }
                    Err(error) => return Err(failure(error)),
                }
            }
        }
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

/// Makes the paths of a request absolute: users write `~/src`, the server takes only `/home/dev/src`.
fn absolute(mut request: ClientRequest, home: &str) -> ClientRequest {
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

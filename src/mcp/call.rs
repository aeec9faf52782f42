//! One call of a tool.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientRequest, RequestId,
};
use rmcp::service::{Peer, PeerRequestOptions, RoleClient, ServiceError};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::desk::{Elicit, OnProgress};
use crate::error::Error;
use crate::live::Live;
use crate::outcome::{CallOutcome, CallResult};
use crate::server::Server;

/// What is called, and who hears of it meanwhile.
#[derive(Clone)]
pub struct Call {
    pub server: String,
    /// The server's own name for the tool.
    pub tool: String,
    /// An object, or null for none.
    pub arguments: Value,
    pub progress: Option<OnProgress>,
    /// Puts the questions of this call to the user, instead of the owner's.
    pub elicit: Option<Arc<dyn Elicit>>,
}

impl Server {
    /// Calls a tool. It ends when the tool has answered, its time is over or `cancel` is cancelled; in the latter two
    /// cases, and if the future is dropped, the server is told that nobody waits any more.
    pub(crate) async fn call(&self, call: Call, cancel: &CancellationToken) -> CallOutcome {
        let began = Instant::now();
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(self.cancelled()),
            result = self.called(call) => result,
        };
        CallOutcome {
            result,
            duration: began.elapsed(),
        }
    }

    fn cancelled(&self) -> Error {
        Error::Cancelled {
            server: self.name.clone(),
        }
    }

    async fn called(&self, call: Call) -> Result<CallResult, Error> {
        let (server, tool) = (self.name.clone(), call.tool.clone());
        if !self.config.allows(&tool) {
            return Err(Error::NotAllowed { server, tool });
        }
        let mut params = CallToolRequestParams::new(tool.clone());
        params.arguments = match call.arguments {
            Value::Null => None,
            Value::Object(arguments) => Some(arguments),
            _ => return Err(Error::Arguments { server, tool }),
        };
        let live = self.live().await?;
        match self.ask(&live, params, call.progress, call.elicit).await {
            Err(Error::NotRunning { .. }) => {
                let why = self.reason(&live).await;
                // It starts while the model reads this.
                self.want();
                Err(Error::NotRunning { server, why })
            }
            other => other,
        }
    }

    async fn ask(
        &self,
        live: &Live,
        params: CallToolRequestParams,
        progress: Option<OnProgress>,
        elicit: Option<Arc<dyn Elicit>>,
    ) -> Result<CallResult, Error> {
        let limit = self.config.tool_timeout;
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let sending = live
            .peer
            .send_request_with_option(request, PeerRequestOptions::no_options());
        let handle = timeout(limit, sending).await.map_err(|_| self.timed_out())?;
        let mut handle = handle.map_err(|it| live.error(&it))?;
        let mut waiting = Waiting {
            peer: &live.peer,
            id: Some(handle.id.clone()),
        };
        let _registered =
            live.desk
                .register(handle.id.clone(), handle.progress_token.clone(), progress, elicit);
        let answer = tokio::select! {
            biased;
            answer = &mut handle.rx => answer.map_err(|_| ServiceError::TransportClosed).and_then(|it| it),
            () = run_out(limit, live.desk.questions()) => return Err(self.timed_out()),
        };
        waiting.id = None;
        CallResult::new(&self.name, answer.map_err(|it| live.error(&it))?)
    }

    fn timed_out(&self) -> Error {
        Error::TimedOut {
            server: self.name.clone(),
            after: self.config.tool_timeout,
        }
    }
}

/// A request without an answer yet. Dropping it tells the server that nobody waits any more, unless so much waits to
/// be sent that this would have to wait too.
struct Waiting<'a> {
    peer: &'a Peer<RoleClient>,
    id: Option<RequestId>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let notice = CancelledNotificationParam::new(Some(id), Some("nobody waits any more".to_owned()));
            // It is in the queue after the first step; nobody needs to hear that it was sent.
            let _ = self.peer.notify_cancelled(notice).now_or_never();
        }
    }
}

/// Waits for `limit`, without the time in which a question to the user is open.
async fn run_out(limit: Duration, mut questions: watch::Receiver<usize>) {
    let mut left = limit;
    loop {
        if questions.wait_for(|open| *open == 0).await.is_err() {
            // No connection, no questions: the answer is an error already.
            return pending().await;
        }
        let began = Instant::now();
        tokio::select! {
            () = sleep(left) => return,
            _ = questions.wait_for(|open| *open > 0) => left = left.saturating_sub(began.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_stands_still_while_a_question_is_open() {
        let questions = watch::Sender::new(0);
        let began = Instant::now();
        let clock = run_out(Duration::from_secs(10), questions.subscribe());
        let asking = async {
            for _ in 0..2 {
                sleep(Duration::from_secs(4)).await;
                questions.send_replace(1);
                sleep(Duration::from_secs(1000)).await;
                questions.send_replace(0);
            }
        };
        tokio::join!(clock, asking);
        assert_eq!(began.elapsed().as_secs(), 2010);
    }
}

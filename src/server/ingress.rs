//! One peer from its first byte to its last: reads, dispatches, writes.
//!
//! Reading and writing never wait for each other. What a peer says wrong costs the message and nothing
//! else.

use std::time::Duration;

use codex_protocol::{Id, Malformed, Message, Request, Response, v2::InitializeParams};
use codex_rpc::{Incoming, Transport};
use futures_util::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    connection::Connection, handshake::Session, notice::Notice, questions::Answer, refusal::Refusal,
    responder::Responder, router, server::Server,
};

/// How long requests that are under way may go on after the peer has said all it had to say.
const FINISH_PATIENCE: Duration = Duration::from_secs(2);
/// How long the last messages may take to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);
/// Messages written before the transport is flushed. Bounds how long the first of a burst waits.
const BURST_MAX: usize = 64;

/// Serves one peer until it leaves, its connection breaks or `cancel` is cancelled.
pub async fn serve_peer<T: Transport>(server: Server, transport: T, cancel: CancellationToken) {
    let connection = server.connect();
    let guard = Guard {
        server: server.clone(),
        connection: connection.clone(),
    };
    let (sink, stream) = transport.split();
    let mut peer = Peer {
        server,
        connection: connection.clone(),
        tasks: JoinSet::new(),
    };
    let finished = CancellationToken::new();
    let writing = write(connection, sink, finished.clone());
    let reading = async {
        tokio::select! {
            () = peer.read(stream) => (),
            () = cancel.cancelled() => (),
        }
        peer.finish().await;
        finished.cancel();
    };
    tokio::pin!(writing);
    tokio::select! {
        // A peer that cannot be written to is gone.
        () = &mut writing => (),
        () = reading => {
            if tokio::time::timeout(FLUSH_PATIENCE, writing).await.is_err() {
                tracing::debug!(connection = %guard.connection.id(), "the last messages could not be written in time");
            }
        }
    }
}

/// Ends the connection for everybody, however its task ends.
struct Guard {
    server: Server,
    connection: Connection,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.connection.close();
        self.server.disconnect(self.connection.id());
    }
}

struct Peer {
    server: Server,
    connection: Connection,
    /// The requests under way, at most one task for each.
    tasks: JoinSet<()>,
}

impl Peer {
    async fn read<T: Transport>(&mut self, mut stream: SplitStream<T>) {
        loop {
            self.connection.readable().await;
            let incoming = tokio::select! {
                it = stream.next() => it,
                Some(ended) = self.tasks.join_next() => {
                    report(ended);
                    continue;
                }
            };
            match incoming {
                Some(Ok(incoming)) => self.handle_incoming(incoming),
                Some(Err(error)) => {
                    tracing::debug!(connection = %self.connection.id(), %error, "the connection broke");
                    return;
                }
                None => return,
            }
        }
    }

    fn handle_incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Message(Message::Request(it)) => self.handle_request(it),
            Incoming::Message(Message::Response(it)) => self.handle_response(it),
            // `initialized` demands nothing, and the others are of versions that we do not know.
            Incoming::Message(Message::Notification(_)) => (),
            // The beginning of the line is not logged: it may hold a key.
            Incoming::Malformed { why, id, .. } => {
                let refusal = match &why {
                    Malformed::Json(_) => Refusal::not_json(why.to_string()),
                    Malformed::Shape(_) => Refusal::invalid(format!("Invalid request: {why}")),
                };
                self.handle_malformed(refusal, id);
            }
            Incoming::TooLong { bytes, id } => {
                let text = format!("the message has {bytes} bytes, more than is read");
                self.handle_malformed(Refusal::params(text), id);
            }
        }
    }

    fn handle_malformed(&mut self, refusal: Refusal, id: Option<Id>) {
        let connection = self.connection.id();
        match id {
            Some(id) => Responder::new(self.connection.clone(), id, None).refuse(refusal),
            None => {
                tracing::warn!(%connection, why = refusal.into_error().message, "something that is no message was skipped")
            }
        }
    }

    fn handle_request(&mut self, request: Request) {
        let Request { id, method, params } = request;
        tracing::debug!(connection = %self.connection.id(), method, "asked");
        let slot = self.connection.slot();
        let is_full = slot.is_none();
        let responder = Responder::new(self.connection.clone(), id, slot);
        if is_full {
            return responder.refuse(Refusal::overloaded());
        }
        match (self.connection.session().is_some(), method == "initialize") {
            (false, true) => self.initialize(params.as_ref(), responder),
            (false, false) => responder.refuse(Refusal::invalid("Not initialized")),
            (true, true) => responder.refuse(Refusal::invalid("Already initialized")),
            (true, false) => {
                let (server, connection) = (&self.server, &self.connection);
                let job = server
                    .router()
                    .dispatch(server, connection, &method, params.as_ref(), responder);
                if let Some(job) = job {
                    self.tasks.spawn(job);
                }
            }
        }
    }

    fn initialize(&mut self, params: Option<&codex_protocol::Params>, responder: Responder) {
        let session = router::read::<InitializeParams>(params).and_then(Session::new);
        match session {
            Ok(session) => {
                responder.answer(&session.response(self.server.setup()));
                self.connection.open(session);
                for warning in self.server.settings().load().warnings.iter() {
                    self.connection.tell(&Notice::new("configWarning", warning));
                }
            }
            Err(refusal) => responder.refuse(refusal),
        }
    }

    fn handle_response(&mut self, response: Response) {
        let Some((question, answers)) = self.server.questions().take(&response.id) else {
            tracing::debug!(connection = %self.connection.id(), "an answer to nothing that is open was ignored");
            return;
        };
        let answer = Answer {
            question,
            connection: self.connection.id(),
            outcome: response.outcome,
        };
        // At most one a question is under way. The asker may rightly be gone.
        self.tasks.spawn(async move { _ = answers.send(answer).await });
    }

    /// The peer says nothing more: what it asked for is still done, within bounds.
    async fn finish(&mut self) {
        self.connection.leaving().cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                report(ended);
            }
        };
        _ = tokio::time::timeout(FINISH_PATIENCE, all).await;
        self.tasks.shutdown().await;
    }
}

/// A handler that panics has answered already: its responder was dropped.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a handler panicked");
    }
}

/// Writes what waits until the connection breaks, or until all is written after `finished`.
async fn write<T: Transport>(
    connection: Connection,
    mut sink: SplitSink<T, Message>,
    finished: CancellationToken,
) {
    loop {
        let mut next = tokio::select! {
            biased; // what waits is written before the end
            it = connection.next() => Some(it),
            () = finished.cancelled() => break,
        };
        let mut slots = Vec::new();
        while let Some((message, slot)) = next {
            if let Err(error) = sink.feed(message).await {
                tracing::debug!(connection = %connection.id(), %error, "the connection broke");
                return;
            }
            slots.push(slot);
            next = if slots.len() < BURST_MAX {
                connection.try_next()
            } else {
                None
            };
        }
        if let Err(error) = sink.flush().await {
            tracing::debug!(connection = %connection.id(), %error, "the connection broke");
            return;
        }
    }
    // The peer may be gone already.
    _ = sink.close().await;
}

#[cfg(test)]
mod tests;

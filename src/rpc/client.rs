//! Drives a [`Peer`] over a [`Transport`].

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{pending, poll_fn},
    task::{Context, Poll, ready},
    time::Duration,
};

use codex_protocol::{ErrorObject, Id, Message, Params};
use futures_util::{Sink, SinkExt, StreamExt};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    peer::{CallError, CallId, Event, Limits, Outcome, Peer},
    transport::{Transport, TransportError},
};

/// Commands waiting for the driver. Full means the driver is behind: callers wait.
pub const COMMANDS_MAX: usize = 64;
/// Events waiting for the consumer. Full means the consumer is behind: the driver stops reading.
pub const EVENTS_MAX: usize = 256;
/// Messages accepted and not yet written. At the limit, commands wait in their queue and callers with them.
pub const BACKLOG_MAX: usize = 64;

/// A handle on a conversation; the connection ends when all of them are gone.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Call {
        method: &'static str,
        params: Option<Params>,
        patience: Option<Duration>,
        answer: oneshot::Sender<Outcome>,
    },
    Notify {
        method: &'static str,
        params: Option<Params>,
    },
    Reply {
        id: Id,
        outcome: Result<Params, ErrorObject>,
    },
}

/// How a conversation ended.
#[derive(Debug)]
pub enum End {
    Cancelled,
    /// Nobody on our side wants to talk any more.
    HandlesGone,
    /// The peer closed; so many of our messages were not written.
    PeerClosed {
        unsent: usize,
    },
    Broken(TransportError),
}

impl Client {
    /// Asks and waits for the answer, at most for `patience`.
    pub async fn call(
        &self,
        method: &'static str,
        params: Option<Params>,
        patience: Option<Duration>,
    ) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let closed = || CallError::Closed {
            method: method.to_owned(),
        };
        self.commands
            .send(Command::Call {
                method,
                params,
                patience,
                answer,
            })
            .await
            .map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Tells. Lost without a word when the connection has ended: the end is reported elsewhere.
    pub async fn notify(&self, method: &'static str, params: Option<Params>) {
        _ = self.commands.send(Command::Notify { method, params }).await;
    }

    /// Answers a request of the peer's.
    pub async fn reply(&self, id: Id, outcome: Result<Params, ErrorObject>) {
        _ = self.commands.send(Command::Reply { id, outcome }).await;
    }
}

/// Returns a handle, the peer's own messages in order, and the driver, which must be polled.
pub fn client(
    transport: impl Transport,
    limits: Limits,
    cancel: CancellationToken,
) -> (Client, mpsc::Receiver<Event>, impl Future<Output = End> + Send) {
    let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
    let (event_queue, events) = mpsc::channel(EVENTS_MAX);
    (
        Client { commands },
        events,
        drive(transport, limits, cancel, command_queue, event_queue),
    )
}

async fn drive(
    transport: impl Transport,
    limits: Limits,
    cancel: CancellationToken,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
) -> End {
    let (mut sink, mut stream) = transport.split();
    let mut peer = Peer::new(limits);
    let mut answers = BTreeMap::new();
    // Room for one event is taken before a message is read, so a slow consumer stops the reading
    // and nothing else: commands, deadlines, writes and cancellation go on.
    let mut room: Option<mpsc::Permit<'_, Event>> = None;
    let end = loop {
        let deadline = peer.poll_timeout();
        tokio::select! {
            () = cancel.cancelled() => break End::Cancelled,
            Err(error) = poll_fn(|cx| poll_write(&mut sink, &mut peer, cx)) => break End::Broken(error),
            () = at(deadline) => peer.handle_timeout(Instant::now().into_std()),
            command = commands.recv(), if peer.backlog() < BACKLOG_MAX => match command {
                Some(command) => obey(command, &mut peer, &mut answers),
                None => break End::HandlesGone,
            },
            permit = events.reserve(), if room.is_none() => match permit {
                Ok(it) => room = Some(it),
                Err(_) => break End::HandlesGone,
            },
            incoming = stream.next(), if room.is_some() => match incoming {
                Some(Ok(incoming)) => peer.handle_incoming(incoming),
                Some(Err(error)) => break End::Broken(error),
                None => break End::PeerClosed { unsent: peer.backlog() },
            },
        }
        deliver(&mut peer, &mut answers, &mut room);
    };
    peer.handle_close();
    deliver(&mut peer, &mut answers, &mut room);
    end
}

/// Writes whatever the peer wants written; ends only by failing.
fn poll_write(
    sink: &mut (impl Sink<Message, Error = TransportError> + Unpin),
    peer: &mut Peer,
    cx: &mut Context<'_>,
) -> Poll<Result<Infallible, TransportError>> {
    while let Poll::Ready(ready) = sink.poll_ready_unpin(cx) {
        ready?;
        match peer.poll_transmit() {
            Some(message) => sink.start_send_unpin(message)?,
            None => {
                ready!(sink.poll_flush_unpin(cx))?;
                break;
            }
        }
    }
    Poll::Pending
}

async fn at(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(it) => sleep_until(Instant::from_std(it)).await,
        None => pending().await,
    }
}

fn obey(command: Command, peer: &mut Peer, answers: &mut BTreeMap<CallId, oneshot::Sender<Outcome>>) {
    match command {
        Command::Call {
            method,
            params,
            patience,
            answer,
        } => match peer.call(Instant::now().into_std(), method, params, patience) {
            Ok(id) => _ = answers.insert(id, answer),
            Err(busy) => _ = answer.send(Err(CallError::Busy(busy))),
        },
        Command::Notify { method, params } => peer.notify(method, params),
        Command::Reply { id, outcome } => peer.reply(id, outcome),
    }
}

fn deliver(
    peer: &mut Peer,
    answers: &mut BTreeMap<CallId, oneshot::Sender<Outcome>>,
    room: &mut Option<mpsc::Permit<'_, Event>>,
) {
    while let Some(event) = peer.poll_event() {
        match event {
            // A caller that went away does not want the answer.
            Event::Answered(id, outcome) => _ = answers.remove(&id).map(|it| it.send(outcome)),
            event @ (Event::Request(_) | Event::Notification(_) | Event::Malformed(_) | Event::Stray(_)) => {
                // One message is read at a time, with room for it: there is always a permit here.
                if let Some(permit) = room.take() {
                    permit.send(event);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test owns its tasks by awaiting them")]

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::transport::jsonl;

    const LIMITS: Limits = Limits { outstanding_max: 4 };

    #[tokio::test(start_paused = true)]
    async fn a_call_is_answered_times_out_or_closes() {
        let (ours, mut theirs) = duplex(1 << 12);
        let (client, _events, task) = client(jsonl(ours, 1 << 16), LIMITS, CancellationToken::new());
        let task = tokio::spawn(task);
        let server = tokio::spawn(async move {
            let mut buffer = [0; 256];
            let n = theirs.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..n], b"{\"id\":0,\"method\":\"a\"}\n");
            theirs.write_all(b"{\"id\":0,\"result\":null}\n").await.unwrap();
            _ = theirs.read(&mut buffer).await.unwrap();
            _ = theirs.read(&mut buffer).await.unwrap();
        });
        assert_eq!(client.call("a", None, None).await.unwrap().get(), "null");
        let late = client.call("b", None, Some(Duration::from_secs(5))).await;
        assert_eq!(late.unwrap_err().to_string(), "no answer to b within 5s");
        let closed = client.call("c", None, None).await;
        assert_eq!(
            closed.unwrap_err().to_string(),
            "the connection closed before c was answered"
        );
        server.await.unwrap();
        assert!(matches!(task.await.unwrap(), End::PeerClosed { unsent: 0 }));
    }

    #[tokio::test(start_paused = true)]
    async fn two_peers_that_both_talk_never_block_each_other() {
        let (left, right) = duplex(16);
        let (left, mut from_right, left_task) =
            client(jsonl(left, 1 << 16), LIMITS, CancellationToken::new());
        let (right, mut from_left, right_task) =
            client(jsonl(right, 1 << 16), LIMITS, CancellationToken::new());
        let (left_task, right_task) = (tokio::spawn(left_task), tokio::spawn(right_task));
        let talk = |it: Client| async move {
            for _ in 0..500 {
                it.notify("n", None).await;
            }
        };
        let (a, b) = (
            tokio::spawn(talk(left.clone())),
            tokio::spawn(talk(right.clone())),
        );
        for _ in 0..500 {
            assert!(from_left.recv().await.is_some());
            assert!(from_right.recv().await.is_some());
        }
        a.await.unwrap();
        b.await.unwrap();
        drop((left, right));
        // The first to see its handles gone hangs up on the other.
        assert!(matches!(
            left_task.await.unwrap(),
            End::HandlesGone | End::PeerClosed { .. }
        ));
        assert!(matches!(
            right_task.await.unwrap(),
            End::HandlesGone | End::PeerClosed { .. }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_that_stops_reading_stops_nothing_but_the_reading() {
        let (ours, mut theirs) = duplex(1 << 20);
        let cancel = CancellationToken::new();
        let (client, events, task) = client(jsonl(ours, 1 << 16), LIMITS, cancel.clone());
        let task = tokio::spawn(task);
        for _ in 0..EVENTS_MAX * 4 {
            theirs.write_all(b"{\"method\":\"n\"}\n").await.unwrap();
        }
        let late = client.call("b", None, Some(Duration::from_secs(5))).await;
        assert_eq!(late.unwrap_err().to_string(), "no answer to b within 5s");
        assert_eq!(events.len(), EVENTS_MAX);
        cancel.cancel();
        assert!(matches!(task.await.unwrap(), End::Cancelled));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_makes_the_caller_wait() {
        let (ours, theirs) = duplex(16);
        let (client, _events, task) = client(jsonl(ours, 1 << 16), LIMITS, CancellationToken::new());
        let task = tokio::spawn(task);
        let mut accepted = 0;
        while tokio::time::timeout(Duration::from_secs(1), client.notify("n", None))
            .await
            .is_ok()
        {
            accepted += 1;
        }
        assert!(
            accepted <= COMMANDS_MAX + BACKLOG_MAX + (8 << 10) / 15 + 8,
            "{accepted}"
        );
        drop(theirs);
        assert!(matches!(
            task.await.unwrap(),
            End::Broken(_) | End::PeerClosed { .. }
        ));
    }
}

//! Drives a [`Peer`] over a [`Transport`].

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    future::{pending, poll_fn},
    task::{Context, Poll, ready},
    time::Duration,
};

use codex_protocol::{ErrorObject, Id, Message, Notification, Params, Request};
use futures_util::{Sink, SinkExt, StreamExt};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    peer::{self, CallError, CallId, Limits, Outcome, Peer},
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

/// A handle that does not keep the connection.
pub struct WeakClient {
    commands: mpsc::WeakSender<Command>,
}

impl WeakClient {
    /// `None` when the conversation has no other handle any more.
    pub fn upgrade(&self) -> Option<Client> {
        let commands = self.commands.upgrade()?;
        Some(Client { commands })
    }
}

enum Command {
    Call {
        method: &'static str,
        params: Option<Params>,
        patience: Option<Duration>,
        answer: Answer,
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

/// Where the outcome of a call goes.
enum Answer {
    Caller(oneshot::Sender<Outcome>),
    /// To the events, under this tag.
    InOrder(u64),
}

/// What the consumer of a conversation is told, in the order in which it arrived.
#[derive(Debug)]
pub enum Event {
    /// The outcome of [`Client::ask`] with this tag.
    Answered(u64, Outcome),
    Request(Request),
    Notification(Notification),
    /// Something that is no message; why, and how it begins.
    Malformed(String),
    /// An answer to nothing we asked: late, duplicate or invented.
    Stray(Id),
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
    /// The same without keeping the connection.
    pub fn downgrade(&self) -> WeakClient {
        let commands = self.commands.downgrade();
        WeakClient { commands }
    }

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
                answer: Answer::Caller(answer),
            })
            .await
            .map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Asks; the outcome comes as [`Event::Answered`] with `tag`, in its place among what the peer says
    /// by itself. A connection that ends answers nothing more: the end of the events is the end of every
    /// call without an answer.
    pub async fn ask(
        &self,
        tag: u64,
        method: &'static str,
        params: Option<Params>,
        patience: Option<Duration>,
    ) {
        let answer = Answer::InOrder(tag);
        let command = Command::Call {
            method,
            params,
            patience,
            answer,
        };
        // What cannot be sent is told by the end of the events.
        _ = self.commands.send(command).await;
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
    let mut answers = Answers::default();
    // Room for one event is taken before a message is read, so a slow consumer stops the reading
    // and nothing else: commands, deadlines, writes and cancellation go on.
    let mut room: Option<mpsc::Permit<'_, Event>> = None;
    let end = loop {
        let deadline = peer.poll_timeout();
        tokio::select! {
            () = cancel.cancelled() => break End::Cancelled,
            Err(error) = poll_fn(|cx| poll_write(&mut sink, &mut peer, cx)) => break End::Broken(error),
            () = at(deadline) => peer.handle_timeout(Instant::now().into_std()),
            command = commands.recv(), if peer.backlog() < BACKLOG_MAX && answers.late.len() < BACKLOG_MAX => match command {
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
        answers.deliver(&mut peer, &mut room);
    };
    peer.handle_close();
    answers.close(&mut peer);
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

fn obey(command: Command, peer: &mut Peer, answers: &mut Answers) {
    match command {
        Command::Call {
            method,
            params,
            patience,
            answer,
        } => match peer.call(Instant::now().into_std(), method, params, patience) {
            Ok(id) => _ = answers.expected.insert(id, answer),
            Err(busy) => answers.give(answer, Err(CallError::Busy(busy))),
        },
        Command::Notify { method, params } => peer.notify(method, params),
        Command::Reply { id, outcome } => peer.reply(id, outcome),
    }
}

/// Who waits for which answer.
#[derive(Default)]
struct Answers {
    expected: BTreeMap<CallId, Answer>,
    /// Events without room: calls that ended by time or by their number, not by a message. At most as
    /// many as calls may be outstanding, and [`BACKLOG_MAX`] more.
    late: VecDeque<Event>,
}

impl Answers {
    fn give(&mut self, answer: Answer, outcome: Outcome) {
        match answer {
            // A caller that went away does not want the answer.
            Answer::Caller(caller) => _ = caller.send(outcome),
            Answer::InOrder(tag) => self.late.push_back(Event::Answered(tag, outcome)),
        }
    }

    /// Tells those who wait for themselves that nothing more comes; the others see the end of the events.
    fn close(&mut self, peer: &mut Peer) {
        while let Some(event) = peer.poll_event() {
            if let peer::Event::Answered(id, outcome) = event
                && let Some(Answer::Caller(caller)) = self.expected.remove(&id)
            {
                // A caller that went away does not want the answer.
                _ = caller.send(outcome);
            }
        }
    }

    /// Tells all that the peer has to tell. One message is read at a time and with room for it, so that
    /// only what is no message can be left over.
    fn deliver(&mut self, peer: &mut Peer, room: &mut Option<mpsc::Permit<'_, Event>>) {
        while let Some(event) = peer.poll_event() {
            match event {
                peer::Event::Answered(id, outcome) => {
                    if let Some(answer) = self.expected.remove(&id) {
                        self.give(answer, outcome);
                    }
                }
                peer::Event::Request(it) => self.late.push_back(Event::Request(it)),
                peer::Event::Notification(it) => self.late.push_back(Event::Notification(it)),
                peer::Event::Malformed(why) => self.late.push_back(Event::Malformed(why)),
                peer::Event::Stray(id) => self.late.push_back(Event::Stray(id)),
            }
        }
        if !self.late.is_empty()
            && let Some(permit) = room.take()
            && let Some(event) = self.late.pop_front()
        {
            permit.send(event);
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
    async fn an_answer_keeps_its_place_among_the_notifications() {
        let (ours, mut theirs) = duplex(1 << 12);
        let (client, mut events, task) = client(jsonl(ours, 1 << 16), LIMITS, CancellationToken::new());
        let task = tokio::spawn(task);
        client.ask(7, "a", None, None).await;
        client.ask(8, "late", None, Some(Duration::from_secs(5))).await;
        client.ask(9, "cut off", None, None).await;
        let lines = b"{\"method\":\"before\"}\n{\"id\":0,\"result\":1}\n{\"method\":\"after\"}\n";
        theirs.write_all(lines).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 4 {
            seen.push(match events.recv().await.unwrap() {
                Event::Answered(tag, outcome) => format!("{tag} {}", outcome.is_ok()),
                Event::Notification(it) => it.method,
                other => format!("{other:?}"),
            });
        }
        assert_eq!(seen, ["before", "7 true", "after", "8 false"]);
        drop(theirs);
        assert!(matches!(task.await.unwrap(), End::PeerClosed { .. }));
        assert!(
            events.recv().await.is_none(),
            "the end of the events is the answer to 9"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_time_out_without_room_are_told_when_there_is_room() {
        let (ours, mut theirs) = duplex(1 << 20);
        let (client, mut events, task) = client(jsonl(ours, 1 << 16), LIMITS, CancellationToken::new());
        let task = tokio::spawn(task);
        for _ in 0..EVENTS_MAX {
            theirs.write_all(b"{\"method\":\"n\"}\n").await.unwrap();
        }
        while events.len() < EVENTS_MAX {
            tokio::task::yield_now().await;
        }
        for tag in 0..6 {
            client.ask(tag, "m", None, Some(Duration::from_secs(5))).await;
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        let mut told = Vec::new();
        while told.len() < 6 {
            if let Event::Answered(tag, outcome) = events.recv().await.unwrap() {
                assert!(outcome.is_err());
                told.push(tag);
            }
        }
        told.sort_unstable();
        assert_eq!(
            told,
            [0, 1, 2, 3, 4, 5],
            "four time out, two find too many before them"
        );
        drop(client);
        task.await.unwrap();
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

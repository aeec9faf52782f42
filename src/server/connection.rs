//! One peer, as everybody else sees it: a handle on its outbox.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use codex_protocol::{Id, Message, Request};
use serde::Serialize;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    handlers::{Processes, Searches, Watches},
    handshake::Session,
    notice::{Notice, TextStream},
    outbox::{Entry, Outbox},
    scope::{Line, Scope, Ticket},
};

/// Requests of one peer under way: begun, or answered and not yet written. Beyond it they are refused with
/// *overloaded*, so a peer that floods or does not read takes nothing from the others.
pub(crate) const REQUESTS_MAX: usize = 64;
/// Text that waits for one peer. Beyond it the detail of what is streamed is given up, and marked.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// Entries that wait for one peer before producers that are allowed to wait do so.
const ROOM_ENTRIES: usize = 64;
/// Entries that wait for one peer before nothing more is read from it. Reading on is right for long: a peer
/// that writes all its requests before it reads must not be locked out.
const UNREAD_ENTRIES_MAX: usize = 16_384;

/// Names a connection; never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A handle on one peer. Telling it something neither waits nor fails; after its end everything is dropped.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    id: ConnectionId,
    session: OnceLock<Session>,
    outbox: Mutex<Outbox<TextStream, Topic, Outgoing>>,
    /// Something was put into the outbox.
    filled: Notify,
    /// Something was taken from the outbox.
    drained: Notify,
    under_way: Arc<AtomicUsize>,
    line: Mutex<Waiting>,
    watches: Mutex<Watches>,
    searches: Mutex<Searches>,
    processes: Mutex<Processes>,
    leaving: CancellationToken,
    closed: CancellationToken,
}

/// What only the newest notice about matters.
#[derive(PartialEq)]
struct Topic {
    method: String,
    subject: String,
}

enum Outgoing {
    Message { message: Message, slot: Option<Slot> },
    Notice(Notice),
}

/// A request's place among those under way; given back when its answer is written.
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Waiting {
    line: Line,
    /// Who waits for its start.
    starts: Vec<(Ticket, oneshot::Sender<()>)>,
}

impl Waiting {
    fn start(&mut self) {
        while let Some(ticket) = self.line.poll_start() {
            if let Some(at) = self.starts.iter().position(|(it, _)| *it == ticket) {
                // A request that was given up leaves the line by itself.
                _ = self.starts.swap_remove(at).1.send(());
            }
        }
    }
}

impl Connection {
    pub(crate) fn new(id: ConnectionId) -> Connection {
        Connection(Arc::new(Shared {
            id,
            session: OnceLock::new(),
            outbox: Mutex::new(Outbox::new(TEXT_BYTES_MAX)),
            filled: Notify::new(),
            drained: Notify::new(),
            under_way: Arc::default(),
            line: Mutex::default(),
            watches: Mutex::default(),
            searches: Mutex::default(),
            processes: Mutex::default(),
            leaving: CancellationToken::new(),
            closed: CancellationToken::new(),
        }))
    }

    /// Its name.
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// Who it is; `None` before `initialize`.
    pub fn session(&self) -> Option<&Session> {
        self.0.session.get()
    }

    /// Whether it asked for methods and fields that may still change.
    pub fn is_experimental(&self) -> bool {
        self.session().is_some_and(|it| it.experimental)
    }

    /// Cancelled when the peer has said all it had to say, or the server ends: what runs on its behalf alone
    /// shall end. It may still be answered.
    pub fn leaving(&self) -> &CancellationToken {
        &self.0.leaving
    }

    /// Cancelled when the peer is gone.
    pub fn closed(&self) -> &CancellationToken {
        &self.0.closed
    }

    /// Queues a notification.
    pub fn tell(&self, notice: &Notice) {
        if self.wants(notice.method()) {
            self.outbox().push(Outgoing::Notice(notice.clone()));
            self.0.filled.notify_one();
        }
    }

    /// Queues a notification that replaces an older one of the same method about the same `subject`, if that
    /// still waits.
    pub fn tell_latest(&self, subject: &str, notice: &Notice) {
        if self.wants(notice.method()) {
            let key = Topic {
                method: notice.method().to_owned(),
                subject: subject.to_owned(),
            };
            self.outbox().push_latest(key, Outgoing::Notice(notice.clone()));
            self.0.filled.notify_one();
        }
    }

    /// Queues text to be appended to an item.
    pub fn append(&self, stream: &TextStream, text: &str) {
        if self.wants(stream.method) {
            self.outbox().append(stream.clone(), text);
            self.0.filled.notify_one();
        }
    }

    /// Queues a question, under an id from [`crate::Questions::open`].
    pub fn ask(&self, question: i64, method: &str, params: &impl Serialize) {
        let params = match serde_json::value::to_raw_value(params) {
            Ok(params) => params,
            Err(error) => {
                tracing::error!(method, %error, "a request could not be written as JSON");
                return;
            }
        };
        let request = Request {
            id: Id::Integer(question),
            method: method.to_owned(),
            params: Some(params),
        };
        self.push(Message::Request(request), None);
    }

    /// Waits until the peer has read most of what it was told, or is gone. For producers that can wait.
    pub async fn room(&self) {
        self.below(ROOM_ENTRIES).await;
    }

    pub(crate) async fn readable(&self) {
        self.below(UNREAD_ENTRIES_MAX).await;
    }

    async fn below(&self, entries: usize) {
        loop {
            let drained = self.0.drained.notified();
            if self.outbox().len() < entries || self.0.closed.is_cancelled() {
                return;
            }
            tokio::select! {
                () = drained => (),
                () = self.0.closed.cancelled() => return,
            }
        }
    }

    pub(crate) fn push(&self, message: Message, slot: Option<Slot>) {
        if !self.0.closed.is_cancelled() {
            self.outbox().push(Outgoing::Message { message, slot });
            self.0.filled.notify_one();
        }
    }

    /// The next message to be written; its slot is given back when that is dropped. Cancel-safe.
    pub(crate) async fn next(&self) -> (Message, Option<Slot>) {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            self.0.filled.notified().await;
        }
    }

    pub(crate) fn try_next(&self) -> Option<(Message, Option<Slot>)> {
        let entry = self.outbox().pop()?;
        self.0.drained.notify_waiters();
        let outgoing = match entry {
            Entry::Message(it) | Entry::Latest { message: it, .. } => it,
            Entry::Text {
                stream,
                text,
                omitted,
            } => {
                return Some((Message::Notification(stream.notification(text, omitted)), None));
            }
        };
        Some(match outgoing {
            Outgoing::Message { message, slot } => (message, slot),
            Outgoing::Notice(notice) => (Message::Notification(notice.into_notification()), None),
        })
    }

    /// Takes a place among the requests under way.
    pub(crate) fn slot(&self) -> Option<Slot> {
        let take = |taken| (taken < REQUESTS_MAX).then_some(taken + 1);
        let under_way = &self.0.under_way;
        let taken = under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok().then(|| Slot(Arc::clone(under_way)))
    }

    /// Requests under way.
    pub(crate) fn under_way(&self) -> usize {
        self.0.under_way.load(Ordering::Relaxed)
    }

    /// Puts a request into the line of those that touch the same things.
    pub(crate) fn enter(&self, scope: Scope) -> Turn {
        let (start, started) = oneshot::channel();
        let mut waiting = lock(&self.0.line);
        let ticket = waiting.line.enter(scope);
        waiting.starts.push((ticket, start));
        waiting.start();
        Turn {
            ticket,
            started: Some(started),
            connection: Arc::downgrade(&self.0),
        }
    }

    pub(crate) fn with_watches<T>(&self, act: impl FnOnce(&mut Watches) -> T) -> T {
        act(&mut lock(&self.0.watches))
    }

    pub(crate) fn with_searches<T>(&self, act: impl FnOnce(&mut Searches) -> T) -> T {
        act(&mut lock(&self.0.searches))
    }

    pub(crate) fn with_processes<T>(&self, act: impl FnOnce(&mut Processes) -> T) -> T {
        act(&mut lock(&self.0.processes))
    }

    /// Ends everything that is there for this peer alone.
    pub(crate) fn close(&self) {
        self.0.leaving.cancel();
        self.0.closed.cancel();
        let watches = self.with_watches(std::mem::take);
        let processes = self.with_processes(std::mem::take);
        // Outside of the locks.
        drop((watches, processes));
    }

    pub(crate) fn open(&self, session: Session) {
        // The ingress alone opens, and asks for the session before.
        _ = self.0.session.set(session);
    }

    fn wants(&self, method: &str) -> bool {
        !self.0.closed.is_cancelled() && self.session().is_some_and(|it| it.wants(method))
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox<TextStream, Topic, Outgoing>> {
        lock(&self.0.outbox)
    }
}

/// A request's turn among those that touch the same things; given back when it is dropped.
pub(crate) struct Turn {
    ticket: Ticket,
    started: Option<oneshot::Receiver<()>>,
    connection: Weak<Shared>,
}

impl Turn {
    /// Waits for all earlier ones.
    pub(crate) async fn come(&mut self) {
        if let Some(started) = self.started.take() {
            // An error means that the connection is gone; then this task is about to end.
            _ = started.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.upgrade() {
            let mut waiting = lock(&connection.line);
            waiting.line.leave(self.ticket);
            waiting.starts.retain(|(it, _)| *it != self.ticket);
            waiting.start();
        }
    }
}

/// Every change under these locks is one step: a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `LocalForward`, `RemoteForward` and `DynamicForward`: connections that are passed through a session.

mod local;
mod remote;
mod socks;

use std::{fmt, io, sync::Arc};

use russh::{Channel, client::Msg};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    task::JoinSet,
};

use crate::{
    channel,
    config::settings::{Endpoint, Forward, Forwarding, Target},
    limits,
    session::{Closed, Session, Ties},
    spool::WhenFull,
};

/// All forwardings of a host's configuration, on one session. Dropping it ends them, and removes the sockets that
/// they listened on here.
pub struct Forwards {
    session: Arc<Session>,
    states: watch::Receiver<Vec<ForwardState>>,
    board: Arc<Board>,
    forwarding: Forwarding,
    routes: remote::Routes,
    tasks: JoinSet<()>,
}

/// How one forwarding does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardState {
    pub forward: Forward,
    pub state: State,
    /// Connections that are open now.
    pub connections: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Starting,
    /// It listens there: an address with its port, or a path.
    Listening(String),
    /// Nothing listens. Both texts are fragments for people.
    Failed {
        /// What was tried, and why it did not work.
        why: String,
        /// What the user can do.
        hint: &'static str,
    },
}

impl fmt::Display for ForwardState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forward {
            is_remote, target, ..
        } = &self.forward;
        let side = if *is_remote { "remote" } else { "local" };
        let listen = &self.forward.listen;
        match &self.state {
            State::Starting => write!(out, "{side} {listen} -> {target}: starting"),
            State::Listening(at) => write!(out, "{side} {at} -> {target}: listening"),
            State::Failed { why, .. } => write!(out, "{side} {listen} -> {target}: {why}"),
        }
    }
}

/// `host:port`, with brackets around an address that has colons itself.
struct Place<'a>(&'a str, u16);

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place(host, port) = self;
        match host.contains(':') {
            true => write!(out, "[{host}]:{port}"),
            false => write!(out, "{host}:{port}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } => Place(host.as_deref().unwrap_or("localhost"), *port).fmt(out),
            Endpoint::Unix(path) => path.display().fmt(out),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp { host, port } => Place(host, *port).fmt(out),
            Target::Unix(path) => path.display().fmt(out),
            Target::Socks => out.write_str("SOCKS"),
        }
    }
}

impl Session {
    /// Starts all forwardings of the configuration, and returns when each listens or has failed. They hold the session.
    ///
    /// A browser that stops reading stops nothing else (`ssh/spool.rs`), but what it reads shares the way with
    /// everything else: a session of their own keeps bulk out of the way of a conversation.
    pub async fn forward(self: Arc<Session>, when_full: WhenFull) -> Forwards {
        let forwarding = self.forwarding().clone();
        let state = |forward: &Forward| ForwardState {
            forward: forward.clone(),
            state: State::Starting,
            connections: 0,
        };
        let (told, states) = watch::channel(forwarding.list.iter().map(state).collect());
        let session = self;
        let board = Arc::new(Board {
            when_full,
            states: told,
        });
        let mut tasks = JoinSet::new();
        let routes = remote::serve(&mut tasks, &session, &board, &forwarding);
        let mut forwards = Forwards {
            session,
            states,
            board,
            forwarding,
            routes,
            tasks,
        };
        forwards.start(|_| true).await;
        forwards
    }
}

impl Forwards {
    /// Starts the chosen ones, one after the other: the local ones first, which need no answer of the host.
    async fn start(&mut self, is_chosen: impl Fn(&State) -> bool) {
        let states = self.states();
        let chosen = |is_remote: bool| {
            let fits = move |it: &ForwardState| it.forward.is_remote == is_remote;
            let chosen = states.iter().enumerate();
            chosen.filter(move |(_, it)| fits(it))
        };
        for (index, it) in chosen(false).filter(|(_, it)| is_chosen(&it.state)) {
            let (tasks, board) = (&mut self.tasks, &self.board);
            local::start(tasks, &self.session, board, index, &it.forward, &self.forwarding).await;
        }
        for (index, it) in chosen(true).filter(|(_, it)| is_chosen(&it.state)) {
            remote::start(&self.routes, &self.session, &self.board, index, &it.forward).await;
        }
    }

    /// Tries again to listen where it failed. What listens is left alone.
    ///
    /// After a connection that broke, the host may hold its ports until it has noticed, too.
    pub async fn retry(&mut self) {
        self.start(|it| matches!(it, State::Failed { .. })).await;
    }

    /// In the order of the configuration: local ones, remote ones, dynamic ones.
    pub fn states(&self) -> Vec<ForwardState> {
        self.states.borrow().clone()
    }

    /// Resolves when a state or a number of connections has changed since the last call.
    pub async fn changed(&mut self) {
        if self.states.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether `ExitOnForwardFailure` wants an end, because one of them failed.
    pub fn must_exit(&self) -> bool {
        let states = self.states.borrow();
        self.forwarding.exit_on_failure && states.iter().any(|it| matches!(it.state, State::Failed { .. }))
    }

    /// Resolves when the session that carries them is over. Holds the session until then, or until it is dropped.
    pub fn closed(&self) -> impl Future<Output = Closed> + Send + use<> {
        let session = Arc::clone(&self.session);
        async move { session.closed().await }
    }
}

/// What the tasks share, and where they write how they do.
struct Board {
    when_full: WhenFull,
    states: watch::Sender<Vec<ForwardState>>,
}

impl Board {
    fn set(&self, index: usize, state: State) {
        self.states.send_modify(|states| {
            if let Some(entry) = states.get_mut(index) {
                entry.state = state;
            }
        });
    }

    /// Counts a connection until the result is dropped; `None` when there are too many.
    fn enter(self: &Arc<Board>, index: usize) -> Option<Entered> {
        let mut room = false;
        self.states.send_if_modified(|states| {
            if let Some(entry) = states.get_mut(index) {
                room = entry.connections < limits::FORWARDED_CONNECTIONS;
                entry.connections += usize::from(room);
            }
            room
        });
        room.then(|| Entered {
            board: Arc::clone(self),
            index,
        })
    }
}

struct Entered {
    board: Arc<Board>,
    index: usize,
}

impl Entered {
    fn when_full(&self) -> WhenFull {
        self.board.when_full
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.board.states.send_modify(|states| {
            if let Some(entry) = states.get_mut(self.index) {
                entry.connections = entry.connections.saturating_sub(1);
            }
        });
    }
}

/// Carries bytes both ways until both ends have closed, or one breaks.
pub(crate) async fn relay(
    far: &mut (impl AsyncRead + AsyncWrite + Unpin),
    near: &mut (impl AsyncRead + AsyncWrite + Unpin),
) {
    let (mut far_reader, mut far_writer) = tokio::io::split(far);
    let (mut near_reader, mut near_writer) = tokio::io::split(near);
    // A broken end tells the other one by the end of its stream.
    let _ = tokio::try_join!(
        pump(&mut far_reader, &mut near_writer),
        pump(&mut near_reader, &mut far_writer),
    );
}

/// Relays a channel that the server opened, and closes it at the end.
pub(crate) async fn relay_channel(
    channel: Channel<Msg>,
    (ties, when_full): (Ties, WhenFull),
    near: &mut (impl AsyncRead + AsyncWrite + Unpin),
) {
    let (ends, drain) = channel::open_spooled(channel, ties, when_full);
    let mut pipe = ends.pipe;
    let relayed = async move {
        relay(&mut pipe, near).await;
        // Dropping it closes the channel, for which the drain waits.
        drop(pipe);
    };
    tokio::join!(relayed, drain.run());
}

async fn pump(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; limits::READ_BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(data) = buffer.get(..read).filter(|it| !it.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all(data).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::relay;

    #[tokio::test]
    async fn both_ways_go_on_after_one_has_closed() {
        let ((mut far, mut far_end), (mut near, mut near_end)) = (duplex(64), duplex(64));
        let talk = async {
            near_end.write_all(b"question").await.unwrap();
            near_end.shutdown().await.unwrap();
            let mut text = String::new();
            far_end.read_to_string(&mut text).await.unwrap();
            far_end
                .write_all(format!("{text}: answer").as_bytes())
                .await
                .unwrap();
            drop(far_end);
            let mut text = String::new();
            near_end.read_to_string(&mut text).await.unwrap();
            text
        };
        let relayed = async {
            relay(&mut far, &mut near).await;
            drop(near);
        };
        let both = async { tokio::join!(relayed, talk).1 };
        let text = tokio::time::timeout(Duration::from_secs(20), both).await;
        assert_eq!(text.unwrap(), "question: answer");
    }
}

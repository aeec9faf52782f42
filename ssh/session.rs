//! A logged-in connection.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use russh::client::{Handle, Msg};
use tokio::{
    runtime::Handle as Runtime,
    sync::{oneshot, watch},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::DropGuard;

use crate::{
    auth::LoggedIn,
    channel::{self, Drain, Ends},
    client::{Client, Refusal},
    config::settings::Forwarding,
    doors::Doors,
    error::{Attempt, ExecError, PingError},
    exec::{Pipe, Process},
    host_key::Updater,
    limits,
    link::Carrier,
    sounding::Sounder,
    spool::WhenFull,
    start::{Launch, refusal_text},
    through::{Try, Unanswered},
};

/// A connection that can run commands. Dropping it ends everything on it: its commands, its socket,
/// its proxy command and the connections to its jump hosts; where a login at one of those asked somebody, that one stays
/// for a minute.
pub struct Session {
    handle: Arc<Handle<Client>>,
    tasks: Mutex<JoinSet<()>>,
    ended: watch::Receiver<Option<Closed>>,
    launch: Launch,
    name: String,
    peer: PeerInfo,
    logged_in: LoggedIn,
    doors: Arc<Doors>,
    forwarding: Forwarding,
    /// Whether silence ends it.
    is_guarded: bool,
    _cut: DropGuard,
    carrier: Carrier,
    unanswered: Arc<Unanswered>,
    /// Since when the far side owes an answer to a ping.
    pinged: Mutex<Option<Instant>>,
}

/// Tells why a session is over, once it is.
pub(crate) type Ended = watch::Receiver<Option<Closed>>;

/// What a channel has from its session.
#[derive(Clone)]
pub(crate) struct Ties {
    pub(crate) ended: Ended,
    pub(crate) sounder: Sounder,
}

/// What is known about the far side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its identification line, e.g. `SSH-2.0-OpenSSH_9.2p1`.
    pub server_id: String,
    pub kex: String,
    pub cipher: String,
    /// The algorithm of its host key.
    pub host_key: String,
    /// Absent when a proxy command or a jump host makes the connection.
    pub address: Option<SocketAddr>,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    ByUs,
    /// The server's own words.
    ByServer(String),
    /// No answer to keepalives.
    Silent,
    /// The server said something that is no UTF-8, and the library under this client reads nothing else.
    Illegible,
    /// What came from the server is no SSH, or was changed on the way; this says what is wrong with it.
    Broken(String),
    /// The link broke.
    Lost(String),
}

impl fmt::Display for Closed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::ByUs => out.write_str("connection closed by this side"),
            Closed::ByServer(text) => write!(out, "connection closed by the server: {text:?}"),
            Closed::Silent => out.write_str("connection lost: no answer to keepalives"),
            Closed::Illegible => out.write_str("connection lost: a text of the server is not UTF-8"),
            Closed::Broken(text) | Closed::Lost(text) => write!(out, "connection lost: {text}"),
        }
    }
}

impl std::error::Error for Closed {}

/// The parts of a session, from those who made the connection.
pub(crate) struct Parts {
    pub(crate) handle: Handle<Client>,
    pub(crate) ended: watch::Receiver<Option<Closed>>,
    pub(crate) refusal: Refusal,
    /// The host's alias, for errors about the hops behind it.
    pub(crate) name: String,
    pub(crate) peer: PeerInfo,
    pub(crate) logged_in: LoggedIn,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) cut: DropGuard,
    pub(crate) carrier: Carrier,
    /// For hosts whose other keys may be learnt.
    pub(crate) updater: Option<Updater>,
    pub(crate) doors: Arc<Doors>,
    pub(crate) forwarding: Forwarding,
    pub(crate) is_guarded: bool,
}

impl Session {
    pub(crate) fn new(parts: Parts) -> Session {
        let session = Session {
            handle: Arc::new(parts.handle),
            tasks: Mutex::default(),
            ended: parts.ended,
            launch: Launch {
                environment: parts.environment.into(),
                agent: parts.forwarding.agent.is_some(),
                refusal: parts.refusal,
                spare: Arc::default(),
            },
            name: parts.name,
            peer: parts.peer,
            logged_in: parts.logged_in,
            doors: parts.doors,
            forwarding: parts.forwarding,
            is_guarded: parts.is_guarded,
            _cut: parts.cut,
            carrier: parts.carrier,
            unanswered: Arc::default(),
            pinged: Mutex::default(),
        };
        if let Some(updater) = parts.updater {
            session.spawn(updater.run(Arc::downgrade(&session.handle)));
        }
        session
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn forwarding(&self) -> &Forwarding {
        &self.forwarding
    }

    pub(crate) fn doors(&self) -> &Doors {
        &self.doors
    }

    pub(crate) fn handle(&self) -> &Handle<Client> {
        &self.handle
    }

    /// Whether only the user could make this session again, or one of those to the jump hosts on its way; see
    /// [`needs_user`](Session::needs_user).
    pub fn is_dear(&self) -> bool {
        let via = match &self.carrier {
            Carrier::Session(via) => via.session().is_dear(),
            _ => false,
        };
        via || self.needs_user()
    }

    pub(crate) fn unanswered(&self) -> &Arc<Unanswered> {
        &self.unanswered
    }

    pub(crate) fn ties(&self) -> Ties {
        let sounder = match self.is_guarded {
            true => Sounder::new(&self.handle),
            false => Sounder::default(),
        };
        Ties {
            ended: self.ended.clone(),
            sounder,
        }
    }

    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// Every login that was tried until the server accepted one, in order.
    pub fn tried(&self) -> &[Attempt] {
        &self.logged_in.tried
    }

    /// Whether only the user could log in once more: with a code that holds once, or by the touch of a security key.
    pub fn needs_user(&self) -> bool {
        self.logged_in.needs_user
    }

    /// Starts `command` by the user's shell on the far side, with the configured `SetEnv`.
    ///
    /// Waits at most 10 s. Dropping the future closes the channel. From the second command on it costs
    /// one round trip: a channel is opened ahead, unless the server allows no more (`MaxSessions`).
    pub async fn exec(&self, command: &str) -> Result<Process, ExecError> {
        self.exec_by(command, channel::open).await
    }

    /// The same, with the ends that `take` makes of the channel.
    pub(crate) async fn exec_by(
        &self,
        command: &str,
        take: fn(russh::Channel<Msg>, Ties) -> (Ends, Drain),
    ) -> Result<Process, ExecError> {
        let (ready, started) = oneshot::channel();
        let (handle, launch) = (Arc::clone(&self.handle), self.launch.clone());
        let (ended, ties, command) = (self.ended.clone(), self.ties(), command.to_owned());
        self.spawn(async move {
            let opened = timeout(limits::CHANNEL, launch.start(&handle, &command)).await;
            // The session must be able to end while the command runs.
            let weak = Arc::downgrade(&handle);
            drop(handle);
            let channel = match opened {
                Ok(Ok(channel)) => channel,
                Ok(Err(error)) => {
                    let _ = ready.send(Err(closed_first(error, ended).await));
                    return;
                }
                Err(_) => {
                    let (step, limit) = ("starting a command", limits::CHANNEL);
                    let _ = ready.send(Err(ExecError::TimedOut { step, limit }));
                    return;
                }
            };
            let (Ends { pipe, stderr, exit }, drain) = take(channel, ties);
            // A caller that is gone drops the process, which closes the channel.
            let _ = ready.send(Ok(Process::new(pipe, stderr, exit)));
            tokio::join!(drain.run(), launch.refill(weak));
        });
        match started.await {
            Ok(result) => result,
            Err(_) => Err(ExecError::Closed(self.closed().await)),
        }
    }

    /// A TCP connection made by the far side. The caller bounds it; one that comes too late is closed. `one` ends with
    /// the far side's answer.
    pub(crate) async fn open_tcp(
        &self,
        reader: Reader,
        host: &str,
        port: u16,
        one: Option<Try>,
    ) -> Result<Pipe, ForwardError> {
        let (handle, host) = (Arc::clone(&self.handle), host.to_owned());
        self.opened(reader, async move {
            let opening = handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
            let opened = opening.await;
            drop(one);
            opened
        })
        .await
    }

    /// A connection made by the far side to one of its sockets. The caller bounds it; one that comes too late is closed.
    pub(crate) async fn open_unix(&self, reader: Reader, path: &str) -> Result<Pipe, ForwardError> {
        let (handle, path) = (Arc::clone(&self.handle), path.to_owned());
        self.opened(reader, async move {
            handle.channel_open_direct_streamlocal(path).await
        })
        .await
    }

    /// Waits in a task of the session's: russh leaves a channel open that is confirmed when nobody waits any more.
    async fn opened(
        &self,
        reader: Reader,
        opening: impl Future<Output = Result<russh::Channel<Msg>, russh::Error>> + Send + 'static,
    ) -> Result<Pipe, ForwardError> {
        let (ready, opened) = oneshot::channel();
        let ties = self.ties();
        self.spawn(async move {
            match opening.await {
                Ok(channel) => {
                    let (ends, drain) = match reader {
                        Reader::Session => channel::open_stored(channel, ties),
                        Reader::Anybody(when_full) => channel::open_spooled(channel, ties, when_full),
                    };
                    // A caller that is gone drops the pipe, which closes the channel.
                    let _ = ready.send(Ok(ends.pipe));
                    drain.run().await;
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        });
        match opened.await {
            Ok(Ok(pipe)) => Ok(pipe),
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                let text = refusal_text(&self.launch.refusal, &reason);
                Err(match reason {
                    russh::ChannelOpenFailure::ConnectFailed => ForwardError::Unreachable(text),
                    _ => ForwardError::Refused(text),
                })
            }
            Ok(Err(_)) | Err(_) => Err(ForwardError::Closed(self.closed().await)),
        }
    }

    /// The time of one round trip to the far side's sshd.
    pub async fn ping(&self, limit: Duration) -> Result<Duration, PingError> {
        let start = Instant::now();
        self.pinged().get_or_insert(start);
        // After a sleep nobody may be there any more, and both are better known at once.
        let via = async {
            if let Carrier::Session(via) = &self.carrier {
                let _ = Box::pin(via.session().ping(limit)).await;
            }
        };
        let (answered, ()) = tokio::join!(timeout(limit, self.handle.send_ping()), via);
        if let Ok(Ok(())) = answered {
            *self.pinged() = None;
        }
        if let Some(closed) = self.ended.borrow().clone() {
            return Err(PingError::Closed(closed));
        }
        match answered {
            Ok(Ok(())) => Ok(start.elapsed()),
            Ok(Err(_)) => Err(PingError::Closed(self.closed().await)),
            Err(_) => Err(PingError::TimedOut { limit }),
        }
    }

    fn pinged(&self) -> MutexGuard<'_, Option<Instant>> {
        self.pinged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an answer to a ping is overdue.
    pub(crate) fn is_silent(&self) -> bool {
        self.pinged()
            .is_some_and(|it| limits::SHARED_SILENCE <= it.elapsed())
    }

    /// Resolves when the session is over, and again each time.
    pub async fn closed(&self) -> Closed {
        let mut ended = self.ended.clone();
        let own = match ended.wait_for(Option::is_some).await {
            Ok(closed) => closed.clone(),
            Err(_) => None,
        };
        // A dead jump host shows here only as an end of the bytes.
        if let Carrier::Session(via) = &self.carrier
            && let Some(closed) = via.session().ended.borrow().clone()
            && closed != Closed::ByUs
        {
            return closed;
        }
        own.unwrap_or_else(|| Closed::Lost("the link broke".to_owned()))
    }

    /// Says good-bye, waits for the end for at most a second, and ends in any case.
    pub async fn disconnect(self) {
        let reason = russh::Disconnect::ByApplication;
        let said = self.handle.disconnect(reason, "", "en");
        if let Ok(Ok(())) = timeout(limits::GOODBYE, said).await {
            let _ = timeout(limits::GOODBYE, self.closed()).await;
        }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// The same where it is not sure that this runs inside the runtime.
    pub(crate) fn spawn_on(&self, runtime: &Runtime, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn_on(task, runtime);
    }
}

/// Who reads a connection that the far side makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reader {
    /// Another session of this program, whose own windows bound what waits.
    Session,
    /// A program that may be as slow as it likes.
    Anybody(WhenFull),
}

pub(crate) enum ForwardError {
    Refused(String),
    /// The jump host tried, and did not get there.
    Unreachable(String),
    Closed(Closed),
}

/// Names the reason when the session ended under the request.
async fn closed_first(error: ExecError, mut ended: watch::Receiver<Option<Closed>>) -> ExecError {
    if !matches!(error, ExecError::Closed(_)) {
        return error;
    }
    match timeout(limits::GOODBYE, ended.wait_for(Option::is_some)).await {
        Ok(Ok(closed)) => ExecError::Closed(closed.clone().unwrap_or(Closed::ByUs)),
        _ => ExecError::Closed(Closed::Lost("the link broke".to_owned())),
    }
}

//! An SSH server on the loopback interface, for one user with one key.

use std::{collections::HashMap, sync::Arc, time::Duration};

use codex_exec::Runner;
use codex_server::{Server, in_memory};
use russh::{
    Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, SshId,
    keys::{PrivateKey, PublicKey},
    server::{
        Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey, run_stream,
    },
};
use tokio::{
    io::{AsyncWriteExt, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::USER,
    home::Home,
    shell::{Ran, run},
};

/// Connections at once; the next one waits until one has ended.
const CONNECTIONS_MAX: usize = 16;
/// Sessions at once in one connection, as `MaxSessions` of sshd_config(5); beyond it they are refused.
const SESSIONS_MAX: usize = 10;
/// How long somebody may be connected without being let in, as `LoginGraceTime` of sshd_config(5).
const LOGIN_PATIENCE: Duration = Duration::from_secs(60);
/// Before connections are accepted again after that has failed, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes between the socket and the SSH session, each way.
const PIPE_BYTES: usize = 64 << 10;
/// The type of extended data that is standard error: RFC 4254, 5.2.
const STDERR: u32 = 1;
/// How a shell says that a command could not be run.
const NOT_RUN: u32 = 126;

/// A host as its guests see it.
pub(crate) struct Host {
    pub(crate) home: Home,
    pub(crate) server: Server,
    /// Runs what guests ask for.
    pub(crate) runner: Arc<Runner>,
    /// Who is let in.
    pub(crate) guest: PublicKey,
    /// Told to whoever logs in.
    pub(crate) banner: String,
    pub(crate) end: CancellationToken,
}

impl Host {
    /// Serves until the end is called for. Then, or when this is dropped, all connections are closed.
    pub(crate) async fn listen(self: Arc<Host>, listener: TcpListener, key: PrivateKey) {
        let config = Arc::new(Config {
            server_id: SshId::Standard("SSH-2.0-codex_demo".into()),
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: vec![key],
            // A connection may be quiet for hours; it costs nothing and ends with the program.
            inactivity_timeout: None,
            ..Config::default()
        });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = self.end.cancelled() => return,
                Some(_) = connections.join_next() => (),
                accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((socket, _)) => {
                        connections.spawn(attend(self.clone(), config.clone(), socket));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection to a demonstration host");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

/// One connection. The SSH session runs in a task of its library, which nobody can end from outside; it gets
/// one end of a pipe instead of the socket, and ends when the other end goes with this future.
async fn attend(host: Arc<Host>, config: Arc<Config>, mut socket: TcpStream) {
    // Single keys travel here.
    _ = socket.set_nodelay(true);
    let (mut ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let is_in = CancellationToken::new();
    let session = async {
        let guest = Guest {
            host,
            is_in: is_in.clone(),
            waiting: HashMap::new(),
            running: JoinSet::new(),
        };
        match run_stream(config, theirs, guest).await {
            Ok(session) => session.await,
            Err(error) => Err(error),
        }
    };
    let overstayed = async {
        tokio::select! {
            () = is_in.cancelled() => std::future::pending().await,
            () = tokio::time::sleep(LOGIN_PATIENCE) => (),
        }
    };
    tokio::select! {
        _ = copy_bidirectional(&mut socket, &mut ours) => (),
        () = overstayed => (),
        ended = session => if let Err(error) = ended {
            tracing::debug!(%error, "a connection to a demonstration host ended");
        },
    }
}

/// Somebody who is connected.
struct Guest {
    host: Arc<Host>,
    /// Cancelled when the login has succeeded.
    is_in: CancellationToken,
    /// Sessions in which nothing was asked for yet.
    waiting: HashMap<ChannelId, Channel<Msg>>,
    running: JoinSet<()>,
}

impl Guest {
    fn judge(&self, user: &str, key: &PublicKey) -> Auth {
        // Comments are no part of a key's identity.
        match user == USER && key.key_data() == self.host.guest.key_data() {
            true => Auth::Accept,
            false => Auth::reject(),
        }
    }
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.judge(user, offer.public_key))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.judge(user, key.public_key))
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), russh::Error> {
        self.is_in.cancel();
        Ok(())
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        Ok(Some(format!("{}\n", self.host.banner)))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        while self.running.try_join_next().is_some() {}
        if SESSIONS_MAX <= self.waiting.len() + self.running.len() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
        } else {
            self.waiting.insert(channel.id(), channel);
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.waiting.remove(&channel);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let line = std::str::from_utf8(line).map(str::to_owned);
        let (Ok(line), Some(waiting)) = (line, self.waiting.remove(&channel)) else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        self.running
            .spawn(attend_session(self.host.clone(), waiting, line));
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }
}

/// One command line, from its start to its exit status.
async fn attend_session(host: Arc<Host>, mut channel: Channel<Msg>, line: String) {
    // An error means that the guest has gone, here as below: nobody is left to tell.
    let code = match run(&host.runner, &host.home, &line).await {
        Ok(Ran::Server { printed }) => {
            if channel.data_bytes(printed).await.is_err() {
                return;
            }
            serve(&host, &mut channel).await;
            0
        }
        Ok(Ran::Ended { stdout, stderr, code }) => {
            _ = channel.data_bytes(stdout).await;
            _ = channel.extended_data_bytes(STDERR, stderr).await;
            code
        }
        Err(error) => {
            _ = channel.extended_data_bytes(STDERR, format!("{error}\n")).await;
            NOT_RUN
        }
    };
    _ = channel.exit_status(code).await;
    _ = channel.eof().await;
    _ = channel.close().await;
}

/// Serves the guest as `codex app-server` would over its standard streams.
async fn serve(host: &Host, channel: &mut Channel<Msg>) {
    let (near, serving) = in_memory(host.server.clone(), host.end.clone());
    let (mut from_server, mut to_server) = tokio::io::split(near);
    let mut to_guest = channel.make_writer();
    let mut from_guest = channel.make_reader();
    let inward = async {
        _ = copy(&mut from_guest, &mut to_server).await;
        // The server ends with its input, and may still have something to say.
        _ = to_server.shutdown().await;
        std::future::pending::<()>().await;
    };
    let outward = async { tokio::join!(serving, copy(&mut from_server, &mut to_guest)) };
    tokio::select! {
        () = inward => (),
        _ = outward => (),
    }
}

//! Forwardings that listen on this machine.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Board, Entered, State, relay, socks};
use crate::{
    config::settings::{Endpoint, Forward, Forwarding, Target},
    limits,
    session::{Reader, Session},
};

/// Anything that a connection comes in on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What `localhost` is, whatever the resolver says.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

enum Listener {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _own: OwnSocket },
}

/// A socket file of ours: left behind, it would be in the way of the next connection.
struct OwnSocket {
    path: PathBuf,
    /// Device and inode: whoever put another file there keeps it.
    identity: Option<(u64, u64)>,
}

impl OwnSocket {
    fn new(path: &Path) -> OwnSocket {
        OwnSocket {
            path: path.to_owned(),
            identity: identity(path),
        }
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // Somebody may have been faster.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let data = fs::symlink_metadata(path).ok()?;
    Some((data.dev(), data.ino()))
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Listener::Tcp(it) => {
                let (stream, _) = it.accept().await?;
                // What passes through may be small messages.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Listener::Unix { listener, .. } => Box::new(listener.accept().await?.0),
        })
    }
}

/// Listens, and writes on the board whether it does.
pub(super) async fn start(
    tasks: &mut JoinSet<()>,
    session: &Arc<Session>,
    board: &Arc<Board>,
    index: usize,
    forward: &Forward,
    forwarding: &Forwarding,
) {
    let listeners = match listen(&forward.listen, forwarding).await {
        Ok((listeners, at)) => {
            board.set(index, State::Listening(at));
            listeners
        }
        Err(error) => {
            let (why, hint) = (format!("listening here: {error}"), hint(&forward.listen, &error));
            return board.set(index, State::Failed { why, hint });
        }
    };
    for listener in listeners {
        let (session, board) = (Arc::clone(session), Arc::clone(board));
        let target = forward.target.clone();
        tasks.spawn(serve(listener, session, board, index, target));
    }
}

/// What can be done where this machine does not let us listen.
fn hint(listen: &Endpoint, error: &io::Error) -> &'static str {
    match (error.kind(), listen) {
        (io::ErrorKind::AddrInUse, Endpoint::Tcp { .. }) => {
            "end the program that has the port, or write another port in the SSH configuration"
        }
        (io::ErrorKind::AddrInUse, Endpoint::Unix(_)) => {
            "remove the file if nobody uses it, or write `StreamLocalBindUnlink yes` in the SSH configuration"
        }
        (io::ErrorKind::PermissionDenied, Endpoint::Tcp { .. }) => {
            "ports below 1024 are the system's: write another one in the SSH configuration"
        }
        _ => "correct the address in the SSH configuration",
    }
}

/// As in OpenSSH: no address is loopback, or all addresses with `GatewayPorts`; `*` is all of them.
async fn listen(endpoint: &Endpoint, forwarding: &Forwarding) -> io::Result<(Vec<Listener>, String)> {
    let (host, port) = match endpoint {
        Endpoint::Unix(path) => {
            let listener = listen_unix(path, forwarding)?;
            let _own = OwnSocket::new(path);
            return Ok((
                vec![Listener::Unix { listener, _own }],
                path.display().to_string(),
            ));
        }
        Endpoint::Tcp { host, port } => (host.as_deref(), *port),
    };
    let addresses: &[&str] = match host {
        None if !forwarding.gateway_ports => &LOOPBACK,
        Some("localhost") => &LOOPBACK,
        None | Some("" | "*") => &["::", "0.0.0.0"],
        Some(one) => &[one],
    };
    let mut listeners: Vec<Listener> = Vec::new();
    let mut failed = None;
    let mut at: Option<String> = None;
    for address in addresses {
        match TcpListener::bind((*address, port)).await {
            Ok(listener) => {
                at.get_or_insert(listener.local_addr()?.to_string());
                listeners.push(Listener::Tcp(listener));
            }
            // Half of it would lead whoever connects to `localhost` to another program.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && addresses == LOOPBACK => {
                return Err(error);
            }
            Err(error) => failed = Some(error),
        }
    }
    // One family may be missing, or `::` may listen for both.
    match (at, failed) {
        (Some(at), _) => Ok((listeners, at)),
        (None, failed) => Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
    }
}

fn listen_unix(path: &Path, forwarding: &Forwarding) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    if forwarding.unlink && is_socket {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let mask = forwarding.mask.unwrap_or(0o177);
    // Nobody gets in before the socket listens.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666 & !mask))?;
    socket.listen(limits::BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(std::os::fd::OwnedFd::from(socket).into())
}

async fn serve(listener: Listener, session: Arc<Session>, board: Arc<Board>, index: usize, target: Target) {
    let mut running = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = session.closed() => return,
        };
        while running.try_join_next().is_some() {}
        let Ok(stream) = accepted else {
            // Out of descriptors, most likely: some will be free again.
            sleep(limits::ACCEPT_PAUSE).await;
            continue;
        };
        // The one too many is closed at once, which its client sees.
        if let Some(entered) = board.enter(index) {
            running.spawn(carry(stream, Arc::clone(&session), target.clone(), entered));
        }
    }
}

async fn carry(mut near: Box<dyn Stream>, session: Arc<Session>, target: Target, entered: Entered) {
    let reader = Reader::Anybody(entered.when_full());
    let wanted = match &target {
        Target::Socks => match socks::request(&mut near).await {
            Ok(request) => Some(request),
            Err(_) => return,
        },
        _ => None,
    };
    let opening = async {
        match (&target, &wanted) {
            (Target::Unix(path), _) => session.open_unix(reader, &path.to_string_lossy()).await,
            (Target::Tcp { host, port }, _) => session.open_tcp(reader, host, *port, None).await,
            (Target::Socks, Some(wanted)) => session.open_tcp(reader, &wanted.host, wanted.port, None).await,
            (Target::Socks, None) => Err(crate::session::ForwardError::Refused(String::new())),
        }
    };
    let opened = timeout(limits::FORWARD_OPEN, opening).await;
    let far = opened.ok().and_then(Result::ok);
    if let Some(wanted) = &wanted {
        let told = socks::reply(&mut near, wanted, far.is_some()).await;
        if told.is_err() {
            return;
        }
    }
    if let Some(mut far) = far {
        relay(&mut far, &mut near).await;
    }
}

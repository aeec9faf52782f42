//! Forwardings that listen on this machine.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

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
    session::Session,
};

/// Anything that a connection comes in on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
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
            Listener::Unix(it) => Box::new(it.accept().await?.0),
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
        Err(error) => return board.set(index, State::Failed(format!("listening: {error}"))),
    };
    for listener in listeners {
        let (session, board) = (Arc::clone(session), Arc::clone(board));
        let target = forward.target.clone();
        tasks.spawn(serve(listener, session, board, index, target));
    }
}

/// As in OpenSSH: no address is loopback, or all addresses with `GatewayPorts`; `*` is all of them.
async fn listen(endpoint: &Endpoint, forwarding: &Forwarding) -> io::Result<(Vec<Listener>, String)> {
    let (host, port) = match endpoint {
        Endpoint::Unix(path) => {
            let listener = listen_unix(path, forwarding)?;
            return Ok((vec![Listener::Unix(listener)], path.display().to_string()));
        }
        Endpoint::Tcp { host, port } => (host.as_deref(), *port),
    };
    let addresses: &[&str] = match host {
        None if !forwarding.gateway_ports => &["127.0.0.1", "::1"],
        Some("localhost") => &["127.0.0.1", "::1"],
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
    let listener = UnixListener::bind(path)?;
    let mask = forwarding.mask.unwrap_or(0o177);
    fs::set_permissions(path, fs::Permissions::from_mode(0o666 & !mask))?;
    Ok(listener)
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

async fn carry(mut near: Box<dyn Stream>, session: Arc<Session>, target: Target, _entered: Entered) {
    let wanted = match &target {
        Target::Socks => match socks::request(&mut near).await {
            Ok(request) => Some(request),
            Err(_) => return,
        },
        _ => None,
    };
    let opening = async {
        match (&target, &wanted) {
            (Target::Unix(path), _) => session.open_unix(&path.to_string_lossy()).await,
            (Target::Tcp { host, port }, _) => session.open_tcp(host, *port).await,
            (Target::Socks, Some(wanted)) => session.open_tcp(&wanted.host, wanted.port).await,
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

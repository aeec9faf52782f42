//! Where peers come from: stdio, and WebSockets over loopback TCP or a Unix socket.
//!
//! A listener makes transports; what is said over them is no business of this module.

mod accept;
mod http;
mod stdio;
mod tcp;
mod unix;

use std::{io, net::SocketAddr, path::PathBuf, str::FromStr};

use tokio_util::sync::CancellationToken;

use crate::server::{Server, Setup};

pub(crate) use stdio::LINE_BYTES_MAX;

/// An address to listen at, as it is written: `stdio://`, `ws://IP:PORT`, `unix://PATH`, `unix://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Stdio,
    /// Loopback only. Port 0: the system chooses.
    WebSocket(SocketAddr),
    /// Nothing: `codex-server/app-server.sock` in `$CODEX_HOME`.
    Unix(Option<PathBuf>),
}

/// Why nobody can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("`{0}` is no address to listen at")]
    Address(String),
    #[error("refusing to listen at {0}: it is not a loopback address, and there is no authentication")]
    NotLoopback(SocketAddr),
    #[error("a server is listening at {} already", .0.display())]
    InUse(PathBuf),
    #[error("{} is not a directory of this user alone", .0.display())]
    NotPrivate(PathBuf),
    #[error("{} is there and is no socket", .0.display())]
    NotASocket(PathBuf),
    #[error("listening at {address}")]
    Io { address: String, source: io::Error },
}

impl ListenError {
    /// What the user can do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ListenError::Address(_) => Some("use `stdio://`, `ws://127.0.0.1:PORT` or `unix://PATH`"),
            ListenError::NotLoopback(_) => Some("listen at `ws://127.0.0.1:PORT` and reach it through SSH"),
            ListenError::InUse(_) => Some("connect to it, or end it first"),
            ListenError::NotPrivate(_) => Some("name a socket in a directory with mode 0700"),
            ListenError::NotASocket(_) => Some("remove it, or name another path"),
            ListenError::Io { .. } => None,
        }
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Listen, ListenError> {
        let unknown = || ListenError::Address(text.to_owned());
        if text == "stdio://" {
            return Ok(Listen::Stdio);
        }
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Listen::Unix(
                Some(PathBuf::from(path)).filter(|it| !it.as_os_str().is_empty()),
            ));
        }
        let address = text.strip_prefix("ws://").ok_or_else(unknown)?;
        let address: SocketAddr = address.trim_end_matches('/').parse().map_err(|_| unknown())?;
        match address.ip().is_loopback() {
            true => Ok(Listen::WebSocket(address)),
            false => Err(ListenError::NotLoopback(address)),
        }
    }
}

impl Listen {
    /// Begins to listen: from now on peers can connect, and wait until the listener is served.
    pub async fn bind(self, setup: &Setup) -> Result<Listener, ListenError> {
        Ok(Listener(match self {
            Listen::Stdio => Kind::Stdio,
            Listen::WebSocket(address) => Kind::WebSocket(tcp::bind(address).await?),
            Listen::Unix(path) => {
                let path = path.map(|it| setup.cwd.join(it));
                Kind::Unix(unix::bind(path.unwrap_or_else(|| default_socket(setup))).await?)
            }
        }))
    }
}

/// Where `unix://` listens.
pub fn default_socket(setup: &Setup) -> PathBuf {
    setup.own_folder().join("app-server.sock")
}

/// Something that peers come through.
pub struct Listener(Kind);

enum Kind {
    Stdio,
    WebSocket(tcp::Tcp),
    Unix(unix::Unix),
}

impl Listener {
    /// What to tell the user about it, for stderr; in the official server's words, which programs look for.
    pub fn banner(&self) -> Option<String> {
        match &self.0 {
            Kind::Stdio => None,
            Kind::WebSocket(it) => Some(it.banner()),
            Kind::Unix(it) => Some(it.banner()),
        }
    }

    /// The address that was bound, with the port that the system chose.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::WebSocket(it) => Some(it.address()),
            Kind::Stdio | Kind::Unix(_) => None,
        }
    }

    pub(crate) fn is_stdio(&self) -> bool {
        matches!(self.0, Kind::Stdio)
    }

    /// Serves the peers that come until `cancel` is cancelled or, over stdio, until the peer has left.
    pub(crate) async fn run(self, server: Server, cancel: CancellationToken) {
        match self.0 {
            Kind::Stdio => stdio::run(server, cancel).await,
            Kind::WebSocket(it) => it.run(server, cancel).await,
            Kind::Unix(it) => it.run(server, cancel).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_at() {
        let parse = |text: &str| text.parse::<Listen>();
        assert_eq!(parse("stdio://").unwrap(), Listen::Stdio);
        assert_eq!(parse("unix://").unwrap(), Listen::Unix(None));
        assert_eq!(parse("unix:///a/b").unwrap(), Listen::Unix(Some("/a/b".into())));
        for text in ["ws://127.0.0.1:0", "ws://127.0.0.2:70", "ws://[::1]:4500"] {
            assert!(matches!(parse(text), Ok(Listen::WebSocket(_))), "{text}");
        }
        for text in ["ws://0.0.0.0:1", "ws://[::]:1", "ws://192.168.1.2:1"] {
            assert!(matches!(parse(text), Err(ListenError::NotLoopback(_))), "{text}");
        }
        for text in [
            "",
            "ws://localhost:1",
            "ws://127.0.0.1",
            "wss://127.0.0.1:1",
            "stdio",
            "http://x",
        ] {
            assert!(matches!(parse(text), Err(ListenError::Address(_))), "{text}");
        }
    }
}

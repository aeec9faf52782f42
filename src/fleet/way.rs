//! The ways to a host: SSH is one of several.

use std::{fmt, sync::Arc};

use codex_hosts::HostId;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{address::Address, launch::Server, transport::Transport};

/// How a host's server is reached.
#[derive(Clone)]
pub enum Way {
    /// By what the host's name means to SSH.
    Ssh { server: Server, transport: Transport },
    /// A server in this process.
    Embedded(Embed),
    /// A server that listens somewhere, with a WebSocket.
    Address(Address),
    /// A program whose standard streams are those of a POSIX shell on the host: `docker exec -i web sh`.
    Command { argv: Vec<String>, server: Server },
}

/// Tells the way to a host, anew for each attempt. Runs on a thread that may block: it may read files.
pub type Ways = Arc<dyn Fn(&HostId) -> Result<Way, NoWay> + Send + Sync>;

/// Connects to a server in this process, and starts it where that has not been done. Runs on a thread that
/// may block. The error says what failed.
pub type Embed = Arc<dyn Fn() -> Result<Embedded, String> + Send + Sync>;

/// A conversation with a server in this process: JSON lines, both ways. Dropping the stream ends it.
pub struct Embedded {
    pub stream: Box<dyn Duplex>,
    /// The user's home directory.
    pub home: String,
    /// The program that serves.
    pub program: String,
}

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The settings do not say how to get to a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoWay {
    /// What is wrong, and where.
    pub message: String,
    /// What the user can do.
    pub hint: Option<String>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Ssh { transport, .. } => write!(f, "Ssh({transport:?})"),
            Way::Embedded(_) => f.write_str("Embedded"),
            Way::Address(it) => write!(f, "Address({it})"),
            Way::Command { argv, .. } => write!(f, "Command({argv:?})"),
        }
    }
}

//! What a connection tells and asks while it is being made.

use std::{fmt, net::SocketAddr, path::PathBuf};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::{config::settings::HostSettings, error::KnownKey};

/// Sent while [`Connector::connect`](crate::Connector::connect) works.
///
/// `hop` counts from the first hop of the route, which is 0.
pub enum Event {
    Stage {
        hop: usize,
        stage: Stage,
    },
    /// Something the user should see: a server's banner, a missing key file. Text from a server is
    /// not cleaned: whoever prints it must.
    Notice {
        hop: usize,
        text: String,
    },
    /// The connection waits for the answer. Dropping `answer` is the same as [`Answer::Refuse`].
    Question {
        hop: usize,
        question: Question,
        answer: oneshot::Sender<Answer>,
    },
}

/// Where a hop stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    Resolving,
    Connecting {
        address: SocketAddr,
    },
    /// A `ProxyCommand` or the hop before this one makes the connection.
    Proxy,
    Handshake,
    HostKey,
    Authenticating {
        method: String,
    },
    Authenticated,
}

/// One host of a route, as the user should see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The name as the user gave it.
    pub alias: String,
    pub user: String,
    pub host_name: String,
    pub port: u16,
}

impl From<&HostSettings> for Hop {
    fn from(settings: &HostSettings) -> Hop {
        Hop {
            alias: settings.alias.clone(),
            user: settings.user.clone(),
            host_name: settings.host_name.clone(),
            port: settings.port,
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alias, name) = (&self.alias, &self.host_name);
        if alias == name {
            write!(out, "{alias}")?;
        } else {
            write!(out, "{alias} ({name})")?;
        }
        match self.port {
            22 => Ok(()),
            port => write!(out, " port {port}"),
        }
    }
}

/// What only the user can decide or knows. Texts of the server are as it sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is this the right host? Answered by [`Answer::Accept`] or [`Answer::Refuse`].
    HostKey {
        host: Hop,
        /// E.g. `ED25519`.
        key_type: String,
        /// `SHA256:…`
        fingerprint: String,
        /// Several lines, as `ssh-keygen -lv` prints them.
        randomart: String,
        /// Where an accepted key is recorded; `None`: nowhere.
        known_hosts_file: Option<PathBuf>,
        /// Other keys by which the host is known, and authorities that this client cannot follow to it. It is not new.
        known: Vec<KnownKey>,
    },
    /// `UpdateHostKeys ask`: may what is known of this host be replaced by what it says about itself? It has
    /// proved that it holds the new keys. Answered by [`Answer::Accept`] or [`Answer::Refuse`]; comes after the
    /// login, and nothing waits for it.
    UpdateHostKeys {
        host: Hop,
        added: Vec<HostKey>,
        removed: Vec<HostKey>,
        /// Where it is written.
        known_hosts_file: PathBuf,
    },
    /// Answered by one secret. An empty one skips the key.
    Passphrase {
        host: Hop,
        key: PathBuf,
        /// `SHA256:…`, when the public half is known.
        fingerprint: Option<String>,
        comment: Option<String>,
        /// Counts from 1.
        attempt: u32,
    },
    /// Answered by one secret.
    Password {
        host: Hop,
        /// Counts from 1.
        attempt: u32,
    },
    /// Answered by as many secrets as there are prompts.
    KeyboardInteractive {
        host: Hop,
        name: String,
        instructions: String,
        prompts: Vec<Prompt>,
    },
}

/// A public key of a host, as users compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// E.g. `ED25519`.
    pub key_type: String,
    /// `SHA256:…`
    pub fingerprint: String,
}

/// One line of a keyboard-interactive question (RFC 4256).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    pub text: String,
    /// Whether the answer may be shown while it is typed.
    pub echo: bool,
}

/// The user's answer. It has no `Debug`, since it may hold secrets.
pub enum Answer {
    Accept,
    /// No, or not now: the connection ends with [`Class::Cancelled`](crate::Class::Cancelled), an
    /// unknown host key with [`Class::HostKeyUnknown`](crate::Class::HostKeyUnknown).
    Refuse,
    Secrets(Vec<Zeroizing<String>>),
}

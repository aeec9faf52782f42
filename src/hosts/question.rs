//! What a login may ask the user, and the answer.

use std::path::PathBuf;

use zeroize::Zeroizing;

/// Something that must not be shown or logged: it has no `Debug`, and is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: Zeroizing<String>) -> Secret {
        Secret(text)
    }

    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }
}

/// Identifies a question until it is answered or withdrawn; never reused in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(pub u64);

/// The hop that asks: the host itself, or a jump host on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Name in the configuration.
    pub alias: String,
    pub user: String,
    pub host_name: String,
    pub port: u16,
    /// Whether this hop only leads to the host.
    pub is_jump: bool,
}

/// All texts of a question but the hop's own settings may come from the remote: they are sanitized
/// where they are drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The host's key is not known. Answered by [`Reply::Accept`] or [`Reply::Refuse`].
    HostKey {
        hop: Hop,
        key: HostKeyQuestion,
    },
    /// A host that is known has proved that it holds other keys as well, or has some of the known ones no more:
    /// may it be recorded? Comes while the host is used, and nothing waits for it. Answered by
    /// [`Reply::Accept`] or [`Reply::Refuse`].
    UpdateHostKeys {
        hop: Hop,
        added: Vec<HostKey>,
        removed: Vec<HostKey>,
        known_hosts_file: PathBuf,
    },
    /// The passphrase of a key file of the user's.
    Passphrase {
        hop: Hop,
        key: PathBuf,
        /// 1 for the first time that it is asked.
        attempt: u32,
    },
    Password {
        hop: Hop,
        attempt: u32,
    },
    /// Something else to agree to or not. Answered by [`Reply::Accept`] or [`Reply::Refuse`].
    Confirm {
        hop: Hop,
        text: String,
    },
    /// One secret per prompt, in order.
    KeyboardInteractive {
        hop: Hop,
        name: String,
        instructions: String,
        prompts: Vec<Prompt>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKeyQuestion {
    /// e.g. `ssh-ed25519`.
    pub key_type: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The key's picture, line by line, or what else is said of it; empty where there is none.
    pub randomart: Vec<String>,
    /// Where it is written when the user accepts; `None`: nowhere.
    pub known_hosts_file: Option<PathBuf>,
}

/// A public key of a host: its type, e.g. `ED25519`, and its `SHA256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    pub key_type: String,
    pub fingerprint: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    pub text: String,
    /// Whether the server wants the answer to be visible.
    pub echo: bool,
}

impl Question {
    pub fn hop(&self) -> &Hop {
        match self {
            Question::HostKey { hop, .. }
            | Question::UpdateHostKeys { hop, .. }
            | Question::Passphrase { hop, .. }
            | Question::Password { hop, .. }
            | Question::Confirm { hop, .. }
            | Question::KeyboardInteractive { hop, .. } => hop,
        }
    }
}

/// The user's answer to a [`Question`].
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// Trust this host key, or do what was asked.
    Accept,
    /// Do not go on with this login.
    Refuse,
    Secrets(Vec<Secret>),
}

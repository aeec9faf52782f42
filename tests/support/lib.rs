//! Fakes that behave: a scripted model, real sshd, tmux.
//!
//! Only the model is made up. Everything else a test touches is the real part: Debian's `sshd`, the pinned
//! official `codex`, `ssh-agent`, `tmux`. A test says what it needs with [`require!`] and is skipped visibly
//! where a part is missing.

mod skip;
pub mod wait;

mod official;
pub use official::{PINNED_VERSION, official, repository, schema};

mod gate;
mod model;
mod script;
mod sse;
pub use gate::Gate;
pub use model::{Model, Reply, Request, Step};

mod appserver;
pub use appserver::{AppServer, Direction};

mod local;
pub use local::Local;

mod accounts;
mod host;
mod namespace;
mod network;
pub use host::{AUTHENTICATOR_CODES, Codex, Host, HostOptions, Login, PASSWORD, Shell};
pub use network::Network;

mod keys;
pub use keys::{KEY_PASSPHRASE, Key};

mod machine;
mod realm;
mod security_key;
mod token;
pub use machine::Machine;
pub use realm::Realm;
pub use security_key::SecurityKey;
pub use token::{TOKEN_PIN, Token};

mod client;
pub use client::{Agent, Alias, Client, Known};

mod tmux;
pub use tmux::Tmux;

pub use skip::{Part, available, busybox};

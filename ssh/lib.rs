//! A byte stream to a host: ssh_config, host keys, logins and sessions, in process.
//!
//! This crate knows no JSON and no Codex. It turns a destination and the user's configuration into a
//! duplex byte stream with stderr and an exit status. `README.md` has its map, what differs from OpenSSH
//! on purpose, and what would need a change in russh.

pub mod config;

mod ahead;
mod algorithms;
mod ask;
mod askpass;
mod auth;
mod channel;
mod client;
mod connect;
mod dial;
mod doors;
mod error;
mod event;
mod exec;
mod file;
mod forward;
mod greeting;
mod handshake;
mod host_key;
pub mod known_hosts;
mod limits;
mod link;
mod program;
mod proxy;
mod remedy;
mod route;
mod search;
mod session;
mod shared;
mod sounding;
mod spool;
mod start;
mod store;
mod through;
mod unsent;

pub use ahead::WaitingShell;
pub use askpass::Askpass;
pub use connect::{Connector, Local};
pub use error::{
    Attempt, Class, ConnectError, ExecError, Failure, KnownKey, Outcome, PingError, Words, is_refused_login,
};
pub use event::{Answer, Event, Hop, HostKey, Prompt, Question, Stage};
pub use exec::{Exit, ExitWatch, Process, Stderr};
pub use forward::{ForwardState, Forwards, State as ForwardStatus};
pub use route::{Route, RouteError, route};
pub use search::Search;
pub use session::{Closed, PeerInfo, Session};
pub use sounding::Arrived;
pub use spool::WhenFull;
pub use zeroize::Zeroizing;

//! Connects to many hosts and carries their conversations.
//!
//! `hosts` decides, this crate does: each host is a task that owns a [`HostConnection`] and performs its
//! actions. Hosts share nothing but the queue of events, so none can wait for another.
//!
//! [`Way`] is how a host is reached: over SSH (by ourselves, or by the system's `ssh`: [`Transport`]), through a
//! program that gives a shell, at an address where a server listens, or in this process. What follows the first word
//! is the same for all: handshake, losses, retries, waking up.
//!
//! All SSH runs on one thread of its own with a current-thread runtime: faster for many small messages
//! than a pool, and the interface never shares a thread with cryptography.
//!
//! [`HostConnection`]: codex_hosts::HostConnection

mod address;
mod around;
mod attempt;
mod child;
mod command;
mod examine;
mod forward;
mod heartbeat;
mod host;
mod install;
mod kept;
mod launch;
pub mod limits;
mod link;
mod names;
mod question;
mod reach;
mod run;
mod server;
mod shell;
mod socket;
mod ssh;
mod standby;
mod system;
mod transport;
mod way;
mod witness;

pub use address::{Address, AddressError};
pub use examine::{Answering, Examined, Outcome, Step, examine};
pub use forward::Forward;
pub use install::{Install, InstallEvent, Installed, Program, ProgramError};
pub use launch::{NoServer, Path, Server};
pub use names::Names;
pub use run::{Command, Event, Fleet, FleetConfig, HostFacts, Resolver, StartError};
pub use system::{Asking, System, askpass_main};
pub use transport::{NoTransport, Transport};
pub use way::{Duplex, Embed, Embedded, NoWay, Way, Ways};

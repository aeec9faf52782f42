//! Connects to many hosts and carries their conversations.
//!
//! `hosts` decides, this crate does: each host is a task that owns a [`HostConnection`] and performs its
//! actions. Hosts share nothing but the queue of events, so none can wait for another.
//!
//! All SSH runs on one thread of its own with a current-thread runtime: faster for many small messages
//! than a pool, and the interface never shares a thread with cryptography.
//!
//! [`HostConnection`]: codex_hosts::HostConnection

mod attempt;
mod host;
mod kept;
mod launch;
pub mod limits;
mod link;
mod question;
mod run;
mod server;

pub use run::{Command, Event, Fleet, FleetConfig, HostFacts, Resolver, StartError};

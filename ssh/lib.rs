//! A byte stream to a host: ssh_config, host keys, logins and sessions, in process.
//!
//! This crate knows no JSON and no Codex. It turns a destination and the user's configuration into a
//! duplex byte stream with stderr and an exit status.

pub mod config;

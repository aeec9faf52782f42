//! Connections to a real sshd.

mod asking;
mod host;
mod host_keys;
mod logins;
mod processes;
mod routes;
mod servers;

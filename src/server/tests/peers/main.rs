//! Peers of a whole server: what they ask for, and what they get.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test helpers")]

mod client;
mod commands;
mod ephemeral;
mod files;
mod handshake;
mod history;
mod listeners;
mod mcp;
mod schema;
mod settings;
mod threads;
mod tools;
mod turns;

//! The terminal interface: events in, effects out, a frame drawn from the model alone.
//!
//! It cannot open a connection: it knows neither SSH nor the network, only the vocabulary of
//! `codex-protocol` and `codex-hosts`.

pub mod effect;
pub mod event;
pub mod cells;
pub mod text;
pub mod theme;

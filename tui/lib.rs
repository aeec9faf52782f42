//! The terminal interface: events in, effects out, a frame drawn from the model alone.
//!
//! It cannot open a connection: it knows neither SSH nor the network, only the vocabulary of
//! `codex-protocol` and `codex-hosts`.

pub mod app;
pub mod cells;
mod editor;
pub mod effect;
pub mod event;
pub mod input;
pub mod keymap;
pub mod run;
mod signals;
mod terminal;
pub mod text;
pub mod theme;
pub mod view;

#[cfg(test)]
mod testing;

pub use app::{App, Start};
pub use run::{Outside, RunError, run};

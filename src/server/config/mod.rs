//! `config.toml`: what the user has set, read leniently and written carefully.
//!
//! [`read`] takes what it knows out of the text and tells what is wrong with the rest; [`edit`] changes keys
//! and leaves everything else as it stands; [`store`] keeps the two and the file together.

mod edit;
mod json;
mod place;
mod read;
mod store;

pub use read::{Config, SandboxSettings};
pub(crate) use store::{Loaded, Store, WriteError};

/// The provider of the models, unless configured.
pub(crate) const DEFAULT_PROVIDER: &str = "openai";
/// The model, unless configured: one that takes the tools which the agent offers.
pub(crate) const DEFAULT_MODEL: &str = "gpt-5.5";

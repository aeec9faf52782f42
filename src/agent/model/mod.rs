//! The model: its events, its errors, and the Responses API behind them.

mod error;
mod event;
mod provider;
mod reach;
mod responses;
mod retry;
pub mod sse;
pub mod wire;

pub use error::{ErrorClass, ModelError};
pub use event::{ModelEvent, Usage};
pub use provider::{ConfigError, Credential, Provider, ProviderConfig, Secret, WireApi, built_in};
pub use reach::{ReachError, reach};
pub use responses::{Responses, SetupError};
pub use retry::{RETRY_AFTER_MAX, pause};

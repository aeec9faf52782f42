//! Whether a provider answers at all, without asking a model.

use reqwest::Method;

use super::{
    provider::Provider,
    responses::{SetupError, http},
};

/// Why a provider was not reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// DNS, TCP or TLS failed, or nothing came back; with all causes.
    #[error("{0}")]
    Network(String),
}

/// Sends one `GET` to the base address, without any credential, and returns the HTTP status. Whatever it is, the
/// provider's server was reached and its certificate is good. The caller bounds it.
pub async fn reach(provider: &Provider) -> Result<u16, ReachError> {
    let request = http()?.request(Method::GET, &provider.base_url);
    match request.send().await {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(it) = cause {
                text = format!("{text}: {it}");
                cause = it.source();
            }
            Err(ReachError::Network(text))
        }
    }
}

//! A host that nobody knows may be one of the user's, mistyped.

use std::sync::Arc;

use codex_hosts::{Failure, did_you_mean};
use codex_ssh::ConnectError;
use tokio::task::spawn_blocking;

/// The hosts that have a name in the settings, e.g. the concrete aliases of ssh_config. Runs on a thread that may block:
/// it may read files.
pub type Names = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Puts before a failure's hint what may have been meant, where the failure is that a host's name leads nowhere and no
/// settings have that name: those that have it are to be corrected, not the name.
pub(crate) async fn suggest(names: &Names, error: &ConnectError, mut failure: Failure) -> Failure {
    if !error.is_unknown_name() {
        return failure;
    }
    let (names, name) = (Arc::clone(names), error.hop.alias.clone());
    let asked = spawn_blocking(move || did_you_mean(&name, names().iter().map(String::as_str))).await;
    // Settings that cannot be read suggest nothing.
    if let Some(question) = asked.ok().flatten() {
        failure.hint = Some(match failure.hint {
            Some(hint) => format!("{question}? Else {hint}"),
            None => format!("{question}?"),
        });
    }
    failure
}

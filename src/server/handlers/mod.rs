//! The handlers, one file per topic.

mod account;
mod catalog;
mod command;
mod config;
mod fs;
mod history;
mod mcp;
mod review;
mod search;
mod thread;
mod threads;
mod turn;
mod watch;

use crate::{refusal::Refusal, router::Router};

pub(crate) use command::Processes;
pub(crate) use search::Searches;
pub(crate) use watch::Watches;

/// Adds every method to the table.
pub(crate) fn routes(router: &mut Router) {
    account::routes(router);
    catalog::routes(router);
    command::routes(router);
    config::routes(router);
    fs::routes(router);
    search::routes(router);
    watch::routes(router);
    thread::routes(router);
    threads::routes(router);
    history::routes(router);
    mcp::routes(router);
    turn::routes(router);
    review::routes(router);
}

/// Does what blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "blocking work panicked");
            Err(Refusal::unanswered())
        }
    }
}

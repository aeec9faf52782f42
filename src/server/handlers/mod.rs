//! The handlers, one file per topic.

mod review;
mod thread;
mod turn;

use crate::router::Router;

/// Adds every method to the table.
pub(crate) fn routes(router: &mut Router) {
    thread::routes(router);
    turn::routes(router);
    review::routes(router);
}

//! Threads: requests become mail to the thread's owner.

use crate::router::Router;

pub(super) fn routes(_router: &mut Router) {}

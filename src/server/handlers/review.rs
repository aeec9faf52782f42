//! Reviews: requests become mail to the thread's owner.

use codex_agent::review::ReviewTarget;
use codex_protocol::served::{self, ReviewStartParams};

use super::thread::acts;
use crate::router::{Router, Stability::*};

pub(super) fn routes(router: &mut Router) {
    acts(
        router,
        "review/start",
        Stable,
        |p: &ReviewStartParams| &p.thread_id,
        |it, p, responder| it.review(&target(p.target), responder),
    );
}

fn target(wanted: served::ReviewTarget) -> ReviewTarget {
    match wanted {
        served::ReviewTarget::UncommittedChanges => ReviewTarget::UncommittedChanges,
        served::ReviewTarget::BaseBranch { branch } => ReviewTarget::BaseBranch { branch },
        served::ReviewTarget::Commit { sha, title } => ReviewTarget::Commit { sha, title },
        served::ReviewTarget::Custom { instructions } => ReviewTarget::Custom { instructions },
    }
}

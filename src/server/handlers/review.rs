//! Reviews: requests become mail to the thread's owner.

use codex_agent::review::ReviewTarget;
use codex_protocol::ThreadId;
use serde::Deserialize;

use super::thread::acts;
use crate::router::{Router, Stability::*};

pub(super) fn routes(router: &mut Router) {
    acts(
        router,
        "review/start",
        Stable,
        |p: &Start| &p.thread_id,
        |it, p, responder| it.review(&p.target.into(), responder),
    );
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    thread_id: ThreadId,
    target: Target,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Target {
    UncommittedChanges,
    BaseBranch { branch: String },
    Commit { sha: String, title: Option<String> },
    Custom { instructions: String },
}

impl From<Target> for ReviewTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::UncommittedChanges => ReviewTarget::UncommittedChanges,
            Target::BaseBranch { branch } => ReviewTarget::BaseBranch { branch },
            Target::Commit { sha, title } => ReviewTarget::Commit { sha, title },
            Target::Custom { instructions } => ReviewTarget::Custom { instructions },
        }
    }
}

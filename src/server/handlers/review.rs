//! Reviews: requests become mail to the thread's owner.

use codex_agent::review::ReviewTarget;
use codex_protocol::ThreadId;
use serde::Deserialize;

use super::thread::send;
use crate::{
    responder::Responder,
    router::{Call, Router, Stability::*},
    scope::Scope,
    threads::Act,
};

pub(super) fn routes(router: &mut Router) {
    router.hand_over(
        "review/start",
        Stable,
        |p: &Start| Scope::thread(&p.thread_id.0),
        start,
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

async fn start(call: Call, params: Start, responder: Responder) {
    let target = match params.target {
        Target::UncommittedChanges => ReviewTarget::UncommittedChanges,
        Target::BaseBranch { branch } => ReviewTarget::BaseBranch { branch },
        Target::Commit { sha, title } => ReviewTarget::Commit { sha, title },
        Target::Custom { instructions } => ReviewTarget::Custom { instructions },
    };
    let act = Act::does(move |it, responder| it.review(&target, responder));
    send(call, params.thread_id, act, responder).await;
}

//! Turns: requests become mail to the thread's owner.

use codex_protocol::{ThreadId, TurnId, v2::TurnInterruptParams};
use serde::Deserialize;

use super::thread::acts;
use crate::{
    router::{Router, Stability::*},
    threads::TurnStart,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    thread_id: ThreadId,
    #[serde(flatten)]
    start: TurnStart,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Steer {
    thread_id: ThreadId,
    expected_turn_id: TurnId,
    #[serde(flatten)]
    start: TurnStart,
}

pub(super) fn routes(router: &mut Router) {
    acts(
        router,
        "turn/start",
        Stable,
        |p: &Start| &p.thread_id,
        |it, p, responder| it.start_turn(p.start, responder),
    );
    acts(
        router,
        "turn/steer",
        Stable,
        |p: &Steer| &p.thread_id,
        |it, p, responder| it.steer_turn(p.start, &p.expected_turn_id, responder),
    );
    acts(
        router,
        "turn/interrupt",
        Stable,
        |p: &TurnInterruptParams| &p.thread_id,
        |it, p, responder| it.interrupt(&p.turn_id, responder),
    );
}

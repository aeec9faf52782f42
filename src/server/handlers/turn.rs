//! Turns: requests become mail to the thread's owner.

use codex_protocol::{ThreadId, TurnId, v2::TurnInterruptParams};
use serde::Deserialize;

use super::thread::send;
use crate::{
    responder::Responder,
    router::{Call, Router, Stability::*},
    scope::Scope,
    threads::{Act, TurnStart},
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
    router.hand_over(
        "turn/start",
        Stable,
        |p: &Start| Scope::thread(&p.thread_id.0),
        |call: Call, p: Start, responder: Responder| {
            let act = Act::does(|it, responder| it.start_turn(p.start, responder));
            send(call, p.thread_id, act, responder)
        },
    );
    router.hand_over(
        "turn/steer",
        Stable,
        |p: &Steer| Scope::thread(&p.thread_id.0),
        |call: Call, p: Steer, responder: Responder| {
            let act = Act::does(move |it, responder| it.steer_turn(p.start, &p.expected_turn_id, responder));
            send(call, p.thread_id, act, responder)
        },
    );
    router.hand_over(
        "turn/interrupt",
        Stable,
        |p: &TurnInterruptParams| Scope::thread(&p.thread_id.0),
        |call: Call, p: TurnInterruptParams, responder: Responder| {
            let act = Act::does(move |it, responder| it.interrupt(&p.turn_id, responder));
            send(call, p.thread_id, act, responder)
        },
    );
}

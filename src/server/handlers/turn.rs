//! Turns: requests become mail to the thread's owner.

use codex_protocol::{
    served::{TurnInput, TurnStartParams, TurnSteerParams},
    v2::TurnInterruptParams,
};

use super::thread::acts;
use crate::router::{Router, Stability::*};

pub(super) fn routes(router: &mut Router) {
    acts(
        router,
        "turn/start",
        Stable,
        |p: &TurnStartParams| &p.thread_id,
        |it, p, responder| it.start_turn(p.start, responder),
    );
    acts(
        router,
        "turn/steer",
        Stable,
        |p: &TurnSteerParams| &p.thread_id,
        |it, p, responder| {
            let said = TurnInput {
                input: p.input,
                client_user_message_id: p.client_user_message_id,
                ..TurnInput::default()
            };
            it.steer_turn(said, &p.expected_turn_id, responder);
        },
    );
    acts(
        router,
        "turn/interrupt",
        Stable,
        |p: &TurnInterruptParams| &p.thread_id,
        |it, p, responder| it.interrupt(&p.turn_id, responder),
    );
}

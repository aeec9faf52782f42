//! The conversations of two clients with one server that listens.

use codex_testkit::AppServer;
use serde_json::{Value, json};

use super::conversations::{ASK_COMMAND, held};
use crate::serving::Serving;

/// A conversation of two clients, after both handshakes.
pub(super) type Meeting = fn(&Serving, &mut [AppServer; 2]);

pub(super) const SEVERAL: &[(&str, Meeting)] = &[
    ("both_see_a_turn", both_see_a_turn),
    ("the_other_answers", the_other_answers),
    ("the_first_goes_away", the_first_goes_away),
    ("the_other_steers_and_interrupts", the_other_steers_and_interrupts),
    ("the_other_manages", the_other_manages),
];

fn started(serving: &Serving, client: &mut AppServer) -> String {
    client.start_thread(&serving.work().display().to_string())
}

/// A thread with a turn behind it, as only such a one can be joined, and both clients on it.
fn shared(serving: &Serving, [one, two]: &mut [AppServer; 2]) -> String {
    let thread = started(serving, one);
    one.start_turn(&thread, "say hello");
    one.finish_turn();
    two.call(
        "thread/resume",
        json!({ "threadId": thread, "excludeTurns": true }),
    );
    thread
}

fn accept(client: &mut AppServer, request: &Value) {
    client.send(json!({ "id": request["id"], "result": { "decision": "accept" } }));
}

fn both_see_a_turn(serving: &Serving, clients: &mut [AppServer; 2]) {
    let thread = shared(serving, clients);
    let [one, two] = clients;
    one.start_turn(&thread, "run echo seen\nsay by both");
    one.finish_turn();
    two.finish_turn();
    two.start_turn(&thread, "say from the other");
    two.finish_turn();
    one.finish_turn();
}

fn the_other_answers(serving: &Serving, clients: &mut [AppServer; 2]) {
    let thread = shared(serving, clients);
    let [one, two] = clients;
    one.start_turn(&thread, "escalate touch ../outside.txt\nsay asked");
    let late = one.expect_method(ASK_COMMAND);
    let request = two.expect_method(ASK_COMMAND);
    accept(two, &request);
    one.expect_method("serverRequest/resolved");
    accept(one, &late);
    one.finish_turn();
    two.finish_turn();
}

fn the_first_goes_away(serving: &Serving, clients: &mut [AppServer; 2]) {
    let thread = shared(serving, clients);
    let [one, two] = clients;
    one.start_turn(&thread, "escalate touch ../outside.txt\nsay asked");
    one.expect_method(ASK_COMMAND);
    one.call("thread/unsubscribe", json!({ "threadId": thread }));
    let request = two.expect_method(ASK_COMMAND);
    accept(two, &request);
    two.finish_turn();
}

fn the_other_steers_and_interrupts(serving: &Serving, clients: &mut [AppServer; 2]) {
    let thread = shared(serving, clients);
    let [one, two] = clients;
    let turn = one.start_turn(&thread, "hold a");
    held(two, "a");
    let input = json!([{ "type": "text", "text": "hold b" }]);
    two.call(
        "turn/steer",
        json!({ "threadId": thread, "expectedTurnId": turn, "input": input }),
    );
    held(two, "b");
    let params = json!({ "threadId": thread, "turnId": turn });
    two.call_until("turn/interrupt", params, "turn/completed");
    one.finish_turn();
}

fn the_other_manages(serving: &Serving, clients: &mut [AppServer; 2]) {
    let [one, two] = clients;
    let thread = started(serving, one);
    one.start_turn(&thread, "say hello");
    one.finish_turn();
    let id = json!({ "threadId": thread });
    let name = json!({ "threadId": thread, "name": "by the other" });
    two.call_until("thread/name/set", name, "thread/name/updated");
    two.call("thread/read", id.clone());
    for (method, notification) in [
        ("thread/archive", "thread/archived"),
        ("thread/unarchive", "thread/unarchived"),
        ("thread/delete", "thread/deleted"),
    ] {
        two.call_until(method, id.clone(), notification);
        one.expect_method(notification);
    }
}

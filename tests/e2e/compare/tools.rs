//! The conversations about tools that the client brings along.

use codex_testkit::{AppServer, Local};
use serde_json::{Value, json};

use super::conversations::{Conversation, start_with, turn};
use super::several::Meeting;
use crate::serving::Serving;

const CALL: &str = "item/tool/call";

pub(super) const TOOLS: &[(&str, Conversation)] = &[
    ("tool_answers", |it| {
        call(it, "call look {\"at\":\"it\"}\noutputs", &words("seen", true));
    }),
    ("tool_in_a_namespace", |it| {
        call(it, "call app.open {}\noutputs", &words("opened", true));
    }),
    ("tool_deferred", |it| {
        call(it, "call app.later {}\noutputs", &words("in the end", true));
    }),
    ("tool_shows_an_image", |it| {
        call(it, "call look {}\nsay seen", &image())
    }),
    ("tool_fails", |it| {
        call(it, "call look {}\noutputs", &words("there is nothing", false));
    }),
    ("tool_is_refused", |it| {
        let error = json!({ "code": -32000, "message": "not now" });
        call(it, "call look {}\nsay failed", &json!({ "error": error }));
    }),
    ("tool_answers_wrongly", |it| {
        call(it, "call look {}\nsay failed", &json!({ "result": { "odd": 1 } }));
    }),
    ("tool_unknown", |it| {
        let thread = start_with(it, json!({ "dynamicTools": tools() }));
        turn(it, &thread, "call nothing {}\nsay so");
        turn(it, &thread, "call app.nothing {}\nsay so");
    }),
    ("tools_two_at_once", two_calls),
    ("tool_interrupted", interrupted),
    ("tool_asked_again", asked_again),
    ("tools_after_restart", after_restart),
    ("tools_in_a_fork", in_a_fork),
    ("tools_refused", refused),
];

pub(super) const TOOLS_OF_TWO: &[(&str, Meeting)] = &[
    ("tool_the_other_answers", the_other_answers),
    ("tool_the_first_goes_away", the_first_goes_away),
];

fn tool(name: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { "at": { "type": "string" } } });
    json!({ "type": "function", "name": name, "description": "It does.", "inputSchema": schema })
}

fn tools() -> Value {
    let mut later = tool("later");
    later["deferLoading"] = json!(true);
    let app = json!({ "type": "namespace", "name": "app", "description": "An app.", "tools": [tool("open"), later] });
    json!([tool("look"), app])
}

fn words(text: &str, success: bool) -> Value {
    let parts = json!([{ "type": "inputText", "text": text }]);
    json!({ "result": { "contentItems": parts, "success": success } })
}

fn image() -> Value {
    let url = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let parts = json!([{ "type": "inputText", "text": "this" }, { "type": "inputImage", "imageUrl": url }]);
    json!({ "result": { "contentItems": parts, "success": true } })
}

fn answer(server: &mut AppServer, outcome: &Value) {
    let mut message = outcome.clone();
    message["id"] = server.expect_method(CALL)["id"].clone();
    server.send(message);
}

/// A turn with one call.
fn call(it: &mut Local, text: &str, outcome: &Value) {
    let thread = start_with(it, json!({ "dynamicTools": tools() }));
    it.server.start_turn(&thread, text);
    answer(&mut it.server, outcome);
    it.server.finish_turn();
    it.server
        .call("thread/read", json!({ "threadId": thread, "includeTurns": true }));
}

fn two_calls(it: &mut Local) {
    let thread = start_with(it, json!({ "dynamicTools": tools() }));
    it.server
        .start_turn(&thread, "call look {}\ncall app.open {}\noutputs");
    answer(&mut it.server, &words("one", true));
    answer(&mut it.server, &words("two", true));
    it.server.finish_turn();
}

fn interrupted(it: &mut Local) {
    let thread = start_with(it, json!({ "dynamicTools": tools() }));
    let turn = it.server.start_turn(&thread, "call look {}\nsay never");
    let asked = it.server.expect_method(CALL);
    it.server
        .request("turn/interrupt", json!({ "threadId": thread, "turnId": turn }));
    it.server.finish_turn();
    let mut late = words("late", true);
    late["id"] = asked["id"].clone();
    it.server.send(late);
    self::turn(it, &thread, "say it goes on");
    it.server
        .call("thread/items/list", json!({ "threadId": thread, "limit": 50 }));
}

fn asked_again(it: &mut Local) {
    let thread = start_with(it, json!({ "dynamicTools": tools() }));
    turn(it, &thread, "say hello");
    it.server.start_turn(&thread, "call look {}\noutputs");
    it.server.expect_method(CALL);
    it.server.call(
        "thread/resume",
        json!({ "threadId": thread, "excludeTurns": true }),
    );
    answer(&mut it.server, &words("seen", true));
    it.server.finish_turn();
}

fn after_restart(it: &mut Local) {
    let thread = start_with(it, json!({ "dynamicTools": tools() }));
    turn(it, &thread, "say hello");
    it.restart();
    it.server.initialize();
    it.server.call(
        "thread/resume",
        json!({ "threadId": thread, "excludeTurns": true }),
    );
    it.server.start_turn(&thread, "call app.open {}\noutputs");
    answer(&mut it.server, &words("still there", true));
    it.server.finish_turn();
}

fn in_a_fork(it: &mut Local) {
    let thread = start_with(it, json!({ "dynamicTools": tools() }));
    turn(it, &thread, "say hello");
    let forked = it.server.call("thread/fork", json!({ "threadId": thread }));
    let fork = forked["thread"]["id"].as_str().unwrap().to_owned();
    it.server.start_turn(&fork, "call look {}\noutputs");
    answer(&mut it.server, &words("there too", true));
    it.server.finish_turn();
}

fn refused(it: &mut Local) {
    let mut deferred = tool("a");
    deferred["deferLoading"] = json!(true);
    let namespace = |name: &str, tools: Value| json!({ "type": "namespace", "name": name, "description": "", "tools": tools });
    for tools in [
        json!([tool("")]),
        json!([tool("a b")]),
        json!([tool("mcp__a")]),
        json!([tool(&"a".repeat(129))]),
        json!([tool("a"), tool("a")]),
        json!([deferred]),
        json!([namespace("a", json!([]))]),
        json!([namespace("functions", json!([tool("a")]))]),
        json!([
            namespace("a", json!([tool("a")])),
            namespace("a", json!([tool("b")]))
        ]),
        json!([{ "type": "odd", "name": "a" }]),
    ] {
        it.server.ask("thread/start", json!({ "dynamicTools": tools }));
    }
}

/// A thread with tools that both clients listen to, and a call that both are asked for.
fn shared(serving: &Serving, [one, two]: &mut [AppServer; 2]) -> String {
    let params = json!({ "cwd": serving.work(), "dynamicTools": tools() });
    let started = one.call_until("thread/start", params, "thread/started");
    let thread = started["params"]["thread"]["id"].as_str().unwrap().to_owned();
    one.start_turn(&thread, "say hello");
    one.finish_turn();
    two.call(
        "thread/resume",
        json!({ "threadId": thread, "excludeTurns": true }),
    );
    one.start_turn(&thread, "call look {}\noutputs");
    one.expect_method(CALL);
    thread
}

fn the_other_answers(serving: &Serving, clients: &mut [AppServer; 2]) {
    shared(serving, clients);
    let [one, two] = clients;
    answer(two, &words("by the other", true));
    one.finish_turn();
    two.finish_turn();
}

fn the_first_goes_away(serving: &Serving, clients: &mut [AppServer; 2]) {
    let thread = shared(serving, clients);
    let [one, two] = clients;
    one.call("thread/unsubscribe", json!({ "threadId": thread }));
    answer(two, &words("by the other", true));
    two.finish_turn();
}

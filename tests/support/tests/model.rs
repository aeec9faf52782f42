//! The scripted model, asked by the real official program.
#![expect(clippy::unwrap_used, reason = "tests")]

use codex_testkit::{Local, require};
use serde_json::{Value, json};

fn local() -> Local {
    let mut local = Local::start();
    local.server.initialize();
    local
}

/// Runs a turn and hands back its end and the items that were completed in it.
fn run_turn(local: &mut Local, thread: &str, text: &str) -> (Value, Vec<Value>) {
    let before = local.server.transcript().len();
    local.server.start_turn(thread, text);
    let end = local.server.finish_turn();
    let items = local.server.transcript()[before..]
        .iter()
        .filter(|(_, message)| message["method"] == "item/completed")
        .map(|(_, message)| message["params"]["item"].clone())
        .collect();
    (end, items)
}

fn kinds(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["type"].as_str().unwrap()).collect()
}

#[test]
fn each_directive_reaches_the_client_as_the_item_it_stands_for() {
    require!(Official);
    let mut local = local();
    let thread = local.start_thread();

    let (end, items) = run_turn(&mut local, &thread, "say hello world");
    assert_eq!(end["turn"]["status"], "completed");
    assert_eq!(items.last().unwrap()["text"], "hello world");

    let (_, items) = run_turn(
        &mut local,
        &thread,
        "reason First | Second\nrun echo out-$((1+1))\nsay ran it",
    );
    assert_eq!(
        kinds(&items),
        ["userMessage", "reasoning", "commandExecution", "agentMessage"]
    );
    assert_eq!(items[1]["summary"], json!(["First", "Second"]));
    assert_eq!(items[2]["aggregatedOutput"], "out-2\n");
    assert_eq!(items[3]["text"], "ran it");

    let (_, items) = run_turn(&mut local, &thread, "patch note.txt first line");
    assert_eq!(kinds(&items), ["userMessage", "fileChange", "agentMessage"]);
    let (_, items) = run_turn(&mut local, &thread, "replace note.txt first line => second line");
    assert_eq!(items[1]["changes"][0]["kind"]["type"], "update");
    let note = local.work().join("note.txt");
    assert_eq!(std::fs::read_to_string(&note).unwrap(), "second line\n");
    run_turn(&mut local, &thread, "delete note.txt");
    assert!(!note.exists());

    run_turn(&mut local, &thread, "plan look | change | test");
    let planned = local
        .server
        .transcript()
        .iter()
        .any(|(_, message)| message["method"] == "turn/plan/updated");
    assert!(planned, "no turn/plan/updated");
    assert!(local.model.requests().len() >= 10);
}

#[test]
fn leaving_the_sandbox_asks_the_user_first() {
    require!(Official);
    let mut local = local();
    let thread = local.start_thread();
    for (decision, status) in [("accept", "completed"), ("decline", "declined")] {
        local.server.start_turn(&thread, "escalate echo outside");
        let request = local
            .server
            .expect_method("item/commandExecution/requestApproval");
        assert!(
            request["params"]["command"]
                .as_str()
                .unwrap()
                .contains("echo outside")
        );
        local
            .server
            .send(json!({"id": request["id"], "result": {"decision": decision}}));
        let item = local.server.expect("the command's end", |message| {
            message["method"] == "item/completed" && message["params"]["item"]["type"] == "commandExecution"
        });
        assert_eq!(item["params"]["item"]["status"], status);
        local.server.finish_turn();
    }
}

#[test]
fn a_held_stream_stays_open_until_the_gate_is_opened() {
    require!(Official);
    let mut local = local();
    let thread = local.start_thread();
    local.server.start_turn(&thread, "hold door");
    local.model.gate("door").wait_reached(1);
    local.server.expect_method("item/agentMessage/delta");
    local.model.gate("door").open();
    let end = local.server.finish_turn();
    assert_eq!(end["turn"]["items"][0]["text"], "holding door released");
}

#[test]
fn a_held_turn_can_be_interrupted_and_the_next_one_runs() {
    require!(Official);
    let mut local = local();
    let thread = local.start_thread();
    let turn = local.server.start_turn(&thread, "hold for-ever");
    local.server.expect_method("item/agentMessage/delta");
    let params = json!({"threadId": thread, "turnId": turn});
    let end = local
        .server
        .call_until("turn/interrupt", params, "turn/completed");
    assert_eq!(end["params"]["turn"]["status"], "interrupted");
    let (end, _) = run_turn(&mut local, &thread, "say still here");
    assert_eq!(end["turn"]["items"][0]["text"], "still here");
}

#[test]
fn failures_of_the_model_fail_the_turn() {
    require!(Official);
    let mut local = local();
    let thread = local.start_thread();
    for text in ["status 400 no such thing", "cut", "fail insufficient_quota"] {
        let (end, _) = run_turn(&mut local, &thread, text);
        assert_eq!(end["turn"]["status"], "failed", "{text}: {end}");
    }
}

#[test]
fn the_schema_is_generated_once_and_knows_the_methods() {
    require!(Official);
    let folder = codex_testkit::schema(false);
    assert_eq!(folder, codex_testkit::schema(false));
    let requests = std::fs::read_to_string(folder.join("ClientRequest.json")).unwrap();
    assert!(requests.contains("turn/start"));
}

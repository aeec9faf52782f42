//! The conversations about threads: lists, histories, names, copies, and what is refused.

use std::fs;

use codex_testkit::Local;
use serde_json::{Value, json};

use super::conversations::{ASK_COMMAND, Conversation, NOBODY, decide, held, repository, start_with, turn};

/// What is done with threads, and requests that are wrong.
pub(super) const THREADS: &[(&str, Conversation)] = &[
    ("lists", lists),
    ("turns_and_items", turns_and_items),
    ("pages", pages),
    ("name_and_archive", name_and_archive),
    ("delete", delete),
    ("unsubscribe", unsubscribe),
    ("resume_after_restart", resume_after_restart),
    ("resume_with_turns", resume_with_turns),
    ("resume_asks_again", resume_asks_again),
    ("fork", fork),
    ("fork_at_a_turn", fork_at_a_turn),
    ("fork_with_settings", fork_with_settings),
    ("compact", compact),
    ("review", review),
    ("shell_command", shell_command),
    ("inject_items", inject_items),
    ("revert", revert),
    ("goal", goal),
    ("settings", settings),
    ("ephemeral", ephemeral),
    ("ephemeral_fork", ephemeral_fork),
    ("refused_handshake", refused_handshake),
    ("refused_threads", refused_threads),
    ("refused_turns", refused_turns),
    ("refused_parameters", refused_parameters),
];

fn two_turns(it: &mut Local) -> (String, [String; 2]) {
    let thread = it.start_thread();
    let texts = ["run echo first\nsay the first answer", "say the second answer"];
    let turns = texts.map(|text| turn(it, &thread, text));
    (thread, turns)
}

fn lists(it: &mut Local) {
    it.server.call("thread/list", json!({}));
    it.server.call("thread/loaded/list", json!({}));
    let fresh = it.start_thread();
    it.server.call("thread/read", json!({ "threadId": fresh }));
    it.server
        .ask("thread/read", json!({ "threadId": fresh, "includeTurns": true }));
    it.server
        .ask("thread/turns/list", json!({ "threadId": fresh, "limit": 5 }));
    it.server.call("thread/list", json!({}));
    turn(it, &fresh, "say hello");
    it.server.call("thread/list", json!({ "limit": 10 }));
    it.server.call("thread/list", json!({ "limit": 0 }));
    it.server
        .call("thread/list", json!({ "searchTerm": "hello", "limit": 10 }));
    it.server
        .call("thread/list", json!({ "searchTerm": "nothing like it" }));
    it.server
        .call("thread/list", json!({ "sourceKinds": ["cli", "vscode"] }));
    it.server.call("thread/list", json!({ "sourceKinds": ["exec"] }));
    it.server.call("thread/list", json!({ "cwd": it.work() }));
    it.server.call("thread/list", json!({ "cwd": "/elsewhere" }));
    it.server.call("thread/loaded/list", json!({}));
}

fn turns_and_items(it: &mut Local) {
    let (thread, turns) = two_turns(it);
    it.server
        .call("thread/read", json!({ "threadId": thread, "includeTurns": true }));
    for view in ["notLoaded", "summary", "full"] {
        let params = json!({ "threadId": thread, "limit": 5, "itemsView": view });
        it.server.call("thread/turns/list", params);
    }
    let items = json!({ "threadId": thread, "limit": 50 });
    it.server.call("thread/items/list", items);
    let items = json!({ "threadId": thread, "limit": 50, "sortDirection": "desc" });
    it.server.call("thread/items/list", items);
    let items = json!({ "threadId": thread, "turnId": turns[0], "limit": 50 });
    it.server.call("thread/items/list", items);
}

/// Goes through a list page by page with the server's cursors.
fn walk(it: &mut Local, method: &str, mut params: Value) {
    for _ in 0..10 {
        let page = it.server.call(method, params.clone());
        if page["nextCursor"].is_null() {
            return;
        }
        params["cursor"] = page["nextCursor"].clone();
    }
}

fn pages(it: &mut Local) {
    let (thread, _) = two_turns(it);
    walk(it, "thread/turns/list", json!({ "threadId": thread, "limit": 1 }));
    let upwards = json!({ "threadId": thread, "limit": 1, "sortDirection": "asc" });
    walk(it, "thread/turns/list", upwards);
    walk(it, "thread/items/list", json!({ "threadId": thread, "limit": 2 }));
    let downwards = json!({ "threadId": thread, "limit": 2, "sortDirection": "desc" });
    walk(it, "thread/items/list", downwards);
    let page = it
        .server
        .call("thread/turns/list", json!({ "threadId": thread, "limit": 1 }));
    let params =
        json!({ "threadId": thread, "limit": 5, "cursor": page["backwardsCursor"], "sortDirection": "asc" });
    it.server.call("thread/turns/list", params);
    it.server.ask(
        "thread/turns/list",
        json!({ "threadId": thread, "cursor": "zzz" }),
    );
    it.server.ask("thread/list", json!({ "cursor": "zzz" }));
}

fn name_and_archive(it: &mut Local) {
    let thread = it.start_thread();
    turn(it, &thread, "say hello");
    let id = json!({ "threadId": thread });
    let name = json!({ "threadId": thread, "name": "A name" });
    it.server
        .call_until("thread/name/set", name, "thread/name/updated");
    it.server.call("thread/read", id.clone());
    it.server.call("thread/list", json!({ "searchTerm": "A name" }));
    it.server
        .call_until("thread/archive", id.clone(), "thread/archived");
    it.server.call("thread/list", json!({}));
    it.server.call("thread/list", json!({ "archived": true }));
    it.server.ask("thread/resume", id.clone());
    it.server.ask("thread/archive", id.clone());
    it.server
        .call_until("thread/unarchive", id.clone(), "thread/unarchived");
    it.server.ask("thread/unarchive", id);
    it.server.call("thread/list", json!({}));
}

fn delete(it: &mut Local) {
    let thread = it.start_thread();
    turn(it, &thread, "say hello");
    let id = json!({ "threadId": thread });
    it.server
        .call_until("thread/delete", id.clone(), "thread/deleted");
    it.server.call("thread/list", json!({}));
    it.server.ask("thread/read", id.clone());
    it.server.ask("thread/resume", id.clone());
    it.server.ask("thread/delete", id);
}

fn unsubscribe(it: &mut Local) {
    let thread = it.start_thread();
    turn(it, &thread, "say hello");
    let id = json!({ "threadId": thread });
    it.server.call("thread/unsubscribe", id.clone());
    it.server.call("thread/unsubscribe", id.clone());
    it.server
        .call("thread/unsubscribe", json!({ "threadId": NOBODY }));
    it.server.call(
        "thread/resume",
        json!({ "threadId": thread, "excludeTurns": true }),
    );
    turn(it, &thread, "say again");
}

fn restart(it: &mut Local) {
    it.restart();
    it.server.initialize();
}

fn resume_after_restart(it: &mut Local) {
    let (thread, _) = two_turns(it);
    restart(it);
    it.server.call("thread/list", json!({}));
    it.server.call("thread/read", json!({ "threadId": thread }));
    it.server
        .ask("turn/start", json!({ "threadId": thread, "input": [] }));
    it.server.call(
        "thread/resume",
        json!({ "threadId": thread, "excludeTurns": true }),
    );
    turn(it, &thread, "say the third answer");
    it.server
        .call("thread/read", json!({ "threadId": thread, "includeTurns": true }));
}

fn resume_with_turns(it: &mut Local) {
    let (thread, _) = two_turns(it);
    restart(it);
    it.server.call("thread/resume", json!({ "threadId": thread }));
    turn(it, &thread, "say the third answer");
}

fn resume_asks_again(it: &mut Local) {
    let thread = it.start_thread();
    it.server
        .start_turn(&thread, "escalate touch ../outside.txt\nsay asked");
    it.server.expect_method(ASK_COMMAND);
    it.server
        .call("thread/unsubscribe", json!({ "threadId": thread }));
    it.server.request(
        "thread/resume",
        json!({ "threadId": thread, "excludeTurns": true }),
    );
    decide(it, ASK_COMMAND, "accept");
    it.server.finish_turn();
}

fn fork(it: &mut Local) {
    let (thread, _) = two_turns(it);
    let params = json!({ "threadId": thread, "excludeTurns": true });
    let forked = it.server.call_until("thread/fork", params, "thread/started");
    let forked = forked["params"]["thread"]["id"].as_str().unwrap().to_owned();
    turn(it, &forked, "say in the fork");
    it.server
        .call("thread/read", json!({ "threadId": forked, "includeTurns": true }));
    it.server
        .call("thread/turns/list", json!({ "threadId": thread, "limit": 9 }));
    it.server.call("thread/list", json!({}));
}

fn fork_at_a_turn(it: &mut Local) {
    let (thread, turns) = two_turns(it);
    let at = json!({ "threadId": thread, "lastTurnId": turns[0] });
    it.server.call_until("thread/fork", at, "thread/started");
    it.server
        .ask("thread/fork", json!({ "threadId": thread, "lastTurnId": "nope" }));
    it.server.ask("thread/fork", json!({ "threadId": NOBODY }));
}

/// Copies a thread that runs elsewhere with other settings: as it is, and with words of the client's.
fn fork_with_settings(it: &mut Local) {
    repository(it);
    let thread = start_with(
        it,
        json!({ "model": "gpt-5.2", "config": { "model_reasoning_effort": "medium" } }),
    );
    turn(it, &thread, "say hello");
    let elsewhere = it.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let input = json!([{ "type": "text", "text": "say moved" }]);
    let params = json!({ "threadId": thread, "input": input, "cwd": elsewhere, "approvalPolicy": "never",
        "sandboxPolicy": { "type": "dangerFullAccess" } });
    it.server.call_until("turn/start", params, "turn/completed");
    for mut words in [
        json!({}),
        json!({ "cwd": it.work() }),
        json!({ "model": "gpt-5.5", "approvalPolicy": "untrusted", "sandbox": "read-only" }),
        json!({ "config": { "model": "gpt-5.4", "model_reasoning_effort": "low", "approval_policy": "on-request",
            "sandbox_mode": "workspace-write", "sandbox_workspace_write.network_access": true } }),
        json!({ "config": { "sandbox_workspace_write.network_access": true } }),
    ] {
        words["threadId"] = json!(thread);
        words["excludeTurns"] = json!(true);
        it.server.call_until("thread/fork", words, "thread/started");
    }
    it.server.ask(
        "thread/fork",
        json!({ "threadId": thread, "modelProvider": "nope" }),
    );
}

fn compact(it: &mut Local) {
    let (thread, _) = two_turns(it);
    let params = json!({ "threadId": thread });
    it.server
        .call_until("thread/compact/start", params, "turn/completed");
    turn(it, &thread, "say after it");
    it.server.call(
        "thread/turns/list",
        json!({ "threadId": thread, "limit": 9, "itemsView": "full" }),
    );
}

fn review(it: &mut Local) {
    repository(it);
    let thread = it.start_thread();
    let target = json!({ "type": "uncommittedChanges" });
    let params = json!({ "threadId": thread, "target": target, "delivery": "inline" });
    it.server.call_until("review/start", params, "turn/completed");
    it.server.call(
        "thread/turns/list",
        json!({ "threadId": thread, "limit": 9, "itemsView": "full" }),
    );
}

fn shell_command(it: &mut Local) {
    let thread = it.start_thread();
    let command = json!({ "threadId": thread, "command": "echo from the user; exit 4" });
    it.server
        .call_until("thread/shellCommand", command, "turn/completed");
    turn(it, &thread, "say seen");
    it.server
        .call("thread/read", json!({ "threadId": thread, "includeTurns": true }));
    it.server.ask(
        "thread/shellCommand",
        json!({ "threadId": thread, "command": " " }),
    );
}

fn inject_items(it: &mut Local) {
    let thread = it.start_thread();
    let said =
        json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "known" }] });
    it.server.call(
        "thread/inject_items",
        json!({ "threadId": thread, "items": [said] }),
    );
    turn(it, &thread, "say seen");
    it.server
        .ask("thread/inject_items", json!({ "threadId": thread, "items": [] }));
    let wrong = json!({ "threadId": thread, "items": [{ "type": "message" }] });
    it.server.ask("thread/inject_items", wrong);
}

fn revert(it: &mut Local) {
    let (thread, turns) = two_turns(it);
    it.server
        .ask("thread/revert", json!({ "threadId": thread, "turnId": turns[1] }));
    it.server.ask(
        "thread/revert",
        json!({ "threadId": thread, "lastTurnId": turns[0] }),
    );
    let params = json!({ "threadId": thread, "beforeTurnId": turns[1] });
    it.server.call_until("thread/revert", params, "thread/reverted");
    it.server
        .call("thread/turns/list", json!({ "threadId": thread, "limit": 9 }));
    turn(it, &thread, "say after it");
}

fn goal(it: &mut Local) {
    let thread = it.start_thread();
    turn(it, &thread, "say hello");
    let id = json!({ "threadId": thread });
    it.server.ask("thread/goal/get", id.clone());
    let params = json!({ "threadId": thread, "objective": "be done", "status": "paused" });
    it.server
        .call_until("thread/goal/set", params, "thread/goal/updated");
    it.server.ask("thread/goal/get", id.clone());
    it.server
        .call_until("thread/goal/clear", id.clone(), "thread/goal/cleared");
    it.server.ask("thread/goal/get", id);
}

fn settings(it: &mut Local) {
    let thread = it.start_thread();
    turn(it, &thread, "say hello");
    let params = json!({ "threadId": thread, "approvalPolicy": "never", "effort": "high" });
    it.server
        .call_until("thread/settings/update", params, "thread/settings/updated");
    let git = json!({ "branch": "main", "sha": "0123456789012345678901234567890123456789" });
    it.server.ask(
        "thread/metadata/update",
        json!({ "threadId": thread, "gitInfo": git }),
    );
    it.server.call("thread/read", json!({ "threadId": thread }));
    turn(it, &thread, "escalate touch ../outside.txt\nsay refused");
}

fn ephemeral(it: &mut Local) {
    let thread = start_with(it, json!({ "ephemeral": true }));
    let id = json!({ "threadId": thread });
    turn(it, &thread, "run echo first\nsay hello");
    turn(it, &thread, "say again");
    it.server.call("thread/list", json!({}));
    it.server.call("thread/loaded/list", json!({}));
    it.server.ask("thread/read", id.clone());
    let whole = json!({ "threadId": thread, "includeTurns": true });
    it.server.ask("thread/read", whole);
    for method in [
        "thread/turns/list",
        "thread/items/list",
        "thread/resume",
        "thread/goal/get",
        "thread/fork",
        "thread/archive",
        "thread/delete",
    ] {
        it.server.ask(method, id.clone());
    }
    it.server.ask(
        "thread/name/set",
        json!({ "threadId": thread, "name": "nobody's" }),
    );
    it.server.call("thread/unsubscribe", id.clone());
    it.server.ask("thread/read", id);
}

fn ephemeral_fork(it: &mut Local) {
    let thread = it.start_thread();
    turn(it, &thread, "say hello");
    let params = json!({ "threadId": thread, "ephemeral": true, "excludeTurns": true });
    let forked = it.server.call_until("thread/fork", params, "thread/started");
    let forked = forked["params"]["thread"]["id"].as_str().unwrap().to_owned();
    turn(it, &forked, "say aside");
    it.server.call("thread/list", json!({}));
    it.server.call("thread/read", json!({ "threadId": forked }));
    it.server
        .ask("thread/fork", json!({ "threadId": thread, "ephemeral": true }));
}

fn refused_handshake(it: &mut Local) {
    it.server.ask(
        "initialize",
        json!({ "clientInfo": { "name": "again", "version": "1" } }),
    );
    it.restart();
    it.server.ask("thread/list", json!({}));
    it.server.ask("initialize", json!({}));
    let wrong = json!({ "clientInfo": { "name": "new\nline", "version": "1" } });
    it.server.ask("initialize", wrong);
    let stable = json!({ "clientInfo": { "name": "stable", "version": "1" } });
    it.server.call("initialize", stable);
    it.server.ask("thread/start", json!({ "dynamicTools": [] }));
    it.server.ask("process/spawn", json!({}));
}

fn refused_threads(it: &mut Local) {
    let id = json!({ "threadId": NOBODY });
    for method in [
        "thread/read",
        "thread/resume",
        "thread/fork",
        "thread/turns/list",
        "thread/items/list",
        "thread/archive",
        "thread/unarchive",
        "thread/delete",
        "thread/compact/start",
        "thread/goal/get",
        "thread/backgroundTerminals/list",
    ] {
        it.server.ask(method, id.clone());
    }
    let nobody = NOBODY;
    let more = [
        ("thread/name/set", json!({ "threadId": nobody, "name": "n" })),
        (
            "thread/shellCommand",
            json!({ "threadId": nobody, "command": "ls" }),
        ),
        ("turn/start", json!({ "threadId": nobody, "input": [] })),
        ("turn/interrupt", json!({ "threadId": nobody, "turnId": "" })),
        ("thread/read", json!({ "threadId": "thr_123" })),
        ("thread/resume", json!({ "threadId": "thr_123" })),
    ];
    for (method, params) in more {
        it.server.ask(method, params);
    }
}

fn refused_turns(it: &mut Local) {
    let thread = it.start_thread();
    let said = json!([{ "type": "text", "text": "say no" }]);
    it.server
        .ask("turn/interrupt", json!({ "threadId": thread, "turnId": "" }));
    it.server
        .ask("turn/interrupt", json!({ "threadId": thread, "turnId": "nope" }));
    let steer = json!({ "threadId": thread, "expectedTurnId": "nope", "input": said });
    it.server.ask("turn/steer", steer.clone());
    let turn = it.server.start_turn(&thread, "hold it");
    held(&mut it.server, "it");
    it.server.ask("turn/steer", steer);
    it.server.ask(
        "turn/steer",
        json!({ "threadId": thread, "expectedTurnId": turn, "input": [] }),
    );
    it.server
        .ask("turn/interrupt", json!({ "threadId": thread, "turnId": "nope" }));
    it.model.gate("it").open();
    it.server.finish_turn();
    let long = "x".repeat(1_048_577);
    let params = json!({ "threadId": thread, "input": [{ "type": "text", "text": long }] });
    it.server.ask("turn/start", params);
}

fn refused_parameters(it: &mut Local) {
    let refused = [
        ("no/such/method", json!({})),
        ("thread/start", json!({ "sandbox": "no such sandbox" })),
        ("thread/start", json!({ "sandbox": "workspaceWrite" })),
        ("thread/start", json!({ "approvalPolicy": "on-failure" })),
        ("thread/start", json!({ "modelProvider": "nope" })),
        ("thread/start", json!({ "cwd": 5 })),
        ("thread/read", json!({})),
        ("thread/list", json!({ "limit": "many" })),
        ("thread/list", json!({ "limit": -1 })),
        ("thread/list", json!({ "sortKey": "nope" })),
        ("thread/loaded/list", Value::Null),
        ("turn/start", json!({ "threadId": NOBODY })),
        ("turn/start", json!({ "threadId": NOBODY, "input": "text" })),
        (
            "review/start",
            json!({ "threadId": NOBODY, "target": { "type": "nope" } }),
        ),
    ];
    for (method, params) in refused {
        it.server.ask(method, params);
    }
}

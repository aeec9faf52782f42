//! Turns: begun, steered, interrupted, streamed.

use serde_json::json;

use crate::{
    app::{Mood, pane::Turn},
    effect::Effect,
    testing::{Desk, agent, changed, opened, refused, turn, user},
};

const RUNNING: &str = "inProgress";

fn started(desk: &mut Desk) {
    desk.notify(
        "devbox",
        "turn/started",
        changed("t1", turn("u1", RUNNING, json!([]))),
    );
}

/// A desk whose first prompt is on its way: `turn/start` was sent and not answered.
fn sending() -> Desk {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("hello<Enter>");
    desk.answer("thread/start", opened("t1"));
    desk
}

fn answered(desk: &mut Desk) {
    desk.answer("turn/start", json!({"turn": turn("u1", RUNNING, json!([]))}));
}

#[test]
fn the_answer_to_turn_start_and_turn_started_come_in_any_order() {
    for answer_first in [true, false] {
        let mut desk = sending();
        if answer_first {
            answered(&mut desk);
            started(&mut desk);
        } else {
            started(&mut desk);
            answered(&mut desk);
        }
        let pane = desk.app.current_pane().unwrap();
        assert!(
            matches!(&pane.turn, Turn::Running { id, .. } if id.0 == "u1"),
            "{:?}",
            pane.turn
        );
        desk.end_turn("devbox", "t1", "u1", "completed");
        assert_eq!(desk.app.current_pane().unwrap().turn, Turn::Idle);
    }
}

#[test]
fn an_answer_after_the_turns_end_starts_nothing() {
    let mut desk = sending();
    desk.end_turn("devbox", "t1", "u1", "completed");
    answered(&mut desk);
    assert_eq!(desk.app.current_pane().unwrap().turn, Turn::Idle);
}

#[test]
fn an_interrupt_before_the_turn_started_waits_for_it() {
    let mut desk = sending();
    answered(&mut desk);
    desk.keys("<Esc>");
    assert!(
        !desk.methods().contains(&"turn/interrupt"),
        "the server would refuse it"
    );
    desk.shows("interrupting…");
    started(&mut desk);
    let (_, _, _, params) = desk.take_call("turn/interrupt");
    assert_eq!(params, json!({"threadId": "t1", "turnId": "u1"}));
    desk.end_turn("devbox", "t1", "u1", "interrupted");
    desk.shows("interrupted");
    desk.hides("interrupting…");
}

#[test]
fn escape_and_ctrl_c_interrupt_a_running_turn_once() {
    for key in ["<Esc>", "<C-c>"] {
        let mut desk = Desk::ready(&["devbox"]);
        desk.open_thread("devbox", "t1");
        desk.keys(key);
        desk.take_call("turn/interrupt");
        assert!(!desk.effects.contains(&Effect::Quit));
    }
}

#[test]
fn enter_steers_while_a_turn_works_and_begins_one_when_it_just_ended() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.shows("Enter steers");
    desk.keys("faster<Enter>");
    let params = desk.fail("turn/steer", refused("no active turn to steer"));
    assert_eq!(params["expectedTurnId"], "u1");
    let again = desk.answer("turn/start", json!({"turn": turn("u2", RUNNING, json!([]))}));
    assert_eq!(again["input"][0]["text"], "faster");
    assert_eq!(
        again["clientUserMessageId"], params["clientUserMessageId"],
        "the same prompt, not a second one"
    );
}

#[test]
fn a_prompt_stands_in_the_transcript_once() {
    let mut desk = sending();
    desk.shows("sending…");
    let sent = desk.answer("turn/start", json!({"turn": turn("u1", RUNNING, json!([]))}));
    started(&mut desk);
    let mut item = user("m1", "hello");
    item["clientId"] = sent["clientUserMessageId"].clone();
    desk.item("devbox", "t1", "u1", "item/started", item.clone());
    desk.item("devbox", "t1", "u1", "item/completed", item);
    let screen = desk.screen(100, 30);
    assert_eq!(screen.matches("› hello").count(), 1, "{screen}");
    assert!(!screen.contains("sending"), "{screen}");
}

#[test]
fn a_server_that_does_not_repeat_our_identity_leaves_no_double_either() {
    let mut desk = sending();
    answered(&mut desk);
    started(&mut desk);
    desk.item("devbox", "t1", "u1", "item/completed", user("m1", "hello"));
    assert_eq!(desk.screen(100, 30).matches("› hello").count(), 1);
}

#[test]
fn deltas_build_an_item_and_its_completion_is_the_truth() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    for part in ["I will ", "look."] {
        let params = json!({"threadId": "t1", "turnId": "u1", "itemId": "a1", "delta": part});
        desk.notify("devbox", "item/agentMessage/delta", params);
    }
    desk.shows("I will look.");
    // A report of the beginning that comes late must not take the text away.
    desk.item("devbox", "t1", "u1", "item/started", agent("a1", ""));
    desk.shows("I will look.");
    desk.item(
        "devbox",
        "t1",
        "u1",
        "item/completed",
        agent("a1", "I will look closely."),
    );
    desk.shows("I will look closely.");
    let late = json!({"threadId": "t1", "turnId": "u1", "itemId": "a1", "delta": "GARBAGE"});
    desk.notify("devbox", "item/agentMessage/delta", late);
    desk.hides("GARBAGE");
}

#[test]
fn a_command_may_end_after_its_turn() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let command = |status: &str, output: serde_json::Value| json!({"type": "commandExecution", "id": "c1", "command": "make", "status": status, "aggregatedOutput": output, "exitCode": 0});
    desk.item(
        "devbox",
        "t1",
        "u1",
        "item/started",
        command(RUNNING, json!(null)),
    );
    desk.end_turn("devbox", "t1", "u1", "completed");
    let params = json!({"threadId": "t1", "turnId": "u1", "itemId": "c1", "delta": "linking\n"});
    desk.notify("devbox", "item/commandExecution/outputDelta", params);
    desk.shows("linking");
    desk.item(
        "devbox",
        "t1",
        "u1",
        "item/completed",
        command("completed", json!("all\nbuilt\n")),
    );
    desk.shows("built");
    desk.hides("linking");
    assert_eq!(
        desk.app.current_pane().unwrap().turn,
        Turn::Idle,
        "the late command starts no turn"
    );
}

#[test]
fn a_command_that_an_interrupt_kept_from_beginning_does_not_run_for_ever() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let command = |id: &str, process: serde_json::Value| {
        json!({"type": "commandExecution", "id": id, "command": format!("do {id}"), "cwd": "/srv",
            "status": "inProgress", "processId": process})
    };
    desk.item(
        "devbox",
        "t1",
        "u1",
        "item/started",
        command("waits", json!(null)),
    );
    desk.end_turn("devbox", "t1", "u1", "interrupted");
    desk.shows("unfinished");
    desk.hides("running");
    desk.item(
        "devbox",
        "t1",
        "u2",
        "item/started",
        command("works", json!("77")),
    );
    desk.end_turn("devbox", "t1", "u2", "interrupted");
    desk.shows("running");
}

#[test]
fn a_retry_is_shown_in_passing_and_the_final_error_stays() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let error = json!({"message": "Reconnecting... 1/5", "codexErrorInfo": "other"});
    desk.notify(
        "devbox",
        "error",
        json!({"threadId": "t1", "turnId": "u1", "error": error, "willRetry": true}),
    );
    desk.shows("Reconnecting... 1/5");
    let mut failed = turn("u1", "failed", json!([]));
    failed["error"] = json!({"message": "stream disconnected"});
    desk.notify("devbox", "turn/completed", changed("t1", failed));
    desk.hides("Reconnecting");
    desk.shows("stream disconnected");
    desk.shows("failed");
}

#[test]
fn unknown_items_and_notifications_do_no_harm() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let item = json!({"type": "hologram", "id": "h1", "depth": 3});
    desk.item("devbox", "t1", "u1", "item/completed", item);
    desk.item(
        "devbox",
        "t1",
        "u1",
        "item/completed",
        json!({"type": "nameless"}),
    );
    desk.feed(crate::event::Event::Notification(
        "devbox".into(),
        codex_protocol::ServerNotification::parse("thread/hologram", None),
    ));
    desk.shows("hologram");
}

#[test]
fn a_sub_agents_events_make_a_thread_of_its_own_in_the_list() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.notify(
        "devbox",
        "turn/started",
        changed("sub", turn("s1", RUNNING, json!([]))),
    );
    desk.item("devbox", "sub", "s1", "item/completed", agent("a9", "from below"));
    desk.shows("sub-agent");
    desk.hides("from below");
    let pane = desk.app.panes.values().find(|it| it.is_sub_agent).unwrap().id;
    assert_eq!(desk.app.mood(pane), Mood::Working);
}

#[test]
fn a_turn_that_ends_elsewhere_is_done_until_it_is_looked_at_and_rings_when_unfocused() {
    let mut desk = Desk::ready(&["devbox", "gpu1"]);
    desk.open_thread("devbox", "t1");
    let pane = desk.app.current.unwrap();
    desk.keys("<A-2>");
    assert_ne!(desk.app.current, Some(pane));
    desk.feed(crate::event::Event::Terminal(crossterm::event::Event::FocusLost));
    desk.end_turn("devbox", "t1", "u1", "completed");
    assert!(desk.effects.contains(&Effect::Bell));
    assert_eq!(desk.app.mood(pane), Mood::Done);
    desk.keys("<Tab>");
    assert_eq!(desk.app.current, Some(pane));
    assert_eq!(desk.app.mood(pane), Mood::Idle);
}

#[test]
fn plans_tokens_and_warnings_are_shown() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let plan =
        json!([{"step": "read the code", "status": "completed"}, {"step": "fix it", "status": "inProgress"}]);
    desk.notify(
        "devbox",
        "turn/plan/updated",
        json!({"threadId": "t1", "turnId": "u1", "plan": plan}),
    );
    desk.shows("fix it");
    let usage =
        json!({"total": {"totalTokens": 12345}, "last": {"totalTokens": 1000}, "modelContextWindow": 10000});
    desk.notify(
        "devbox",
        "thread/tokenUsage/updated",
        json!({"threadId": "t1", "tokenUsage": usage}),
    );
    desk.shows("12.3k tokens, 10 % of window");
    desk.notify(
        "devbox",
        "configWarning",
        json!({"summary": "odd key", "details": "line 3"}),
    );
    desk.shows("odd key");
    desk.notify(
        "devbox",
        "warning",
        json!({"threadId": "t1", "message": "no metadata"}),
    );
    desk.shows("no metadata");
}

#[test]
fn a_shell_command_says_where_it_runs_and_that_nothing_confines_it() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("!make test");
    desk.shows("runs on devbox as you, outside the sandbox");
    desk.keys("<Enter>");
    desk.answer("thread/start", opened("t1"));
    let (_, _, _, params) = desk.take_call("thread/shellCommand");
    assert_eq!(params, json!({"threadId": "t1", "command": "make test"}));
    assert!(!desk.methods().contains(&"turn/start"));
    desk.shows("`make test` runs on devbox as you");
}

#[test]
fn a_directory_that_is_not_there_is_told_and_the_prompt_is_kept() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("/new /srv/gone<Enter>");
    desk.fail(
        "fs/getMetadata",
        refused("No such file or directory (os error 2)"),
    );
    desk.shows("directory `/srv/gone` on devbox: No such file");
    desk.keys("fix it<Enter>");
    desk.answer("fs/getMetadata", json!({"isDirectory": false, "isFile": true}));
    desk.shows("it is not a directory");
    let pane = desk.app.current_pane().unwrap();
    assert_eq!(pane.composer.text(), "fix it");
    assert!(pane.outgoing.is_empty());
    assert!(
        !desk.methods().contains(&"thread/start"),
        "the server would take the directory"
    );
    desk.keys("<Enter>");
    desk.answer("fs/getMetadata", json!({"isDirectory": true, "isFile": false}));
    let params = desk.answer("thread/start", opened("t1"));
    assert_eq!(params["cwd"], "/srv/gone");
    assert_eq!(desk.take_call("turn/start").3["input"][0]["text"], "fix it");
}

#[test]
fn a_prompt_that_the_server_refuses_comes_back_into_the_draft() {
    let mut desk = sending();
    desk.fail("turn/start", refused("unknown model"));
    desk.shows("unknown model");
    assert_eq!(desk.app.current_pane().unwrap().composer.text(), "hello");
    assert_eq!(desk.app.current_pane().unwrap().turn, Turn::Idle);
}

#[test]
fn our_own_thread_is_in_the_list_once_whatever_comes_first() {
    for announced_first in [true, false] {
        let mut desk = Desk::ready(&["devbox"]);
        desk.keys("hello<Enter>");
        let announcement = json!({"thread": opened("t1")["thread"]});
        if announced_first {
            desk.notify("devbox", "thread/started", announcement.clone());
        }
        desk.answer("thread/start", opened("t1"));
        desk.notify("devbox", "thread/started", announcement);
        assert_eq!(desk.app.panes.len(), 1, "announced first: {announced_first}");
    }
}

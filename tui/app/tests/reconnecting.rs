//! A connection that is lost and comes back.

use serde_json::json;

use crate::{
    app::{pane::Delivery, scroll::Scroll},
    testing::{Desk, agent, changed, lost, opened, ready, refused, turn, user},
};

/// Comes back and resumes; the snapshot is these turns, newest first.
fn come_back(desk: &mut Desk, turns: serde_json::Value) {
    desk.initialized("devbox");
    let now = desk.now;
    desk.status("devbox", ready(now));
    let params = desk.answer("thread/resume", opened("t1"));
    assert_eq!(params, json!({"threadId": "t1", "excludeTurns": true}));
    let params = desk.answer("thread/turns/list", json!({"data": turns}));
    assert_eq!(
        params,
        json!({"threadId": "t1", "limit": 20, "itemsView": "full"})
    );
}

/// The first line of the right side with this text.
fn transcript_line(screen: &str, text: &str) -> Option<String> {
    let mut right = screen.lines().skip(2).filter_map(|it| it.split_once('│'));
    right
        .find(|(_, it)| it.contains(text))
        .map(|(_, it)| it.to_owned())
}

#[test]
fn the_snapshot_replaces_what_was_known() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let delta = json!({"threadId": "t1", "turnId": "u1", "itemId": "a1", "delta": "half an ans"});
    desk.notify("devbox", "item/agentMessage/delta", delta);
    desk.shows("half an ans");
    desk.lose("devbox");
    let items = json!([user("m1", "hello"), agent("a2", "the whole answer")]);
    come_back(&mut desk, json!([turn("u1", "completed", items)]));
    let screen = desk.screen(100, 30);
    assert!(screen.contains("the whole answer"), "{screen}");
    assert!(
        !screen.contains("half an ans"),
        "the server does not have it:\n{screen}"
    );
    assert_eq!(screen.matches("› hello").count(), 1, "{screen}");
}

#[test]
fn what_is_heard_in_the_new_connection_is_newer_than_the_snapshot() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.lose("devbox");
    desk.initialized("devbox");
    let now = desk.now;
    desk.status("devbox", ready(now));
    desk.answer("thread/resume", opened("t1"));
    // The turn goes on between the answer to resume and that to the list.
    desk.item("devbox", "t1", "u1", "item/completed", agent("a1", "first"));
    desk.notify(
        "devbox",
        "turn/started",
        changed("t1", turn("u2", "inProgress", json!([]))),
    );
    desk.item("devbox", "t1", "u2", "item/completed", agent("a2", "second"));
    let snapshot = json!([turn("u1", "completed", json!([user("m1", "hello")]))]);
    desk.answer("thread/turns/list", json!({"data": snapshot}));
    let screen = desk.screen(100, 30);
    let place = |text: &str| {
        screen
            .find(text)
            .unwrap_or_else(|| panic!("no {text:?} on:\n{screen}"))
    };
    assert!(place("› hello") < place("first"), "{screen}");
    assert!(place("first") < place("second"), "{screen}");
}

#[test]
fn the_snapshot_and_live_reports_of_the_same_item_are_one() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.lose("devbox");
    let running = turn(
        "u1",
        "inProgress",
        json!([user("m1", "hello"), agent("a1", "work in")]),
    );
    come_back(&mut desk, json!([running]));
    let delta = json!({"threadId": "t1", "turnId": "u1", "itemId": "a1", "delta": " progress"});
    desk.notify("devbox", "item/agentMessage/delta", delta);
    desk.shows("work in progress");
    desk.item(
        "devbox",
        "t1",
        "u1",
        "item/completed",
        agent("a1", "work in progress, done"),
    );
    let screen = desk.screen(100, 30);
    assert_eq!(screen.matches("work in progress").count(), 1, "{screen}");
}

#[test]
fn draft_and_scroll_position_survive() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let lines: Vec<String> = (0..80).map(|it| format!("line {it}")).collect();
    let items = json!([user("m1", "hello"), agent("a1", &lines.join("\n\n"))]);
    desk.item("devbox", "t1", "u1", "item/completed", items[1].clone());
    desk.end_turn("devbox", "t1", "u1", "completed");
    desk.screen(100, 30);
    desk.keys("not sent yet<PageUp>");
    let before = desk.screen(100, 30);
    assert_ne!(desk.app.current_pane().unwrap().scroll, Scroll::Follow);
    desk.lose("devbox");
    desk.screen(100, 30);
    come_back(&mut desk, json!([turn("u1", "completed", items)]));
    desk.answer("thread/list", json!({"data": []}));
    let after = desk.screen(100, 30);
    assert!(after.contains("not sent yet"), "{after}");
    let first = |screen: &str| transcript_line(screen, "line ");
    assert_eq!(first(&before), first(&after));
}

#[test]
fn a_prompt_lost_on_the_way_is_offered_again_and_never_sent_by_itself() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.end_turn("devbox", "t1", "u1", "completed");
    desk.keys("second<Enter>");
    desk.fail("turn/start", lost());
    desk.lose("devbox");
    desk.shows("the connection was lost before an answer came");
    come_back(
        &mut desk,
        json!([turn("u1", "completed", json!([user("m1", "hello")]))]),
    );
    desk.shows("Ctrl+R sends it again");
    assert!(!desk.methods().contains(&"turn/start"));
    desk.keys("<C-r>");
    assert_eq!(desk.take_call("turn/start").3["input"][0]["text"], "second");
    assert!(!desk.methods().contains(&"turn/start"), "once");
}

#[test]
fn a_lost_prompt_can_be_taken_back_into_the_draft() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.end_turn("devbox", "t1", "u1", "completed");
    desk.keys("second<Enter>");
    // The answer may also come after the status.
    desk.lose("devbox");
    desk.fail("turn/start", lost());
    come_back(&mut desk, json!([]));
    desk.keys("<C-x>");
    let pane = desk.app.current_pane().unwrap();
    assert_eq!(pane.composer.text(), "second");
    assert!(pane.outgoing.is_empty());
}

#[test]
fn a_prompt_that_arrived_although_its_answer_was_lost_is_not_offered_again() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.end_turn("devbox", "t1", "u1", "completed");
    desk.keys("second<Enter>");
    let sent = desk.fail("turn/start", lost());
    desk.lose("devbox");
    let mut arrived = user("m2", "second");
    arrived["clientId"] = sent["clientUserMessageId"].clone();
    let turns = json!([
        turn("u2", "completed", json!([arrived])),
        turn("u1", "completed", json!([user("m1", "hello")])),
    ]);
    come_back(&mut desk, turns);
    assert!(desk.app.current_pane().unwrap().outgoing.is_empty());
    assert_eq!(desk.screen(100, 30).matches("› second").count(), 1);
}

#[test]
fn an_older_prompt_with_the_same_words_is_not_taken_for_the_lost_one() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.end_turn("devbox", "t1", "u1", "completed");
    desk.keys("hello<Enter>");
    desk.fail("turn/start", lost());
    desk.lose("devbox");
    come_back(
        &mut desk,
        json!([turn("u1", "completed", json!([user("m1", "hello")]))]),
    );
    let states: Vec<_> = desk
        .app
        .current_pane()
        .unwrap()
        .outgoing
        .iter()
        .map(|it| it.state)
        .collect();
    assert_eq!(states, [Delivery::NotSent]);
}

#[test]
fn a_thread_that_never_ran_is_a_draft_again() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("hello<Enter>");
    desk.answer("thread/start", opened("t1"));
    desk.fail("turn/start", lost());
    desk.lose("devbox");
    desk.initialized("devbox");
    let now = desk.now;
    desk.status("devbox", ready(now));
    desk.fail("thread/resume", refused("no rollout found for thread id t1"));
    desk.keys("<C-r>");
    desk.answer("fs/getMetadata", json!({"isDirectory": true, "isFile": false}));
    desk.answer("thread/start", opened("t2"));
    let params = desk.take_call("turn/start").3;
    assert_eq!(
        (&params["threadId"], &params["input"][0]["text"]),
        (&json!("t2"), &json!("hello"))
    );
}

#[test]
fn a_prompt_typed_while_the_host_is_away_stays_and_says_so() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.lose("devbox");
    desk.effects.clear();
    desk.keys("later<Enter>");
    desk.shows("Nothing was sent, the draft stays");
    assert_eq!(desk.app.current_pane().unwrap().composer.text(), "later");
    assert!(desk.methods().is_empty());
}

#[test]
fn older_turns_come_when_the_beginning_is_in_sight() {
    let mut desk = Desk::ready(&["devbox"]);
    let thread = json!({"id": "t1", "preview": "old work", "status": {"type": "notLoaded"}, "updatedAt": 5});
    desk.lose("devbox");
    desk.initialized("devbox");
    let now = desk.now;
    desk.status("devbox", ready(now));
    desk.answer("thread/list", json!({"data": [thread]}));
    desk.keys("<A-2>");
    desk.answer("thread/resume", opened("t1"));
    let long: Vec<String> = (0..60).map(|it| format!("new {it}")).collect();
    let page = json!([turn("u9", "completed", json!([agent("a9", &long.join("\n\n"))]))]);
    desk.answer("thread/turns/list", json!({"data": page, "nextCursor": "c1"}));
    desk.screen(100, 30);
    assert!(
        !desk.methods().contains(&"thread/turns/list"),
        "the end is shown, the beginning is far"
    );
    desk.keys("<C-o><C-o>g");
    let before = desk.screen(100, 30);
    let params = desk.answer(
        "thread/turns/list",
        json!({"data": [turn("u8", "completed", json!([agent("a8", "ancient")]))]}),
    );
    assert_eq!(params["cursor"], "c1");
    let after = desk.screen(100, 30);
    let first = |screen: &str| transcript_line(screen, "new ");
    assert_eq!(first(&before), first(&after), "the window stays on its lines");
    desk.keys("<PageUp>");
    desk.shows("ancient");
    assert!(
        !desk.methods().contains(&"thread/turns/list"),
        "there is nothing before it"
    );
}

#[test]
fn a_host_that_comes_back_gets_no_thread_that_nobody_asked_for() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let panes = desk.app.panes.len();
    desk.lose("devbox");
    come_back(&mut desk, json!([]));
    assert_eq!(desk.app.panes.len(), panes);
}

#[test]
fn enter_opens_a_thread_again_that_could_not_be_opened_and_keeps_the_draft() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.lose("devbox");
    desk.initialized("devbox");
    let now = desk.now;
    desk.status("devbox", ready(now));
    desk.fail("thread/resume", refused("thread t1 already has an active writer"));
    desk.shows("could not be opened");
    desk.keys("go on<Enter>");
    desk.shows("› go on");
    desk.answer("thread/resume", opened("t1"));
    desk.answer("thread/turns/list", json!({"data": []}));
    desk.keys("<Enter>");
    desk.take_call("turn/start");
}

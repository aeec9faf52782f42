//! The draft.

use std::time::Duration;

use serde_json::json;

use crate::{
    effect::Effect,
    event::Event,
    testing::{Desk, opened},
};

fn draft(desk: &Desk) -> &str {
    desk.app.current_pane().unwrap().composer.text()
}

#[test]
fn every_terminal_has_a_key_for_a_new_line() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("a<S-Enter>b<A-Enter>c<C-j>d");
    assert_eq!(draft(&desk), "a\nb\nc\nd");
}

#[test]
fn text_is_edited_as_in_a_shell() {
    for (keys, expected) in [
        ("one two<C-w>", "one "),
        ("one two<C-a>x", "xone two"),
        ("one two<C-a><C-k>", ""),
        ("one two<C-u>", ""),
        ("one<C-a><Right><Delete>", "oe"),
        ("one two<A-b>X", "one Xtwo"),
        ("one two<C-a><A-f>X", "oneX two"),
        ("one two<C-a><A-d>", " two"),
        ("añ<Backspace>b", "ab"),
        ("👩‍👩‍👧x<Left><Backspace>", "x"),
        ("one<Home>X<End>Y", "XoneY"),
        ("ab<C-a><C-d>", "b"),
    ] {
        let mut desk = Desk::ready(&["devbox"]);
        desk.keys(keys);
        assert_eq!(draft(&desk), expected, "{keys}");
    }
}

#[test]
fn a_big_paste_collapses_sends_nothing_and_goes_out_whole() {
    let mut desk = Desk::ready(&["devbox"]);
    let text = "line\r\n".repeat(214);
    desk.keys("look: ");
    desk.paste(&text);
    desk.paste(&text);
    assert_eq!(draft(&desk), "look: [pasted 214 lines][pasted 214 lines #2]");
    desk.keys("<Backspace>");
    assert_eq!(draft(&desk), "look: [pasted 214 lines]", "a mark goes as a whole");
    assert!(
        !desk.methods().contains(&"thread/start"),
        "a line break in a paste is text"
    );
    desk.keys("<Enter>");
    desk.answer("thread/start", opened("t1"));
    let sent = desk.take_call("turn/start").3;
    assert_eq!(
        sent["input"][0]["text"],
        format!("look: {}", "line\n".repeat(214))
    );
}

#[test]
fn a_collapsed_paste_can_be_shown() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.paste(&"x\n".repeat(20));
    desk.keys("<A-e>");
    assert_eq!(draft(&desk), "x\n".repeat(20));
}

#[test]
fn earlier_prompts_come_back_by_host_and_the_draft_after_them() {
    let mut desk = Desk::ready(&["devbox", "gpu1"]);
    desk.keys("first<Enter>");
    desk.answer("thread/start", opened("t1"));
    desk.keys("second<Enter>draft<Up><Up>");
    assert_eq!(draft(&desk), "first");
    desk.keys("<Down><Down>");
    assert_eq!(draft(&desk), "draft");
    desk.keys("<A-2><Up>");
    assert_eq!(draft(&desk), "", "another host, another history");
}

#[test]
fn drafts_belong_to_their_threads() {
    let mut desk = Desk::ready(&["devbox", "gpu1"]);
    desk.keys("for devbox<A-2>for gpu1<A-1>");
    assert_eq!(draft(&desk), "for devbox");
}

#[test]
fn the_editor_gets_the_whole_draft_and_brings_it_back() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("long");
    desk.paste(&"x\n".repeat(20));
    desk.keys("<C-g>");
    assert!(
        desk.effects
            .contains(&Effect::Edit(format!("long{}", "x\n".repeat(20))))
    );
    desk.feed(Event::Edited(Some("edited".to_owned())));
    assert_eq!(draft(&desk), "edited");
    desk.feed(Event::Edited(None));
    assert_eq!(draft(&desk), "edited");
}

#[test]
fn slash_commands_complete_and_run() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("/re");
    desk.shows("/resume [WORDS]");
    desk.shows("/rename NAME");
    desk.keys("<Down><Tab>");
    assert_eq!(draft(&desk), "/rename ");
    desk.keys("<C-u>/comp<Enter>");
    desk.shows("this needs a thread that is open");
    desk.open_thread("devbox", "t1");
    desk.keys("/rename better name<Enter>");
    assert_eq!(
        desk.take_call("thread/name/set").3,
        json!({"threadId": "t1", "name": "better name"})
    );
    desk.keys("/compact<Enter>");
    desk.take_call("thread/compact/start");
    desk.keys("/interrupt<Enter>");
    desk.take_call("turn/interrupt");
}

#[test]
fn a_path_at_the_beginning_is_a_prompt() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("/etc/hosts looks odd<Enter>");
    desk.answer("thread/start", opened("t1"));
    assert_eq!(
        desk.take_call("turn/start").3["input"][0]["text"],
        "/etc/hosts looks odd"
    );
}

#[test]
fn a_question_mark_is_help_only_while_nothing_is_typed() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("why?");
    assert_eq!(draft(&desk), "why?");
    desk.keys("<C-u>?");
    desk.shows("Help: composer");
    desk.keys("steer");
    desk.shows("send; while a turn works: steer it");
    desk.hides("suspend");
    desk.keys("<Esc>");
    desk.hides("Help: composer");
}

#[test]
fn ctrl_c_clears_then_asks_then_quits_and_tells_what_stops() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.keys("text<C-c>");
    assert_eq!(draft(&desk), "");
    assert!(!desk.methods().contains(&"turn/interrupt"));
    desk.keys("<C-c>");
    desk.shows("Ctrl+C again quits and stops 1 working");
    assert!(!desk.effects.contains(&Effect::Quit));
    desk.pass(Duration::from_millis(1001));
    desk.keys("<C-c>");
    assert!(
        !desk.effects.contains(&Effect::Quit),
        "too late for the first one"
    );
    desk.keys("<C-c>");
    assert!(desk.effects.contains(&Effect::Quit));
}

#[test]
fn turns_of_a_server_that_was_there_before_us_need_no_warning() {
    let mut desk = Desk::ready(&["ws://127.0.0.1:4500", "devbox"]);
    desk.open_thread("ws://127.0.0.1:4500", "t1");
    desk.keys("<A-2>");
    desk.open_thread("devbox", "t2");
    desk.keys("<C-d>");
    desk.shows("Ctrl+C again quits and stops 1 working");
    let farewell = desk.app.farewell().unwrap();
    assert_eq!(
        farewell,
        "threads that were working and stop with their servers: 1\nthreads that go on working on their hosts: 1"
    );
    let mut desk = Desk::ready(&["ws://127.0.0.1:4500"]);
    desk.open_thread("ws://127.0.0.1:4500", "t1");
    desk.keys("<C-d>");
    assert!(desk.effects.contains(&Effect::Quit));
}

#[test]
fn ctrl_d_quits_only_with_an_empty_draft_and_never_a_working_turn_by_surprise() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("a<C-d>");
    assert!(!desk.effects.contains(&Effect::Quit));
    desk.keys("<C-u>");
    desk.open_thread("devbox", "t1");
    desk.keys("<C-d>");
    assert!(!desk.effects.contains(&Effect::Quit), "a turn would stop");
    desk.keys("<C-d>");
    assert!(desk.effects.contains(&Effect::Quit));
}

#[test]
fn the_last_answer_is_copied() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let item = json!({"type": "agentMessage", "id": "a1", "text": "the answer"});
    desk.item("devbox", "t1", "u1", "item/completed", item);
    desk.keys("/copy<Enter>");
    assert!(desk.effects.contains(&Effect::Copy("the answer".to_owned())));
}

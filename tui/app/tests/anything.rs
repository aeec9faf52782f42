//! Whatever happens, in whatever order, at whatever size: nothing panics, and what must hold holds.

use std::time::Duration;

use codex_hosts::{Failure, FailureKind, Hop, HostKeyQuestion, Phase, Prompt, Question, QuestionId, Status};
use codex_protocol::ClientRequest;
use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    effect::Effect,
    event::Event,
    testing::{Desk, agent, changed, lost, opened, ready, refused, turn, user},
};

#[derive(Clone, Debug)]
enum Step {
    Key(KeyCode, KeyModifiers),
    Paste(String),
    Draw(u16, u16),
    Pass(u64),
    Status(u8),
    Initialized,
    Notify(&'static str, Value),
    Ask(i64, &'static str, Value),
    Login(u64, u8),
    Withdraw(u64),
    /// Answers the oldest open call: well, with a refusal, or not at all because the connection was lost.
    Answer(u8),
    Edited,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/!? \n\t]{0,12}",
        Just("\u{1b}[31mred\u{1b}]0;x\u{7}".to_owned()),
        Just("漢字👩‍👩‍👧é\u{202e}\u{200b}".to_owned()),
        "\\PC{0,20}",
        Just("word ".repeat(300)),
        Just("line\n".repeat(50)),
    ]
}

fn id() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c")]
}

fn item() -> impl Strategy<Value = Value> {
    (id(), text(), 0..7_u8).prop_map(|(id, text, kind)| match kind {
        0 => agent(id, &text),
        1 => user(id, &text),
        2 => json!({"type": "commandExecution", "id": id, "command": text, "status": "inProgress", "aggregatedOutput": text}),
        3 => json!({"type": "fileChange", "id": id, "status": "completed", "changes": [{"path": text, "kind": {"type": "update"}, "diff": text}]}),
        4 => json!({"type": "reasoning", "id": id, "summary": [text]}),
        5 => json!({"type": text}),
        _ => json!({"type": "plan", "id": id, "text": text}),
    })
}

fn notification() -> impl Strategy<Value = Step> {
    let thread = prop_oneof![Just("t1"), Just("t2"), Just("sub")];
    let status = prop_oneof![
        Just("completed"),
        Just("interrupted"),
        Just("failed"),
        Just("inProgress"),
        Just("odd")
    ];
    (thread, id(), item(), text(), status, 0..14_u8).prop_map(|(thread, id, item, text, status, kind)| {
        let of_item = json!({"threadId": thread, "turnId": id, "item": item});
        let delta = json!({"threadId": thread, "turnId": id, "itemId": id, "delta": text, "summaryIndex": text.len() * 7});
        match kind {
            0 => Step::Notify("turn/started", changed(thread, turn(id, "inProgress", json!([])))),
            1 => Step::Notify("turn/completed", changed(thread, turn(id, status, json!([item])))),
            2 => Step::Notify("item/started", of_item),
            3 => Step::Notify("item/completed", of_item),
            4 => Step::Notify("item/agentMessage/delta", delta),
            5 => Step::Notify("item/commandExecution/outputDelta", delta),
            6 => Step::Notify("item/reasoning/summaryTextDelta", delta),
            7 => Step::Notify("thread/started", json!({"thread": opened(thread)["thread"]})),
            8 => Step::Notify("thread/archived", json!({"threadId": thread})),
            9 => Step::Notify("thread/name/updated", json!({"threadId": thread, "threadName": text})),
            10 => Step::Notify("warning", json!({"threadId": thread, "message": text})),
            11 => Step::Notify("serverRequest/resolved", json!({"threadId": thread, "requestId": 1})),
            12 => Step::Notify("thread/closed", json!({"threadId": thread})),
            _ => Step::Notify("error", json!({"threadId": thread, "turnId": id, "error": {"message": text}, "willRetry": true})),
        }
    })
}

fn request() -> impl Strategy<Value = Step> {
    (0..4_i64, text(), 0..5_u8).prop_map(|(id, text, kind)| {
        let base = |mut it: Value| {
            it["threadId"] = "t1".into();
            it["turnId"] = "a".into();
            it["itemId"] = "a".into();
            it
        };
        match kind {
            0 => Step::Ask(id, "item/commandExecution/requestApproval", base(json!({"command": text, "cwd": text}))),
            1 => Step::Ask(id, "item/fileChange/requestApproval", base(json!({"reason": text}))),
            2 => {
                let questions = json!([{"id": "q", "question": text, "isOther": true, "options": [{"label": text}]}, {"id": "r", "question": text, "isSecret": true}]);
                Step::Ask(id, "item/tool/requestUserInput", base(json!({"questions": questions})))
            }
            3 => {
                let schema = json!({"properties": {"n": {"type": "integer"}, "b": {"type": "boolean"}, "t": {"type": "string", "title": text}}});
                Step::Ask(id, "mcpServer/elicitation/request", base(json!({"serverName": text, "requestedSchema": schema})))
            }
            _ => Step::Ask(id, "item/odd", base(json!({}))),
        }
    })
}

fn key() -> impl Strategy<Value = Step> {
    let code = prop_oneof![
        6 => proptest::char::range('!', '~').prop_map(KeyCode::Char),
        1 => Just(KeyCode::Char('漢')),
        2 => Just(KeyCode::Char(' ')),
        8 => proptest::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Backspace, KeyCode::Delete,
            KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::Right, KeyCode::Home, KeyCode::End,
            KeyCode::PageUp, KeyCode::PageDown, KeyCode::F(1), KeyCode::F(2), KeyCode::F(12), KeyCode::Null,
        ]),
    ];
    let modifiers = prop_oneof![
        5 => Just(KeyModifiers::NONE),
        3 => Just(KeyModifiers::CONTROL),
        1 => Just(KeyModifiers::ALT),
        1 => Just(KeyModifiers::SHIFT),
    ];
    (code, modifiers).prop_map(|(code, modifiers)| Step::Key(code, modifiers))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => key(),
        1 => text().prop_map(Step::Paste),
        3 => (1..130_u16, 1..45_u16).prop_map(|(width, height)| Step::Draw(width, height)),
        2 => (0..3000_u64).prop_map(Step::Pass),
        2 => (0..6_u8).prop_map(Step::Status),
        1 => Just(Step::Initialized),
        8 => notification(),
        2 => request(),
        1 => (0..4_u64, 0..5_u8).prop_map(|(id, kind)| Step::Login(id, kind)),
        1 => (0..4_u64).prop_map(Step::Withdraw),
        5 => (0..4_u8).prop_map(Step::Answer),
        1 => Just(Step::Edited),
    ]
}

fn login(kind: u8) -> Question {
    let hop = Hop {
        alias: "x".to_owned(),
        user: "u".to_owned(),
        host_name: "::1".to_owned(),
        port: 1,
        is_jump: true,
    };
    match kind {
        0 => Question::Password { hop, attempt: 3 },
        4 => Question::Confirm {
            hop,
            text: "\u{1b}[2Jyes?\nor no?".to_owned(),
        },
        1 => Question::Passphrase {
            hop,
            key: "/k".into(),
            attempt: 1,
        },
        2 => Question::HostKey {
            hop,
            key: HostKeyQuestion {
                key_type: "t".to_owned(),
                fingerprint: "f".repeat(200),
                randomart: vec!["+".repeat(20); 30],
                known_hosts_file: None,
            },
        },
        _ => Question::KeyboardInteractive {
            hop,
            name: "n".to_owned(),
            instructions: "i\n".repeat(30),
            prompts: vec![
                Prompt {
                    text: "p\u{1b}[2J".to_owned(),
                    echo: true
                };
                9
            ],
        },
    }
}

fn status(desk: &Desk, kind: u8) -> Status {
    let failure = Failure {
        kind: FailureKind::ServerExited,
        phase: Some(Phase::Launching),
        message: "m".repeat(90),
        hint: Some("h".to_owned()),
        stderr: Some("e\n".repeat(40)),
    };
    match kind {
        0 => Status::Offline,
        1 => Status::Working {
            phase: Phase::Connecting,
            since: desk.now,
            retry: 3,
            asking: true,
        },
        2 => Status::Waiting {
            until: desk.now,
            retry: 1,
            failure,
        },
        3 => Status::Failed(failure),
        _ => ready(desk.now),
    }
}

fn answer_to(request: &ClientRequest) -> Value {
    match request.method() {
        "thread/start" | "thread/resume" | "thread/fork" => opened("t1"),
        "thread/list" => json!({"data": [opened("t1")["thread"], opened("t2")["thread"]], "nextCursor": "c"}),
        "thread/turns/list" => {
            let items = json!([user("a", "hi"), agent("b", "there")]);
            json!({"data": [turn("b", "inProgress", items.clone()), turn("a", "completed", items)], "nextCursor": "c"})
        }
        "turn/start" => json!({"turn": turn("a", "inProgress", json!([]))}),
        "turn/steer" => json!({"turnId": "a"}),
        "fs/getMetadata" => json!({"isDirectory": true, "isFile": false}),
        _ => json!({}),
    }
}

fn apply(desk: &mut Desk, step: Step) {
    match step {
        Step::Key(code, modifiers) => desk.feed(Event::Terminal(TerminalEvent::Key(KeyEvent::new(
            code, modifiers,
        )))),
        Step::Paste(text) => desk.paste(&text),
        Step::Draw(width, height) => {
            let screen = desk.screen(width, height);
            assert!(
                !screen.chars().any(|it| it.is_control() && it != '\n'),
                "{screen:?}"
            );
        }
        Step::Pass(millis) => desk.pass(Duration::from_millis(millis)),
        Step::Status(kind) => {
            let status = status(desk, kind);
            desk.status("devbox", status);
        }
        Step::Initialized => desk.initialized("devbox"),
        Step::Notify(method, params) => desk.notify("devbox", method, params),
        Step::Ask(id, method, params) => desk.request("devbox", id, method, params),
        Step::Login(id, kind) => desk.feed(Event::Asked("devbox".into(), QuestionId(id), login(kind))),
        Step::Withdraw(id) => desk.feed(Event::Withdrawn("devbox".into(), QuestionId(id))),
        Step::Answer(kind) => {
            let Some(index) = desk.effects.iter().position(|it| matches!(it, Effect::Call(..))) else {
                return;
            };
            let Effect::Call(host, ticket, request) = desk.effects.remove(index) else {
                return;
            };
            let outcome = match kind {
                0 => Err(refused("no active turn; no rollout found")),
                1 => Err(lost()),
                _ => {
                    let answer = serde_json::value::to_raw_value(&answer_to(&request)).unwrap();
                    Ok(request.decode(&answer).unwrap())
                }
            };
            desk.feed(Event::Answered(host, ticket, outcome));
        }
        Step::Edited => desk.feed(Event::Edited(Some("edited".to_owned()))),
    }
}

/// What must hold after every step.
fn check(desk: &Desk) {
    let app = &desk.app;
    assert!(
        app.dialog.is_none() || app.open_ask().is_some(),
        "a dialog without its question"
    );
    assert!(
        app.current.is_none_or(|it| app.panes.contains_key(&it)),
        "a current thread that is gone"
    );
    let mut threads: Vec<_> = app
        .panes
        .values()
        .filter_map(|it| Some((&it.host, it.thread.as_ref()?)))
        .collect();
    let count = threads.len();
    threads.sort();
    threads.dedup();
    assert_eq!(threads.len(), count, "a thread is in the list twice");
    for effect in &desk.effects {
        if let Effect::Call(_, _, ClientRequest::TurnInterrupt(params)) = effect {
            assert!(!params.turn_id.0.is_empty(), "an interrupt without its turn");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_order_of_events_is_too_much(steps in proptest::collection::vec(step(), 1..120)) {
        let mut desk = Desk::connecting(&["devbox", "gpu1"]);
        for step in steps {
            apply(&mut desk, step);
            check(&desk);
        }
        desk.screen(80, 24);
    }
}

//! Approvals, questions, logins.

use std::time::Duration;

use codex_hosts::{Hop, HostKeyQuestion, Prompt, Question, QuestionId, Reply};
use codex_protocol::Id;
use serde_json::{Value, json};

use crate::{app::Mood, effect::Effect, event::Event, testing::Desk};

const COMMAND: &str = "item/commandExecution/requestApproval";
const FILES: &str = "item/fileChange/requestApproval";
const MOMENT: Duration = Duration::from_millis(299);

fn approval(command: &str) -> Value {
    json!({
        "threadId": "t1", "turnId": "u1", "itemId": "c1", "command": command, "cwd": "/srv/app",
        "reason": "needs the network", "proposedExecpolicyAmendment": ["touch", "/x"],
    })
}

/// A running thread in front of a user who is not typing.
fn watching() -> Desk {
    let mut desk = Desk::ready(&["devbox", "gpu1"]);
    desk.open_thread("devbox", "t1");
    desk.rest();
    desk
}

fn decision(desk: &mut Desk) -> Option<Value> {
    desk.take_reply().map(|(_, it)| it["decision"].clone())
}

#[test]
fn an_approval_shows_who_where_what_and_why() {
    let mut desk = watching();
    desk.request("devbox", 0, COMMAND, approval("/bin/bash -lc 'rm -rf target'"));
    for text in [
        "devbox wants to run a command",
        "devbox (me@devbox.example:22)",
        "/srv/app",
        "/bin/bash -lc 'rm -rf target'",
        "needs the network",
        "begins with `touch /x`",
        "covers exactly this command",
    ] {
        desk.shows(text);
    }
}

#[test]
fn each_key_gives_its_decision() {
    for (keys, expected) in [
        ("y", json!("accept")),
        ("a", json!("acceptForSession")),
        ("n", json!("decline")),
        ("c", json!("cancel")),
        ("<Enter>", json!("decline")),
        ("<Left><Left><Left><Left><Enter>", json!("accept")),
        (
            "p",
            json!({"acceptWithExecpolicyAmendment": {"execpolicy_amendment": ["touch", "/x"]}}),
        ),
    ] {
        let mut desk = watching();
        desk.request("devbox", 7, COMMAND, approval("touch /x"));
        desk.pass(Duration::from_millis(300));
        desk.keys(keys);
        assert_eq!(
            desk.take_reply(),
            Some((Id::Integer(7), json!({"decision": expected}))),
            "{keys}"
        );
        assert!(desk.app.asks.is_empty());
    }
}

#[test]
fn a_dialog_that_opens_by_itself_ignores_keys_that_were_under_way() {
    let mut desk = watching();
    desk.request("devbox", 0, COMMAND, approval("touch /x"));
    desk.pass(MOMENT);
    desk.keys("y");
    assert_eq!(decision(&mut desk), None);
    // Whoever goes on typing is still not looking.
    desk.pass(MOMENT);
    desk.keys("y<Enter>");
    assert_eq!(decision(&mut desk), None);
    desk.pass(Duration::from_millis(300));
    desk.keys("y");
    assert_eq!(decision(&mut desk), Some(json!("accept")));
}

#[test]
fn a_dialog_never_opens_over_somebody_who_types() {
    let mut desk = watching();
    desk.keys("fix y");
    desk.request("devbox", 0, COMMAND, approval("touch /x"));
    desk.rest();
    assert!(desk.app.dialog.is_none(), "there is a draft");
    desk.keys("es");
    assert_eq!(desk.app.current_pane().unwrap().composer.text(), "fix yes");
    desk.shows("devbox needs you: Ctrl+Y to look");
    desk.keys("<C-y>");
    desk.shows("wants to run a command");
    desk.keys("y");
    assert_eq!(
        decision(&mut desk),
        Some(json!("accept")),
        "what the user opened takes keys at once"
    );
    assert_eq!(desk.app.current_pane().unwrap().composer.text(), "fix yes");
}

#[test]
fn another_threads_approval_waits_until_it_is_looked_at() {
    let mut desk = watching();
    desk.keys("<A-2>");
    desk.rest();
    desk.request("devbox", 0, COMMAND, approval("touch /x"));
    assert!(desk.app.dialog.is_none());
    desk.shows("devbox needs you");
    let pane = desk.app.asks[0].pane.unwrap();
    assert_eq!(desk.app.mood(pane), Mood::NeedsYou);
    desk.keys("<Tab>");
    assert_eq!(desk.app.current, Some(pane));
    desk.shows("wants to run a command");
}

#[test]
fn escape_decides_later() {
    let mut desk = watching();
    desk.request("devbox", 0, COMMAND, approval("touch /x"));
    desk.rest();
    desk.keys("<Esc>");
    assert_eq!(decision(&mut desk), None);
    assert_eq!(desk.app.asks.len(), 1);
    assert!(
        !desk.methods().contains(&"turn/interrupt"),
        "Esc only closed the dialog"
    );
    desk.keys("<C-y>n");
    assert_eq!(decision(&mut desk), Some(json!("decline")));
}

#[test]
fn answered_elsewhere_closes_with_a_note() {
    let mut desk = watching();
    desk.request("devbox", 0, COMMAND, approval("touch /x"));
    desk.notify(
        "devbox",
        "serverRequest/resolved",
        json!({"threadId": "t1", "requestId": 0}),
    );
    assert!(desk.app.dialog.is_none() && desk.app.asks.is_empty());
    desk.shows("answered elsewhere");
}

#[test]
fn several_wait_in_order_and_the_next_one_has_its_own_grace() {
    let mut desk = watching();
    desk.request("devbox", 0, COMMAND, approval("first"));
    desk.request("devbox", 1, COMMAND, approval("second"));
    desk.rest();
    desk.shows("(1 of 2)");
    desk.keys("yy");
    assert_eq!(decision(&mut desk), Some(json!("accept")));
    assert_eq!(
        decision(&mut desk),
        None,
        "the second y was meant for the first question"
    );
    desk.shows("second");
}

#[test]
fn a_replayed_request_is_one_and_a_lost_connection_voids_it() {
    let mut desk = watching();
    desk.request("devbox", 0, COMMAND, approval("touch /x"));
    desk.request("devbox", 0, COMMAND, approval("touch /x"));
    assert_eq!(desk.app.asks.len(), 1);
    desk.lose("devbox");
    assert!(desk.app.asks.is_empty() && desk.app.dialog.is_none());
    desk.make_ready("devbox");
    desk.request("devbox", 0, COMMAND, approval("touch /x"));
    assert_eq!(desk.app.asks.len(), 1);
}

#[test]
fn a_patch_shows_the_diff_of_its_item() {
    let mut desk = watching();
    let change = json!({"path": "/srv/app/a.rs", "kind": {"type": "update"}, "diff": "@@ -1 +1 @@\n-old line\n+new line\n"});
    let item = json!({"type": "fileChange", "id": "f1", "changes": [change], "status": "inProgress"});
    desk.item("devbox", "t1", "u1", "item/started", item);
    desk.request(
        "devbox",
        3,
        FILES,
        json!({"threadId": "t1", "turnId": "u1", "itemId": "f1"}),
    );
    desk.rest();
    for text in [
        "devbox wants to change files",
        "a.rs",
        "old line",
        "new line",
        "exactly these files",
    ] {
        desk.shows(text);
    }
    desk.keys("a");
    assert_eq!(decision(&mut desk), Some(json!("acceptForSession")));
}

#[test]
fn hostile_text_cannot_hide_or_move_anything() {
    let mut desk = watching();
    desk.request(
        "devbox",
        0,
        COMMAND,
        approval("echo \u{1b}[2J\u{1b}]0;x\u{7}\u{202e}ok"),
    );
    let screen = desk.screen(100, 30);
    assert!(
        !screen.contains('\u{1b}') && !screen.contains('\u{202e}'),
        "{screen}"
    );
    assert!(screen.contains("wants to run a command"));
}

#[test]
fn unknown_requests_are_refused() {
    let mut desk = watching();
    desk.request(
        "devbox",
        9,
        "item/hologram/requestApproval",
        json!({"threadId": "t1"}),
    );
    assert!(
        desk.effects
            .contains(&Effect::Refuse("devbox".into(), Id::Integer(9)))
    );
    assert!(desk.app.asks.is_empty());
}

#[test]
fn rights_are_granted_as_asked_or_not_at_all() {
    let params = json!({"threadId": "t1", "turnId": "u1", "itemId": "p1", "cwd": "/w", "permissions": {"network": {"enabled": true}}});
    for (key, permissions, scope) in [
        ("y", json!({"network": {"enabled": true}}), "turn"),
        ("a", json!({"network": {"enabled": true}}), "session"),
        ("n", json!({}), "turn"),
    ] {
        let mut desk = watching();
        desk.request("devbox", 1, "item/permissions/requestApproval", params.clone());
        desk.rest();
        desk.keys(key);
        let (_, reply) = desk.take_reply().unwrap();
        assert_eq!(
            reply,
            json!({"permissions": permissions, "scope": scope}),
            "{key}"
        );
    }
}

#[test]
fn the_models_questions_are_answered_by_option_text_and_secret() {
    let mut desk = watching();
    let questions = json!([
        {"id": "q1", "header": "Language", "question": "Which one?", "isOther": true,
         "options": [{"label": "Rust", "description": "fast"}, {"label": "Zig"}]},
        {"id": "q2", "question": "A name?"},
        {"id": "q3", "question": "A token?", "isSecret": true},
    ]);
    let params = json!({"threadId": "t1", "turnId": "u1", "itemId": "i1", "questions": questions});
    desk.request("devbox", 4, "item/tool/requestUserInput", params);
    desk.rest();
    desk.shows("Which one?");
    desk.keys("<Down><Enter>bob<Enter>s3cret");
    desk.hides("s3cret");
    desk.shows("******");
    desk.keys("<Enter>");
    let (_, reply) = desk.take_reply().unwrap();
    let expected = json!({"answers": {"q1": {"answers": ["Zig"]}, "q2": {"answers": ["bob"]}, "q3": {"answers": ["s3cret"]}}});
    assert_eq!(reply, expected);
}

#[test]
fn an_elicitation_takes_the_types_of_its_schema() {
    let mut desk = watching();
    let schema = json!({"type": "object", "required": ["count"], "properties": {
        "count": {"type": "integer", "title": "How many"},
        "sure": {"type": "boolean"},
    }});
    let params =
        json!({"threadId": "t1", "serverName": "tickets", "message": "Buy?", "requestedSchema": schema});
    desk.request("devbox", 5, "mcpServer/elicitation/request", params.clone());
    desk.rest();
    desk.keys("<Enter><Enter>");
    desk.shows("this field is required");
    desk.keys("x<Enter><Enter>");
    desk.shows("a whole number is needed");
    desk.keys("<Backspace>3<Enter><Down><Enter>");
    let (_, reply) = desk.take_reply().unwrap();
    assert_eq!(
        reply,
        json!({"action": "accept", "content": {"count": 3, "sure": true}})
    );
    desk.rest();
    desk.request("devbox", 6, "mcpServer/elicitation/request", params);
    desk.rest();
    desk.keys("<C-d>");
    assert_eq!(desk.take_reply().unwrap().1, json!({"action": "decline"}));
}

fn hop(is_jump: bool) -> Hop {
    Hop {
        alias: "bastion".to_owned(),
        user: "me".to_owned(),
        host_name: "10.0.0.1".to_owned(),
        port: 22,
        is_jump,
    }
}

fn ask(desk: &mut Desk, id: u64, question: Question) {
    desk.feed(Event::Asked("devbox".into(), QuestionId(id), question));
}

/// Takes the oldest answer to a login.
fn take_answer(desk: &mut Desk) -> Option<(u64, Reply)> {
    let index = desk
        .effects
        .iter()
        .position(|it| matches!(it, Effect::Answer(..)))?;
    match desk.effects.remove(index) {
        Effect::Answer(_, id, reply) => Some((id.0, reply)),
        _ => None,
    }
}

fn secrets(reply: Reply) -> Vec<String> {
    match reply {
        Reply::Secrets(secrets) => secrets
            .into_iter()
            .map(|it| it.into_inner().to_string())
            .collect(),
        Reply::Accept | Reply::Refuse => panic!("no secrets"),
    }
}

fn host_key() -> Question {
    Question::HostKey {
        hop: hop(true),
        key: HostKeyQuestion {
            key_type: "ssh-ed25519".to_owned(),
            fingerprint: "SHA256:abc".to_owned(),
            randomart: vec!["+--[ED25519]--+".to_owned()],
            known_hosts_file: Some("/home/me/.ssh/known_hosts".into()),
        },
    }
}

#[test]
fn a_host_key_is_accepted_only_by_choosing_yes() {
    for (keys, accepted) in [
        ("<Enter>", false),
        ("y<Enter>", false),
        ("<Esc>", false),
        ("n", false),
        ("<Right><Enter>", true),
    ] {
        let mut desk = Desk::connecting(&["devbox"]);
        ask(&mut desk, 1, host_key());
        desk.rest();
        for text in [
            "bastion (me@10.0.0.1:22), a jump host",
            "SHA256:abc",
            "+--[ED25519]--+",
            "known_hosts",
        ] {
            desk.shows(text);
        }
        desk.keys(keys);
        let (id, reply) = take_answer(&mut desk).unwrap();
        assert_eq!((id, reply == Reply::Accept), (1, accepted), "{keys}");
        assert!(accepted || reply == Reply::Refuse);
    }
}

#[test]
fn something_else_is_agreed_to_only_by_choosing_yes() {
    for (keys, accepted) in [("<Enter>", false), ("<Esc>", false), ("<Right><Enter>", true)] {
        let mut desk = Desk::connecting(&["devbox"]);
        let text = "no common key exchange\u{1b}[2J.\nGo on with the system's ssh?".to_owned();
        ask(
            &mut desk,
            3,
            Question::Confirm {
                hop: hop(false),
                text,
            },
        );
        desk.rest();
        for text in [
            "devbox: yes or no?",
            "no common key exchange",
            "Go on with the system's ssh?",
        ] {
            desk.shows(text);
        }
        desk.keys(keys);
        let (id, reply) = take_answer(&mut desk).unwrap();
        assert_eq!((id, reply == Reply::Accept), (3, accepted), "{keys}");
    }
}

#[test]
fn a_password_is_masked_and_goes_to_its_login() {
    let mut desk = Desk::connecting(&["devbox"]);
    ask(
        &mut desk,
        2,
        Question::Password {
            hop: hop(false),
            attempt: 2,
        },
    );
    desk.rest();
    desk.shows("attempt 2");
    desk.keys("hunter2");
    desk.hides("hunter2");
    desk.shows("*******");
    desk.keys("<Backspace>3<Enter>");
    let (id, reply) = take_answer(&mut desk).unwrap();
    assert_eq!((id, secrets(reply)), (2, vec!["hunter3".to_owned()]));
    assert!(desk.app.asks.is_empty(), "nothing of it is kept");
}

#[test]
fn a_login_is_given_up_by_escape_and_the_bottom_line_says_so() {
    let mut desk = Desk::connecting(&["devbox"]);
    let (hop, attempt) = (hop(false), 1);
    ask(&mut desk, 2, Question::Password { hop, attempt });
    desk.rest();
    desk.shows("Esc give up");
    desk.hides("Esc later");
    desk.keys("<Esc>");
    let (id, reply) = take_answer(&mut desk).unwrap();
    assert!(id == 2 && matches!(reply, Reply::Refuse));
}

#[test]
fn keyboard_interactive_asks_every_prompt_and_echoes_only_what_may_be_seen() {
    let mut desk = Desk::connecting(&["devbox"]);
    let prompt = |text: &str, echo| Prompt {
        text: text.to_owned(),
        echo,
    };
    let question = Question::KeyboardInteractive {
        hop: hop(false),
        name: "PAM".to_owned(),
        instructions: "two factors".to_owned(),
        prompts: vec![prompt("Password: ", false), prompt("Code: ", true)],
    };
    ask(&mut desk, 3, question);
    desk.rest();
    desk.keys("pw<Enter>123456");
    desk.shows("two factors");
    desk.shows("123456");
    desk.paste("7\n");
    desk.keys("<Enter>");
    let (_, reply) = take_answer(&mut desk).unwrap();
    assert_eq!(secrets(reply), ["pw", "1234567 "]);
}

#[test]
fn a_round_without_prompts_is_answered_at_once() {
    let mut desk = Desk::connecting(&["devbox"]);
    let question = Question::KeyboardInteractive {
        hop: hop(false),
        name: String::new(),
        instructions: "welcome".to_owned(),
        prompts: Vec::new(),
    };
    ask(&mut desk, 4, question);
    assert!(secrets(take_answer(&mut desk).unwrap().1).is_empty());
    desk.shows("welcome");
}

#[test]
fn logins_queue_and_a_withdrawn_one_closes() {
    let mut desk = Desk::connecting(&["devbox"]);
    ask(
        &mut desk,
        1,
        Question::Password {
            hop: hop(false),
            attempt: 1,
        },
    );
    ask(&mut desk, 2, host_key());
    desk.shows("devbox: password (1 of 2)");
    desk.feed(Event::Withdrawn("devbox".into(), QuestionId(1)));
    assert!(desk.app.dialog.is_none());
    desk.shows("its question is void");
    desk.keys("<C-y>");
    desk.shows("is this the right host?");
    desk.feed(Event::Withdrawn("devbox".into(), QuestionId(2)));
    assert!(desk.app.asks.is_empty());
    assert!(take_answer(&mut desk).is_none());
}

#[test]
fn the_next_step_of_a_login_opens_at_once_and_still_waits_for_a_moment() {
    let mut desk = Desk::connecting(&["devbox"]);
    let password = |attempt| Question::Password {
        hop: hop(false),
        attempt,
    };
    ask(&mut desk, 1, password(1));
    desk.rest();
    desk.keys("first<Enter>");
    take_answer(&mut desk).unwrap();
    ask(&mut desk, 2, password(2));
    desk.shows("attempt 2");
    desk.keys("early<Enter>");
    assert!(
        take_answer(&mut desk).is_none(),
        "what was in flight is not an answer"
    );
    desk.rest();
    desk.keys("second<Enter>");
    let (id, reply) = take_answer(&mut desk).unwrap();
    assert_eq!((id, secrets(reply)), (2, vec!["second".to_owned()]));
}

//! Each screen at the sizes that matter, and the cost of a frame.

use std::time::Duration;

use codex_hosts::{
    Failure, FailureKind, Forwarded, ForwardedState, Hop, HostKey, HostKeyQuestion, Phase, Question,
    QuestionId, Status,
};
use serde_json::json;

use crate::{
    event::Event,
    testing::{Desk, agent, start},
};

/// Draws at the three sizes of the rules: two panes, two wide panes, one pane.
fn check(name: &str, mut desk: Desk) {
    for (width, height) in [(80, 24), (120, 40), (40, 15)] {
        let screen = desk.screen(width, height);
        insta::with_settings!({prepend_module_to_snapshot => false, snapshot_path => "../snapshots", omit_expression => true}, {
            insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
        });
    }
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::Unreachable,
        phase: Some(Phase::Connecting),
        message: "connecting to 10.0.0.9:22: connection refused".to_owned(),
        hint: Some("is sshd running there?".to_owned()),
        stderr: None,
    }
}

/// A thread with something of everything.
fn conversation() -> Desk {
    let mut desk = Desk::ready(&["devbox", "gpu1"]);
    desk.open_thread("devbox", "t1");
    let reasoning =
        json!({"type": "reasoning", "id": "r1", "summary": ["**Looking** at the test first"], "content": []});
    desk.item("devbox", "t1", "u1", "item/completed", reasoning);
    let command = json!({
        "type": "commandExecution", "id": "c1", "command": "/bin/bash -lc 'cargo test'", "cwd": "/srv/app",
        "status": "failed", "aggregatedOutput": "running 3 tests\ntest adds ... FAILED\n", "exitCode": 101, "durationMs": 2300,
    });
    desk.item("devbox", "t1", "u1", "item/completed", command);
    let change = json!({"path": "/srv/app/src/lib.rs", "kind": {"type": "update"}, "diff": "@@ -1,1 +1,1 @@\n-a - b\n+a + b\n"});
    let patch = json!({"type": "fileChange", "id": "f1", "changes": [change], "status": "completed"});
    desk.item("devbox", "t1", "u1", "item/completed", patch);
    desk.item(
        "devbox",
        "t1",
        "u1",
        "item/completed",
        agent("a1", "Fixed: `adds` subtracted.\n\n- one line in `src/lib.rs`"),
    );
    desk.pass(Duration::from_secs(12));
    desk
}

#[test]
fn connections() {
    let mut desk = Desk::new(start(&["alpha", "beta", "gamma", "delta"]));
    desk.keys("  <Enter>");
    desk.status(
        "alpha",
        Status::Working {
            phase: Phase::Authenticating,
            since: desk.now,
            retry: 0,
            asking: false,
        },
    );
    desk.status(
        "beta",
        Status::Waiting {
            until: desk.now + Duration::from_secs(9),
            retry: 2,
            failure: failure(),
        },
    );
    desk.pass(Duration::from_secs(3));
    desk.keys("<F2>gj");
    check("connections", desk);
}

#[test]
fn a_host_in_trouble_keeps_its_name_in_the_list_and_says_all_that_went_wrong() {
    let mut desk = Desk::connecting(&["devbox-with-a-long-name"]);
    let until = desk.now + Duration::from_secs(9);
    let mut failure = failure();
    failure.message = "connecting to 10.0.0.9 port 2222: connection refused (os error 111)".to_owned();
    failure.hint = Some("check that the host is up and that HostName and Port of it are right".to_owned());
    desk.status(
        "devbox-with-a-long-name",
        Status::Waiting {
            until,
            retry: 2,
            failure,
        },
    );
    let screen = desk.screen(80, 24);
    let first = screen.lines().next().unwrap_or_default();
    assert!(
        first.contains("devbox-w") && first.contains("unreachable"),
        "{screen}"
    );
    assert!(
        screen.contains("111)") && screen.contains("are right"),
        "{screen}"
    );
    assert!(screen.contains("again in 9 s"), "{screen}");
    for (width, height) in [(30, 10), (20, 5)] {
        let screen = desk.screen(width, height);
        assert!(screen.contains("› type"), "{screen}");
    }
}

#[test]
fn a_failed_host_says_its_code_its_last_words_and_what_helps() {
    let mut desk = Desk::connecting(&["devbox"]);
    let failure = Failure {
        kind: FailureKind::LaunchFailed,
        stderr: Some("starting\nlibssl.so.3: \u{1b}[31mno such file\n".to_owned()),
        ..failure()
    };
    desk.status("devbox", Status::Failed(failure));
    for text in [
        "devbox: failed [launch-failed] · F2 connects again",
        "it said (the last line): libssl.so.3: no such file",
        "is sshd running there?",
    ] {
        desk.shows(text);
    }
    desk.keys("<F2>");
    desk.shows("connection refused [launch-failed]");
    let failure = Failure {
        kind: FailureKind::ServerExited,
        hint: None,
        ..self::failure()
    };
    desk.status("devbox", Status::Failed(failure));
    desk.shows("start `codex app-server` on the host");
}

#[test]
fn a_narrow_screen_has_room_for_what_helps() {
    let mut desk = Desk::connecting(&["devbox"]);
    let mut failure = failure();
    failure.message = "the host key has changed: it sent one, and known is another one ".repeat(3);
    failure.hint = Some("remove the old key: ssh-keygen -f ~/.ssh/known_hosts -R devbox".to_owned());
    desk.status("devbox", Status::Failed(failure));
    desk.keys("<F2>");
    let screen = desk.screen(40, 15);
    assert!(
        screen.contains("devbox") && screen.contains("-R devbox"),
        "{screen}"
    );
}

#[test]
fn the_reason_stays_while_the_next_attempt_is_under_way_and_goes_with_its_success() {
    let mut desk = Desk::connecting(&["devbox"]);
    let until = desk.now + Duration::from_secs(1);
    let waiting = Status::Waiting {
        until,
        retry: 1,
        failure: failure(),
    };
    desk.status("devbox", waiting);
    desk.lose("devbox");
    for keys in ["", "<F2>"] {
        desk.keys(keys);
        desk.shows("connecting 0 s, try 2");
        desk.shows("connection refused");
        desk.shows("is sshd running there?");
    }
    desk.make_ready("devbox");
    desk.lose("devbox");
    desk.hides("connection refused");
}

#[test]
fn a_list_without_a_host_says_what_can_be_done() {
    let mut desk = Desk::new(start(&[]));
    desk.keys("<F2>");
    desk.shows("names no host: `a` adds one");
    let mut desk = Desk::new(start(&["alpha"]));
    desk.keys("<F2>");
    desk.shows("1 host, 0 ready");
    desk.keys("/zz");
    desk.shows("no host has this in its name or address");
    desk.keys("<Esc>");
    desk.hides("no host has this");
    desk.shows("alpha");
}

#[test]
fn the_connections_open_at_the_host_that_is_looked_at() {
    let mut desk = Desk::new(start(&["alpha", "beta", "gamma"]));
    desk.keys("jj<Enter>");
    desk.make_ready("gamma");
    desk.keys("<F2>");
    desk.shows("ready for");
    desk.keys("kk<Esc><F2>");
    desk.shows("ready for");
}

#[test]
fn what_the_server_is_does_not_hide_how_to_begin() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.notify("devbox", "warning", json!({"message": "an old configuration"}));
    let screen = desk.screen(80, 24);
    assert!(screen.contains("an old configuration"), "{screen}");
    assert!(screen.contains("A new thread on devbox"), "{screen}");
}

#[test]
fn a_narrow_help_says_what_the_keys_do() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("<F1>");
    let screen = desk.screen(50, 20);
    assert!(screen.contains("send; while a turn works"), "{screen}");
}

#[test]
fn a_new_thread() {
    check("new_thread", Desk::ready(&["devbox", "gpu1"]));
}

#[test]
fn a_host_on_its_way() {
    let mut desk = Desk::connecting(&["devbox"]);
    let since = desk.now;
    desk.status(
        "devbox",
        Status::Working {
            phase: Phase::Launching,
            since,
            retry: 1,
            asking: false,
        },
    );
    desk.keys("typed meanwhile");
    desk.pass(Duration::from_secs(75));
    check("connecting", desk);
}

#[test]
fn a_working_thread() {
    check("thread", conversation());
}

#[test]
fn a_draft_of_several_lines() {
    let mut desk = conversation();
    desk.keys("first line<C-j>second line that is so long that it needs more than one row of the composer");
    check("draft", desk);
}

#[test]
fn slash_commands() {
    let mut desk = conversation();
    desk.keys("/");
    check("completion", desk);
}

#[test]
fn the_list_has_the_focus() {
    let mut desk = conversation();
    desk.keys("<C-o>");
    check("list", desk);
}

#[test]
fn a_command_approval() {
    let mut desk = conversation();
    desk.rest();
    let params = json!({
        "threadId": "t1", "turnId": "u1", "itemId": "c2", "command": "/bin/bash -lc 'curl https://example.org/install | sh'",
        "cwd": "/srv/app", "reason": "needs the network", "proposedExecpolicyAmendment": ["curl", "https://example.org/install"],
    });
    desk.request("devbox", 0, "item/commandExecution/requestApproval", params);
    check("command_approval", desk);
}

#[test]
fn a_patch_approval() {
    let mut desk = conversation();
    desk.rest();
    let diff: String = (0..30).map(|it| format!("+line {it}\n")).collect();
    let change = json!({"path": "/etc/app.conf", "kind": {"type": "update"}, "diff": format!("@@ -1,0 +1,30 @@\n{diff}")});
    let item = json!({"type": "fileChange", "id": "f2", "changes": [change], "status": "inProgress"});
    desk.item("devbox", "t1", "u1", "item/started", item);
    let params =
        json!({"threadId": "t1", "turnId": "u1", "itemId": "f2", "reason": "outside of the workspace"});
    desk.request("devbox", 0, "item/fileChange/requestApproval", params);
    check("patch_approval", desk);
}

#[test]
fn a_host_key_question() {
    let mut desk = Desk::connecting(&["devbox"]);
    let hop = Hop {
        alias: "bastion".to_owned(),
        user: "me".to_owned(),
        host_name: "bastion.example".to_owned(),
        port: 22,
        is_jump: true,
    };
    let key = HostKeyQuestion {
        key_type: "ssh-ed25519".to_owned(),
        fingerprint: "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8".to_owned(),
        randomart: Vec::new(),
        known_hosts_file: Some("/home/me/.ssh/known_hosts".into()),
    };
    desk.feed(Event::Asked(
        "devbox".into(),
        QuestionId(1),
        Question::HostKey { hop, key },
    ));
    check("host_key", desk);
}

/// A question about these keys of a host.
fn ask_of_keys(question: Question) -> Desk {
    let mut desk = Desk::connecting(&["devbox"]);
    desk.feed(Event::Asked("devbox".into(), QuestionId(1), question));
    desk
}

fn devbox_hop() -> Hop {
    Hop {
        alias: "devbox".to_owned(),
        user: "me".to_owned(),
        host_name: "devbox.example".to_owned(),
        port: 22,
        is_jump: false,
    }
}

#[test]
fn a_host_keys_picture_print_and_answers_all_fit_into_80_by_24() {
    let art: Vec<String> = std::iter::once("+--[ED25519 256]--+".to_owned())
        .chain((0..9).map(|row| format!("|    row {row}        |")))
        .chain(["+----[SHA256]-----+".to_owned()])
        .collect();
    let print = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8";
    let key = HostKeyQuestion {
        key_type: "ED25519".to_owned(),
        fingerprint: print.to_owned(),
        randomart: art.clone(),
        known_hosts_file: Some("/home/me/.ssh/known_hosts".into()),
    };
    let hop = devbox_hop();
    let mut desk = ask_of_keys(Question::HostKey { hop, key });
    let screen = desk.screen(80, 24);
    for part in art.iter().map(String::as_str).chain([
        print,
        "ED25519",
        "/home/me/.ssh/known_hosts and connects",
        "no",
        "yes",
    ]) {
        assert!(screen.contains(part), "{part}\n{screen}");
    }
    let small = desk.screen(40, 15);
    assert!(small.contains("more lines"), "{small}");
    desk.rest();
    desk.keys(&"<Down>".repeat(30));
    let end = desk.screen(40, 15);
    assert!(end.contains("connects"), "{end}");
}

#[test]
fn changed_keys_of_a_known_host_are_listed_with_their_prints_and_the_selected_answer_is_no() {
    let key = |kind: &str, print: &str| HostKey {
        key_type: kind.to_owned(),
        fingerprint: format!("SHA256:{print}"),
    };
    let mut desk = ask_of_keys(Question::UpdateHostKeys {
        hop: devbox_hop(),
        added: vec![key("RSA", "new1"), key("ED25519", "new2")],
        removed: vec![key("ECDSA", "old1")],
        known_hosts_file: "/home/me/.ssh/known_hosts".into(),
    });
    let screen = desk.screen(80, 24);
    for part in [
        "record its changed keys?",
        "new       RSA SHA256:new1",
        "new       ED25519 SHA256:new2",
        "old       ECDSA SHA256:old1",
        "/home/me/.ssh/known_hosts",
        "› n no",
    ] {
        assert!(screen.contains(part), "{part}\n{screen}");
    }
}

#[test]
fn a_ready_hosts_details_tell_what_is_forwarded_and_what_is_not_and_why() {
    let mut desk = Desk::ready(&["devbox"]);
    let it = |listen: &str, is_remote: bool, state: ForwardedState| Forwarded {
        listen: listen.to_owned(),
        target: "127.0.0.1:80".to_owned(),
        is_remote,
        state,
    };
    let failed = ForwardedState::Failed {
        why: "listening here: Address already in use".to_owned(),
        hint: "end the program that has the port".to_owned(),
    };
    let forwards = vec![
        it("localhost:8080", false, ForwardedState::Open),
        it("localhost:9090", true, ForwardedState::Open),
        it("localhost:7070", false, failed),
    ];
    desk.feed(Event::Forwards("devbox".into(), forwards));
    desk.keys("<F2>");
    let screen = desk.screen(120, 40);
    for part in [
        "forwards localhost:8080 → 127.0.0.1:80",
        "forwards localhost:9090 → 127.0.0.1:80 (listens on the host)",
        "does not forward localhost:7070 → 127.0.0.1:80: listening here",
        "end the program",
    ] {
        assert!(screen.contains(part), "{part}\n{screen}");
    }
}

#[test]
fn help() {
    let mut desk = conversation();
    desk.keys("<F1>");
    check("help", desk);
}

#[test]
fn a_banner_for_another_thread() {
    let mut desk = conversation();
    desk.keys("<A-2>");
    let params =
        json!({"threadId": "t1", "turnId": "u1", "itemId": "c2", "command": "make", "cwd": "/srv/app"});
    desk.request("devbox", 0, "item/commandExecution/requestApproval", params);
    check("banner", desk);
}

#[test]
fn a_screen_that_is_too_small_says_so() {
    let mut desk = conversation();
    assert!(desk.screen(19, 10).contains("too small"));
    assert!(desk.screen(40, 4).contains("too small"));
    for (width, height) in [(1, 1), (1, 30), (80, 1), (20, 5), (21, 6), (59, 5), (60, 5)] {
        desk.screen(width, height);
    }
}

/// A thread of about 10,000 lines in 500 items.
fn long_thread() -> Desk {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let text: Vec<String> = (0..10)
        .map(|it| format!("Paragraph {it} with `code` and *emphasis* in it."))
        .collect();
    for index in 0..500 {
        let item = agent(&format!("a{index}"), &text.join("\n\n"));
        desk.item("devbox", "t1", "u1", "item/completed", item);
    }
    desk
}

#[test]
fn a_frame_wraps_only_what_it_shows_and_a_delta_only_its_item() {
    let mut desk = long_thread();
    desk.screen(120, 40);
    assert!(
        desk.cache.wrapped < 12,
        "{} of 501 entries were wrapped",
        desk.cache.wrapped
    );
    let before = desk.cache.wrapped;
    let delta = json!({"threadId": "t1", "turnId": "u1", "itemId": "live", "delta": "one more"});
    desk.notify("devbox", "item/agentMessage/delta", delta);
    desk.screen(120, 40);
    assert_eq!(desk.cache.wrapped - before, 1);
    desk.screen(120, 40);
    assert_eq!(desk.cache.wrapped - before, 1);
}

/// Prints what a frame costs: `cargo test -p codex-tui --release -- --ignored --nocapture frame_time`.
#[test]
#[ignore = "a measurement, not a check"]
fn frame_time() {
    let mut desk = long_thread();
    let lines = 500 * 20;
    desk.screen(200, 50);
    let mut measure = |what: &str, keys: &str| {
        let mut times: Vec<Duration> = Vec::new();
        for index in 0..200 {
            let delta = json!({"threadId": "t1", "turnId": "u1", "itemId": "live", "delta": format!("word {index} ")});
            desk.notify("devbox", "item/agentMessage/delta", delta);
            desk.keys(keys);
            let begin = std::time::Instant::now();
            desk.screen(200, 50);
            times.push(begin.elapsed() / 2);
        }
        times.sort();
        println!(
            "{what}: median {:?}, worst {:?} a frame at 200x50 over {lines} lines",
            times[100], times[199]
        );
    };
    measure("delta, following the end", "");
    measure("delta, scrolled up by a page each frame", "<PageUp>");
}

#[test]
fn the_window_stays_on_its_lines_while_more_arrives_and_counts_it() {
    let mut desk = long_thread();
    desk.screen(100, 30);
    desk.keys("<PageUp>");
    let before = desk.screen(100, 30);
    for index in 0..3 {
        desk.item(
            "devbox",
            "t1",
            "u1",
            "item/completed",
            agent(&format!("n{index}"), "news"),
        );
    }
    let after = desk.screen(100, 30);
    assert!(after.contains("↓ 3 new"), "{after}");
    let rows = |screen: &str| {
        screen
            .lines()
            .skip(2)
            .take(10)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&before), rows(&after));
    desk.keys("<C-End>");
    let end = desk.screen(100, 30);
    assert!(end.contains("news") && !end.contains("↓"), "{end}");
    desk.keys("<PageUp><PageUp>");
    desk.screen(100, 30);
    desk.keys("<PageDown><PageDown><PageDown>");
    desk.screen(100, 30);
    desk.item(
        "devbox",
        "t1",
        "u1",
        "item/completed",
        agent("last", "the very last"),
    );
    desk.shows("the very last");
}

#[test]
fn resizing_keeps_the_entry_at_the_top() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    for index in 0..60 {
        let text = format!("number {index} {}", "and a few more words ".repeat(8));
        desk.item(
            "devbox",
            "t1",
            "u1",
            "item/completed",
            agent(&format!("a{index}"), &text),
        );
    }
    desk.screen(120, 30);
    desk.keys("<PageUp><PageUp>");
    let top = |screen: &str| {
        screen
            .lines()
            .find_map(|it| it.split("number ").nth(1)?.split(' ').next().map(str::to_owned))
    };
    let before = top(&desk.screen(120, 30));
    for (width, height) in [(80, 24), (50, 20), (120, 30)] {
        let screen = desk.screen(width, height);
        let shown: u32 = top(&screen).unwrap().parse().unwrap();
        let wanted: u32 = before.clone().unwrap().parse().unwrap();
        assert!(
            shown.abs_diff(wanted) <= 1,
            "{wanted} became {shown} at {width}x{height}:\n{screen}"
        );
    }
}

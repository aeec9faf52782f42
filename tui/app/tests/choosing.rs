//! The list of threads and the connections.

use codex_hosts::{Command, Failure, FailureKind, HostId, Phase, Status};
use serde_json::json;

use crate::{
    app::{App, Focus, Start},
    effect::Effect,
    testing::{Desk, ready, start},
};

fn host_effects(desk: &mut Desk) -> Vec<(String, Command)> {
    let all = std::mem::take(&mut desk.effects);
    let hosts = all.into_iter().filter_map(|it| match it {
        Effect::Host(id, command) => Some((id.0, command)),
        _ => None,
    });
    hosts.collect()
}

fn connect(names: &[&str]) -> Vec<(String, Command)> {
    names
        .iter()
        .map(|it| ((*it).to_owned(), Command::Connect))
        .collect()
}

#[test]
fn the_hosts_of_the_command_line_are_connected_with_a_draft_each() {
    let mut desk = Desk::connecting(&["devbox", "gpu1"]);
    assert_eq!(host_effects(&mut desk), connect(&["devbox", "gpu1"]));
    assert_eq!(desk.app.panes.len(), 2);
    desk.keys("typed while it connects");
    desk.make_ready("devbox");
    assert_eq!(desk.app.panes.len(), 2, "the draft is there already");
    desk.shows("typed while it connects");
}

#[test]
fn the_picker_connects_what_is_marked_or_what_is_under_the_cursor() {
    let mut desk = Desk::new(start(&["alpha", "beta", "gamma"]));
    desk.shows("Settings → Connections");
    desk.keys("j<Enter>");
    assert_eq!(host_effects(&mut desk), connect(&["beta"]));
    desk.keys("<F2>g  <Enter>");
    assert_eq!(host_effects(&mut desk), connect(&["alpha", "beta"]));
}

#[test]
fn the_picker_filters_and_adds() {
    let mut desk = Desk::new(start(&["alpha", "beta", "gamma"]));
    desk.keys("/gam<Enter>");
    desk.hides("alpha");
    desk.keys("<Enter>");
    assert_eq!(host_effects(&mut desk), connect(&["gamma"]));
    desk.keys("<F2>ame@10.0.0.4:0<Enter>");
    desk.shows("the port must be a number from 1 to 65535");
    desk.keys("<Backspace>22<Enter><Enter>");
    assert_eq!(host_effects(&mut desk), connect(&["me@10.0.0.4:22"]));
}

#[test]
fn a_failure_shows_stage_message_hint_and_stderr_on_demand() {
    let mut desk = Desk::new(start(&["alpha"]));
    desk.keys("<Enter>");
    let failure = Failure {
        kind: FailureKind::NotInstalled,
        phase: Some(Phase::Launching),
        message: "no `codex` was found".to_owned(),
        hint: Some("install it with npm".to_owned()),
        stderr: Some("sh: codex: not found\u{1b}[31m".to_owned()),
    };
    desk.status("alpha", Status::Failed(failure));
    desk.keys("<F2>");
    desk.shows("launching: no `codex` was found");
    desk.shows("install it with npm");
    desk.hides("sh: codex");
    desk.keys("e");
    desk.shows("sh: codex: not found");
    desk.keys("d");
    assert_eq!(
        host_effects(&mut desk).pop(),
        Some(("alpha".to_owned(), Command::Disconnect))
    );
}

#[test]
fn the_list_pages_and_opens() {
    let mut desk = Desk::connecting(&["devbox"]);
    desk.initialized("devbox");
    let now = desk.now;
    desk.status("devbox", ready(now));
    let thread = |n: u32| json!({"id": format!("t{n}"), "preview": format!("work {n}"), "updatedAt": n, "status": {"type": "notLoaded"}});
    let params = desk.answer(
        "thread/list",
        json!({"data": [thread(9), thread(8)], "nextCursor": "c1"}),
    );
    assert_eq!(params, json!({"limit": 50}));
    desk.keys("<C-o>G<Enter>");
    let params = desk.answer("thread/list", json!({"data": [thread(7)]}));
    assert_eq!(params["cursor"], "c1");
    desk.keys("/work 8");
    desk.hides("work 9");
    desk.keys("<Enter>");
    assert_eq!(desk.take_call("thread/resume").3["threadId"], "t8");
    assert_eq!(desk.app.focus, Focus::Composer);
    let order: Vec<String> = desk
        .app
        .panes_of(&HostId::from("devbox"))
        .iter()
        .map(|it| desk.app.panes[it].title())
        .collect();
    assert_eq!(order, ["new thread", "work 9", "work 8", "work 7"]);
}

#[test]
fn a_thread_that_is_archived_elsewhere_leaves_the_list() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    desk.notify("devbox", "thread/archived", json!({"threadId": "t1"}));
    desk.hides("hello");
    assert!(desk.app.current.is_some());
}

#[test]
fn a_new_thread_takes_an_empty_draft_that_is_there() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.keys("<C-n><C-n>");
    assert_eq!(desk.app.panes.len(), 1);
    desk.open_thread("devbox", "t1");
    desk.keys("<C-n>");
    assert_eq!(desk.app.panes.len(), 2);
}

#[test]
fn the_directory_of_the_command_line_is_checked_early() {
    let cwd = [(HostId::from("devbox"), "/srv/app".to_owned())].into();
    let connect = vec![HostId::from("devbox")];
    let mut desk = Desk::new(Start {
        cwd,
        connect,
        ..start(&["devbox"])
    });
    desk.make_ready("devbox");
    assert_eq!(desk.take_call("fs/getMetadata").3, json!({"path": "/srv/app"}));
}

#[test]
fn nothing_needs_a_tick_while_nothing_runs() {
    let mut desk = Desk::connecting(&["devbox"]);
    assert_eq!(App::deadline(&desk.app), None);
    desk.lose("devbox");
    assert!(desk.app.deadline().is_some(), "elapsed time is on the screen");
    desk.make_ready("devbox");
    assert_eq!(desk.app.deadline(), None);
    desk.open_thread("devbox", "t1");
    assert!(desk.app.deadline().is_some());
    desk.end_turn("devbox", "t1", "u1", "completed");
    assert_eq!(desk.app.deadline(), None);
    desk.keys("<C-c>");
    assert!(desk.app.deadline().is_some());
    desk.rest();
    desk.pass(std::time::Duration::from_secs(5));
    assert_eq!(desk.app.deadline(), None);
}

#[test]
fn the_title_cannot_end_its_own_sequence() {
    let mut desk = Desk::ready(&["devbox"]);
    desk.open_thread("devbox", "t1");
    let name = json!({"threadId": "t1", "threadName": "fix\u{7}\u{1b}]0;pwned\u{7} tests"});
    desk.notify("devbox", "thread/name/updated", name);
    let title = desk.app.title();
    assert!(title.starts_with("codex · devbox: fix"), "{title}");
    assert!(!title.chars().any(char::is_control), "{title:?}");
}

//! The scenarios that matter most, with our own app-server as the `codex` of the host.

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Model, require};
use serde_json::Value;

use crate::setting::{CODEX, Running, codex, devbox};

/// A host with our program as its `codex` and this model, known to the client under this name.
fn ours(client: &Client, name: &str, model: &Model) -> Host {
    let options = HostOptions::new().authorize(client.key()).model(model);
    let host = Host::start(options.codex(Codex::Program(CODEX.into())));
    client.add(&Alias::new(name, &host));
    host
}

#[test]
fn an_answer_of_ours_is_streamed_and_the_official_one_answers_beside_it() {
    require!(Sshd, Official);
    let client = Client::new();
    let models = [Model::start(), Model::start()];
    let _hosts = [
        ours(&client, "devbox", &models[0]),
        devbox(&client, "gpu1", &models[1]),
    ];
    let args = ["exec", "--host", "devbox", "--host", "gpu1", "say from both"];
    let outcome = codex(&client, &args);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for host in ["devbox", "gpu1"] {
        let answer = format!("── {host} ──\nfrom both\n");
        assert!(outcome.stdout.contains(&answer), "{outcome:?}");
    }
}

#[test]
fn commands_and_patches_of_ours_are_done_in_the_directory_of_cd() {
    require!(Sshd);
    let (client, model) = (Client::new(), Model::start());
    let host = ours(&client, "devbox", &model);
    let prompt = "run pwd > where\npatch new.txt a line\nsay done";
    let sandbox = ["--sandbox", "workspace-write", prompt];
    let outcome = codex(
        &client,
        &[&["exec", "-H", "devbox", "--cd", "~/work"], &sandbox[..]].concat(),
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let place = format!("{}\n", host.work().display());
    assert_eq!(host.read("work/where"), Some(place));
    assert_eq!(host.read("work/new.txt").as_deref(), Some("a line\n"));
    assert!(outcome.stderr.contains("new.txt: completed"), "{outcome:?}");
}

#[test]
fn an_approval_that_ours_asks_for_with_nobody_there_runs_nothing() {
    require!(Sshd);
    let (client, model) = (Client::new(), Model::start());
    let host = ours(&client, "devbox", &model);
    let args = ["exec", "--host", "devbox", "--cd", "work", "escalate touch x"];
    let outcome = codex(&client, &args);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    assert_eq!(host.read("work/x"), None);
}

#[test]
fn a_failed_turn_of_ours_says_why() {
    require!(Sshd);
    let (client, model) = (Client::new(), Model::start());
    let _host = ours(&client, "devbox", &model);
    let outcome = codex(&client, &["exec", "--host", "devbox", "status 400 not like this"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("answered 400 Bad Request"), "{outcome:?}");
}

#[test]
fn interrupting_ends_the_turn_of_ours_too() {
    require!(Sshd);
    let (client, model) = (Client::new(), Model::start());
    let _host = ours(&client, "devbox", &model);
    let args = ["exec", "--json", "--host", "devbox", "hold a"];
    let mut running = Running::start(&client, &args);
    running.wait_for_event("devbox", "item/agentMessage/delta");
    running.interrupt();
    let completed = running.wait_for_event("devbox", "turn/completed");
    assert_eq!(completed["turn"]["status"], "interrupted", "{completed}");
    assert_eq!(running.finish().code, Some(130));
}

#[test]
fn a_killed_connection_to_ours_comes_back_by_itself_and_with_it_the_thread() {
    require!(Sshd);
    let (client, model) = (Client::new(), Model::start());
    let host = ours(&client, "devbox", &model);
    let args = ["exec", "--json", "--host", "devbox", "hold a"];
    let mut running = Running::start(&client, &args);
    running.wait_for_event("devbox", "item/agentMessage/delta");
    host.kill_sessions();
    let is = |status: &'static str| move |params: &Value| params["status"] == status;
    running.wait_for_event_where("devbox", "status", is("waiting"));
    running.wait_for_event_where("devbox", "status", is("ready"));
    let done = running.wait_for_event("devbox", "done");
    assert!(!done["exitCode"].is_null(), "{done}");
    running.finish();
}

/// The parts of this suite that are about hosts which run the official program.
const SUITE: [&str; 7] = [
    "exec::", "screen::", "launch::", "faults::", "logins::", "hosts::", "wire::",
];

#[test]
fn the_whole_suite_passes_with_our_server_in_the_place_of_the_official_one() {
    require!(Sshd, Official, Tmux);
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(SUITE)
        .env("CODEX_TESTS_SUBSTITUTE", CODEX)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let summary = said.lines().rev().find(|it| it.starts_with("test result"));
    assert!(output.status.success(), "{said}");
    // Otherwise the names above fit nothing.
    assert!(summary.is_some_and(|it| !it.contains(" 0 passed")), "{said}");
}

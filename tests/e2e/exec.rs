//! `codex exec --host`: turns without a UI.

use codex_testkit::{Client, Model, require};
use serde_json::Value;

use crate::setting::{Running, codex, devbox};

#[test]
fn an_answer_is_streamed_to_stdout_and_nothing_else_is() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let outcome = codex(&client, &["exec", "--host", "devbox", "say hello world"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout, "hello world\n");
    assert!(outcome.stderr.contains("devbox: thread "), "{outcome:?}");
}

#[test]
fn the_answer_is_there_before_it_is_complete() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let mut running = Running::start(&client, &["exec", "--json", "--host", "devbox", "hold a"]);
    running.wait_for_event("devbox", "item/agentMessage/delta");
    model.gate("a").open();
    let outcome = running.finish();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let last: Value = serde_json::from_str(outcome.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["params"]["exitCode"]),
        (&"done".into(), &0.into())
    );
}

#[test]
fn two_hosts_answer_side_by_side_and_the_worst_decides_the_exit_code() {
    require!(Sshd, Official);
    let client = Client::new();
    let models = [
        Model::start(),
        Model::with_script(|_| codex_testkit::Reply::Status(400, "no".into())),
    ];
    let _hosts = [
        devbox(&client, "devbox", &models[0]),
        devbox(&client, "gpu1", &models[1]),
    ];
    let outcome = codex(
        &client,
        &["exec", "--host", "devbox", "--host", "gpu1", "say from devbox"],
    );
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        outcome.stdout.contains("── devbox ──\nfrom devbox\n"),
        "{outcome:?}"
    );
    assert!(
        outcome.stderr.contains("gpu1: error: the turn is failed"),
        "{outcome:?}"
    );
}

#[test]
fn commands_and_patches_are_done_in_the_directory_of_cd() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = devbox(&client, "devbox", &model);
    let prompt = "run pwd > where\npatch new.txt a line\nsay done";
    let outcome = codex(
        &client,
        &[
            "exec",
            "-H",
            "devbox",
            "--cd",
            "~/work",
            "--sandbox",
            "workspace-write",
            prompt,
        ],
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(
        host.read("work/where"),
        Some(format!("{}\n", host.work().display()))
    );
    assert_eq!(host.read("work/new.txt").as_deref(), Some("a line\n"));
    assert!(outcome.stderr.contains("$ pwd > where"), "{outcome:?}");
    assert!(outcome.stderr.contains("new.txt: completed"), "{outcome:?}");
}

#[test]
fn a_directory_that_is_not_on_the_host_is_a_usage_error() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let outcome = codex(
        &client,
        &["exec", "--host", "devbox", "--cd", "/no/such/place", "say hi"],
    );
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("/no/such/place"), "{outcome:?}");
    assert!(model.requests().is_empty(), "the prompt was not sent");
}

#[test]
fn an_approval_with_nobody_to_ask_runs_nothing_and_says_so() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = devbox(&client, "devbox", &model);
    let outcome = codex(&client, &["exec", "--host", "devbox", "escalate touch outside"]);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    assert!(outcome.stderr.contains("touch outside"), "{outcome:?}");
    assert!(host.read("outside").is_none());
}

#[test]
fn interrupting_ends_the_turn_on_the_host_too() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let mut running = Running::start(&client, &["exec", "--json", "--host", "devbox", "hold a"]);
    running.wait_for_event("devbox", "item/agentMessage/delta");
    running.interrupt();
    let completed = running.wait_for_event("devbox", "turn/completed");
    assert_eq!(completed["turn"]["status"], "interrupted");
    assert_eq!(running.wait_for_event("devbox", "done")["exitCode"], 130);
    assert_eq!(running.finish().code, Some(130));
}

#[test]
fn being_terminated_ends_the_turn_on_the_host_too() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let mut running = Running::start(&client, &["exec", "--json", "--host", "devbox", "hold a"]);
    running.wait_for_event("devbox", "item/agentMessage/delta");
    running.terminate();
    let completed = running.wait_for_event("devbox", "turn/completed");
    assert_eq!(completed["turn"]["status"], "interrupted");
    assert_eq!(running.finish().code, Some(143));
}

#[test]
fn too_many_hosts_are_a_usage_error() {
    let hosts: Vec<String> = (0..101).map(|it| format!("-Hh{it}")).collect();
    let args = ["exec"]
        .into_iter()
        .chain(hosts.iter().map(String::as_str))
        .chain(["x"]);
    let outcome = codex(&Client::new(), &args.collect::<Vec<_>>());
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("at most 100"), "{outcome:?}");
}

#[test]
fn a_turn_that_fails_says_why() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let outcome = codex(
        &client,
        &["exec", "--host", "devbox", "fail context_length_exceeded"],
    );
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let why = ["ran out of room", "no longer fits"];
    assert!(why.iter().any(|it| outcome.stderr.contains(it)), "{outcome:?}");
}

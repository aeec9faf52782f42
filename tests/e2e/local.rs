//! This machine as a host, and hosts behind a program of the user.

use std::process::Command;

use codex_testkit::{Client, Model, require};
use serde_json::Value;

use crate::{
    serving::{Whose, give_model, install, next_second, set_hosts},
    setting::{codex, run},
};

const CODEX: &str = crate::setting::CODEX;

fn exec_in(client: &Client, folder: &std::path::Path, args: &[&str]) -> crate::setting::Outcome {
    run(client.command(CODEX).arg("exec").args(args).current_dir(folder))
}

#[test]
fn a_turn_runs_on_this_machine_in_the_working_directory() {
    let (client, model) = (Client::new(), Model::start());
    give_model(client.home(), &model);
    let outcome = codex(&client, &["exec", "run pwd\nsay hello world"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "hello world\n"),
        "{outcome:?}"
    );
    let thread = format!("in {} (", client.home().display());
    assert!(outcome.stderr.contains(&thread), "{outcome:?}");
    assert!(outcome.stderr.contains("$ pwd"), "{outcome:?}");
}

#[test]
fn the_last_thread_is_that_of_the_working_directory() {
    let (client, model) = (Client::new(), Model::start());
    give_model(client.home(), &model);
    let [one, two, three] = ["one", "two", "three"].map(|it| client.home().join(it));
    for folder in [&one, &two, &three] {
        std::fs::create_dir(folder).unwrap();
    }
    let said = || serde_json::to_string(model.requests().last().unwrap().input()).unwrap();
    assert_eq!(exec_in(&client, &one, &["say first"]).code, Some(0));
    assert_eq!(exec_in(&client, &two, &["say second"]).code, Some(0));
    next_second();
    let outcome = exec_in(&client, &one, &["resume", "--last", "say third"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "third\n"),
        "{outcome:?}"
    );
    assert!(said().contains("say first") && !said().contains("say second"));
    let outcome = exec_in(&client, &two, &["resume", "--last", "--all", "say fourth"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(said().contains("say third") && !said().contains("say second"));
    let none = exec_in(&client, &three, &["resume", "--last", "say fifth"]);
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.stderr.contains("--all"), "{none:?}");
    // A relative directory is one of this machine's.
    let outcome = exec_in(
        &client,
        client.home(),
        &["resume", "--last", "--cd", "two", "say sixth"],
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(said().contains("say second"), "{}", said());
}

#[test]
fn a_program_that_gives_a_shell_is_a_host() {
    require!(Official);
    let (client, model) = (Client::new(), Model::start());
    give_model(client.home(), &model);
    install(&client, Whose::Official);
    set_hosts(&client, "[hosts.web]\ncommand = [\"sh\"]\n");
    let outcome = codex(&client, &["exec", "--host", "web", "say hello world"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "hello world\n"),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("/.local/bin/codex"), "{outcome:?}");
}

#[test]
fn our_server_behind_a_shell_of_bash_answers_too_and_can_be_asked_for() {
    let (client, model) = (Client::new(), Model::start());
    give_model(client.home(), &model);
    install(&client, Whose::Ours);
    set_hosts(
        &client,
        "[hosts.web]\ncommand = [\"bash\"]\nserver = \"ours\"\n\
         [hosts.other]\ncommand = [\"bash\"]\nserver = \"official\"\n",
    );
    let outcome = codex(&client, &["exec", "--host", "web", "say hello world"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "hello world\n"),
        "{outcome:?}"
    );
    let missing = codex(&client, &["exec", "--host", "other", "say hello"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
    assert!(
        missing.stderr.contains("there is no official codex on other"),
        "{missing:?}"
    );
}

#[test]
fn a_program_that_gives_no_shell_says_what_it_said() {
    let client = Client::new();
    set_hosts(
        &client,
        "[hosts.down]\ncommand = [\"sh\", \"-c\", \"echo no such container >&2; exit 3\"]\n\
         [hosts.gone]\ncommand = [\"no-such-program\", \"exec\"]\n\
         [hosts.bad]\ncommand = \"sh\"\n",
    );
    for (host, code, words) in [
        ("down", 3, ["exit status: 3", "no such container", "unreachable"]),
        (
            "gone",
            2,
            ["starting `no-such-program`", "correct `command`", "bad-config"],
        ),
        ("bad", 2, ["hosts.toml:6", "a list of words", "bad-config"]),
    ] {
        let outcome = codex(&client, &["exec", "--host", host, "say hi"]);
        assert_eq!(outcome.code, Some(code), "{host}: {outcome:?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "{host}, {word}: {outcome:?}");
        }
    }
}

#[test]
fn nothing_of_a_host_stays_behind_when_the_program_ends() {
    let (client, model) = (Client::new(), Model::start());
    give_model(client.home(), &model);
    install(&client, Whose::Ours);
    let mark = format!("sleep 86{}", std::process::id());
    set_hosts(
        &client,
        &format!("[hosts.web]\ncommand = [\"sh\", \"-c\", \"{mark} & exec sh\"]\n"),
    );
    let outcome = codex(&client, &["exec", "--host", "web", "say hi"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let left = Command::new("pgrep").args(["-f", &mark]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn hosts_beside_those_of_ssh_are_listed() {
    let client = Client::new();
    client.append_config("Host web\n  HostName w\nHost devbox\n  HostName d\n");
    set_hosts(
        &client,
        "[hosts.web]\ncommand = [\"docker\", \"exec\", \"-i\", \"web\", \"sh\"]\n[hosts.devbox]\nserver = \"ours\"\ncolour = 1\n",
    );
    let outcome = codex(&client, &["hosts", "--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let hosts: Vec<Value> = outcome
        .stdout
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let seen: Vec<_> = hosts
        .iter()
        .map(|it| (it["alias"].as_str().unwrap(), it["way"].as_str().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("devbox", "ssh"),
            ("web", "command"),
            ("this machine", "embedded")
        ]
    );
    assert_eq!(
        hosts[1]["command"],
        serde_json::json!(["docker", "exec", "-i", "web", "sh"])
    );
    let defined = format!("{}/.codex/hosts.toml:1", client.home().display());
    assert_eq!(hosts[1]["defined"], defined);
    assert!(outcome.stderr.contains("hosts.toml:5: `colour`"), "{outcome:?}");
    let table = codex(&client, &["hosts"]).stdout;
    assert!(
        table.contains("$ docker exec -i web sh") && table.contains("this machine"),
        "{table}"
    );
}

//! What `codex doctor` says of login shells and their start-up files: what they do, what it costs, what to do about it.

use std::thread;

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Shell, require};
use serde_json::Value;

use crate::{
    serving::set_hosts,
    setting::codex,
    shells::{MEGABYTE, MOTD, with},
};

/// A server that knows what an examination asks.
const EXAMINED: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
while read -r line; do
    id=$(printf %s "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    [ -z "$id" ] || printf '{"id":%s,"result":{"account":null,"requiresOpenaiAuth":false}}\n' "$id"
done
"#;

/// What `codex doctor` says of such a host: its exit status, and each stage.
fn examine(options: HostOptions) -> (Option<i32>, Vec<Value>) {
    let client = Client::new();
    let options = options.authorize(client.key());
    let host = Host::start(options.codex(Codex::Script(EXAMINED.to_owned())));
    client.add(&Alias::new("devbox", &host));
    let outcome = codex(&client, &["doctor", "--json", "--batch", "devbox"]);
    let stages = outcome.stdout.lines().map(|it| serde_json::from_str(it).unwrap());
    (outcome.code, stages.collect())
}

/// The stages that are not as they should be, each with its text and its fix.
fn complaints(stages: &[Value]) -> Vec<[&str; 4]> {
    let word = |stage: &Value, name: &str| -> String { stage[name].as_str().unwrap_or_default().to_owned() };
    let bad = stages.iter().filter(|it| word(it, "verdict") != "ok");
    bad.map(|it| ["stage", "verdict", "text", "fix"].map(|name| it[name].as_str().unwrap_or_default()))
        .collect()
}

#[test]
fn doctor_says_what_start_up_files_do_to_the_systems_ssh() {
    require!(Ssh, Sshd, Zsh);
    for (rc, word) in [
        ("exec zsh\n", "makes it another shell, zsh"),
        ("echo noise\n", "print 5 bytes"),
    ] {
        let client = Client::new();
        let options = with(Shell::Bash).rc(rc).codex(Codex::Script(EXAMINED.to_owned()));
        let host = Host::start(options.authorize(client.key()));
        client.add(&Alias::new("devbox", &host));
        set_hosts(&client, "[hosts.devbox]\ntransport = \"system\"\n");
        let outcome = codex(&client, &["doctor", "--json", "--batch", "devbox"]);
        let stages: Vec<Value> = outcome
            .stdout
            .lines()
            .map(|it| serde_json::from_str(it).unwrap())
            .collect();
        let complaints = complaints(&stages);
        let [["launch", "warning", text, _]] = complaints[..] else {
            panic!("{rc}: {complaints:#?}");
        };
        assert!(
            text.contains(word) && !text.contains("costs each command"),
            "{text}"
        );
        assert_eq!(outcome.code, Some(0));
    }
}

#[test]
fn doctor_goes_around_start_up_files_and_says_what_they_do() {
    require!(Sshd, Fish, Zsh);
    let cases: [(&str, HostOptions, &[&str]); 6] = [
        (
            "much noise",
            with(Shell::Bash).rc(MEGABYTE),
            &["print over 32768 bytes", "only for terminals"],
        ),
        (
            "another shell of the server's",
            HostOptions::new().sshd("ForceCommand zsh"),
            &[
                "or the server's ForceCommand, makes it another shell, zsh",
                "SSH_ORIGINAL_COMMAND",
            ],
        ),
        (
            "exec zsh",
            with(Shell::Bash).rc("exec zsh\n"),
            &[
                "makes it another shell, zsh",
                "costs each command 2 s",
                "exec zsh;;",
            ],
        ),
        (
            "read",
            with(Shell::Bash).rc("read x; read y\n"),
            &["takes the input of every command", "only for terminals"],
        ),
        (
            "noise",
            with(Shell::Bash).rc(MOTD),
            &["print 10", "belong to no command", "only for terminals"],
        ),
        (
            "one command at a time",
            with(Shell::Bash).rc("exec zsh\n").sshd("MaxSessions 1"),
            &["another shell, zsh"],
        ),
    ];
    thread::scope(|scope| {
        for (name, options, words) in cases {
            scope.spawn(move || {
                let (code, stages) = examine(options);
                let complaints = complaints(&stages);
                let [[stage, verdict, text, fix]] = complaints[..] else {
                    panic!("{name}: {complaints:#?}");
                };
                assert_eq!((stage, verdict, code), ("shell", "warning", Some(0)), "{name}");
                for word in words {
                    assert!(
                        text.contains(word) || fix.contains(word),
                        "{name}: {word}: {text}: {fix}"
                    );
                }
            });
        }
        // A login shell is asked for its environment only, and that one does not tell it.
        scope.spawn(|| {
            let (code, stages) = examine(with(Shell::Bash).profile("exec fish\n"));
            let complaints = complaints(&stages);
            assert!(
                complaints.iter().all(|it| it[0] == "environment"),
                "{complaints:#?}"
            );
            assert_eq!(code, Some(0));
        });
    });
}

/// Something that a start-up file leaves behind may hold the output of every command open, or go on printing.
#[test]
fn doctor_waits_neither_for_what_start_up_files_leave_behind_nor_blames_those_that_are_slow() {
    require!(Sshd, Zsh);
    let prints = "(while :; do echo noise >&2; sleep 0.1; done) &\n";
    thread::scope(|scope| {
        for (name, rc) in [("a daemon", "sleep 300 &\n"), ("one that prints", prints)] {
            scope.spawn(move || {
                let (code, stages) = examine(with(Shell::Bash).rc(rc));
                assert!(
                    complaints(&stages).is_empty() && code == Some(0),
                    "{name}: {stages:#?}"
                );
                for stage in &stages {
                    assert!(stage["ms"].as_f64().unwrap() < 15_000.0, "{name}: {stage:#?}");
                }
            });
        }
        scope.spawn(|| {
            let (code, stages) = examine(with(Shell::Zsh).rc("case $- in *l*) ;; *) sleep 3;; esac\n"));
            assert!(complaints(&stages).is_empty() && code == Some(0), "{stages:#?}");
        });
    });
}

#[test]
fn doctor_blames_nobody_for_a_path_that_start_up_files_took_away() {
    require!(Sshd, Fish);
    for (shell, rc) in [
        (Shell::Bash, "export PATH=/nonexistent\n"),
        (Shell::Fish, "set -gx PATH\n"),
    ] {
        let (code, stages) = examine(with(shell).rc(rc));
        let complaints = complaints(&stages);
        assert!(complaints.is_empty(), "{complaints:#?}");
        assert_eq!(code, Some(0));
    }
}

#[test]
fn doctor_says_which_shell_or_file_keeps_every_server_from_starting() {
    require!(Sshd, Fish);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (code, stages) = examine(with(Shell::Bash).rc("exec fish\n"));
            let complaints = complaints(&stages);
            let [["shell", "broken", text, fix]] = complaints[..] else {
                panic!("{complaints:#?}");
            };
            assert_eq!(code, Some(3));
            assert!(
                text.contains("makes it another shell, fish") && text.contains("end of its input"),
                "{text}"
            );
            assert!(fix.contains("exec fish;;"), "{fix}");
            let last = stages.last().unwrap();
            assert_eq!(
                (&last["stage"], &last["verdict"]),
                (&"bandwidth".into(), &"ok".into())
            );
        });
        for shell in [Shell::Bash, Shell::Zsh] {
            scope.spawn(move || {
                let (code, stages) = examine(with(shell).rc("echo Not today.; exit 1\n"));
                let complaints = complaints(&stages);
                let [["exec", "broken", text, fix]] = complaints[..] else {
                    panic!("{complaints:#?}");
                };
                assert_eq!(code, Some(3));
                assert!(
                    text.contains("ends with exit status 1 before a command is read"),
                    "{text}"
                );
                assert!(fix.contains("only for terminals"), "{fix}");
                assert_eq!(stages.last().unwrap()["stage"], "exec");
                assert_eq!(stages[stages.len() - 2]["stage"], "login");
            });
        }
        scope.spawn(|| {
            let (_, stages) = examine(HostOptions::new().sshd("ForceCommand echo only backups here"));
            let complaints = complaints(&stages);
            let [["exec", "broken", text, fix]] = complaints[..] else {
                panic!("{complaints:#?}");
            };
            assert!(
                text.contains("exit status 0") && fix.contains("ForceCommand"),
                "{text}: {fix}"
            );
        });
        scope.spawn(|| {
            let (_, stages) = examine(HostOptions::new().sshd("ForceCommand internal-sftp"));
            let complaints = complaints(&stages);
            let [["exec", "broken", _, fix]] = complaints[..] else {
                panic!("{complaints:#?}");
            };
            assert!(fix.contains("runs only its sftp for this account"), "{fix}");
        });
    });
}

#[test]
fn doctor_blames_a_forced_command_for_what_it_cannot_measure_and_nothing_else() {
    require!(Sshd);
    // Whoever set it up thought of the server, and of nothing else.
    let wrapper = "sh -c 'case $SSH_ORIGINAL_COMMAND in (*app-server*) exec sh -c \"$SSH_ORIGINAL_COMMAND\";; \
                   (*) echo only the server here;; esac'";
    let forced = HostOptions::new().sshd(&format!("ForceCommand {wrapper}"));
    let (code, stages) = examine(forced);
    assert_eq!(code, Some(0), "{stages:#?}");
    let told = |name: &str| {
        let stage = stages.iter().find(|it| it["stage"] == name);
        stage.unwrap_or_else(|| panic!("{name}: {stages:#?}"))
    };
    for (name, verdict) in [
        ("shell", "ok"),
        ("initialize", "ok"),
        ("exec", "warning"),
        ("clock", "skipped"),
        ("environment", "skipped"),
        ("codex", "skipped"),
        ("round-trip", "ok"),
        ("bandwidth", "skipped"),
    ] {
        assert_eq!(told(name)["verdict"], verdict, "{stages:#?}");
        let text = told(name)["text"].as_str().unwrap();
        assert_eq!(
            verdict == "skipped",
            text.contains("behind a forced command"),
            "{text}"
        );
    }
    let [text, fix] = ["text", "fix"].map(|name| told("exec")[name].as_str().unwrap());
    assert!(
        text.contains("no command is run but the one that starts codex") && fix.contains("ForceCommand"),
        "{text}: {fix}"
    );
}

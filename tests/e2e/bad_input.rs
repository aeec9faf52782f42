//! What is wrong gets a clear error, or costs itself and nothing else.

use std::{fs, os::unix::fs::PermissionsExt};

use codex_testkit::{Alias, Client, Host, HostOptions, require};

use crate::setting::{codex, scripted};

const SAY: [&str; 4] = ["exec", "--host", "devbox", "say hello"];

/// A server that answers the handshake, then does `rest`. There, `next METHOD` waits for a call and sets
/// `$id`; calls that nobody waits for are not answered.
pub(crate) fn fake_server(rest: &str) -> String {
    format!(
        "#!/bin/sh\n\
         next() {{ while read -r l; do case $l in *\"\\\"$1\\\"\"*)\n\
         id=$(printf %s \"$l\" | sed -n 's/.*\"id\":\\([0-9]*\\).*/\\1/p'); return;; esac; done; exit 0; }}\n\
         next initialize; echo '{{\"id\":'$id',\"result\":{{\"userAgent\":\"fake/9.9.9\"}}}}'\n\
         {rest}"
    )
}

pub(crate) const THREAD: &str = "next thread/start; echo '{\"id\":'$id',\"result\":{\"thread\":{\"id\":\"t\"},\
    \"approvalPolicy\":\"never\",\"sandbox\":{\"type\":\"readOnly\"}}}'\n";
pub(crate) const TURN: &str = "next turn/start; echo '{\"id\":'$id',\"result\":{\"turn\":{\"id\":\"u\",\
    \"status\":\"inProgress\"}}}'\n";
pub(crate) const END: &str = "echo '{\"method\":\"item/completed\",\"params\":{\"threadId\":\"t\",\"turnId\":\"u\",\
    \"item\":{\"type\":\"agentMessage\",\"id\":\"m\",\"text\":\"survived\"}}}'\n\
    echo '{\"method\":\"turn/completed\",\"params\":{\"threadId\":\"t\",\"turn\":{\"id\":\"u\",\
    \"status\":\"completed\"}}}'\nnext forever\n";

#[test]
fn a_server_that_prints_garbage_is_told_from_one_that_is_gone() {
    require!(Sshd);
    let client = Client::new();
    let script = "#!/bin/sh\necho usage: codex OPTIONS\necho nothing\nexec sleep 60\n";
    let _host = scripted(&client, "devbox", script);
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    for part in ["[incompatible]", "usage: codex OPTIONS"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
}

#[test]
fn a_server_of_the_future_is_understood_as_far_as_it_goes() {
    require!(Sshd);
    let client = Client::new();
    let odd = "printf 'not json\\n\\n[]\\n{\"id\":{}}\\n{\"method\":\"x\",\"params\":\"\\377\\376\"}\\n'\n\
        echo '{\"method\":\"thread/teleported\",\"params\":{\"threadId\":\"t\",\"to\":[1,2]}}'\n\
        echo '{\"method\":\"item/started\",\"params\":{\"threadId\":\"t\",\"turnId\":\"u\",\"item\":{\"type\":\"hologram\",\"id\":\"h\"}}}'\n\
        echo '{\"method\":\"item/completed\",\"params\":{\"threadId\":\"t\",\"turnId\":\"u\",\"item\":{\"type\":\"hologram\"}}}'\n\
        echo '{\"id\":7,\"method\":\"item/telepathy/request\",\"params\":{}}'\n\
        echo '{\"id\":99,\"result\":{}}'\n";
    let _host = scripted(
        &client,
        "devbox",
        &fake_server(&format!("{THREAD}{TURN}{odd}{END}")),
    );
    let outcome = codex(&client, &SAY);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "survived\n"),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("not json"), "{outcome:?}");
}

#[test]
fn a_line_of_100_mb_costs_itself_and_nothing_else() {
    require!(Sshd);
    let client = Client::new();
    let long =
        "printf '{\"method\":\"x\",\"params\":\"'; head -c 100000000 /dev/zero | tr '\\0' x; echo '\"}'\n";
    let _host = scripted(
        &client,
        "devbox",
        &fake_server(&format!("{THREAD}{TURN}{long}{END}")),
    );
    let outcome = codex(&client, &SAY);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "survived\n"),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("100000026 bytes"), "{outcome:?}");
}

#[test]
fn an_answer_of_100_mb_is_a_clear_error() {
    require!(Sshd);
    let client = Client::new();
    let long = "next thread/start; printf '{\"id\":'$id',\"result\":\"'; head -c 100000000 /dev/zero | tr '\\0' x; echo '\"}'\n";
    let _host = scripted(&client, "devbox", &fake_server(&format!("{long}next forever\n")));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        outcome.stderr.contains("the answer to thread/start has 1000000"),
        "{outcome:?}"
    );
}

#[test]
fn a_connection_that_closes_inside_a_line_is_a_clear_error() {
    require!(Sshd);
    let client = Client::new();
    let cut = "next thread/start; printf '{\"id\":1,\"resu'; exit 0\n";
    let _host = scripted(&client, "devbox", &fake_server(cut));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("[server-exited]"), "{outcome:?}");
    assert!(outcome.stderr.contains("exit status 0"), "{outcome:?}");
}

#[test]
fn the_last_words_of_a_server_that_ends_at_once_are_heard() {
    require!(Sshd);
    let client = Client::new();
    let end = END.replace("next forever\n", "exit 0\n");
    let _host = scripted(&client, "devbox", &fake_server(&format!("{THREAD}{TURN}{end}")));
    let outcome = codex(&client, &SAY);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "survived\n"),
        "{outcome:?}"
    );
}

#[test]
fn what_was_found_on_the_host_is_told_and_that_nobody_is_logged_in_there() {
    require!(Sshd);
    let client = Client::new();
    let account = "next account/read; echo '{\"id\":'$id',\"result\":{\"account\":null,\"requiresOpenaiAuth\":true}}'\n";
    // The calls come in any order: the notice is waited for by the turn's end.
    let script = fake_server(&format!("{account}{THREAD}{TURN}{END}"));
    let _host = scripted(&client, "devbox", &script);
    let outcome = codex(&client, &SAY);
    for part in [
        "codex 9.9.9 at /",
        "nobody is logged in to Codex on devbox",
        "codex login",
    ] {
        assert_eq!(outcome.stderr.matches(part).count(), 1, "{part}: {outcome:?}");
    }
}

#[test]
fn json_for_a_terminal_has_no_control_characters_of_the_remote() {
    require!(Sshd);
    let client = Client::new();
    let odd = "printf '{\"method\":\"warning\",\"params\":{\"threadId\":\"t\",\"message\":\"a\\302\\233b\\177\"}}\\n'\n";
    let _host = scripted(
        &client,
        "devbox",
        &fake_server(&format!("{THREAD}{TURN}{odd}{END}")),
    );
    let outcome = codex(&client, &["exec", "--json", "--host", "devbox", "say hello"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("a\\u009bb\\u007f"), "{outcome:?}");
    assert!(!outcome.stdout.contains(['\u{9b}', '\u{7f}']), "{outcome:?}");
}

#[test]
fn a_bad_configuration_names_file_and_line() {
    require!(Sshd);
    let client = Client::new();
    let host = Host::start(HostOptions::new().authorize(client.key()));
    client.add(&Alias::new("devbox", &host).line("Port 0"));
    let outcome = codex(&client, &SAY);
    assert!(
        outcome
            .stderr
            .contains(&format!("{}:", client.config().display())),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("0"), "{outcome:?}");
}

#[test]
fn a_configuration_that_others_can_write_is_refused() {
    let client = Client::new();
    client.append_config("Host devbox\n  HostName 127.0.0.1\n");
    fs::set_permissions(client.config(), fs::Permissions::from_mode(0o666)).unwrap();
    for args in [&SAY[..], &["hosts"]] {
        let outcome = codex(&client, args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:?}");
        assert!(
            outcome.stderr.contains(&client.config().display().to_string()),
            "{outcome:?}"
        );
        assert!(outcome.stderr.contains("chmod"), "{outcome:?}");
    }
}

#[test]
fn an_unknown_alias_is_told_as_a_name_that_nobody_knows() {
    let outcome = codex(&Client::new(), &["exec", "--host", "nosuch.invalid", "say hello"]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("nosuch.invalid"), "{outcome:?}");
}

#[test]
fn an_empty_prompt_is_a_usage_error() {
    let outcome = codex(&Client::new(), &["exec", "--host", "devbox", "  "]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    let outcome = codex(&Client::new(), &["exec", "--host", "devbox", "-"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
}

#[test]
fn no_name_of_a_host_moves_the_cursor() {
    let client = Client::new();
    let host = "bidi\u{202e}.invalid";
    client.append_config(&format!("Host {host}\n  HostName evil\u{1b}[2J.invalid\n"));
    for args in [
        &["exec", "--host", host, "say hello"][..],
        &["install", host],
        &["doctor", host],
        &["hosts"],
        &["hosts", "-G", host],
    ] {
        let outcome = codex(&client, args);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("bidi"), "{args:?}: {outcome:?}");
        assert!(!said.contains(['\u{202e}', '\u{1b}']), "{args:?}: {outcome:?}");
    }
}

//! A name that nobody knows and that is nearly one of the user's: the same suggestion everywhere.

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Tmux, require};
use serde_json::Value;

use crate::{
    serving::set_hosts,
    setting::{CODEX, Outcome, codex},
};

/// RFC 6761, 6.4: no name below `invalid` is ever known.
const ALIAS: &str = "devbox.invalid";
const TYPED: &str = "devbx.invalid";
const HINT: &str = "did you mean `devbox.invalid`? Else check the name, or set HostName for `devbx.invalid` in the SSH \
                    configuration";

fn client() -> Client {
    let client = Client::new();
    client.append_config(&format!(
        "Host {ALIAS}\n  HostName 127.0.0.1\nHost gpu1.invalid *.lab\n  User me\n"
    ));
    client
}

fn events(outcome: &Outcome) -> Vec<Value> {
    let lines = outcome.stdout.lines();
    lines.map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// The hint of the failure that `exec` tells.
fn hint(client: &Client, host: &str) -> Value {
    let outcome = codex(client, &["exec", "--json", "--host", host, "say hello"]);
    let failure = events(&outcome).into_iter().find(|it| it["event"] == "failure");
    let failure = failure.unwrap_or_else(|| panic!("{host}: {outcome:?}"));
    assert_eq!(failure["params"]["code"], "unreachable", "{failure}");
    failure["params"]["hint"].clone()
}

#[test]
fn a_mistyped_alias_is_answered_with_the_same_question_by_every_command() {
    let client = client();
    assert_eq!(hint(&client, TYPED), HINT);
    let outcome = codex(&client, &["doctor", "--json", TYPED]);
    let broken = events(&outcome).into_iter().find(|it| it["verdict"] == "broken");
    assert_eq!(broken.unwrap()["fix"], HINT, "{outcome:?}");
    for args in [&["install", TYPED][..], &["exec", "--host", TYPED, "say hello"]] {
        let outcome = codex(&client, args);
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
        assert!(outcome.stderr.contains(&format!("hint: {HINT}\n")), "{outcome:?}");
    }
}

#[test]
fn the_interface_asks_it_too() {
    require!(Tmux);
    let client = client();
    let words = [CODEX, "connect", TYPED];
    let terminal = Tmux::start(&words, &client.environment(), 120, 40);
    terminal.wait_for_text("did you mean `devbox.invalid`? Else check the name");
}

#[test]
fn a_name_with_settings_of_its_own_is_not_taken_for_another_one() {
    let client = client();
    for host in ["gpu1.invalid", "laptop.invalid"] {
        let hint = hint(&client, host);
        let hint = hint.as_str().unwrap();
        assert!(hint.starts_with("check the name"), "{host}: {hint}");
    }
}

#[test]
fn a_host_of_the_settings_may_be_meant_as_well() {
    let client = client();
    set_hosts(&client, "[hosts.\"web.invalid\"]\ncommand = [\"sh\"]\n");
    let hint = hint(&client, "wbe.invalid");
    let hint = hint.as_str().unwrap();
    assert!(hint.starts_with("did you mean `web.invalid`? Else "), "{hint}");
}

#[test]
fn what_a_jump_host_does_not_know_may_be_mistyped_too() {
    require!(Sshd);
    let client = client();
    let bastion = Host::start(HostOptions::new().authorize(client.key()).codex(Codex::Absent));
    client.add(&Alias::new("bastion", &bastion));
    client.append_config("Host *.invalid\n  ProxyJump bastion\n");
    let hint = hint(&client, TYPED);
    let hint = hint.as_str().unwrap();
    assert!(hint.starts_with("did you mean `devbox.invalid`? Else "), "{hint}");
}

#[test]
fn the_settings_of_a_mistyped_alias_are_printed_with_the_question_beside_them() {
    let client = client();
    let noted = |host: &str| {
        let outcome = codex(&client, &["hosts", "-G", host]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(
            outcome.stdout.starts_with(&format!("host {host}\n")),
            "{outcome:?}"
        );
        outcome.stderr
    };
    assert_eq!(
        noted(TYPED),
        "note: `devbx.invalid` is no alias of the configuration: did you mean `devbox.invalid`?\n"
    );
    for known in [ALIAS, "gpu1.invalid", "laptop"] {
        assert_eq!(noted(known), "", "{known}");
    }
}

//! `codex hosts`, and the command line itself.

use codex_testkit::Client;
use serde_json::Value;

use crate::{
    serving::set_hosts,
    setting::{Outcome, codex},
};

fn configured() -> Client {
    let client = Client::new();
    client.append_config(
        "Host devbox\n  HostName 10.0.0.4\n  User dev\n  Port 2222\n  ProxyJump me@bastion:2200\n\
         Host gpu? !gpu9\n  User gpu\nHost gpu1 *.lab\n  HostName %h.example\n",
    );
    client
}

#[test]
fn aliases_are_listed_with_what_they_mean_and_where_they_are_defined() {
    let client = configured();
    let outcome = codex(&client, &["hosts", "--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let hosts: Vec<Value> = outcome
        .stdout
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(hosts.len(), 3, "two aliases and this machine: {hosts:?}");
    let defined = |line: u32| Value::from(format!("{}:{line}", client.config().display()));
    assert_eq!(
        (
            &hosts[0]["alias"],
            &hosts[0]["hostName"],
            &hosts[0]["port"],
            &hosts[0]["user"],
            &hosts[0]["jump"]
        ),
        (
            &"devbox".into(),
            &"10.0.0.4".into(),
            &2222.into(),
            &"dev".into(),
            &"me@bastion:2200".into()
        )
    );
    assert_eq!(hosts[0]["defined"], defined(1));
    assert_eq!(
        (
            &hosts[1]["alias"],
            &hosts[1]["hostName"],
            &hosts[1]["user"],
            &hosts[1]["jump"]
        ),
        (
            &"gpu1".into(),
            &"gpu1.example".into(),
            &"gpu".into(),
            &Value::Null
        )
    );
    assert_eq!(hosts[1]["defined"], defined(8));
}

#[test]
fn the_table_is_for_people() {
    let outcome = codex(&configured(), &["hosts"]);
    let first: Vec<&str> = outcome
        .stdout
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(
        first,
        ["ALIAS", "USER", "HOST", "NAME", "PORT", "JUMP", "DEFINED"]
    );
    let row: Vec<&str> = outcome
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row[..5], ["devbox", "dev", "10.0.0.4", "2222", "me@bastion:2200"]);
}

#[test]
fn only_the_hosts_that_are_named_are_listed_and_a_mistyped_one_is_told() {
    let client = configured();
    let aliases = |outcome: &Outcome| -> Vec<Value> {
        let rows = outcome.stdout.lines();
        rows.map(|it| serde_json::from_str::<Value>(it).unwrap()["alias"].take())
            .collect()
    };
    let outcome = codex(&client, &["hosts", "--json", "gpu1", "devbox"]);
    assert_eq!(aliases(&outcome), ["gpu1", "devbox"], "{outcome:?}");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");

    let outcome = codex(&client, &["hosts", "--json", "devbx", "gpu1"]);
    assert_eq!(aliases(&outcome), ["gpu1"], "{outcome:?}");
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    for part in [
        "no host of the list is named `devbx`",
        "did you mean `devbox`?",
        "codex hosts -G devbx",
    ] {
        assert!(outcome.stderr.contains(part), "{outcome:?}");
    }
}

#[test]
fn listing_runs_no_program_of_the_configuration() {
    let client = Client::new();
    let witness = client.home().join("was-run");
    client.append_config(&format!(
        "Match exec \"touch {}\"\n  User evil\nHost devbox\n  HostName h\n",
        witness.display()
    ));
    assert_eq!(codex(&client, &["hosts"]).code, Some(0));
    assert!(!witness.exists());
}

#[test]
fn what_is_not_understood_is_a_warning_with_file_and_line() {
    let client = Client::new();
    client.append_config("Host devbox\n  HostNmae h\n");
    let outcome = codex(&client, &["hosts"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let place = format!("{}:2", client.config().display());
    assert!(
        outcome.stderr.contains(&place) && outcome.stderr.contains("hostnmae"),
        "{outcome:?}"
    );
    assert!(outcome.stdout.contains("devbox"));
}

#[test]
fn another_configuration_file_is_read_instead() {
    let client = configured();
    let other = client.home().join("other");
    std::fs::write(&other, "Host elsewhere\n  HostName e\n").unwrap();
    let outcome = codex(&client, &["hosts", "-F", other.to_str().unwrap()]);
    assert!(
        outcome.stdout.contains("elsewhere") && !outcome.stdout.contains("devbox"),
        "{outcome:?}"
    );
    let missing = codex(&client, &["hosts", "-F", "/no/such/file"]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("/no/such/file"), "{missing:?}");
}

#[test]
fn usage_errors_have_code_2_and_help_has_0() {
    let client = Client::new();
    for args in [
        &["nosuch"][..],
        &["exec"],
        &["exec", "--host", "a:0", "x"],
        &["connect", "a:0"],
        &["connect", "a", "a"],
        &[],
    ] {
        let outcome = codex(&client, args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{args:?}");
    }
    for args in [&["--help"][..], &["connect", "--help"], &["--version"]] {
        let outcome = codex(&client, args);
        assert_eq!(outcome.code, Some(0), "{args:?}");
        assert_eq!(outcome.stderr, "", "{args:?}");
    }
}

#[test]
fn a_host_in_the_place_of_a_command_is_told_from_a_mistyped_command() {
    let client = configured();
    let outcome = codex(&client, &["devbox"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    let hint = "hint: `codex connect devbox` connects to that host";
    assert!(outcome.stderr.contains(hint), "{outcome:?}");
    let outcome = codex(&client, &["conect"]);
    assert!(
        outcome.stderr.contains("'connect'") && !outcome.stderr.contains("hint:"),
        "{outcome:?}"
    );
    let outcome = codex(&client, &["connect", "devbox"]);
    assert!(
        outcome.stderr.contains("codex exec --host devbox PROMPT"),
        "{outcome:?}"
    );
}

#[test]
fn a_long_alias_does_not_push_the_columns_of_the_others_away() {
    let client = configured();
    client.append_config(&format!("Host {}\n", "long".repeat(40)));
    let outcome = codex(&client, &["hosts"]);
    let line = outcome
        .stdout
        .lines()
        .find(|it| it.starts_with("devbox"))
        .unwrap();
    assert!(line.find("dev ").is_some_and(|it| it < 60), "{outcome:?}");
}

#[test]
fn the_settings_of_ssh_are_not_shown_as_if_they_held_for_what_is_reached_in_another_way() {
    let client = configured();
    set_hosts(&client, "[hosts.web]\ncommand = [\"sh\"]\n");
    let outcome = codex(&client, &["hosts", "-G", "web"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains("not reached by SSH"), "{outcome:?}");
    let outcome = codex(&client, &["hosts", "-G", "ws://127.0.0.1:1"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert_eq!(outcome.stdout, "");
}

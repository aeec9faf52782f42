//! Every code of a failure, provoked for real: the same in `exec --json` and in `doctor --json`.

use std::{any::Any, fs, io::Write, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, thread};

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Known, require};
use serde_json::Value;

use crate::{
    bad_input::fake_server,
    setting::{CODEX, Outcome, run, scripted},
};

/// Makes what fails as `devbox`, and hands back what has to live as long as it is to fail.
type Provoke = fn(&Client) -> Box<dyn Any>;

/// Each code of the README's table, and how it comes about.
const CODES: [(&str, Provoke); 14] = [
    ("bad-config", |client| with_line(client, "Ciphers 3des-cbc")),
    ("unreachable", |client| {
        let mut host = host(client);
        client.add(&Alias::new("devbox", &host));
        host.stop();
        Box::new(host)
    }),
    ("timed-out", |client| {
        // Connections are taken by the kernel, and nobody says a word.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        at_port(client, &listener, "ConnectTimeout 1");
        Box::new(listener)
    }),
    ("ssh-protocol", |client| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        at_port(client, &listener, "");
        // It ends with the test's process, which waits for nobody.
        Box::new(thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                _ = (&stream).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        }))
    }),
    ("host-key-unknown", |client| known(client, Known::No)),
    ("host-key-changed", |client| known(client, Known::Changed)),
    ("host-key-revoked", |client| {
        let host = host(client);
        client.add(&Alias::new("devbox", &host));
        let file = client.known_hosts();
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("@revoked * {}\n{text}", host.key().known())).unwrap();
        Box::new(host)
    }),
    ("unauthorized", |client| {
        let host = Host::start(HostOptions::new().codex(Codex::Absent));
        client.add(&Alias::new("devbox", &host));
        Box::new(host)
    }),
    ("cancelled", |client| {
        let options = HostOptions::new().authorize(client.encrypted_key());
        let host = Host::start(options.codex(Codex::Absent));
        client.add(&Alias::new("devbox", &host).identity(client.encrypted_key()));
        Box::new(host)
    }),
    ("forbidden", |client| {
        let options = HostOptions::new().authorize(client.key()).codex(Codex::Absent);
        let bastion = Host::start(options.forwarding(false));
        client.add(&Alias::new("bastion", &bastion));
        Box::new((bastion, with_line(client, "ProxyJump bastion")))
    }),
    ("not-installed", |client| with_line(client, "")),
    ("launch-failed", |client| {
        script(client, "#!/bin/sh\necho no >&2; exit 3\n")
    }),
    ("server-exited", |client| {
        script(client, &quick(&fake_server("next initialized; exit 5\n")))
    }),
    ("incompatible", |client| {
        let refuses = "read -r l; id=$(printf %s \"$l\" | sed -n 's/.*\"id\":\\([0-9]*\\).*/\\1/p')\n\
            echo '{\"id\":'$id',\"error\":{\"code\":-32601,\"message\":\"what is initialize?\"}}'; read -r l\n";
        script(client, &quick(&format!("#!/bin/sh\n{refuses}")))
    }),
];

/// Comes about by `--forward` alone, which `doctor` does not take: `forward.rs` provokes it.
const FORWARD_FAILED: &str = "forward-failed";

/// The script with an answer for `doctor`, which asks for the version too.
fn quick(script: &str) -> String {
    script.replacen(
        '\n',
        "\n[ \"$1\" != --version ] || { echo codex 9.9.9; exit 0; }\n",
        1,
    )
}

fn host(client: &Client) -> Host {
    Host::start(HostOptions::new().authorize(client.key()).codex(Codex::Absent))
}

fn with_line(client: &Client, line: &str) -> Box<dyn Any> {
    let host = host(client);
    client.add(&Alias::new("devbox", &host).line(line));
    Box::new(host)
}

fn known(client: &Client, known: Known) -> Box<dyn Any> {
    let host = host(client);
    client.add(&Alias::new("devbox", &host).known(known));
    Box::new(host)
}

fn script(client: &Client, text: &str) -> Box<dyn Any> {
    Box::new(scripted(client, "devbox", text))
}

fn at_port(client: &Client, listener: &TcpListener, line: &str) {
    let port = listener.local_addr().unwrap().port();
    let text = format!("Host devbox\n  HostName 127.0.0.1\n  Port {port}\n  {line}\n");
    fs::create_dir_all(client.config().parent().unwrap()).unwrap();
    fs::write(client.config(), text).unwrap();
}

/// Runs the binary for a user who answers no question.
fn with_refusals(client: &Client, args: &[&str]) -> (Outcome, Vec<Value>) {
    let refuses = client.home().join("refuses");
    fs::write(&refuses, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&refuses, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = client.command(CODEX);
    command.args(args);
    let outcome = run(command
        .env("SSH_ASKPASS", &refuses)
        .env("SSH_ASKPASS_REQUIRE", "force"));
    let events = outcome.stdout.lines().map(|it| serde_json::from_str(it).unwrap());
    let events = events.collect();
    (outcome, events)
}

#[test]
fn every_code_comes_about_and_is_the_same_in_exec_and_in_doctor() {
    require!(Sshd);
    // Some of them take the patience of a limit.
    thread::scope(|scope| {
        for (code, provoke) in CODES {
            scope.spawn(move || comes_about(code, provoke));
        }
    });
}

fn comes_about(code: &str, provoke: Provoke) {
    let client = Client::new();
    let _failing = provoke(&client);
    let (outcome, events) = with_refusals(&client, &["exec", "--json", "--host", "devbox", "say hello"]);
    let failure = events.iter().rfind(|it| it["event"] == "failure");
    let failure = failure.unwrap_or_else(|| panic!("{code}: {outcome:?}"));
    assert_eq!(failure["params"]["code"], code, "{outcome:?}");
    assert!(
        outcome.code.is_some_and(|it| (2..=4).contains(&it)),
        "{code}: {outcome:?}"
    );
    let (outcome, stages) = with_refusals(&client, &["doctor", "--json", "devbox"]);
    let broken = stages.iter().find(|it| it["verdict"] == "broken");
    let broken = broken.unwrap_or_else(|| panic!("{code}: {outcome:?}"));
    assert_eq!(broken["code"], code, "{outcome:?}");
    // Before it stands the jump host, where it is one's.
    let (said, message) = (broken["text"].as_str(), failure["params"]["message"].as_str());
    let is_same = said
        .zip(message)
        .is_some_and(|(said, message)| said.ends_with(message));
    assert!(is_same, "{code}: {broken:#} is not {failure:#}");
    assert_eq!(broken["fix"], failure["params"]["hint"], "{code}");
    assert!(
        broken["fix"].as_str().is_some_and(|it| !it.is_empty()),
        "{code}: {broken:#}"
    );
}

#[test]
fn no_code_of_the_readme_is_without_its_provocation() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, table) = readme.split_once("\n| code | what it means |").unwrap();
    let rows = table.lines().skip(1).take_while(|it| it.starts_with('|'));
    let codes = rows.filter_map(|it| it.split('`').nth(1));
    let codes = codes.filter(|it| *it != FORWARD_FAILED);
    let provoked = CODES.map(|(code, _)| code);
    assert_eq!(codes.collect::<Vec<_>>(), provoked);
}

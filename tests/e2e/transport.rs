//! The system's `ssh` as transport: its questions, its failures, and when it is offered.

use std::{fs, os::unix::fs::symlink, process::Command};

use codex_testkit::{
    AUTHENTICATOR_CODES, Alias, Client, Codex, Host, HostOptions, Known, Login, Model, PASSWORD, Tmux,
    require, wait,
};
use serde_json::Value;

use crate::{
    screen::{press_until, type_secret},
    serving::set_hosts,
    setting::{CODEX, Outcome, Running, codex, devbox},
};

const SAY: [&str; 4] = ["exec", "--host", "devbox", "say hello"];
const SYSTEM: &str = "[hosts.devbox]\ntransport = \"system\"\n";
/// A key exchange of OpenSSH's that this program has not.
const SNTRUP: &str = "KexAlgorithms sntrup761x25519-sha512@openssh.com";

fn terminal(client: &Client, args: &[&str]) -> Tmux {
    let words: Vec<&str> = std::iter::once(CODEX).chain(args.iter().copied()).collect();
    Tmux::start(&words, &client.environment(), 100, 40)
}

fn enter(terminal: &Tmux, text: &str) {
    terminal.type_text(text);
    terminal.send(&["Enter"]);
}

fn says_hello(outcome: &Outcome) {
    let said = (outcome.code, outcome.stdout.as_str());
    assert_eq!(said, (Some(0), "hello\n"), "{outcome:?}");
}

/// A near side whose `devbox` is reached by the system's `ssh`.
fn by_system(options: HostOptions, login: Login, known: Known) -> (Client, Model, Host) {
    let (client, model) = (Client::new(), Model::start());
    let options = match login {
        Login::Key => options.authorize(client.key()),
        _ => options.login(login),
    };
    let host = Host::start(options.model(&model));
    client.add(&Alias::new("devbox", &host).known(known));
    set_hosts(&client, SYSTEM);
    (client, model, host)
}

/// How many processes of the system's `ssh` this near side has.
fn clients(client: &Client) -> usize {
    let pattern = format!("^ssh -F {} .*RemoteCommand=none", client.config().display());
    let found = Command::new("pgrep").args(["-fc", &pattern]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).trim().parse().unwrap()
}

#[test]
fn a_link_that_freezes_is_told_while_a_turn_runs_and_so_is_its_return() {
    require!(Ssh, Sshd, Official);
    let (client, model, host) = by_system(HostOptions::new(), Login::Key, Known::Yes);
    let args = ["exec", "--json", "--host", "devbox", "hold on"];
    let mut running = Running::start(&client, &args);
    running.wait_for_event("devbox", "item/agentMessage/delta");
    host.pause();
    let says = |word: &'static str| move |it: &Value| it["text"].as_str().is_some_and(|it| it.contains(word));
    running.wait_for_event_where("devbox", "notice", says("has not answered"));
    host.resume();
    running.wait_for_event_where("devbox", "notice", says("answers again"));
    model.gate("on").open();
    assert_eq!(running.finish().code, Some(0));
}

#[test]
fn a_turn_runs_over_the_systems_ssh_and_nothing_of_it_is_left() {
    require!(Ssh, Sshd, Official);
    let options = HostOptions::new()
        .banner("hello from sshd\n")
        .sshd("LogLevel DEBUG1");
    let (client, _model, host) = by_system(options, Login::Key, Known::Yes);
    let outcome = codex(&client, &SAY);
    says_hello(&outcome);
    assert!(outcome.stderr.contains("hello from sshd"), "{outcome:?}");
    assert!(
        host.log().contains("remote software version OpenSSH"),
        "{}",
        host.log()
    );
    assert_eq!(clients(&client), 0);
}

#[test]
fn its_password_is_asked_on_the_terminal_once_for_two_connections() {
    require!(Ssh, Sshd, Pam, Official, Tmux);
    let (client, model, host) = by_system(HostOptions::new(), Login::Password, Known::Yes);
    let terminal = terminal(&client, &["exec", "--host", "devbox", "hold a"]);
    terminal.wait_for_text("Password for devbox");
    enter(&terminal, "wrong");
    terminal.wait_for_text("That was not right. Password for devbox");
    enter(&terminal, PASSWORD);
    let accepted = || host.log().matches("Accepted password").count();
    wait::until("the login", wait::DEADLINE, || (accepted() == 1).then_some(()));
    wait::until("the turn", wait::DEADLINE, || {
        (!model.requests().is_empty()).then_some(())
    });
    let asked = || terminal.screen().matches("Password for devbox").count();
    let before = asked();
    host.kill_sessions();
    wait::until("the second login", wait::DEADLINE, || {
        (accepted() == 2).then_some(())
    });
    model.gate("a").open();
    terminal.wait_for_exit();
    // The line that says how it ended scrolls the screen.
    assert!(asked() <= before);
    let screen = terminal.screen();
    assert!(!screen.contains(PASSWORD), "{screen}");
}

#[test]
fn its_questions_are_dialogs_of_the_interface() {
    require!(Ssh, Sshd, Pam, Official, Tmux);
    let (client, _model, host) = by_system(HostOptions::new(), Login::TwoPrompts, Known::No);
    let terminal = terminal(&client, &["connect", "devbox"]);
    let fingerprint = host.key().fingerprint();
    terminal.wait_for_text(&fingerprint);
    // The selected answer is no.
    press_until(&terminal, &["Right", "Enter"], || {
        !terminal.screen().contains(&fingerprint)
    });
    terminal.wait_for_text("devbox: password");
    type_secret(&terminal, PASSWORD);
    terminal.wait_for_text("One-time");
    type_secret(&terminal, AUTHENTICATOR_CODES[0]);
    terminal.wait_for_text(" ready");
    let known = fs::read_to_string(client.known_hosts()).unwrap();
    assert!(known.contains(&host.key().known()), "{known}");
}

#[test]
fn an_unknown_host_key_is_asked_about_and_no_ends_it_before_a_credential() {
    require!(Ssh, Sshd, Official, Tmux);
    let (client, _model, host) = by_system(HostOptions::new(), Login::Key, Known::No);
    let refused = terminal(&client, &SAY);
    let asked = refused.wait_for_text("Type yes to trust it");
    assert!(asked.contains(&host.key().fingerprint()), "{asked}");
    enter(&refused, "no");
    assert_eq!(refused.wait_for_exit(), Some(4));
    let screen = refused.screen();
    assert!(
        screen.contains("the host key of devbox was not accepted"),
        "{screen}"
    );
    assert!(!host.log().contains("Accepted"), "{}", host.log());
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("[host-key-unknown]"), "{outcome:?}");
    let accepted = terminal(&client, &SAY);
    accepted.wait_for_text("Type yes to trust it");
    enter(&accepted, "yes");
    assert_eq!(accepted.wait_for_exit(), Some(0));
    says_hello(&codex(&client, &SAY));
}

#[test]
fn a_login_that_is_given_up_sends_no_empty_password_and_leaves_no_client() {
    require!(Ssh, Sshd, Pam, Tmux);
    let (client, _model, host) = by_system(
        HostOptions::new().codex(Codex::Absent),
        Login::Password,
        Known::Yes,
    );
    for (keys, code) in [("C-d", 4), ("C-c", 130)] {
        let terminal = terminal(&client, &SAY);
        terminal.wait_for_text("Password for devbox");
        assert_eq!(clients(&client), 1);
        terminal.send(&[keys]);
        assert_eq!(terminal.wait_for_exit(), Some(code), "{}", terminal.screen());
        wait::until("the end of ssh", wait::DEADLINE, || {
            (clients(&client) == 0).then_some(())
        });
    }
    assert!(!host.log().contains("Failed password"), "{}", host.log());
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("[unauthorized]"), "{outcome:?}");
    assert!(outcome.stderr.contains("Permission denied"), "{outcome:?}");
}

#[test]
fn its_failures_have_the_same_codes_and_its_own_words() {
    require!(Ssh, Sshd);
    let (client, _model, mut host) = by_system(
        HostOptions::new().codex(Codex::Absent),
        Login::Key,
        Known::Changed,
    );
    let told = |code: i32, words: [&str; 2]| {
        let outcome = codex(&client, &SAY);
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "{word}: {outcome:?}");
        }
    };
    told(
        4,
        ["[host-key-changed]", "REMOTE HOST IDENTIFICATION HAS CHANGED"],
    );
    fs::write(
        client.known_hosts(),
        format!("[127.0.0.1]:{} {}\n", host.port(), host.key().known()),
    )
    .unwrap();
    told(3, ["[not-installed]", "codex install devbox"]);
    host.stop();
    told(3, ["[unreachable]", "Connection refused"]);
    client.append_config("Host nowhere\n  HostName no.such.host.invalid\n");
    set_hosts(&client, "[hosts.nowhere]\ntransport = \"system\"\n");
    let outcome = codex(&client, &["exec", "--host", "nowhere", "say hello"]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(
        outcome.stderr.contains("Could not resolve hostname"),
        "{outcome:?}"
    );
}

#[test]
fn a_server_with_only_sntrup761_is_offered_over_the_systems_ssh() {
    require!(Ssh, Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new().sshd(SNTRUP).model(&model);
    let host = Host::start(options.authorize(client.key()));
    client.add(&Alias::new("devbox", &host));
    let hint = |outcome: &Outcome, words: &str| {
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
        for word in ["[ssh-protocol]", "sntrup761x25519-sha512@openssh.com", words] {
            assert!(outcome.stderr.contains(word), "{word}: {outcome:?}");
        }
    };
    hint(
        &codex(&client, &SAY),
        "`transport = \"system\"` below `[hosts.devbox]`",
    );
    assert!(
        !host.log().contains("Accepted"),
        "nothing was done without a word"
    );
    let refused = terminal(&client, &SAY);
    refused.wait_for_text("Go on with the system's ssh");
    enter(&refused, "no");
    assert_eq!(refused.wait_for_exit(), Some(3));
    let accepted = terminal(&client, &SAY);
    accepted.wait_for_text("Type yes to agree");
    enter(&accepted, "yes");
    assert_eq!(accepted.wait_for_exit(), Some(0));
    accepted.wait_for_text("hello");
    set_hosts(&client, "[hosts.devbox]\ntransport = \"builtin\"\n");
    hint(&codex(&client, &SAY), "`transport = \"builtin\"` keeps");
    set_hosts(&client, SYSTEM);
    says_hello(&codex(&client, &SAY));
}

#[test]
fn the_interface_asks_whether_to_go_on_with_the_systems_ssh() {
    require!(Ssh, Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new().sshd(SNTRUP).model(&model);
    let host = Host::start(options.authorize(client.key()));
    client.add(&Alias::new("devbox", &host));
    let terminal = terminal(&client, &["connect", "devbox"]);
    terminal.wait_for_text("devbox: yes or no?");
    press_until(&terminal, &["Right", "Enter"], || {
        !terminal.screen().contains("devbox: yes or no?")
    });
    terminal.wait_for_text(" ready");
    // A lost connection comes back the same way without another question.
    host.kill_sessions();
    let accepted = || host.log().matches("Accepted publickey").count();
    wait::until("the second login", wait::DEADLINE, || {
        (accepted() == 2).then_some(())
    });
    terminal.wait_for_text(" ready");
    assert!(!terminal.screen().contains("yes or no?"));
}

#[test]
fn what_only_the_systems_ssh_can_do_is_seen_in_the_configuration() {
    require!(Ssh, Sshd);
    let client = Client::new();
    let host = Host::start(HostOptions::new().codex(Codex::Absent).authorize(client.key()));
    for (name, line, words) in [
        (
            "kerberos",
            "PreferredAuthentications gssapi-with-mic\n    GSSAPIAuthentication yes",
            "takes gssapi-with-mic",
        ),
        (
            "trusted",
            "PreferredAuthentications hostbased\n    HostbasedAuthentication yes",
            "takes hostbased",
        ),
        (
            "token",
            "PKCS11Provider /usr/lib/p11.so\n    IdentityFile /nowhere/id",
            "PKCS#11 token",
        ),
    ] {
        // Not the alias of the test kit: its own key would be another login.
        client.append_config(&format!(
            "Host {name}\n    HostName 127.0.0.1\n    Port {}\n    User dev\n    UserKnownHostsFile {}\n    {line}\n",
            host.port(),
            client.known_hosts().display()
        ));
        let outcome = codex(&client, &["exec", "--host", name, "say hello"]);
        assert_eq!(outcome.code, Some(4), "{outcome:?}");
        for word in [
            "[unauthorized]",
            words,
            &format!("`[hosts.{name}]` in hosts.toml"),
        ] {
            assert!(outcome.stderr.contains(word), "{word}: {outcome:?}");
        }
        assert!(!host.log().contains("authenticating user"), "nothing was tried");
    }
}

#[test]
fn a_changed_host_key_is_no_reason_for_another_transport() {
    require!(Ssh, Sshd, Tmux);
    let client = Client::new();
    let host = Host::start(HostOptions::new().codex(Codex::Absent).authorize(client.key()));
    client.add(
        &Alias::new("devbox", &host)
            .known(Known::Changed)
            .line("GSSAPIAuthentication yes"),
    );
    let terminal = terminal(&client, &SAY);
    assert_eq!(terminal.wait_for_exit(), Some(4));
    let screen = terminal.screen();
    assert!(
        screen.contains("[host-key-changed]") && !screen.contains("system's ssh"),
        "{screen}"
    );
}

#[test]
fn without_an_ssh_it_says_so() {
    require!(Sshd);
    let (client, _model, _host) = by_system(HostOptions::new().codex(Codex::Absent), Login::Key, Known::Yes);
    let bin = client.home().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink("/bin/sh", bin.join("sh")).unwrap();
    let mut command = client.command(CODEX);
    let output = command.args(SAY).env("PATH", &bin).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("there is no `ssh` in PATH"), "{stderr}");
}

#[test]
fn doctor_says_which_transport_and_why() {
    require!(Ssh, Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let stages = || -> Vec<Value> {
        let outcome = codex(&client, &["doctor", "devbox", "--json"]);
        let lines = outcome
            .stdout
            .lines()
            .map(|it| serde_json::from_str::<Value>(it).unwrap());
        lines.filter(|it| it["stage"].is_string()).collect()
    };
    let text = |stages: &[Value], name: &str| {
        let found = stages.iter().find(|it| it["stage"] == name);
        found.map(|it| it["text"].as_str().unwrap().to_owned())
    };
    let own = stages();
    assert!(
        text(&own, "config")
            .unwrap()
            .contains("by this program's own SSH"),
        "{own:#?}"
    );
    set_hosts(&client, SYSTEM);
    let system = stages();
    let transport = text(&system, "transport").unwrap();
    assert!(transport.starts_with("the system's ssh (OpenSSH_"), "{transport}");
    assert!(
        transport.contains("the settings of the host say so"),
        "{transport}"
    );
    assert!(text(&system, "initialize").is_some(), "{system:#?}");
}

#[test]
fn an_installation_goes_over_it_with_its_password() {
    require!(Ssh, Sshd, Pam, Tmux);
    let (client, _model, host) = by_system(
        HostOptions::new().codex(Codex::Absent),
        Login::Password,
        Known::Yes,
    );
    let script = client.home().join("codex");
    fs::copy("/bin/true", &script).unwrap();
    let terminal = terminal(&client, &["install", "devbox", "--remove"]);
    terminal.wait_for_text("Password for devbox");
    enter(&terminal, PASSWORD);
    assert_eq!(terminal.wait_for_exit(), Some(0), "{}", terminal.screen());
    assert_eq!(host.log().matches("Accepted password").count(), 1);
}

#[test]
fn a_jump_host_asks_under_its_own_name_and_where_nobody_can_be_asked_it_fails() {
    require!(Ssh, Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let options = || HostOptions::new().authorize(client.key()).model(&model);
    let (bastion, host) = (Host::start(options()), Host::start(options()));
    client.add(&Alias::new("bastion", &bastion).known(Known::No));
    client.add(&Alias::new("devbox", &host).jump("bastion"));
    set_hosts(&client, SYSTEM);
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("[host-key-unknown]"), "{outcome:?}");
    assert_eq!(clients(&client), 0);
    let terminal = terminal(&client, &SAY);
    let asked = terminal.wait_for_text("Type yes to trust it");
    assert!(
        asked.contains(&format!("bastion [dev@127.0.0.1:{}] (jump host)", bastion.port())),
        "{asked}"
    );
    enter(&terminal, "yes");
    assert_eq!(terminal.wait_for_exit(), Some(0), "{}", terminal.screen());
    says_hello(&codex(&client, &SAY));
}

#[test]
fn ctrl_c_ends_a_turn_over_it_and_its_client() {
    require!(Ssh, Sshd, Official);
    let (client, _model, _host) = by_system(HostOptions::new(), Login::Key, Known::Yes);
    let mut running = Running::start(&client, &["exec", "--json", "--host", "devbox", "hold a"]);
    running.wait_for_event("devbox", "item/agentMessage/delta");
    running.interrupt();
    let completed = running.wait_for_event("devbox", "turn/completed");
    assert_eq!(completed["turn"]["status"], "interrupted");
    let outcome = running.finish();
    assert_eq!(outcome.code, Some(130), "{outcome:?}");
    wait::until("the end of ssh", wait::DEADLINE, || {
        (clients(&client) == 0).then_some(())
    });
}

#[test]
fn the_program_that_asks_gives_nothing_to_who_has_no_socket() {
    let client = Client::new();
    let link = client.home().join("codex-askpass");
    symlink(CODEX, &link).unwrap();
    let output = client.command(&link).arg("Password: ").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((output.stdout, output.stderr), (Vec::new(), Vec::new()));
}

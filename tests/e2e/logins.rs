//! Host keys and logins.

use codex_testkit::{
    AUTHENTICATOR_CODES, Alias, Client, Host, HostOptions, KEY_PASSPHRASE, Known, Login, Model, PASSWORD,
    Tmux, require, wait,
};

use crate::{
    screen::{press_until, quit},
    setting::{CODEX, codex, devbox, run},
};

const SAY: [&str; 4] = ["exec", "--host", "devbox", "say hello"];

/// The same on a terminal, where questions can be asked.
fn terminal(client: &Client) -> Tmux {
    let words: Vec<&str> = std::iter::once(CODEX).chain(SAY).collect();
    Tmux::start(&words, &client.environment(), 100, 30)
}

fn host(client: &Client, model: &Model) -> Host {
    Host::start(HostOptions::new().authorize(client.key()).model(model))
}

/// Whether somebody tried to log in, as far as the host's own log says.
fn saw_a_login(host: &Host) -> bool {
    ["userauth-request", "Failed ", "Accepted "]
        .iter()
        .any(|it| host.log().contains(it))
}

#[test]
fn an_unknown_host_key_is_refused_before_any_credential_when_nobody_can_be_asked() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = host(&client, &model);
    client.add(&Alias::new("devbox", &host).known(Known::No));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains(&host.key().fingerprint()), "{outcome:?}");
    assert!(outcome.stderr.contains("[host-key-unknown]"), "{outcome:?}");
    assert!(!saw_a_login(&host), "{}", host.log());
}

#[test]
fn an_unknown_host_key_is_accepted_on_the_terminal_and_remembered() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let host = host(&client, &model);
    client.add(&Alias::new("devbox", &host).known(Known::No));
    let terminal = terminal(&client);
    let asked = terminal.wait_for_text("Type yes to trust it");
    assert!(asked.contains(&host.key().fingerprint()), "{asked}");
    terminal.type_text("yes");
    terminal.send(&["Enter"]);
    assert_eq!(terminal.wait_for_exit(), Some(0));
    assert_eq!(codex(&client, &SAY).stdout, "hello\n");
}

#[test]
fn a_changed_host_key_is_refused_with_file_and_line_and_the_way_out() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = host(&client, &model);
    client.add(&Alias::new("devbox", &host).known(Known::Changed));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("[host-key-changed]"), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains(&format!("{}:1", client.known_hosts().display())),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains(&host.key().fingerprint()), "{outcome:?}");
    assert!(
        outcome.stderr.contains(&client.key().fingerprint()),
        "{outcome:?}"
    );
    let command = format!(
        "ssh-keygen -f {} -R '[127.0.0.1]:{}'",
        client.known_hosts().display(),
        host.port()
    );
    assert!(outcome.stderr.contains(&command), "{outcome:?}");
    assert!(!saw_a_login(&host), "{}", host.log());
}

#[test]
fn a_hashed_host_key_is_known() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = host(&client, &model);
    client.add(&Alias::new("devbox", &host).known(Known::Hashed));
    assert_eq!(codex(&client, &SAY).stdout, "hello\n");
}

#[test]
fn accept_new_learns_and_yes_refuses() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = host(&client, &model);
    let alias = |name: &str, strict: &str| {
        Alias::new(name, &host)
            .known(Known::No)
            .line(&format!("StrictHostKeyChecking {strict}"))
    };
    client.add(&alias("strict", "yes"));
    client.add(&alias("devbox", "accept-new"));
    let refused = codex(&client, &["exec", "--host", "strict", "say hello"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert_eq!(codex(&client, &SAY).stdout, "hello\n");
    let known = std::fs::read_to_string(client.known_hosts()).unwrap();
    assert!(known.contains(&host.key().known()), "{known}");
    let accepted = codex(&client, &["exec", "--host", "strict", "say hello"]);
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
}

#[test]
fn an_encrypted_key_asks_for_its_passphrase_and_for_a_better_one() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(HostOptions::new().authorize(client.encrypted_key()).model(&model));
    client.add(&Alias::new("devbox", &host).identity(client.encrypted_key()));
    let terminal = terminal(&client);
    terminal.wait_for_text("Passphrase of");
    terminal.type_text("wrong");
    terminal.send(&["Enter"]);
    terminal.wait_for_text("That was not right");
    terminal.type_text(KEY_PASSPHRASE);
    terminal.send(&["Enter"]);
    let screen = terminal.wait_for_text("hello");
    assert!(!screen.contains(KEY_PASSPHRASE), "{screen}");
    assert_eq!(terminal.wait_for_exit(), Some(0));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("no terminal to ask on"), "{outcome:?}");
}

#[test]
fn an_agent_logs_in_without_asking() {
    require!(Ssh, Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(HostOptions::new().authorize(client.encrypted_key()).model(&model));
    client.add(&Alias::new("devbox", &host).identity(client.encrypted_key()));
    let agent = client.agent(&[client.encrypted_key()]);
    let outcome = run(client
        .command(CODEX)
        .args(SAY)
        .env("SSH_AUTH_SOCK", agent.socket()));
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "hello\n"),
        "{outcome:?}"
    );
}

#[test]
fn a_login_with_two_prompts_is_asked_for_both() {
    require!(Sshd, Pam, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(HostOptions::new().login(Login::TwoPrompts).model(&model));
    client.add(&Alias::new("devbox", &host));
    let terminal = terminal(&client);
    terminal.wait_for_text("assword");
    terminal.type_text(PASSWORD);
    terminal.send(&["Enter"]);
    terminal.wait_for("the second prompt", |it| {
        it.contains("OATH") || it.contains("One-time")
    });
    terminal.type_text(AUTHENTICATOR_CODES[0]);
    terminal.send(&["Enter"]);
    let screen = terminal.wait_for_text("hello");
    assert!(!screen.contains(PASSWORD), "{screen}");
    assert_eq!(terminal.wait_for_exit(), Some(0));
}

#[test]
fn a_refused_login_is_told_once_with_what_was_tried() {
    require!(Sshd, Official);
    let client = Client::new();
    let host = Host::start(HostOptions::new());
    client.add(&Alias::new("devbox", &host));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("[unauthorized]"), "{outcome:?}");
    assert!(outcome.stderr.contains("id_ed25519"), "{outcome:?}");
    assert_eq!(
        host.log().matches("Failed publickey").count(),
        1,
        "{}",
        host.log()
    );
}

#[test]
fn two_jump_hosts_lead_to_the_host_and_each_key_is_checked() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let bastions = [host(&client, &model), host(&client, &model)];
    let _target = devbox_behind(&client, &model, "bastion1,bastion2");
    client.add(&Alias::new("bastion1", &bastions[0]));
    client.add(&Alias::new("bastion2", &bastions[1]));
    let outcome = codex(&client, &SAY);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "hello\n"),
        "{outcome:?}"
    );
    assert!(bastions.iter().all(saw_a_login));
}

#[test]
fn an_unknown_second_jump_host_gets_no_credential_and_is_named() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let bastions = [host(&client, &model), host(&client, &model)];
    let target = devbox_behind(&client, &model, "bastion1,bastion2");
    client.add(&Alias::new("bastion1", &bastions[0]));
    client.add(&Alias::new("bastion2", &bastions[1]).known(Known::No));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("bastion2"), "{outcome:?}");
    assert!(!saw_a_login(&bastions[1]) && !saw_a_login(&target));
}

fn devbox_behind(client: &Client, model: &Model, jump: &str) -> Host {
    let host = host(client, model);
    client.add(&Alias::new("devbox", &host).jump(jump));
    host
}

#[test]
fn an_answer_is_the_same_with_and_without_a_jump_host() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _direct = devbox(&client, "direct", &model);
    let outcome = codex(&client, &["exec", "--host", "direct", "say the same"]);
    let _behind = devbox_behind(&client, &model, "direct");
    let jumped = codex(&client, &["exec", "--host", "devbox", "say the same"]);
    assert_eq!(outcome.stdout, jumped.stdout);
}

#[test]
fn giving_up_at_a_password_leaves_a_terminal_with_echo() {
    require!(Sshd, Tmux);
    let client = Client::new();
    let host = Host::start(HostOptions::new().login(Login::Password));
    client.add(&Alias::new("devbox", &host));
    for command in [
        "exec --host devbox 'say hello'",
        "doctor devbox",
        "install devbox",
    ] {
        let shell = format!("{CODEX} {command}; echo code $?; stty -a | grep -o '[-]*\\becho\\b'; cat");
        let terminal = Tmux::start(&["sh", "-c", &shell], &client.environment(), 100, 30);
        terminal.wait_for_text("assword for");
        terminal.send(&["C-c"]);
        terminal.wait_for_text("code 130");
        let screen = terminal.wait_for("the settings", |it| {
            it.lines().any(|it| it.trim().ends_with("echo"))
        });
        assert!(!screen.contains("-echo"), "{command}: {screen}");
    }
}

/// A host with one more key than the client knows, whose alias asks before it is recorded; the key's folder has to stay.
fn with_another_key(client: &Client, model: &Model) -> (Host, tempfile::TempDir) {
    // A host has a /tmp of its own.
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let key = directory.path().join("another_host_key");
    let made = client
        .command("ssh-keygen")
        .args(["-q", "-t", "ecdsa", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let options = HostOptions::new().authorize(client.key()).model(model);
    let host = Host::start(options.sshd(&format!("HostKey {}", key.display())));
    client.add(&Alias::new("devbox", &host).line("UpdateHostKeys ask"));
    (host, directory)
}

#[test]
fn changed_keys_of_a_known_host_are_recorded_only_when_somebody_said_so() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let (_host, _key) = with_another_key(&client, &model);
    let known = || std::fs::read_to_string(client.known_hosts()).unwrap();
    let before = known();
    let outcome = codex(&client, &SAY);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "hello\n"),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("no terminal to ask on"), "{outcome:?}");
    assert!(outcome.stderr.contains("nothing is changed"), "{outcome:?}");
    assert_eq!(known(), before);

    let terminal = Tmux::start(&[CODEX, "connect", "devbox"], &client.environment(), 80, 24);
    // It comes when the host is in use already, and opens by itself or waits in the banner.
    let screen = terminal.wait_for("the question", |it| {
        it.contains("changed keys") || it.contains("needs you")
    });
    if !screen.contains("changed keys") {
        terminal.send(&["C-y"]);
    }
    terminal.wait_for("the question over a host that is ready", |it| {
        it.contains("new       ECDSA SHA256:") && it.contains(" ready")
    });
    assert_eq!(known(), before);
    press_until(&terminal, &["Right", "Enter"], || {
        !terminal.screen().contains("changed keys")
    });
    wait::until("the key is recorded", wait::DEADLINE, || {
        known().contains("ecdsa").then_some(())
    });
    quit(&terminal);
}

//! Logins that only the system's `ssh` has, each with a real server: tokens, tickets, machines that vouch, host keys in
//! a token.

use std::{fs, path::Path, process::Command};

use codex_testkit::{
    Alias, Client, Codex, Host, HostOptions, Key, Known, Machine, Model, Realm, SecurityKey, TOKEN_PIN, Tmux,
    Token, require,
};
use serde_json::Value;

use crate::{
    screen::{press_until, type_secret},
    serving::set_hosts,
    setting::{CODEX, Outcome, run},
};

const SAY: [&str; 4] = ["exec", "--host", "devbox", "say hello"];
const SYSTEM: &str = "[hosts.devbox]\ntransport = \"system\"\n";

/// A near side with what its programs need beside the client's own environment.
struct Near {
    client: Client,
    variables: Vec<(String, String)>,
}

impl Near {
    fn new(variables: impl IntoIterator<Item = (String, String)>) -> Near {
        Near {
            client: Client::new(),
            variables: variables.into_iter().collect(),
        }
    }

    fn command(&self) -> Command {
        let mut command = self.client.command(CODEX);
        command.envs(self.variables.clone());
        command
    }

    /// Without a terminal.
    fn codex(&self, args: &[&str]) -> Outcome {
        run(self.command().args(args))
    }

    fn terminal(&self, args: &[&str], rows: u16) -> Tmux {
        let words: Vec<&str> = std::iter::once(CODEX).chain(args.iter().copied()).collect();
        let environment = [self.client.environment(), self.variables.clone()].concat();
        Tmux::start(&words, &environment, 80, rows)
    }

    /// The stages that `codex doctor` tells.
    fn doctor(&self) -> Vec<Value> {
        stages(&self.codex(&["doctor", "devbox", "--json"]))
    }
}

fn stages(outcome: &Outcome) -> Vec<Value> {
    let lines = outcome
        .stdout
        .lines()
        .map(|it| serde_json::from_str::<Value>(it).unwrap());
    lines.filter(|it| it["stage"].is_string()).collect()
}

fn has_stage(stages: &[Value], name: &str, verdict: &str) {
    let found = stages.iter().find(|it| it["stage"] == name);
    assert!(found.is_some_and(|it| it["verdict"] == verdict), "{stages:#?}");
}

fn says_hello(outcome: &Outcome) {
    let said = (outcome.code, outcome.stdout.as_str());
    assert_eq!(said, (Some(0), "hello\n"), "{outcome:?}");
}

/// A failure with this exit code and these words.
fn told(outcome: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word}: {outcome:?}");
    }
}

fn enter(terminal: &Tmux, text: &str) {
    terminal.type_text(text);
    terminal.send(&["Enter"]);
}

/// What sshd says of each login.
fn accepted(host: &Host, method: &str) -> usize {
    host.log().matches(&format!("Accepted {method} for ")).count()
}

/// How the configuration names the key of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// Only its library: the settings alone show that there is no other key.
    ByLibrary,
    /// Also its public half, as who has many keys does: a login of our own is tried first.
    ByFile,
}

/// A host that lets a token in, which is all that its alias has.
fn behind_a_token(codex: Codex, named: Named) -> (Near, Model, Token, Host) {
    let (token, model) = (Token::new(), Model::start());
    let near = Near::new([token.environment()]);
    let options = HostOptions::new().authorize(token.key()).model(&model);
    let host = Host::start(options.codex(codex));
    // Not the alias of the test kit: its own key would be another login.
    let identity = match named {
        Named::ByLibrary => "/nowhere/id".to_owned(),
        Named::ByFile => {
            let public = token.key().path().with_extension("pub");
            format!("{}\n    IdentitiesOnly yes", public.display())
        }
    };
    near.client.append_config(&format!(
        "Host devbox\n    HostName 127.0.0.1\n    Port {}\n    User {}\n    UserKnownHostsFile {}\n    \
         IdentityFile {identity}\n    PKCS11Provider {}\n",
        host.port(),
        host.user(),
        near.client.known_hosts().display(),
        Token::library()
    ));
    let known = format!("[127.0.0.1]:{} {}\n", host.port(), host.key().known());
    fs::write(near.client.known_hosts(), known).unwrap();
    (near, model, token, host)
}

#[test]
fn the_pin_of_a_token_is_asked_on_the_terminal_and_logs_in() {
    require!(Ssh, Sshd, Official, Tmux, Token);
    let (near, _model, _token, host) = behind_a_token(Codex::Official, Named::ByFile);
    let terminal = near.terminal(&SAY, 40);
    terminal.wait_for_text("devbox uses keys of a PKCS#11 token");
    terminal.wait_for_text("Type yes to agree");
    enter(&terminal, "yes");
    terminal.wait_for_text(&format!("Enter PIN for '{}':", Token::LABEL));
    enter(&terminal, TOKEN_PIN);
    assert_eq!(terminal.wait_for_exit(), Some(0), "{}", terminal.screen());
    let screen = terminal.screen();
    assert!(
        screen.contains("hello") && !screen.contains(TOKEN_PIN),
        "{screen}"
    );
    assert_eq!(accepted(&host, "publickey"), 1, "{}", host.log());
}

#[test]
fn the_pin_of_a_token_is_a_dialog_of_the_interface() {
    require!(Ssh, Sshd, Official, Tmux, Token);
    let (near, _model, _token, host) = behind_a_token(Codex::Official, Named::ByLibrary);
    let terminal = near.terminal(&["connect", "devbox"], 24);
    terminal.wait_for_text("devbox: yes or no?");
    press_until(&terminal, &["Right", "Enter"], || {
        !terminal.screen().contains("devbox: yes or no?")
    });
    let asked = terminal.wait_for_text(&format!("Enter PIN for '{}':", Token::LABEL));
    assert!(asked.contains("Tokens lock themselves"), "{asked}");
    type_secret(&terminal, TOKEN_PIN);
    terminal.wait_for_text(" ready");
    assert_eq!(accepted(&host, "publickey"), 1, "{}", host.log());
}

#[test]
fn a_wrong_pin_is_explained_and_not_tried_again() {
    require!(Ssh, Sshd, Tmux, Token);
    let (near, _model, _token, host) = behind_a_token(Codex::Absent, Named::ByLibrary);
    set_hosts(&near.client, SYSTEM);
    told(
        &near.codex(&SAY),
        4,
        &["[unauthorized]", "pin required", "connect from a terminal"],
    );
    let terminal = near.terminal(&["connect", "devbox"], 24);
    terminal.wait_for_text("Enter PIN for");
    type_secret(&terminal, "not the PIN");
    let screen = terminal.wait_for_text("devbox: failed");
    let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("try again with the right PIN"), "{screen}");
    assert!(!screen.contains("Enter PIN"), "{screen}");
    assert_eq!(accepted(&host, "publickey"), 0, "{}", host.log());
}

/// A host that takes nothing but tickets.
fn in_a_realm() -> (Near, Model, Realm, Host) {
    let (realm, model) = (Realm::start(), Model::start());
    let near = Near::new(realm.environment());
    let options = HostOptions::new()
        .sshd("GSSAPIAuthentication yes")
        .sshd("GSSAPIStrictAcceptorCheck no")
        .sshd("AuthenticationMethods gssapi-with-mic")
        .setup(&realm.setup());
    let host = Host::start(options.model(&model));
    near.client
        .add(&Alias::new("devbox", &host).line("GSSAPIAuthentication yes"));
    (near, model, realm, host)
}

#[test]
fn a_ticket_logs_in() {
    require!(Ssh, Sshd, Official, Tmux, Kerberos);
    let (near, _model, realm, host) = in_a_realm();
    realm.get_ticket();
    // Ours first: what the server takes shows that it cannot.
    told(
        &near.codex(&SAY),
        4,
        &["[unauthorized]", "devbox takes gssapi-with-mic"],
    );
    let terminal = near.terminal(&SAY, 40);
    terminal.wait_for_text("Type yes to agree");
    enter(&terminal, "yes");
    assert_eq!(terminal.wait_for_exit(), Some(0), "{}", terminal.screen());
    assert_eq!(accepted(&host, "gssapi-with-mic"), 1, "{}", host.log());
    set_hosts(&near.client, SYSTEM);
    says_hello(&near.codex(&SAY));
    has_stage(&near.doctor(), "initialize", "ok");
    assert_eq!(accepted(&host, "gssapi-with-mic"), 3, "{}", host.log());

    realm.forget_tickets();
    told(
        &near.codex(&SAY),
        4,
        &["[unauthorized]", "Permission denied", "`kinit` gets one"],
    );
    has_stage(&near.doctor(), "connect", "broken");
}

/// A host that believes one machine who its users are.
fn that_believes(machine: &Machine) -> (Client, Model, Host) {
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new()
        .sshd("HostbasedAuthentication yes")
        .sshd("HostbasedUsesNameFromPacketOnly yes")
        .sshd("IgnoreRhosts no")
        .sshd("AuthenticationMethods hostbased");
    let host = Host::start(options.model(&model));
    host.write(".shosts", &format!("{} {}\n", Machine::NAME, Machine::USER));
    let known = format!("{} {}\n", Machine::NAME, machine.key().known());
    host.write(".ssh/known_hosts", &known);
    client.add(
        &Alias::new("devbox", &host)
            .line("HostbasedAuthentication yes")
            .line("PreferredAuthentications hostbased"),
    );
    (client, model, host)
}

#[test]
fn a_machine_that_vouches_for_its_user_logs_in() {
    require!(Ssh, Sshd, Official, Keysign);
    let machine = Machine::new(true);
    let (client, _model, host) = that_believes(&machine);
    let codex = |args: &[&str]| run(machine.command(&client, CODEX).args(args));
    told(&codex(&SAY), 4, &["[unauthorized]", "devbox takes hostbased"]);
    let warns = || {
        let outcome = codex(&["hosts"]);
        outcome
            .stderr
            .contains("hostbasedauthentication is not supported")
    };
    assert!(warns());
    set_hosts(&client, SYSTEM);
    assert!(!warns(), "what is not ours to do is no problem");
    says_hello(&codex(&SAY));
    has_stage(
        &stages(&codex(&["doctor", "devbox", "--json"])),
        "initialize",
        "ok",
    );
    assert_eq!(accepted(&host, "hostbased"), 2, "{}", host.log());

    // The same on a machine that does not vouch.
    let other = Machine::new(false);
    let refused = run(other.command(&client, CODEX).args(SAY));
    told(
        &refused,
        4,
        &[
            "[unauthorized]",
            "`EnableSSHKeysign yes`",
            "ssh-keysign not enabled",
        ],
    );
    assert_eq!(accepted(&host, "hostbased"), 2, "{}", host.log());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("codex-machine-"), "{mounts}");
}

#[test]
fn a_host_key_in_a_security_key_is_asked_about_and_known_from_then_on() {
    require!(Ssh, Sshd, Official, Tmux);
    let near = Near::new([]);
    let model = Model::start();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let token = SecurityKey::start(folder.path());
    let options = HostOptions::new()
        .authorize(near.client.key())
        .model(&model)
        .host_key(&token);
    let host = Host::start(options);
    near.client.add(&Alias::new("devbox", &host).known(Known::No));
    told(
        &near.codex(&SAY),
        3,
        &[
            "[ssh-protocol]",
            "devbox has only host keys sk-ssh-ed25519@openssh.com",
        ],
    );
    // Who has such a server may have said so.
    let listed = Alias::new("listed", &host).known(Known::No);
    near.client
        .add(&listed.line("HostKeyAlgorithms sk-ssh-ed25519@openssh.com"));
    told(
        &near.codex(&["exec", "--host", "listed", "say hello"]),
        2,
        &[
            "[bad-config]",
            "wants host keys sk-ssh-ed25519@openssh.com for listed",
            "`[hosts.listed]`",
        ],
    );
    let terminal = near.terminal(&SAY, 40);
    terminal.wait_for_text("Type yes to agree");
    enter(&terminal, "yes");
    let asked = terminal.wait_for_text("Type yes to trust it");
    assert!(asked.contains(&host.key().fingerprint()), "{asked}");
    enter(&terminal, "yes");
    assert_eq!(terminal.wait_for_exit(), Some(0), "{}", terminal.screen());
    let known = fs::read_to_string(near.client.known_hosts()).unwrap();
    assert!(known.contains(&host.key().known()), "{known}");
    set_hosts(&near.client, SYSTEM);
    says_hello(&near.codex(&SAY));
    has_stage(&near.doctor(), "initialize", "ok");
    assert_eq!(accepted(&host, "publickey"), 3, "{}", host.log());

    // Another key under this name is refused before a credential.
    let changed = format!("[127.0.0.1]:{} {}\n", host.port(), near.client.key().known());
    fs::write(near.client.known_hosts(), changed).unwrap();
    told(&near.codex(&SAY), 4, &["[host-key-changed]"]);
    assert_eq!(accepted(&host, "publickey"), 3, "{}", host.log());
}

#[test]
fn words_that_are_no_utf8_are_left_to_the_systems_ssh() {
    require!(Ssh, Sshd, Official, Tmux);
    let (near, model) = (Near::new([]), Model::start());
    let options = HostOptions::new()
        .authorize(near.client.key())
        .model(&model)
        .banner(b"Acc\xe8s r\xe9serv\xe9 au personnel\n");
    let host = Host::start(options);
    near.client.add(&Alias::new("devbox", &host));
    let words = [
        "[ssh-protocol]",
        "the words of devbox could not be read by the built-in client (its banner, question or good-bye",
        "`transport = \"system\"` below `[hosts.devbox]`",
        "the file that Banner in its sshd_config names",
    ];
    told(&near.codex(&SAY), 3, &words);
    told(&near.codex(&["install", "devbox"]), 3, &words);
    has_stage(&near.doctor(), "login", "broken");
    assert_eq!(accepted(&host, "publickey"), 0, "{}", host.log());

    let terminal = near.terminal(&SAY, 40);
    let asked = terminal.wait_for_text("Type yes to agree");
    assert!(
        asked.contains("could not be read by the built-in client"),
        "{asked}"
    );
    enter(&terminal, "yes");
    assert_eq!(terminal.wait_for_exit(), Some(0), "{}", terminal.screen());
    assert!(terminal.screen().contains("hello"), "{}", terminal.screen());
    assert_eq!(accepted(&host, "publickey"), 1, "{}", host.log());

    set_hosts(&near.client, "[hosts.devbox]\ntransport = \"builtin\"\n");
    told(
        &near.codex(&SAY),
        3,
        &["`transport = \"builtin\"` keeps the system's"],
    );
    set_hosts(&near.client, SYSTEM);
    says_hello(&near.codex(&SAY));
}

/// A host with a key in a token and another one in a file, in a folder of its own.
fn with_two_keys(near: &Near, model: &Model, more: &[&str]) -> (tempfile::TempDir, SecurityKey, Key, Host) {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let token = SecurityKey::start(folder.path());
    let plain = Key::generate(folder.path(), "plain", None);
    let mut options = HostOptions::new()
        .authorize(near.client.key())
        .model(model)
        .sshd(&format!("HostKey {}", plain.path().display()))
        .host_key(&token);
    for line in more {
        let line = line.replace("FOLDER", &folder.path().display().to_string());
        options = options.sshd(&line);
    }
    let host = Host::start(options);
    (folder, token, plain, host)
}

#[test]
fn a_known_host_key_in_a_security_key_counts_before_another_one_is_asked_about() {
    require!(Ssh, Sshd, Official, Tmux);
    let (near, model) = (Near::new([]), Model::start());
    let (_folder, token, plain, host) = with_two_keys(&near, &model, &[]);
    // What is known of it is the token's key.
    near.client.add(&Alias::new("devbox", &host));
    let strict = Alias::new("strict", &host).line("StrictHostKeyChecking yes");
    near.client.add(&strict);
    let known = || fs::read_to_string(near.client.known_hosts()).unwrap();
    let at_first = known();
    assert!(at_first.contains(&token.key().known()), "{at_first}");
    let words = [
        "[host-key-unknown]",
        "devbox is known by its host key sk-ssh-ed25519@openssh.com",
        "`transport = \"system\"` below `[hosts.devbox]`",
    ];
    told(&near.codex(&SAY), 4, &words);
    told(
        &near.codex(&["exec", "--host", "strict", "say hello"]),
        4,
        &[
            "[host-key-unknown]",
            "`transport = \"system\"` below `[hosts.strict]`",
        ],
    );
    has_stage(&near.doctor(), "host-key", "broken");
    assert!(!host.log().contains("publickey"), "{}", host.log());

    let terminal = near.terminal(&SAY, 40);
    terminal.wait_for_text("Type yes to agree");
    enter(&terminal, "yes");
    assert_eq!(terminal.wait_for_exit(), Some(0), "{}", terminal.screen());
    let screen = terminal.screen();
    assert!(
        screen.contains("hello") && !screen.contains("Is this the right host"),
        "{screen}"
    );
    assert!(!known().contains(&plain.known()), "{}", known());

    // Who keeps to our own SSH is asked, and told that the host is not new.
    fs::write(near.client.known_hosts(), &at_first).unwrap();
    set_hosts(&near.client, "[hosts.devbox]\ntransport = \"builtin\"\n");
    let terminal = near.terminal(&SAY, 40);
    let asked = terminal.wait_for_text("Type yes to trust it");
    assert!(
        asked.contains("known by another key: sk-ssh-ed25519@openssh.com")
            && asked.contains(&plain.fingerprint()),
        "{asked}"
    );
    enter(&terminal, "yes");
    assert_eq!(terminal.wait_for_exit(), Some(0), "{}", terminal.screen());
    assert!(
        known().contains(&plain.known()) && known().contains(&at_first),
        "{}",
        known()
    );
    // From then on there is nothing to ask.
    set_hosts(&near.client, "");
    says_hello(&near.codex(&SAY));
}

/// Signs a host key for 127.0.0.1; `authority` is a file of a key, or of the public half of one in the agent.
fn certify(authority: &Path, agent: Option<&SecurityKey>, key: &Path) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-h", "-I", "id", "-n", "127.0.0.1", "-s"]);
    command.arg(authority);
    if let Some(agent) = agent {
        command.arg("-U").env("SSH_AUTH_SOCK", agent.socket());
    }
    let output = command.arg(key).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_security_key_may_be_the_authority_of_a_host() {
    require!(Ssh, Sshd, Official);
    let (near, model) = (Near::new([]), Model::start());
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let authority = SecurityKey::start(folder.path());
    let plain = Key::generate(folder.path(), "plain", None);
    let public = |key: &Key| key.path().with_extension("pub");
    certify(&public(authority.key()), Some(&authority), &public(&plain));
    let certificate = folder.path().join("plain-cert.pub");
    let options = HostOptions::new()
        .authorize(near.client.key())
        .model(&model)
        .sshd(&format!("HostKey {}", plain.path().display()))
        .sshd(&format!("HostCertificate {}", certificate.display()));
    let host = Host::start(options);
    near.client.add(&Alias::new("devbox", &host).known(Known::No));
    let known = format!(
        "@cert-authority [127.0.0.1]:{} {}\n",
        host.port(),
        authority.key().known()
    );
    fs::write(near.client.known_hosts(), &known).unwrap();
    says_hello(&near.codex(&SAY));
    let now = fs::read_to_string(near.client.known_hosts()).unwrap();
    assert_eq!(now, known, "nothing was learnt");
}

#[test]
fn a_certificate_of_a_security_key_counts_before_another_key_is_asked_about() {
    require!(Ssh, Sshd, Official, Tmux);
    let (near, model) = (Near::new([]), Model::start());
    let (folder, token, _plain, mut host) =
        with_two_keys(&near, &model, &["HostCertificate FOLDER/security_key-cert.pub"]);
    let signer = Key::generate(folder.path(), "signer", None);
    certify(signer.path(), None, &token.key().path().with_extension("pub"));
    host.stop();
    host.start_again();
    near.client.add(&Alias::new("devbox", &host).known(Known::No));
    let known = format!("@cert-authority [127.0.0.1]:{} {}\n", host.port(), signer.known());
    fs::write(near.client.known_hosts(), &known).unwrap();
    told(
        &near.codex(&SAY),
        4,
        &[
            "[host-key-unknown]",
            "devbox is known by its host key sk-ssh-ed25519-cert-v01@openssh.com",
        ],
    );
    set_hosts(&near.client, SYSTEM);
    says_hello(&near.codex(&SAY));
}

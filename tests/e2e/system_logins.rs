//! Logins that only the system's `ssh` has, each with a real server: tokens, tickets, machines that vouch, host keys in
//! a token.

use std::{fs, process::Command};

use codex_testkit::{
    Alias, Client, Codex, Host, HostOptions, Known, Machine, Model, Realm, SecurityKey, TOKEN_PIN, Tmux,
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

//! The stages of SSH, out of what a connection tells while it is being made.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use codex_hosts::{Failure, HostId};
use codex_ssh::{Attempt, Event, Exit, Failure as SshFailure, PeerInfo, Route, Session, Stage};

use super::{Answering, Examined, Outcome, Step};
use crate::{
    around::Detour,
    launch::NOISE_BYTES_MAX,
    question,
    server::{SFTP_ONLY, Started},
};

/// Noise of a shell that is quoted.
const QUOTED_CHARS_MAX: usize = 200;

/// The stage under way, and how to tell of it.
pub(super) struct Steps {
    aliases: Vec<String>,
    open: Option<Open>,
    /// Those of the host itself that are told with what only its session knows.
    kept: Vec<Step>,
}

struct Open {
    name: &'static str,
    hop: usize,
    start: Instant,
    addresses: Vec<SocketAddr>,
    methods: Vec<String>,
    asked: bool,
}

/// The hops, as a command line of `ssh` names them.
pub(super) fn route(route: &Route) -> String {
    let hops: Vec<String> = route
        .hops
        .iter()
        .map(|it| format!("{}@{}:{}", it.user, it.host_name, it.port))
        .collect();
    match hops.split_last() {
        Some((host, [])) => host.clone(),
        Some((host, jumps)) => format!("{host} by {}", jumps.join(", ")),
        None => String::new(),
    }
}

/// Noise of this length or more may have been longer: it was kept with the line that ended it.
const NOISE_CERTAIN: usize = NOISE_BYTES_MAX / 2;

/// What the login shell said and did, and where it is.
pub(super) fn shell(id: &HostId, started: &Started) -> Outcome {
    let found = &started.found;
    let text = format!("{}, home {}, server {}", found.system, found.home, started.path);
    remarked(id, text, &started.noise, started.detour.as_ref(), Some(WAIT))
}

/// The same, with what start-up files did. `wait`: what that costs each command.
pub(super) fn remarked(
    id: &HostId,
    mut text: String,
    noise: &str,
    detour: Option<&Detour>,
    wait: Option<Duration>,
) -> Outcome {
    let mut fix = None;
    if let Some(detour) = detour {
        text += &format!("; {}", does(detour));
        if let Some(wait) = wait {
            text += &format!(", which costs each command {} s or more", wait.as_secs());
        }
        fix = Some(leave(id, detour));
    }
    if !noise.is_empty() {
        let quoted: String = noise.chars().take(QUOTED_CHARS_MAX).collect();
        let amount = match noise.len() {
            // Of more, only the end was kept.
            NOISE_CERTAIN.. => format!("over {NOISE_CERTAIN}"),
            length => length.to_string(),
        };
        text += &format!("; start-up files print {amount} bytes that belong to no command: {quoted:?}");
        fix.get_or_insert_with(|| {
            format!(
                "let the start-up files of {id} print only for terminals (`case $- in *i*) … esac`): scp and rsync break on it"
            )
        });
    }
    match fix {
        Some(fix) => Outcome::Poor { text, fix },
        None => Outcome::Fine(text),
    }
}

/// How long a command waits before it is started in another way.
const WAIT: Duration = crate::limits::DETOUR_AFTER;

fn does(detour: &Detour) -> String {
    match detour {
        Detour::Shell(shell) => format!(
            "a start-up file of the login shell, or the server's ForceCommand, makes it another shell, {shell}"
        ),
        Detour::Input => {
            "a start-up file of the login shell takes the input of every command, or its time".to_owned()
        }
    }
}

fn leave(id: &HostId, detour: &Detour) -> String {
    match detour {
        Detour::Shell(shell) => format!(
            "let the start-up files of {id} become {shell} only for terminals (`case $- in *i*) exec {shell};; esac`), or make it the login shell (`chsh -s`); a ForceCommand in sshd_config can run `{shell} -c \"$SSH_ORIGINAL_COMMAND\"`"
        ),
        Detour::Input => {
            format!(
                "let the start-up files of {id} read, and do what takes long, only for terminals (`case $- in *i*) … esac`)"
            )
        }
    }
}

/// A launch that failed where other commands run.
pub(super) fn no_server(id: &HostId, failure: Failure, detour: Option<&Detour>) -> Failure {
    let Some(detour) = detour else {
        return failure;
    };
    let who = match detour {
        Detour::Shell(shell) => format!("{}, and {shell}", does(detour)),
        Detour::Input => "a start-up file of the login shell".to_owned(),
    };
    let what = match detour {
        Detour::Shell(_) => "runs nothing before the end of its input",
        Detour::Input => "reads the input of every command up to its end",
    };
    Failure {
        message: format!("{}: {who} {what}, of which a server has none", failure.message),
        hint: Some(leave(id, detour)),
        ..failure
    }
}

/// Words of shells that are there to run nothing, and of restricted ones.
const NO_SHELL: [&str; 4] = ["not available", "nologin", "restricted", SFTP_ONLY];

/// A launch that failed where no command is run. A start-up file that ends the shell does so with a status, as a command
/// in the place of ours (`ForceCommand`) may.
pub(super) fn no_command(id: &HostId, failure: Failure, exit: Option<&Exit>) -> Failure {
    let said = failure.stderr.as_deref().unwrap_or_default();
    let status = match exit {
        Some(Exit::Status(status @ 1..)) if !NO_SHELL.iter().any(|it| said.contains(it)) => status,
        _ => return failure,
    };
    Failure {
        message: format!(
            "no command can be run: the login shell, or what the server runs in its place, ends with exit status {status} before a command is read"
        ),
        hint: Some(format!(
            "let the start-up file of {id} (.bashrc, .zshenv or the like) `exit` only for terminals (`case $- in *i*) … esac`); where none does, the account's shell itself runs nothing, which `getent passwd` shows, or the server runs another command (ForceCommand in its sshd_config, `command=` in authorized_keys)"
        )),
        ..failure
    }
}

impl Steps {
    pub(super) fn new(route: &Route) -> Steps {
        Steps {
            aliases: route.hops.iter().map(|it| it.alias.clone()).collect(),
            open: None,
            kept: Vec::new(),
        }
    }

    /// Returns what is to be told now.
    pub(super) fn take(&mut self, event: Event) -> Vec<Examined> {
        match event {
            Event::Notice { text, .. } => vec![Examined::Notice(text)],
            Event::Question {
                hop,
                question,
                answer,
            } => {
                if let Some(open) = &mut self.open {
                    open.asked = true;
                }
                let is_jump = hop + 1 < self.aliases.len();
                let question = question::question(question, is_jump);
                vec![Examined::Question(question, Answering(answer))]
            }
            Event::Stage { hop, stage } => self.enter(hop, stage).into_iter().map(Examined::Step).collect(),
        }
    }

    fn enter(&mut self, hop: usize, stage: Stage) -> Option<Step> {
        let name = match &stage {
            Stage::Resolving => "dns",
            Stage::Connecting { .. } => "tcp",
            Stage::Proxy => "proxy",
            Stage::Handshake => "key-exchange",
            Stage::HostKey => "host-key",
            Stage::Authenticating { .. } => "login",
            Stage::Authenticated => return self.close(),
        };
        let goes_on = self
            .open
            .as_ref()
            .is_some_and(|it| it.name == name && it.hop == hop);
        let told = if goes_on { None } else { self.close() };
        let open = self.open.get_or_insert_with(|| Open {
            name,
            hop,
            start: Instant::now(),
            addresses: Vec::new(),
            methods: Vec::new(),
            asked: false,
        });
        match stage {
            Stage::Connecting { address } => open.addresses.push(address),
            Stage::Authenticating { method } if open.methods.last() != Some(&method) => {
                open.methods.push(method)
            }
            _ => (),
        }
        told
    }

    /// What failed belongs to another stage than the one under way: a program that is to make the connection runs, and
    /// fails, while its first words are waited for, and one that knows host keys is asked before.
    pub(super) fn blame(&mut self, error: &SshFailure) {
        let name = match error {
            SshFailure::Proxy { .. } => "proxy",
            SshFailure::KnownHostsCommand { .. } => "host-key",
            _ => return,
        };
        if let Some(open) = &mut self.open {
            open.name = name;
        }
        let is_it = |it: &mut Step| it.name == name;
        _ = self.kept.pop_if(is_it);
    }

    /// Ends the stage under way. Those of the host itself are kept back.
    fn close(&mut self) -> Option<Step> {
        let open = self.open.take()?;
        let step = Step {
            name: open.name,
            hop: self.jump(open.hop),
            took: open.start.elapsed(),
            outcome: Outcome::Fine(open.text()),
        };
        if step.hop.is_some() {
            return Some(step);
        }
        self.kept.push(step);
        None
    }

    fn jump(&self, hop: usize) -> Option<String> {
        match hop + 1 < self.aliases.len() {
            true => self.aliases.get(hop).cloned(),
            false => None,
        }
    }

    /// The steps that were kept back; the last one is the failure, if there was one.
    pub(super) fn end(mut self, session: Result<&Session, Outcome>) -> Vec<Step> {
        let failed = match session {
            Ok(session) => {
                let last = self.close();
                self.kept.extend(last);
                for step in &mut self.kept {
                    match step.name {
                        "key-exchange" => step.outcome = strength(session.peer()),
                        "login" => step.outcome = tried(session.tried(), &step.outcome),
                        _ => (),
                    }
                }
                None
            }
            Err(outcome) => {
                let (name, hop, start) = match self.open.take() {
                    Some(it) => (it.name, it.hop, it.start),
                    None => ("connect", self.aliases.len(), Instant::now()),
                };
                Some(Step {
                    name,
                    hop: self.jump(hop),
                    took: start.elapsed(),
                    outcome,
                })
            }
        };
        self.kept.into_iter().chain(failed).collect()
    }
}

impl Open {
    fn text(&self) -> String {
        let asked = if self.asked { ", as you answered" } else { "" };
        match self.name {
            "dns" => "the name is known".to_owned(),
            "tcp" => {
                let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
                format!("connected; tried {}", addresses.join(", "))
            }
            "proxy" => "the way to it is open".to_owned(),
            "key-exchange" => "keys are exchanged".to_owned(),
            "host-key" => format!("the host key is the right one{asked}"),
            _ => format!("logged in by {}{asked}", self.methods.join(", then ")),
        }
    }
}

/// Algorithms that are known to be weak (RFC 9142, OpenSSH's release notes on SHA-1 and CBC).
fn is_weak(algorithm: &str) -> bool {
    let ends = ["-sha1", "-cbc", "-dss"].iter().any(|it| algorithm.ends_with(it));
    ends || algorithm == "ssh-rsa" || algorithm.starts_with("arcfour")
}

/// The banner and the algorithms that both sides agreed on.
fn strength(peer: &PeerInfo) -> Outcome {
    let PeerInfo {
        server_id,
        kex,
        cipher,
        host_key,
        ..
    } = peer;
    let text = format!("{server_id}; {kex}, {cipher}, host key {host_key}");
    let weak: Vec<&str> = [kex, cipher, host_key]
        .into_iter()
        .map(String::as_str)
        .filter(|it| is_weak(it))
        .collect();
    if !weak.is_empty() {
        return Outcome::Poor {
            text: format!("{text}; weak: {}", weak.join(", ")),
            fix: "update the SSH server, or change its KexAlgorithms, Ciphers and HostKeyAlgorithms"
                .to_owned(),
        };
    }
    let is_post_quantum = kex.starts_with("mlkem") || kex.starts_with("sntrup");
    let against = if is_post_quantum {
        ", also against quantum computers"
    } else {
        ""
    };
    Outcome::Fine(format!("{text}; strong{against}"))
}

/// Every method that was tried, with the server's answer.
fn tried(attempts: &[Attempt], otherwise: &Outcome) -> Outcome {
    if attempts.is_empty() {
        return otherwise.clone();
    }
    let attempts: Vec<String> = attempts.iter().map(ToString::to_string).collect();
    Outcome::Fine(attempts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(aliases: &[&str]) -> Steps {
        Steps {
            aliases: aliases.iter().map(|&it| it.to_owned()).collect(),
            open: None,
            kept: Vec::new(),
        }
    }

    fn text(step: &Step) -> (&str, Option<&str>, &str) {
        let Outcome::Fine(text) = &step.outcome else {
            panic!("{step:?}")
        };
        (step.name, step.hop.as_deref(), text)
    }

    #[test]
    fn a_jump_hosts_stages_are_told_as_they_end_and_each_address_is_named() {
        let mut steps = steps(&["bastion", "box"]);
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let mut told = Vec::new();
        for stage in [
            Stage::Resolving,
            Stage::Connecting { address: address(1) },
            Stage::Connecting { address: address(2) },
            Stage::Handshake,
            Stage::HostKey,
            Stage::Authenticating {
                method: "publickey".to_owned(),
            },
            Stage::Authenticating {
                method: "publickey".to_owned(),
            },
            Stage::Authenticating {
                method: "password".to_owned(),
            },
            Stage::Authenticated,
        ] {
            told.extend(steps.enter(0, stage));
        }
        assert!(steps.enter(1, Stage::Proxy).is_none());
        let told: Vec<_> = told.iter().map(text).collect();
        assert_eq!(
            told,
            [
                ("dns", Some("bastion"), "the name is known"),
                (
                    "tcp",
                    Some("bastion"),
                    "connected; tried 127.0.0.1:1, 127.0.0.1:2"
                ),
                ("key-exchange", Some("bastion"), "keys are exchanged"),
                ("host-key", Some("bastion"), "the host key is the right one"),
                ("login", Some("bastion"), "logged in by publickey, then password"),
            ]
        );
        let failure = crate::reach::bad("no".to_owned(), None);
        let ended = steps.end(Err(Outcome::Failed(failure.clone())));
        assert_eq!(
            (ended.len(), ended[0].name, ended[0].hop.as_ref()),
            (1, "proxy", None)
        );
    }

    #[test]
    fn weak_algorithms_are_named() {
        let peer = |kex: &str, host_key: &str| PeerInfo {
            server_id: "SSH-2.0-x".to_owned(),
            kex: kex.to_owned(),
            cipher: "aes256-gcm@openssh.com".to_owned(),
            host_key: host_key.to_owned(),
            address: None,
        };
        let strong = strength(&peer("mlkem768x25519-sha256", "ssh-ed25519"));
        assert!(matches!(strong, Outcome::Fine(text) if text.ends_with("quantum computers")));
        let weak = strength(&peer("diffie-hellman-group14-sha1", "ssh-rsa"));
        let Outcome::Poor { text, .. } = weak else {
            panic!("{weak:?}")
        };
        assert!(
            text.ends_with("weak: diffie-hellman-group14-sha1, ssh-rsa"),
            "{text}"
        );
    }
}

//! Real hosts on loopback or behind the slow link, and one configuration for both clients.

use std::{path::Path, path::PathBuf, process::Command, time::Duration};

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Model, Part, Shell, available};

use crate::{
    Outcome,
    link::{FAR, Link, Namespace},
};

/// Hosts that are connected to at once.
pub(crate) const HOSTS: usize = 10;
/// The host behind the first one.
pub(crate) const BEHIND: &str = "behind";
/// The first host, with the keepalives that ours has by itself, for OpenSSH as well.
pub(crate) const IDLE: &str = "idle";

/// How far the hosts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Loopback,
    /// A round trip of 50 ms.
    Delayed,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Loopback => "loopback",
            Way::Delayed => "50 ms",
        }
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    OpenSsh,
}

/// Hosts, and a home from which both clients reach them.
pub(crate) struct Rig {
    pub(crate) way: Way,
    pub(crate) home: Client,
    /// `ssh/examples/bench_client.rs`, built.
    client: PathBuf,
    link: Option<Link>,
    _hosts: Vec<Host>,
}

impl Rig {
    pub(crate) fn new(way: Way, client: &Path) -> Outcome<Rig> {
        let link = match way {
            Way::Loopback => None,
            Way::Delayed => Some(Link::new()?),
        };
        let mut rig = Rig {
            way,
            home: Client::new(),
            client: client.to_owned(),
            link,
            _hosts: Vec::new(),
        };
        // How long a login shell takes to start is not what is measured.
        let shell = match available(Part::Dash) {
            true => Shell::Dash,
            false => Shell::Bash,
        };
        for index in 0..HOSTS {
            let host = rig.host(|options| options.codex(Codex::Absent).shell(shell))?;
            let alias = rig.alias(&alias(index), &host);
            rig.home.add(&alias);
            match index {
                0 => {
                    let alias = rig.alias(IDLE, &host).line("ServerAliveInterval 5");
                    rig.home.add(&alias.line("ServerAliveCountMax 2"));
                }
                1 => {
                    // From the first host it is on loopback in both cases.
                    let behind = Alias::new(BEHIND, &host);
                    rig.home.add(&behind.jump(&self::alias(0)));
                }
                _ => {}
            }
            rig._hosts.push(host);
        }
        Ok(rig)
    }

    /// Starts a host at the far end, which lets this home in.
    pub(crate) fn host(&self, wish: impl FnOnce(HostOptions) -> HostOptions + Send) -> Outcome<Host> {
        let mut options = HostOptions::new().authorize(self.home.key());
        // What limits strangers is not what is measured.
        for line in ["MaxStartups 300", "MaxSessions 300", "LogLevel ERROR"] {
            options = options.sshd(line);
        }
        if self.link.is_some() {
            options = options.sshd(&format!("ListenAddress {FAR}"));
        }
        within(self.link.as_ref().map(|it| &it.far), || {
            Ok(Host::start(wish(options)))
        })
    }

    /// Starts a model that hosts at the far end reach.
    pub(crate) fn model(&self) -> Outcome<Model> {
        within(self.link.as_ref().map(|it| &it.far), || Ok(Model::start()))
    }

    pub(crate) fn alias(&self, name: &str, host: &Host) -> Alias {
        let alias = Alias::new(name, host);
        match self.link {
            None => alias,
            // The name under which its key is known.
            Some(_) => alias
                .line(&format!("HostName {FAR}"))
                .line(&format!("HostKeyAlias [127.0.0.1]:{}", host.port())),
        }
    }

    /// Runs this where the clients are.
    pub(crate) fn near<T: Send>(&self, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
        within(self.link.as_ref().map(|it| &it.near), work)
    }

    /// Our measured program.
    pub(crate) fn ours(&self, mode: &str, command: &str, aliases: &[String]) -> Command {
        let mut program = self.home.command(&self.client);
        program
            .arg(self.home.config())
            .args([mode, command])
            .args(aliases);
        program
    }

    /// OpenSSH's client.
    pub(crate) fn openssh(&self, command: &str, alias: &str) -> Command {
        let mut program = self.home.ssh();
        program.args([alias, command]);
        program
    }
}

fn within<T: Send>(namespace: Option<&Namespace>, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    match namespace {
        None => work(),
        Some(namespace) => namespace.run(work),
    }
}

/// The alias of one of the hosts.
pub(crate) fn alias(index: usize) -> String {
    format!("host{index}")
}

/// Runs both sides so many times, in turn, each of them first every other time, after one run each that fills the
/// machine's caches.
pub(crate) fn in_turn(runs: usize, mut run: impl FnMut(Side, bool) -> Outcome) -> Outcome {
    for index in 0..=runs {
        let order = match index % 2 {
            0 => [Side::Ours, Side::OpenSsh],
            _ => [Side::OpenSsh, Side::Ours],
        };
        for side in order {
            run(side, index > 0)?;
        }
    }
    Ok(())
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

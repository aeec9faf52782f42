//! What `~/.ssh/config` says, as the commands need it.

use std::{path::PathBuf, sync::Arc};

use codex_fleet::{Asking, FleetConfig, Forward, Resolver, System, limits};
use codex_hosts::{Host, HostId, Origin};
use codex_protocol::v2::ClientInfo;
use codex_ssh::{
    Askpass, Connector, Local,
    config::{
        Alias, ConfigError, Problem as ConfigProblem, Query, Severity, Sources, SystemWorld, World, aliases,
        resolve,
        settings::{HostSettings, Via},
    },
    route,
};

use super::{SshArgs, ask, machine::Machine, report::Problem, settings::Settings, ways};

/// More aliases than this are shown in the picker without their addresses: it opens at once.
const PICKER_RESOLVED_MAX: usize = 300;

/// Where it is kept which key each host has taken, in the folder for our state: fingerprints, nothing else.
const MEMORY: &str = "codex-client/keys.json";

/// An alias of the configuration.
pub(crate) struct Listed {
    pub(crate) alias: Alias,
    /// `None`: there are too many aliases to resolve them all.
    pub(crate) settings: Option<Result<HostSettings, ConfigError>>,
}

fn same(one: &ConfigProblem, other: &ConfigProblem) -> bool {
    (&one.file, one.line, &one.message) == (&other.file, other.line, &other.message)
}

/// The configuration that the command line chose.
pub(crate) struct SshConfig {
    sources: Sources,
    /// The file that the command line names.
    file: Option<PathBuf>,
    /// Where it is kept which key a host has taken; only for the user's own configuration.
    memory: Option<PathBuf>,
}

impl SshConfig {
    pub(crate) fn new(args: &SshArgs) -> SshConfig {
        let sources = match &args.file {
            Some(file) => Sources::file(file),
            None => Sources::default_for(&SystemWorld::new()),
        };
        let home = args.file.is_none().then(super::home::codex_home);
        let memory = home.and_then(Result::ok).map(|it| it.join(MEMORY));
        SshConfig {
            sources,
            file: args.file.clone(),
            memory,
        }
    }

    /// The concrete aliases with what each resolves to, and what is wrong with the files. Nothing is
    /// connected to and no program of the configuration is run. Beyond `resolved_max` aliases nothing is
    /// resolved: each is an interpretation of all files. What our own SSH has not is no problem of hosts that
    /// `settings` give to another way.
    pub(crate) fn list(
        &self,
        resolved_max: usize,
        settings: &Settings,
    ) -> Result<(Vec<Listed>, Vec<ConfigProblem>), Problem> {
        let mut world = SystemWorld::for_listing();
        let (aliases, mut problems) = aliases(&self.sources, &mut world).map_err(|it| problem(&it))?;
        let resolves = aliases.len() <= resolved_max;
        let mut listed = Vec::with_capacity(aliases.len());
        for alias in aliases {
            let is_ours = settings.allow_own_ssh(&alias.name);
            let settings = resolves.then(|| {
                let resolved = resolve(&Query::host(&alias.name), &self.sources, &mut world)?;
                if let Some(refusal) = resolved.refusal {
                    return Err(refusal);
                }
                // Most are found again with each alias.
                let is_new = |it: &ConfigProblem| it.in_effect && !problems.iter().any(|old| same(old, it));
                if is_ours {
                    let new: Vec<ConfigProblem> = resolved.problems.into_iter().filter(is_new).collect();
                    problems.extend(new);
                }
                Ok(resolved.settings)
            });
            listed.push(Listed { alias, settings });
        }
        problems.retain(|it| it.severity != Severity::Note);
        Ok((listed, problems))
    }

    /// The aliases as the picker shows them.
    pub(crate) fn hosts(&self, settings: &Settings) -> Result<(Vec<Host>, Vec<ConfigProblem>), Problem> {
        let (listed, problems) = self.list(PICKER_RESOLVED_MAX, settings)?;
        let home = SystemWorld::new().home();
        // The picker's lines are short, and nearly all aliases stand in `~/.ssh/config`.
        let short = |file: PathBuf| match file.strip_prefix(&home) {
            Ok(rest) => PathBuf::from("~").join(rest),
            Err(_) => file,
        };
        let host = |it: Listed| Host {
            address: it.settings.and_then(Result::ok).map(|it| address(&it)),
            origin: Origin::Config {
                file: short(it.alias.file),
                line: it.alias.line,
            },
            id: HostId(it.alias.name),
        };
        Ok((listed.into_iter().map(host).collect(), problems))
    }

    /// The hosts that can be named: the concrete aliases, and those of `hosts.toml`. What cannot be read names none.
    pub(crate) fn names(sources: &Sources) -> Vec<String> {
        let listed = aliases(sources, &mut SystemWorld::for_listing());
        let listed = listed.map(|(listed, _)| listed).unwrap_or_default();
        let settings = Settings::read().unwrap_or_default();
        let aliases = listed.into_iter().map(|it| it.name);
        aliases.chain(settings.hosts.into_keys()).collect()
    }

    /// What a fleet needs to find its hosts and to introduce itself. `machine` is the host in this process.
    pub(crate) fn fleet(self, client_name: &str, machine: &Machine) -> FleetConfig {
        let sources = self.sources;
        let names = {
            let sources = sources.clone();
            Arc::new(move || SshConfig::names(&sources))
        };
        let resolver: Resolver = Arc::new(move |query| {
            let mut world = SystemWorld::new();
            route(query, &mut |it| resolve(it, &sources, &mut world))
        });
        let shell = SystemWorld::new().env("SHELL").filter(|it| it.starts_with('/'));
        let shell = PathBuf::from(shell.unwrap_or_else(|| "/bin/sh".to_owned()));
        // As ssh(1): whoever has no terminal is asked by a program.
        let has_terminal = std::fs::File::open("/dev/tty").is_ok();
        let askpass = Askpass::from_env(|name| std::env::var(name).ok(), has_terminal);
        let asking = match &askpass {
            Some(_) => Asking::Program,
            None if ask::can_ask() => Asking::User,
            None => Asking::Nobody,
        };
        // Without its own path the program cannot be started to ask; `ssh` says then that it found none.
        let program = std::env::current_exe().unwrap_or_default();
        let system = System::new(self.file.or_else(own_file), program, asking);
        let mut connector = Connector::new(Local { shell }).with_askpass(askpass);
        if let Some(memory) = self.memory {
            connector = connector.with_memory(memory);
        }
        FleetConfig {
            ways: ways::ways(machine),
            names,
            resolver,
            connector,
            system,
            client_info: ClientInfo {
                name: client_name.to_owned(),
                title: Some("codex connect".to_owned()),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            forward: Forward::None,
            policy: limits::POLICY,
        }
    }
}

/// The user's file where `HOME` is not the home of the account: the system's `ssh` looks only there, and would read
/// another one than we do.
fn own_file() -> Option<PathBuf> {
    let world = SystemWorld::new();
    let home = world.home();
    let file = home.join(".ssh/config");
    (world.home_of(&world.local_user())? != home && file.exists()).then_some(file)
}

/// `user@name:port`, for people.
pub(crate) fn address(settings: &HostSettings) -> String {
    let HostSettings {
        user,
        host_name,
        port,
        ..
    } = settings;
    let name = if host_name.contains(':') {
        format!("[{host_name}]")
    } else {
        host_name.clone()
    };
    match port {
        22 => format!("{user}@{name}"),
        port => format!("{user}@{name}:{port}"),
    }
}

/// The hops on the way, as a `ProxyJump` would say them.
pub(crate) fn jump(settings: &HostSettings) -> Option<String> {
    match &settings.route {
        Via::Direct => None,
        Via::Command(_) => Some("ProxyCommand".to_owned()),
        Via::Jump(hops) => {
            let hop = |it: &codex_ssh::config::settings::JumpHost| {
                let user = it.user.as_ref().map(|it| format!("{it}@")).unwrap_or_default();
                let port = it.port.map(|it| format!(":{it}")).unwrap_or_default();
                format!("{user}{}{port}", it.host)
            };
            Some(hops.iter().map(hop).collect::<Vec<_>>().join(","))
        }
    }
}

fn problem(error: &ConfigError) -> Problem {
    Problem::usage(error.to_string()).hint(error.hint())
}

//! What the names of hosts mean: this machine, an address, a host of `hosts.toml`, or one of SSH.

use std::{path::PathBuf, sync::Arc};

use codex_fleet::{Address, AddressError, NoWay, Server, Transport, Way, Ways, limits::HOSTS_MAX};
use codex_hosts::{Host, HostId, Origin};
use codex_ssh::config::Query;

use super::{
    home,
    machine::{Machine, THIS_MACHINE},
    report::Problem,
    settings::Settings,
};

/// Where servers listen at `unix://`, below `$CODEX_HOME`: our own, then the official one.
const DEFAULT_SOCKETS: [&str; 2] = [
    "codex-server/app-server.sock",
    "app-server-control/app-server-control.sock",
];

/// The ways to all hosts. The settings are read anew for each attempt: a correction counts at once.
pub(crate) fn ways(machine: &Machine) -> Ways {
    let embed = machine.embed();
    Arc::new(move |host| {
        let HostId(name) = host;
        if name == THIS_MACHINE {
            return Ok(Way::Embedded(Arc::clone(&embed)));
        }
        if host.is_address() {
            return address(name).map(Way::Address).map_err(|error| NoWay {
                message: error.to_string(),
                hint: Some(error.hint()),
            });
        }
        let mut settings = Settings::read().map_err(|problem| problem.no_way())?;
        match settings.hosts.remove(name) {
            None => Ok(Way::Ssh {
                server: Server::Auto,
                transport: Transport::Auto,
            }),
            Some(Err(remark)) => Err(NoWay {
                message: remark.to_string(),
                hint: Some("correct the file and connect again".to_owned()),
            }),
            Some(Ok(host)) => Ok(match host.command {
                Some(argv) => Way::Command {
                    argv,
                    server: host.server,
                },
                None => Way::Ssh {
                    server: host.server,
                    transport: host.transport,
                },
            }),
        }
    })
}

/// The address as the user gave it: relative to the working directory, and `unix://` alone for the socket at
/// its usual place.
fn address(text: &str) -> Result<Address, AddressError> {
    if text == "unix://"
        && let Ok(home) = home::codex_home()
    {
        let sockets = DEFAULT_SOCKETS.map(|it| home.join(it));
        let [ours, _] = &sockets;
        return Ok(Address::Unix(
            sockets.iter().find(|it| it.exists()).unwrap_or(ours).clone(),
        ));
    }
    Ok(match text.parse()? {
        Address::Unix(path) => Address::Unix(home::current_dir().unwrap_or_default().join(path)),
        address => address,
    })
}

/// Refuses what cannot be a destination before anything is opened.
pub(crate) fn check_destinations(hosts: &[String]) -> Result<(), Problem> {
    if HOSTS_MAX < hosts.len() {
        let message = format!("{} hosts are too many: at most {HOSTS_MAX} at once", hosts.len());
        return Err(Problem::usage(message));
    }
    let settings = Settings::read()?;
    for (index, host) in hosts.iter().enumerate() {
        if hosts[..index].contains(host) {
            return Err(Problem::usage(format!("`{host}` is given twice")));
        }
        if host == THIS_MACHINE || settings.hosts.contains_key(host) {
            continue;
        }
        if HostId(host.clone()).is_address() {
            check_address(host)?;
            continue;
        }
        Query::parse(host).map_err(|error| {
            Problem::usage(format!("`{host}` is not a host: {error}"))
                .hint("write an alias of your SSH configuration or user@host:port")
        })?;
    }
    Ok(())
}

/// Refuses what is no address of a server.
pub(crate) fn check_address(text: &str) -> Result<(), Problem> {
    match address(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::usage(error.to_string()).hint(error.hint())),
    }
}

/// The hosts beside those of SSH, as the picker shows them, and what is wrong with their settings.
pub(crate) fn other_hosts(settings: Result<Settings, Problem>) -> (Vec<Host>, Vec<String>) {
    let mut hosts = Vec::new();
    let mut problems = Vec::new();
    match settings {
        Ok(settings) => {
            problems.extend(settings.remarks.iter().map(ToString::to_string));
            for (name, host) in settings.hosts {
                match host {
                    Ok(host) => hosts.extend(host.command.map(|argv| Host {
                        id: HostId(name),
                        origin: Origin::Config {
                            file: settings.file.clone(),
                            line: u32::try_from(host.line).unwrap_or(u32::MAX),
                        },
                        address: Some(argv.join(" ")),
                    })),
                    Err(remark) => problems.push(remark.to_string()),
                }
            }
        }
        Err(problem) => problems.push(problem.to_string()),
    }
    hosts.push(Host {
        id: HostId(THIS_MACHINE.to_owned()),
        origin: Origin::ThisMachine,
        address: None,
    });
    (hosts, problems)
}

/// A directory of a host as the user wrote it. On this machine it is relative to where the program was
/// started, elsewhere to the user's home.
pub(crate) fn directory(host: &str, text: &str) -> Result<String, Problem> {
    if host != THIS_MACHINE || text.starts_with('~') {
        return Ok(text.to_owned());
    }
    let path: PathBuf = home::current_dir()?.join(text).components().collect();
    Ok(path.display().to_string())
}

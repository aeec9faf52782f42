//! From a host's name to a server that can be talked to, whatever the way.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use codex_hosts::{Failure, FailureKind, HostId, Phase, Report, Search};
use codex_rpc as rpc;
use codex_ssh::{Route, Session};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_blocking,
};

use crate::{
    address::Address,
    around::Detour,
    attempt::{FromAttempt, Reporter},
    command,
    install::{self, Install},
    kept::{Heard, Kept},
    launch::Server,
    limits,
    link::Pulse,
    run::FleetConfig,
    server::{Started, launch},
    socket,
    ssh::{self, Refused},
    standby::Standby,
    system,
    transport::{Need, Transport},
    way::{Embed, NoWay, Way},
    witness::Witness,
};

/// A server, and all that is known of it before its first word.
pub(crate) struct Reached {
    pub(crate) transport: Box<dyn rpc::Transport>,
    pub(crate) witness: Witness,
    pub(crate) pulse: Pulse,
    /// e.g. `Linux x86_64`; empty when nobody said so.
    pub(crate) system: String,
    /// The user's home directory there, where it is known.
    pub(crate) home: Option<String>,
    /// The server's path, or its address.
    pub(crate) program: String,
    /// Ends the connection when dropped; the reason of its end is known only while this is held.
    pub(crate) held: Box<dyn Any + Send>,
    /// What start-up files did there, as far as it is seen.
    pub(crate) did: Did,
    pub(crate) ssh: Option<OverSsh>,
    /// Where nothing below the conversation finds out that the way has gone silent.
    pub(crate) heard: Option<Heard>,
}

/// What start-up files of the login shell did before the server was started.
#[derive(Default)]
pub(crate) struct Did {
    pub(crate) noise: String,
    pub(crate) detour: Option<Detour>,
}

/// What stands where our own SSH leads to a host.
pub(crate) struct OverSsh {
    pub(crate) route: Route,
    /// It ends when the server's streams do.
    pub(crate) session: Weak<Session>,
    pub(crate) told: ssh::Told,
}

/// Goes through all phases before the handshake; what is to be installed comes before the launch. A session on `standby`
/// spares the login.
pub(crate) async fn reach(
    id: &HostId,
    config: &FleetConfig,
    search: Option<Search>,
    install: Option<&Install>,
    standby: &Standby,
    reporter: &Reporter,
) -> Result<Reached, Failure> {
    let (ways, name) = (Arc::clone(&config.ways), id.clone());
    let way = spawn_blocking(move || ways(&name)).await;
    let way = way
        .map_err(|error| bad(format!("reading the settings failed: {error}"), None))?
        .map_err(|NoWay { message, hint }| bad(message, hint))?;
    match way {
        Way::Ssh { server, transport } => {
            if is_by_system(id, config, transport) {
                return by_system(id, config, &server, (search, install), reporter).await;
            }
            let route = ssh::resolve(id, config, transport, reporter).await?;
            let connected = match standby.take(&route, config.policy.probe_patience).await {
                Some(session) => Some((session, ssh::Told::nothing())),
                None => connect(id, config, (transport, search), &route, reporter)
                    .await?
                    .map(|(session, told)| (Arc::new(session), told)),
            };
            match connected {
                Some((session, told)) => {
                    let lent = (route.clone(), Arc::clone(&session), told);
                    let reached = by_ssh(id, lent, &server, install, reporter).await;
                    if let Err(failure) = &reached {
                        standby.keep_after(failure, &route, session);
                    }
                    reached
                }
                None => by_system(id, config, &server, (None, install), reporter).await,
            }
        }
        Way::Embedded(_) | Way::Address(_) if install.is_some() => Err(install::impossible(id)),
        Way::Embedded(embed) => by_embedding(embed, reporter).await,
        Way::Address(address) => by_address(&address, reporter).await,
        Way::Command { argv, server } => {
            reporter.report(Report::Entered(Phase::Launching)).await;
            if let Some(order) = install {
                install::by_command(id, &argv, order, &server, reporter).await?;
            }
            let (child, started) = command::launch(id, &argv, &server, search, reporter).await?;
            let witness = Witness::Child(child.watch());
            Ok(by_launch(child, started, witness, Pulse::Call, ()))
        }
    }
}

pub(crate) fn bad(message: String, hint: Option<String>) -> Failure {
    Failure {
        kind: FailureKind::BadConfig,
        phase: Some(Phase::Resolving),
        message,
        hint,
        stderr: None,
    }
}

/// Whether a host is reached by the system's `ssh` without another try of ours.
pub(crate) fn is_by_system(id: &HostId, config: &FleetConfig, transport: Transport) -> bool {
    match transport {
        Transport::System => true,
        Transport::Auto => config.system.is_agreed(id),
        Transport::Builtin => false,
    }
}

/// Connects by our own SSH; `None` when the system's shall go on: the user has agreed to it, or it holds a connection
/// open that spares a login.
async fn connect(
    id: &HostId,
    config: &FleetConfig,
    (transport, search): (Transport, Option<Search>),
    route: &Route,
    reporter: &Reporter,
) -> Result<Option<(Session, ssh::Told)>, Failure> {
    let lender = system::Lender {
        id,
        config,
        route,
        transport,
    };
    let (need, failure) = match need_before(route).await {
        Some(need) => (need, None),
        None => match ssh::connect(&lender, search, reporter).await {
            Ok(None) => {
                let text = format!("{id}: no login was needed, through the connection that `ssh` holds open");
                reporter.send(FromAttempt::Notice(text)).await;
                return Ok(None);
            }
            Ok(connected) => return Ok(connected),
            Err(Refused { failure, need: None }) => return Err(failure),
            Err(Refused {
                failure,
                need: Some(need),
            }) => (need, Some(failure)),
        },
    };
    system::offer(id, config, transport, (&need, route), failure, reporter).await?;
    Ok(None)
}

/// What the settings alone show that our own SSH has not.
pub(crate) async fn need_before(route: &Route) -> Option<Need> {
    let route = route.clone();
    let need = spawn_blocking(move || Need::before(&route, &|it| it.exists())).await;
    need.ok().flatten()
}

async fn by_system(
    id: &HostId,
    config: &FleetConfig,
    server: &Server,
    (search, install): (Option<Search>, Option<&Install>),
    reporter: &Reporter,
) -> Result<Reached, Failure> {
    if let Some(search) = search {
        system::find(id, config, search, reporter).await?;
    }
    if let Some(order) = install {
        install::by_system(id, config, order, server, reporter).await?;
    }
    let (child, started) = system::launch(id, config, server, reporter).await?;
    let witness = Witness::System(child.watch());
    Ok(by_launch(child, started, witness, Pulse::Call, ()))
}

async fn by_ssh(
    id: &HostId,
    (route, session, told): (Route, Arc<Session>, ssh::Told),
    server: &Server,
    install: Option<&Install>,
    reporter: &Reporter,
) -> Result<Reached, Failure> {
    reporter.report(Report::Entered(Phase::Launching)).await;
    if let Some(order) = install {
        install::over_ssh(id, &session, order, server, reporter).await?;
    }
    let (process, started) = launch(id, &session, server).await?;
    let witness = Witness::Ssh(process.exit(), process.stderr());
    let weak = Arc::downgrade(&session);
    let pulse = Pulse::Session(Weak::clone(&weak));
    let reached = by_launch(process, started, witness, pulse, session);
    Ok(Reached {
        ssh: Some(OverSsh {
            route,
            session: weak,
            told,
        }),
        ..reached
    })
}

/// A server at the other end of a process's streams; `beside` is held as long as they are.
fn by_launch<S>(
    stream: S,
    started: Started,
    witness: Witness,
    pulse: Pulse,
    beside: impl Any + Send,
) -> Reached
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Started {
        found,
        path,
        rest,
        noise,
        detour,
    } = started;
    let stream = Kept::new(stream);
    let heard = matches!(pulse, Pulse::Call).then(|| stream.heard());
    Reached {
        transport: Box::new(rpc::jsonl_after(stream.clone(), rest, limits::LINE_BYTES_MAX)),
        witness,
        pulse,
        system: found.system,
        home: Some(found.home),
        program: path,
        held: Box::new((stream, beside)),
        did: Did { noise, detour },
        ssh: None,
        heard,
    }
}

async fn by_embedding(embed: Embed, reporter: &Reporter) -> Result<Reached, Failure> {
    reporter.report(Report::Entered(Phase::Launching)).await;
    let failed = |message: String| Failure {
        kind: FailureKind::LaunchFailed,
        phase: Some(Phase::Launching),
        message,
        hint: None,
        stderr: None,
    };
    let embedded = spawn_blocking(move || embed()).await;
    let embedded = embedded
        .map_err(|error| failed(format!("starting the server failed: {error}")))?
        .map_err(failed)?;
    let name = rustix::system::uname();
    Ok(Reached {
        transport: Box::new(rpc::jsonl(embedded.stream, limits::LINE_BYTES_MAX)),
        witness: Witness::Embedded,
        pulse: Pulse::Here,
        system: format!(
            "{} {}",
            name.sysname().to_string_lossy(),
            name.machine().to_string_lossy()
        ),
        home: Some(embedded.home),
        program: embedded.program,
        held: Box::new(()),
        did: Did::default(),
        ssh: None,
        heard: None,
    })
}

async fn by_address(address: &Address, reporter: &Reporter) -> Result<Reached, Failure> {
    if !address.is_local() {
        let text =
            format!("{address} is not encrypted: whoever is on the way can read and change everything");
        reporter.send(FromAttempt::Notice(text)).await;
    }
    let stream = socket::dial(address, async |phase| {
        reporter.report(Report::Entered(phase)).await;
    });
    let transport = socket::upgrade(address, stream.await?).await?;
    Ok(Reached {
        transport,
        witness: Witness::Socket,
        pulse: Pulse::Call,
        system: String::new(),
        home: None,
        program: address.to_string(),
        held: Box::new(()),
        did: Did::default(),
        ssh: None,
        heard: None,
    })
}

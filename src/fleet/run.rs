//! The fleet: commands in, events out, a task per host between them.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use codex_hosts::{
    CallFailure, Failure, FailureKind, Forwarded, HostEvent, HostId, Policy, QuestionId, Reply, Status,
    Ticket,
};
use codex_protocol::{ClientRequest, ClientResponse, Id, ServerNotification, ServerRequest, v2};
use codex_ssh::{
    Connector, Route, RouteError,
    config::{Problem, Query},
};
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    forward::Forward,
    host,
    install::{Install, InstallEvent},
    limits, link,
    names::Names,
    system::System,
    way::Ways,
};

/// Finds the way to a host. Runs on a thread that may block: a configuration may run programs.
pub type Resolver = Arc<dyn Fn(&Query) -> Result<(Route, Vec<Problem>), RouteError> + Send + Sync>;

/// What a fleet is made of.
pub struct FleetConfig {
    pub ways: Ways,
    /// What somebody may have meant whose host nobody knows.
    pub names: Names,
    /// For hosts of SSH.
    pub resolver: Resolver,
    pub connector: Connector,
    /// The other SSH, for hosts that ours cannot get to.
    pub system: System,
    /// How we introduce ourselves to the servers.
    pub client_info: v2::ClientInfo,
    /// Whose forwardings are opened; no others are.
    pub forward: Forward,
    /// Usually [`limits::POLICY`].
    pub policy: Policy,
}

/// What a fleet is told. A host that it does not know is added by any command but
/// [`codex_hosts::Command::Disconnect`].
pub enum Command {
    Host(HostId, codex_hosts::Command),
    /// Connects, or connects again, and carries this out before the server is started. A loss on the way is
    /// made good by the next attempts, each of which goes on where the last one was.
    Install(HostId, Install),
    Call(HostId, Ticket, ClientRequest),
    /// Answers an [`Event::Request`].
    Reply(HostId, Id, Value),
    /// Answers an [`Event::Request`] with *method not found*.
    Refuse(HostId, Id),
    /// Answers an [`Event::Asked`].
    Answer(HostId, QuestionId, Reply),
}

/// What a fleet tells.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time goes through a channel of few, and an answer is what most of them are for"
)]
#[derive(Clone, Debug)]
pub enum Event {
    Host(HostId, HostEvent),
    /// Something for the user to see: a banner, a configuration warning, what was found on the host. The
    /// same text is told once per host. Not sanitized.
    Notice(HostId, String),
    /// The handshake's answer; comes before the host is ready, with each connection.
    Initialized(HostId, Box<HostFacts>),
    Notification(HostId, ServerNotification),
    Request(HostId, Id, ServerRequest),
    /// Comes in its place among the notifications; a call that the end of its connection cut off is
    /// answered after the change of status.
    Answered(HostId, Ticket, Result<ClientResponse, CallFailure>),
    /// How a [`Command::Install`] goes on. That it failed says the status.
    Install(HostId, InstallEvent),
    /// The forwardings of a connected host, all of them with each change; none when their connection ended.
    Forwards(HostId, Vec<Forwarded>),
    /// A login asks the user.
    Asked(HostId, QuestionId, codex_hosts::Question),
    /// The question is void: its attempt ended.
    Withdrawn(HostId, QuestionId),
}

/// What is known of a host once it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    pub initialize: v2::InitializeResponse,
    /// e.g. `Linux x86_64`; empty when the way does not tell.
    pub system: String,
    /// Empty when it is not known.
    pub home: String,
    /// The server that runs: its path, or its address.
    pub codex: String,
}

/// For people: `codex 0.169.0 at /usr/bin/codex, Linux x86_64`. Not sanitized.
impl fmt::Display for HostFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("codex ")?;
        if let Some(version) = self.initialize.server_version() {
            write!(f, "{version} ")?;
        }
        write!(f, "at {}", self.codex)?;
        if !self.system.is_empty() {
            write!(f, ", {}", self.system)?;
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the thread for the connections could not be started")]
pub struct StartError(#[source] io::Error);

/// A running fleet. Dropping it ends all connections.
pub struct Fleet {
    commands: Option<mpsc::Sender<Command>>,
    /// Closed when the thread is done.
    done: Option<oneshot::Receiver<()>>,
}

impl Fleet {
    /// Starts a fleet without hosts. Events must be received: see [`limits::EVENTS_MAX`].
    pub fn start(config: FleetConfig) -> Result<(Fleet, mpsc::Receiver<Event>), StartError> {
        let (commands, command_queue) = mpsc::channel(limits::COMMANDS_MAX);
        let (event_queue, events) = mpsc::channel(limits::EVENTS_MAX);
        let (done, is_done) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError)?;
        thread::Builder::new()
            .name("fleet".to_owned())
            .spawn(move || {
                runtime.block_on(run(config, command_queue, event_queue));
                // A blocked name lookup must not keep the program from ending.
                runtime.shutdown_timeout(Duration::ZERO);
                // Nobody listens when the fleet was dropped without waiting.
                _ = done.send(());
            })
            .map_err(StartError)?;
        Ok((
            Fleet {
                commands: Some(commands),
                done: Some(is_done),
            },
            events,
        ))
    }

    /// A handle for commands; [`shutdown`](Self::shutdown) needs all of them to be gone.
    pub fn commands(&self) -> Option<mpsc::Sender<Command>> {
        self.commands.clone()
    }

    /// Tells the fleet something. Waits while 64 commands wait.
    pub async fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The fleet ends only with its last handle, which is this one.
            _ = commands.send(command).await;
        }
    }

    /// Ends all connections and waits, at most two seconds.
    pub async fn shutdown(mut self) {
        drop(self.commands.take());
        if let Some(done) = self.done.take() {
            // Whether it is done or late, the program goes on.
            _ = tokio::time::timeout(limits::SHUTDOWN_PATIENCE, done).await;
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fleet")
    }
}

async fn run(config: FleetConfig, mut commands: mpsc::Receiver<Command>, events: mpsc::Sender<Event>) {
    let config = Arc::new(config);
    let (mut hosts, mut tasks) = (BTreeMap::new(), JoinSet::new());
    // What is told here waits here: whoever commands may be the one who takes the events.
    let mut outbox = VecDeque::new();
    let mut clocks = Clocks::read();
    let mut tick = interval(limits::CLOCK_PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { return };
                let (id, command) = host::Command::from_fleet(command);
                let adds = !matches!(command, host::Command::Host(codex_hosts::Command::Disconnect));
                if !hosts.contains_key(&id) && adds && hosts.len() < limits::HOSTS_MAX {
                    let (sender, receiver) = mpsc::channel(limits::COMMANDS_MAX);
                    tasks.spawn(host::run(id.clone(), Arc::clone(&config), receiver, events.clone()));
                    hosts.insert(id.clone(), sender);
                }
                match hosts.get(&id) {
                    // A host's task takes commands at any time, so this does not wait for the network.
                    Some(host) => _ = host.send(command).await,
                    None => outbox.extend(not_added(id, &command)),
                }
            }
            permit = events.reserve(), if !outbox.is_empty() => match permit {
                Ok(permit) => _ = outbox.pop_front().map(|it| permit.send(it)),
                Err(_) => return,
            },
            _ = tick.tick() => {
                if clocks.jumped() {
                    for host in hosts.values() {
                        _ = host.send(host::Command::Host(codex_hosts::Command::Wake)).await;
                    }
                }
            }
            // Tasks end only with the fleet; a panic costs its host alone.
            Some(_) = tasks.join_next() => (),
        }
    }
}

/// What a command for one host too many comes to.
fn not_added(id: HostId, command: &host::Command) -> Option<Event> {
    let message = format!(
        "{id} was not added: there are {} hosts already",
        limits::HOSTS_MAX
    );
    match command {
        host::Command::Call(ticket, _) => Some(Event::Answered(id, *ticket, Err(link::refused(message)))),
        host::Command::Host(codex_hosts::Command::Connect) | host::Command::Install(_) => {
            let failure = Failure {
                kind: FailureKind::BadConfig,
                phase: None,
                message,
                hint: None,
                stderr: None,
            };
            Some(Event::Host(id, HostEvent::StatusChanged(Status::Failed(failure))))
        }
        _ => None,
    }
}

/// Both clocks at one moment. Linux and macOS stop the monotonic one while the machine sleeps.
struct Clocks {
    wall: SystemTime,
    monotonic: Instant,
}

impl Clocks {
    fn read() -> Clocks {
        Clocks {
            wall: SystemTime::now(),
            monotonic: Instant::now(),
        }
    }

    /// Whether the wall clock ran ahead since the last look.
    fn jumped(&mut self) -> bool {
        let before = std::mem::replace(self, Clocks::read());
        let wall = self.wall.duration_since(before.wall).unwrap_or_default();
        limits::CLOCK_JUMP <= wall.saturating_sub(self.monotonic - before.monotonic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_host_too_many_is_told_and_commands_never_wait_for_whoever_takes_the_events() {
        let config = FleetConfig {
            names: Arc::new(Vec::new),
            ways: Arc::new(|_| {
                Ok(crate::Way::Ssh {
                    server: crate::Server::Auto,
                    transport: crate::Transport::Auto,
                })
            }),
            resolver: Arc::new(|_| Err(RouteError::Cycle(Vec::new()))),
            connector: Connector::new(codex_ssh::Local::default()),
            system: System::new(None, "codex".into(), crate::Asking::Nobody),
            client_info: v2::ClientInfo {
                name: "test".to_owned(),
                title: None,
                version: "0".to_owned(),
            },
            forward: Forward::None,
            policy: limits::POLICY,
        };
        let (fleet, mut events) = Fleet::start(config).unwrap();
        let count = limits::HOSTS_MAX + limits::EVENTS_MAX;
        for number in 0..count {
            let id = HostId(format!("h{number}"));
            fleet.send(Command::Host(id, codex_hosts::Command::Connect)).await;
        }
        let mut failed = 0;
        while failed < count {
            let event = events.recv().await.unwrap();
            if let Event::Host(_, HostEvent::StatusChanged(Status::Failed(_))) = event {
                failed += 1;
            }
        }
        fleet.shutdown().await;
    }

    #[test]
    fn a_wall_clock_that_ran_ahead_is_a_machine_that_slept() {
        let mut clocks = Clocks::read();
        assert!(!clocks.jumped());
        clocks.wall -= 2 * limits::CLOCK_JUMP;
        assert!(clocks.jumped());
        clocks.wall += Duration::from_secs(3600);
        assert!(!clocks.jumped(), "a clock that was set back is no sleep");
    }
}

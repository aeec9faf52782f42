//! `codex` and `codex connect`: the interface and the fleet, and the only file that knows both.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use codex_fleet as fleet;
use codex_fleet::{Fleet, FleetConfig, Forward};
use codex_hosts::HostId;
use codex_tui::{
    Outside, Start,
    effect::Effect,
    event::{Event, Installing},
    theme::{Environment, Theme},
};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    ConnectArgs, Directories, OpenArgs, SshArgs, demo, forward, home, install,
    machine::{Machine, THIS_MACHINE},
    report::{Code, Problem},
    settings::Settings,
    ssh::SshConfig,
    ways,
};

/// Events and effects on their way between the two sides; the real buffers are theirs.
const BRIDGE_MAX: usize = 256;

/// `codex connect`.
pub(crate) fn run(mut args: ConnectArgs) -> Result<Code, Problem> {
    on_a_runtime(async {
        let demo = demo::start(&mut args).await?;
        let outcome = connect(&args).await;
        if let Some(demo) = demo {
            demo.shutdown().await;
        }
        outcome
    })
}

async fn connect(args: &ConnectArgs) -> Result<(), Problem> {
    let mut hosts = args.hosts.clone();
    let forward = forward::parse_before_hosts(&args.forward, &mut hosts)?;
    ways::check_destinations(&hosts)?;
    let directories = Directories::parse(&args.cd, &hosts)?;
    open(&hosts, &directories, forward, &args.ssh).await
}

/// `codex`: this machine, or one server at an address.
pub(crate) fn run_one(args: &OpenArgs) -> Result<Code, Problem> {
    let hosts = match &args.remote {
        Some(address) => {
            ways::check_address(address)?;
            [address.clone()]
        }
        None => [THIS_MACHINE.to_owned()],
    };
    let mut directories = Directories::parse(&args.cd, &hosts)?;
    if directories.of(THIS_MACHINE).is_none() {
        directories.set(THIS_MACHINE, home::current_dir()?.display().to_string());
    }
    on_a_runtime(open(&hosts, &directories, Forward::None, &args.ssh))
}

fn on_a_runtime(what: impl Future<Output = Result<(), Problem>>) -> Result<Code, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("starting the runtime: {error}")))?;
    let outcome = runtime.block_on(what);
    runtime.shutdown_timeout(Duration::ZERO);
    outcome.map(|()| Code::Done)
}

fn failed(error: String) -> Problem {
    Problem::new(Code::TurnFailed, error)
}

async fn open(
    hosts: &[String],
    directories: &Directories,
    forward: Forward,
    args: &SshArgs,
) -> Result<(), Problem> {
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        let ssh = hosts.iter().filter(|it| *it != THIS_MACHINE);
        let named: String = ssh.map(|it| format!("--host {it} ")).collect();
        let hint = format!("`codex exec {named}PROMPT` runs one turn without it");
        return Err(Problem::usage("the interface needs a terminal").hint(hint));
    }
    let config = SshConfig::new(args);
    let settings = Settings::read();
    // What is wrong with the file is told with the hosts that stand in it.
    let (mut listed, problems) = config.hosts(settings.as_ref().unwrap_or(&Settings::default()))?;
    let (others, other_problems) = ways::other_hosts(settings);
    // Of two hosts with one name the settings of ours decide.
    listed.retain(|it| others.iter().all(|other| other.id != it.id));
    listed.extend(others);
    let mut cwd = BTreeMap::new();
    for host in hosts {
        if let Some(directory) = directories.of(host) {
            cwd.insert(HostId(host.clone()), ways::directory(host, directory)?);
        }
    }
    let problems = problems.iter().map(ToString::to_string);
    let start = Start {
        open_picker: hosts.is_empty(),
        connect: hosts.iter().cloned().map(HostId).collect(),
        cwd,
        problems: problems.chain(other_problems).collect(),
        offer: install::offer(),
        hosts: listed,
        ..environment()
    };
    let machine = Machine::default();
    let fleet_config = FleetConfig {
        forward,
        ..config.fleet("codex-connect", &machine)
    };
    let outcome = show(start, fleet_config).await;
    machine.shutdown();
    outcome
}

async fn show(start: Start, config: FleetConfig) -> Result<(), Problem> {
    let (fleet, fleet_events) = Fleet::start(config).map_err(|error| failed(error.to_string()))?;
    let (events, tui_events) = mpsc::channel(BRIDGE_MAX);
    let (effects, tui_effects) = mpsc::channel(BRIDGE_MAX);
    let outcome = tokio::select! {
        outcome = codex_tui::run(start, Outside { events: tui_events, effects }) => outcome,
        // They end with the interface, or with a fleet that is gone.
        () = carry_events(fleet_events, events.clone()) => return Err(failed("the connections ended".to_owned())),
        () = carry_effects(tui_effects, &fleet, events.clone()) => unreachable_outcome().await,
    };
    fleet.shutdown().await;
    outcome.map_err(|error| {
        let cause = std::error::Error::source(&error)
            .map(|it| format!(": {it}"))
            .unwrap_or_default();
        failed(format!("{error}{cause}")).hint("`codex connect` needs a terminal; see `codex exec`")
    })
}

/// What the interface has to know of the surroundings, read once.
fn environment() -> Start {
    let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|it| variable(it))
        .unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Start {
        hosts: Vec::new(),
        connect: Vec::new(),
        cwd: BTreeMap::new(),
        open_picker: true,
        problems: Vec::new(),
        offer: None,
        theme: Theme::from_environment(Environment {
            no_color: variable("NO_COLOR").is_some(),
            term: variable("TERM").as_deref(),
            utf8: locale.contains("utf-8") || locale.contains("utf8"),
        }),
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
        run_id: format!("{:x}-{:x}", since.as_nanos(), std::process::id()),
        editor: variable("VISUAL").or_else(|| variable("EDITOR")),
        in_tmux: variable("TMUX").is_some(),
    }
}

/// The interface closes its effects when it returns, and its return is what counts.
async fn unreachable_outcome() -> Result<(), codex_tui::RunError> {
    std::future::pending().await
}

async fn carry_events(mut from: mpsc::Receiver<fleet::Event>, to: mpsc::Sender<Event>) {
    while let Some(event) = from.recv().await {
        let event = match event {
            fleet::Event::Host(host, event) => Event::Host(host, event),
            fleet::Event::Notice(host, text) => Event::Notice(host, text),
            fleet::Event::Initialized(host, facts) => Event::Initialized(host, facts.initialize),
            fleet::Event::Notification(host, it) => Event::Notification(host, it),
            fleet::Event::Request(host, id, it) => Event::Request(host, id, it),
            fleet::Event::Answered(host, ticket, answer) => Event::Answered(host, ticket, answer),
            fleet::Event::Asked(host, id, question) => Event::Asked(host, id, question),
            fleet::Event::Install(host, event) => match installing(&event) {
                Some(event) => Event::Installing(host, event),
                None => continue,
            },
            fleet::Event::Forwards(host, forwards) => Event::Forwards(host, forwards),
            fleet::Event::Withdrawn(host, id) => Event::Withdrawn(host, id),
        };
        if to.send(event).await.is_err() {
            return;
        }
    }
}

fn installing(event: &fleet::InstallEvent) -> Option<Installing> {
    Some(match event {
        fleet::InstallEvent::Begun {
            resumed_at, total, ..
        } => Installing::Begun {
            there: *resumed_at,
            total: *total,
        },
        fleet::InstallEvent::Sent { sent, total } => Installing::Sent {
            sent: *sent,
            total: *total,
        },
        fleet::InstallEvent::Installed(_) => Installing::Installed,
        fleet::InstallEvent::Removed(_) => return None,
    })
}

/// The order to put this program on a host; an error is for the user to see.
async fn install_own() -> Result<fleet::Install, String> {
    let read = spawn_blocking(install::own_program).await;
    let program = read
        .map_err(|error| format!("reading this program failed: {error}"))?
        .map_err(|problem| problem.to_string())?;
    Ok(fleet::Install::Put {
        program: Arc::new(program),
        then_connect: true,
    })
}

async fn carry_effects(mut from: mpsc::Receiver<Effect>, fleet: &Fleet, events: mpsc::Sender<Event>) {
    while let Some(effect) = from.recv().await {
        let command = match effect {
            Effect::Install(host) => match install_own().await {
                Ok(order) => fleet::Command::Install(host, order),
                Err(text) => {
                    // The interface ends both ways at once.
                    _ = events.send(Event::Notice(host, text)).await;
                    continue;
                }
            },
            Effect::Host(host, command) => fleet::Command::Host(host, command),
            Effect::Call(host, ticket, request) => fleet::Command::Call(host, ticket, request),
            Effect::Reply(host, id, answer) => fleet::Command::Reply(host, id, answer),
            Effect::Refuse(host, id) => fleet::Command::Refuse(host, id),
            Effect::Answer(host, id, reply) => fleet::Command::Answer(host, id, reply),
            // These concern the terminal and never leave the interface.
            Effect::Edit(_)
            | Effect::Copy(_)
            | Effect::Bell
            | Effect::Redraw
            | Effect::Suspend
            | Effect::Quit => continue,
        };
        fleet.send(command).await;
    }
}

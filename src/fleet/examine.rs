//! Walks the way to a host as an attempt does, by the same functions, and tells every step with its time.
//!
//! Nothing is kept: at its end the connection is closed. What an attempt does not need to know (the clock, the
//! version of the server, the round trip) is asked on the same connection, after the server has been started or
//! has failed to.

mod commands;
mod environment;
mod probes;
mod steps;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use codex_hosts::{Attempt, Failure, FailureKind, HostId, Phase, Question, Reply, Report};
use codex_protocol::{Method, method, v2};
use codex_rpc::{self as rpc, Limits};
use codex_ssh::{ConnectError, ExecError, Process, Session};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    attempt::{FromAttempt, Reporter},
    kept::Kept,
    launch::Server,
    limits,
    names::suggest,
    question,
    reach::{Reached, bad, is_by_system, need_before, reach},
    run::FleetConfig,
    server::{ASTRAY, Started, ended, initialize, launch, no_handshake},
    ssh,
    standby::Standby,
    system::{self, Lender},
    transport::{Need, Transport},
    way::{NoWay, Way},
    witness::Witness,
};
use commands::{Commands, Ran};
use steps::Steps;

/// What an examination tells as it goes on.
pub enum Examined {
    Step(Step),
    /// Something for the user to see: a banner, a warning of the configuration. Not sanitized.
    Notice(String),
    /// The login asks. Dropping it is a refusal.
    Question(Question, Answering),
}

/// Takes the answer to a question.
pub struct Answering(oneshot::Sender<codex_ssh::Answer>);

impl Answering {
    pub fn answer(self, reply: Reply) {
        // The step that asked may have ended meanwhile.
        _ = self.0.send(question::answer(reply));
    }
}

/// One stage of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// A stable word: `config`, `dns`, `tcp`, `proxy`, `key-exchange`, `host-key`, `login`, `shell`, `initialize`,
    /// `account`, `exec`, `clock`, `codex`, `sandbox`, `round-trip`, `bandwidth`; for ways without SSH `connect`,
    /// `launch`; for the system's `ssh` before them `transport`.
    pub name: &'static str,
    /// The jump host it concerns, if it is not the host itself.
    pub hop: Option<String>,
    pub took: Duration,
    pub outcome: Outcome,
}

/// How a stage ended. No text is sanitized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was found.
    Fine(String),
    /// It works, and something is not as it should be.
    Poor { text: String, fix: String },
    /// It could not be looked at, and why.
    Skipped(String),
    /// The way ends here.
    Failed(Failure),
}

/// Where the steps of one examination go.
#[derive(Clone)]
struct Teller(mpsc::Sender<Examined>);

impl Teller {
    async fn tell(&self, it: Examined) {
        // Whoever does not listen any more gives the examination up by dropping it.
        _ = self.0.send(it).await;
    }

    async fn step(&self, name: &'static str, start: Instant, outcome: Outcome) {
        let took = start.elapsed();
        let step = Step {
            name,
            hop: None,
            took,
            outcome,
        };
        self.tell(Examined::Step(step)).await;
    }
}

/// Examines the way to a host. Every step but the questions is bounded; dropping the future closes everything.
pub async fn examine(id: &HostId, config: &FleetConfig, told: mpsc::Sender<Examined>) {
    let teller = Teller(told);
    let start = Instant::now();
    let (ways, name) = (Arc::clone(&config.ways), id.clone());
    let way = spawn_blocking(move || ways(&name)).await;
    let way = way
        .map_err(|error| bad(format!("reading the settings failed: {error}"), None))
        .and_then(|it| it.map_err(|NoWay { message, hint }| bad(message, hint)));
    match way {
        Ok(Way::Ssh { transport, .. }) if is_by_system(id, config, transport) => {
            by_system(id, config, "the settings of the host say so", &teller).await;
        }
        Ok(Way::Ssh { server, transport }) => by_ssh(id, config, transport, &server, &teller).await,
        Ok(_) => otherwise(id, config, &teller).await,
        Err(failure) => teller.step("config", start, Outcome::Failed(failure)).await,
    }
}

/// Does some of an attempt's work, and passes on what it says meanwhile.
async fn heard<T>(teller: &Teller, work: impl AsyncFnOnce(&Reporter) -> T) -> (T, Vec<(Phase, Instant)>) {
    let (reports, mut received) = mpsc::channel(limits::REPORTS_MAX);
    let reporter = Reporter::new(Attempt::default(), reports);
    let mut phases = Vec::new();
    let mut take = async |it: FromAttempt| match it {
        FromAttempt::Notice(text) => teller.tell(Examined::Notice(text)).await,
        FromAttempt::Question(question, answer) => {
            teller.tell(Examined::Question(question, Answering(answer))).await;
        }
        FromAttempt::Report(Report::Entered(phase)) => phases.push((phase, Instant::now())),
        _ => (),
    };
    let mut work = Box::pin(work(&reporter));
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            Some((_, it)) = received.recv() => take(it).await,
        }
    };
    while let Ok((_, it)) = received.try_recv() {
        take(it).await;
    }
    (outcome, phases)
}

/// By the system's `ssh`: of what it does there is to see what it says.
async fn by_system(id: &HostId, config: &FleetConfig, why: &str, teller: &Teller) {
    let start = Instant::now();
    let version = system::version().await;
    let text = format!(
        "the system's ssh ({}): {why}",
        version.unwrap_or_else(|| "not found".to_owned())
    );
    teller.step("transport", start, Outcome::Fine(text)).await;
    otherwise(id, config, teller).await;
}

async fn by_ssh(id: &HostId, config: &FleetConfig, transport: Transport, server: &Server, teller: &Teller) {
    let start = Instant::now();
    let resolving = heard(teller, async |reporter| {
        ssh::resolve(id, config, transport, reporter).await
    });
    let (route, _) = resolving.await;
    let route = match route {
        Ok(route) => route,
        Err(failure) => return teller.step("config", start, Outcome::Failed(failure)).await,
    };
    let text = format!("{} by this program's own SSH", steps::route(&route));
    teller.step("config", start, Outcome::Fine(text)).await;
    let start = Instant::now();
    if let Some(need) = need_before(&route).await {
        let offered = heard(teller, async |reporter| {
            system::offer(id, config, transport, (&need, &route), None, reporter).await
        });
        return match offered.await.0 {
            Ok(()) => by_system(id, config, "you agreed to it", teller).await,
            Err(failure) => teller.step("login", start, Outcome::Failed(failure)).await,
        };
    }
    let mut steps = Steps::new(&route);
    let lender = Lender {
        id,
        config,
        route: &route,
        transport,
    };
    let Some(connected) = connect(&lender, &mut steps, teller).await else {
        let spared = "a connection that `ssh` holds open spares it".to_owned();
        tell_end(steps, Outcome::Skipped(spared), teller).await;
        return by_system(id, config, "it holds a connection open", teller).await;
    };
    let error = match connected {
        Ok(session) => {
            for step in steps.end(Ok(&session)) {
                teller.tell(Examined::Step(step)).await;
            }
            return on_host(id, config, Arc::new(session), server, teller).await;
        }
        Err(error) => error,
    };
    steps.blame(error.kind());
    let failure = suggest(&config.names, &error, ssh::refused(&error, Phase::Connecting)).await;
    let Some(need) = Need::after(&error, &route) else {
        return tell_end(steps, Outcome::Failed(failure), teller).await;
    };
    let offered = heard(teller, async |reporter| {
        let failure = Some(failure.clone());
        system::offer(id, config, transport, (&need, &route), failure, reporter).await
    });
    match offered.await.0 {
        Ok(()) => {
            let poor = Outcome::Poor {
                text: failure.message,
                fix: "set `transport = \"system\"` for the host in hosts.toml".to_owned(),
            };
            tell_end(steps, poor, teller).await;
            by_system(id, config, "you agreed to it", teller).await;
        }
        Err(failure) => tell_end(steps, Outcome::Failed(failure), teller).await,
    }
}

/// Connects by our own SSH, and tells each stage; `None` when `lender` spares the login.
async fn connect(
    lender: &Lender<'_>,
    steps: &mut Steps,
    teller: &Teller,
) -> Option<Result<Session, ConnectError>> {
    let (events, mut happened) = mpsc::channel(limits::REPORTS_MAX);
    let mut connecting = Box::pin(lender.config.connector.connect(lender.route, events));
    let mut was_asked = false;
    let connected = loop {
        tokio::select! {
            connected = &mut connecting => break connected,
            Some(event) = happened.recv() => {
                if ssh::is_about_login(&event)
                    && !std::mem::replace(&mut was_asked, true)
                    && lender.lends().await
                {
                    return None;
                }
                for it in steps.take(event) {
                    teller.tell(it).await;
                }
            }
        }
    };
    drop(connecting);
    while let Ok(event) = happened.try_recv() {
        for it in steps.take(event) {
            teller.tell(it).await;
        }
    }
    Some(connected)
}

/// Tells the stages of our own SSH, of which the last one came to this.
async fn tell_end(steps: Steps, last: Outcome, teller: &Teller) {
    for step in steps.end(Err(last)) {
        teller.tell(Examined::Step(step)).await;
    }
}

/// What can be found out once commands can be run. The server comes first, as for every attempt, and nothing runs
/// beside it: there are hosts that allow one command at a time (`MaxSessions 1`).
async fn on_host(id: &HostId, config: &FleetConfig, session: Arc<Session>, server: &Server, teller: &Teller) {
    let start = Instant::now();
    let mut commands = Commands::new(Arc::clone(&session), None);
    let path = match launch(id, &session, server).await {
        Ok((process, started)) => {
            teller.step("shell", start, steps::shell(id, &started)).await;
            commands = Commands::new(Arc::clone(&session), started.detour.clone());
            Some(serve(config, process, started, teller).await)
        }
        Err(failure) => {
            let (name, failure, goes_on) = match failure.kind {
                FailureKind::NotInstalled => ("codex", failure, true),
                FailureKind::Forbidden => ("exec", failure, false),
                FailureKind::Unreachable => ("shell", failure, false),
                _ => no_server(id, failure, &mut commands).await,
            };
            teller.step(name, start, Outcome::Failed(failure)).await;
            if !goes_on {
                return;
            }
            None
        }
    };
    probes::exec(&mut commands, teller).await;
    environment::environment(&mut commands, teller).await;
    if let Some(path) = path
        && probes::version(&mut commands, &path, teller).await.is_ours()
    {
        probes::sandbox(&mut commands, &path, teller).await;
    }
    probes::round_trip(commands.session(), teller).await;
    probes::bandwidth(&mut commands, teller).await;
}

/// Which stage a launch that failed in the shell belongs to, how it failed, and whether there is more to see: another
/// command shows whether none can be run, or only the server.
async fn no_server(id: &HostId, failure: Failure, commands: &mut Commands) -> (&'static str, Failure, bool) {
    if failure.message == ASTRAY {
        return ("exec", failure, false);
    }
    match commands.run_briefly(":").await {
        Ok(Ran::Printed(_)) => ("shell", steps::no_server(id, failure, commands.detour()), true),
        Ok(Ran::Never(exit)) => ("exec", steps::no_command(id, failure, exit.as_ref()), false),
        // What hangs has the places of all others.
        Err(ExecError::ChannelRefused { .. }) => ("shell", failure, false),
        Err(_) => ("shell", failure, true),
    }
}

/// Talks to the server, and ends it. Returns its path.
async fn serve(config: &FleetConfig, process: Process, started: Started, teller: &Teller) -> String {
    let (exit, witness) = (process.exit(), Witness::Ssh(process.exit(), process.stderr()));
    let mut stream = Kept::new(process);
    let transport = rpc::jsonl_after(stream.clone(), started.rest, limits::LINE_BYTES_MAX);
    converse(config, Box::new(transport), &witness, &started.path, teller).await;
    // It ends with its input. One that does not is left to the end of the connection.
    _ = timeout(limits::LAST_WORDS_PATIENCE, async {
        _ = stream.shutdown().await;
        exit.wait().await
    })
    .await;
    started.path
}

/// The ways without SSH: their phases are all there is to see before the handshake.
async fn otherwise(id: &HostId, config: &FleetConfig, teller: &Teller) {
    let start = Instant::now();
    let (reached, phases) = heard(teller, async |reporter| {
        reach(id, config, None, None, &Standby::default(), reporter).await
    })
    .await;
    let name = |phase: Option<&(Phase, Instant)>| match phase {
        Some((Phase::Launching, _)) => "launch",
        Some(_) => "connect",
        None => "config",
    };
    match reached {
        Ok(Reached {
            transport,
            witness,
            program,
            held,
            system,
            did,
            ..
        }) => {
            let text = format!("{program} {system}").trim_end().to_owned();
            // No command waits there to see whether it is run.
            let outcome = steps::remarked(id, text, &did.noise, did.detour.as_ref(), None);
            teller.step(name(phases.last()), start, outcome).await;
            converse(config, transport, &witness, &program, teller).await;
            drop(held);
        }
        Err(failure) => {
            let start = phases.last().map_or(start, |(_, at)| *at);
            teller
                .step(name(phases.last()), start, Outcome::Failed(failure))
                .await;
        }
    }
}

/// The handshake, and who is logged in.
async fn converse(
    config: &FleetConfig,
    transport: Box<dyn rpc::Transport>,
    witness: &Witness,
    program: &str,
    teller: &Teller,
) {
    let start = Instant::now();
    let peer_limits = Limits {
        outstanding_max: limits::CALLS_MAX,
    };
    let (client, mut events, driver) = rpc::client(transport, peer_limits, CancellationToken::new());
    let mut driver = std::pin::pin!(driver);
    let initialized = tokio::select! {
        end = &mut driver => Err(ended(end, witness, Some(Phase::Initializing), program).await),
        answer = initialize(&client, &config.client_info) => {
            answer.map_err(|error| no_handshake(&error, &mut events, witness, program))
        }
    };
    let facts = match initialized {
        Ok(facts) => facts,
        Err(failure) => return teller.step("initialize", start, Outcome::Failed(failure)).await,
    };
    let text = match facts.user_agent.is_empty() {
        true => "answered in a shape of its own".to_owned(),
        false => format!("{}, CODEX_HOME {}", facts.user_agent, facts.codex_home),
    };
    teller.step("initialize", start, Outcome::Fine(text)).await;
    let start = Instant::now();
    let outcome = tokio::select! {
        end = &mut driver => Outcome::Failed(ended(end, witness, None, program).await),
        outcome = account(&client) => outcome,
    };
    teller.step("account", start, outcome).await;
}

async fn account(client: &rpc::Client) -> Outcome {
    type Call = method::AccountRead;
    let params = serde_json::value::to_raw_value(&v2::AccountReadParams {}).ok();
    let answer = client
        .call(Call::NAME, params, Some(limits::INITIALIZE_PATIENCE))
        .await;
    let read = match answer {
        Ok(it) => serde_json::from_str::<<Call as Method>::Answer>(it.get()).ok(),
        Err(error) => {
            return Outcome::Poor {
                text: format!("the server does not say who is logged in: {error}"),
                fix: "update codex on the host".to_owned(),
            };
        }
    };
    match read {
        Some(it) if it.requires_openai_auth && it.account.is_none() => Outcome::Poor {
            text: "nobody is logged in to Codex there: its model cannot be asked".to_owned(),
            fix: "run `codex login` on the host".to_owned(),
        },
        Some(it) => {
            let kind = it
                .account
                .as_ref()
                .and_then(|it| it["type"].as_str().map(str::to_owned));
            Outcome::Fine(match kind {
                Some(kind) => format!("logged in with {kind}"),
                None => "the configured provider needs no login".to_owned(),
            })
        }
        None => Outcome::Fine("the server answered in a shape of its own".to_owned()),
    }
}

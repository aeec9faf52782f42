//! One attempt: from a name to a conversation, and on until it ends.

use std::sync::Arc;

use codex_hosts::{Attempt, Failure, FailureKind, HostId, Phase, Question, Report};
use codex_protocol::{Method, method, v2};
use codex_rpc::{self as rpc, Limits};
use codex_ssh::{
    Class, ConnectError, Event as SshEvent, Route, RouteError, Session, Stage,
    config::{Problem, Query, Severity},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use crate::{
    kept::Kept,
    launch::Found,
    limits,
    link::Link,
    question,
    run::{FleetConfig, HostFacts},
    server::{chain, ended, initialize, launch, no_handshake},
};

/// What an attempt tells its host.
pub(crate) enum FromAttempt {
    Report(Report),
    Notice(String),
    Question(Question, oneshot::Sender<codex_ssh::Answer>),
    /// The conversation stands; [`Report::Ready`] follows.
    Up(Box<Link>, Box<HostFacts>),
}

/// Goes through the phases, reports each, and at the end why it ended.
pub(crate) async fn run(
    id: HostId,
    config: Arc<FleetConfig>,
    attempt: Attempt,
    reports: mpsc::Sender<(Attempt, FromAttempt)>,
) {
    let reporter = Reporter { attempt, reports };
    let Err(failure) = life(&id, &config, &reporter).await;
    reporter.report(Report::Lost(failure)).await;
}

/// Asks the peer whether it is there; silence is left to the connection's own limit.
pub(crate) async fn probe(
    session: Arc<Session>,
    attempt: Attempt,
    reports: mpsc::Sender<(Attempt, FromAttempt)>,
) {
    let reporter = Reporter { attempt, reports };
    if session.ping(limits::POLICY.probe_patience).await.is_ok() {
        reporter.report(Report::Alive).await;
    }
}

struct Reporter {
    attempt: Attempt,
    reports: mpsc::Sender<(Attempt, FromAttempt)>,
}

impl Reporter {
    async fn send(&self, it: FromAttempt) {
        // The host aborts its attempts before it ends.
        _ = self.reports.send((self.attempt, it)).await;
    }

    async fn report(&self, report: Report) {
        self.send(FromAttempt::Report(report)).await;
    }
}

/// Never succeeds for good: a connection that was up ends some day.
async fn life(
    id: &HostId,
    config: &FleetConfig,
    reporter: &Reporter,
) -> Result<std::convert::Infallible, Failure> {
    let route = resolve(id, config, reporter).await?;
    let session = Arc::new(connect(config, &route, reporter).await?);
    reporter.report(Report::Entered(Phase::Launching)).await;
    let (process, found, path, rest) = launch(id, &session).await?;
    reporter.report(Report::Entered(Phase::Initializing)).await;
    let (exit, stderr) = (process.exit(), process.stderr());
    let process = Kept::new(process);
    let transport = rpc::jsonl_after(process.clone(), rest, limits::LINE_BYTES_MAX);
    let peer_limits = Limits {
        outstanding_max: limits::CALLS_MAX,
    };
    let (client, mut events, driver) = rpc::client(transport, peer_limits, CancellationToken::new());
    let mut driver = std::pin::pin!(driver);
    let initialize = initialize(&client, &config.client_info);
    let initialized = tokio::select! {
        end = &mut driver => {
            let failure = ended(end, &exit, &stderr, Some(Phase::Initializing), &path).await;
            drop(process);
            return Err(failure);
        }
        answer = initialize => answer,
    };
    let initialize = match initialized {
        Ok(answer) => answer,
        Err(error) => return Err(no_handshake(&error, &mut events, &stderr, &path)),
    };
    let Found { system, home, .. } = found;
    let facts = HostFacts {
        initialize,
        system,
        home: home.clone(),
        codex: path.clone(),
    };
    let link = Link {
        client: client.clone(),
        events,
        session: Arc::downgrade(&session),
        home,
    };
    reporter
        .send(FromAttempt::Up(Box::new(link), Box::new(facts)))
        .await;
    reporter.report(Report::Ready).await;
    let mut login = std::pin::pin!(check_login(id, client, reporter));
    let mut is_checked = false;
    let end = loop {
        tokio::select! {
            end = &mut driver => break end,
            () = &mut login, if !is_checked => is_checked = true,
        }
    };
    let failure = ended(end, &exit, &stderr, None, &path).await;
    drop(process);
    Err(failure)
}

/// Tells the user when the server cannot ask its model because nobody is logged in there: the first turn
/// would fail, with less to say about why.
async fn check_login(id: &HostId, client: rpc::Client, reporter: &Reporter) {
    type Call = method::AccountRead;
    let Ok(params) = serde_json::value::to_raw_value(&v2::AccountReadParams {}) else {
        return;
    };
    let answer = client
        .call(Call::NAME, Some(params), Some(limits::CALL_PATIENCE))
        .await;
    drop(client);
    // A server that does not know the method, or answers in another shape, says nothing about a login.
    let Some(read) = answer
        .ok()
        .and_then(|it| serde_json::from_str::<<Call as Method>::Answer>(it.get()).ok())
    else {
        return;
    };
    if read.requires_openai_auth && read.account.is_none() {
        let text = format!("nobody is logged in to Codex on {id}: run `codex login` there");
        reporter.send(FromAttempt::Notice(text)).await;
    }
}

async fn resolve(id: &HostId, config: &FleetConfig, reporter: &Reporter) -> Result<Route, Failure> {
    let bad = |message: String, hint: Option<String>| Failure {
        kind: FailureKind::BadConfig,
        phase: Some(Phase::Resolving),
        message,
        hint,
        stderr: None,
    };
    let query = Query::parse(&id.0).map_err(|error| bad(error.to_string(), None))?;
    let resolver = Arc::clone(&config.resolver);
    let resolved = spawn_blocking(move || resolver(&query)).await;
    let (route, problems) = resolved
        .map_err(|error| bad(format!("reading the configuration failed: {error}"), None))?
        .map_err(|error| {
            let hint = match &error {
                RouteError::Config { source, .. } => Some(source.hint()),
                _ => None,
            };
            bad(error.to_string(), hint)
        })?;
    let matters = |it: &&Problem| it.in_effect && it.severity != Severity::Note;
    for problem in problems.iter().filter(matters) {
        reporter.send(FromAttempt::Notice(problem.to_string())).await;
    }
    if let Some(longest) = route.hops.iter().filter_map(|it| it.connect_timeout).max() {
        let longest = longest.saturating_add(limits::PHASE_MARGIN);
        reporter.report(Report::Allowed(longest)).await;
    }
    Ok(route)
}

async fn connect(config: &FleetConfig, route: &Route, reporter: &Reporter) -> Result<Session, Failure> {
    let (events, mut told) = mpsc::channel(limits::REPORTS_MAX);
    let mut connecting = std::pin::pin!(config.connector.connect(route, events));
    let mut phase = Phase::Resolving;
    loop {
        tokio::select! {
            session = &mut connecting => {
                let session = session.map_err(|error| refused(&error, phase));
                while let Ok(event) = told.try_recv() {
                    translate(event, route, reporter, &mut phase).await;
                }
                return session;
            }
            Some(event) = told.recv() => translate(event, route, reporter, &mut phase).await,
        }
    }
}

async fn translate(event: SshEvent, route: &Route, reporter: &Reporter, phase: &mut Phase) {
    match event {
        SshEvent::Stage { stage, .. } => {
            *phase = match stage {
                Stage::Resolving => Phase::Resolving,
                Stage::Connecting { .. } | Stage::Proxy | Stage::Handshake | Stage::HostKey => {
                    Phase::Connecting
                }
                Stage::Authenticating { .. } | Stage::Authenticated => Phase::Authenticating,
            };
            reporter.report(Report::Entered(*phase)).await;
        }
        SshEvent::Notice { text, .. } => reporter.send(FromAttempt::Notice(text)).await,
        SshEvent::Question {
            hop,
            question,
            answer,
        } => {
            let question = question::question(question, hop + 1 < route.hops.len());
            reporter.send(FromAttempt::Question(question, answer)).await;
        }
    }
}

fn refused(error: &ConnectError, phase: Phase) -> Failure {
    let kind = match error.class() {
        Class::Config => FailureKind::BadConfig,
        Class::Resolve | Class::Unreachable => FailureKind::Unreachable,
        Class::TimedOut => FailureKind::TimedOut,
        Class::Protocol => FailureKind::Protocol,
        Class::HostKeyUnknown => FailureKind::HostKeyUnknown,
        Class::HostKeyChanged => FailureKind::HostKeyChanged,
        Class::HostKeyRevoked => FailureKind::HostKeyRevoked,
        Class::Unauthorized => FailureKind::Unauthorized,
        Class::Cancelled => FailureKind::Cancelled,
        Class::Refused => FailureKind::Forbidden,
    };
    let message = chain(error);
    Failure {
        kind,
        phase: Some(phase),
        message,
        hint: error.hint(),
        stderr: None,
    }
}

//! One attempt: from a name to a conversation, and on until it ends.

use std::sync::Arc;

use bytes::BytesMut;
use codex_hosts::{Attempt, Failure, FailureKind, HostId, Phase, Question, Report};
use codex_protocol::{Method, method, v2};
use codex_rpc::{self as rpc, End, Limits};
use codex_ssh::{
    Class, ConnectError, Event as SshEvent, Exit, ExitWatch, Process, Route, RouteError, Session, Stage,
    Stderr,
    config::{Problem, Query, Severity},
};
use tokio::{
    io::AsyncReadExt,
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    launch::{self, Found, Outcome},
    limits,
    link::Link,
    question,
    run::{FleetConfig, HostFacts},
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
    let transport = rpc::jsonl_after(process, rest, limits::LINE_BYTES_MAX);
    let peer_limits = Limits {
        outstanding_max: limits::CALLS_MAX,
    };
    let (client, mut events, driver) = rpc::client(transport, peer_limits, CancellationToken::new());
    let mut driver = std::pin::pin!(driver);
    let initialize = initialize(&client, &config.client_info);
    let initialized = tokio::select! {
        end = &mut driver => return Err(ended(end, &exit, &stderr, Some(Phase::Initializing), &path).await),
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
    Err(ended(end, &exit, &stderr, None, &path).await)
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

/// An error with all its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Starts the server: the process, what the host said of itself, the server's path, and what was read
/// beyond the mark.
async fn launch(id: &HostId, session: &Session) -> Result<(Process, Found, String, BytesMut), Failure> {
    let failure = |kind, message: String, hint: Option<String>, stderr: Option<String>| Failure {
        kind,
        phase: Some(Phase::Launching),
        message,
        hint,
        stderr,
    };
    let nonce: String = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
    let mut process = session
        .exec(&launch::command_line(&nonce))
        .await
        .map_err(|error| {
            failure(
                FailureKind::Forbidden,
                format!("starting a command: {}", chain(&error)),
                None,
                None,
            )
        })?;
    let (stderr, exit) = (process.stderr(), process.exit());
    let mut printed = BytesMut::new();
    let marked = timeout(limits::LAUNCH_PATIENCE, async {
        loop {
            if let Some(found) = launch::take_mark(&nonce, &mut printed) {
                return Some(found);
            }
            let is_full = launch::NOISE_BYTES_MAX < printed.len();
            if is_full || !matches!(process.read_buf(&mut printed).await, Ok(1..)) {
                return None;
            }
        }
    });
    let hint = || Some(format!("look at what `ssh {id} true` prints and whether it ends"));
    let (found, _noise) = match marked.await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let how = match timeout(limits::LAST_WORDS_PATIENCE, exit.wait()).await {
                Ok(Exit::Lost(closed)) => {
                    return Err(failure(FailureKind::Unreachable, closed.to_string(), None, None));
                }
                Ok(exit) => exit.to_string(),
                Err(_) => format!("printed over {} bytes", launch::NOISE_BYTES_MAX),
            };
            let message = format!("the login shell did not start codex: {how}");
            return Err(failure(
                FailureKind::LaunchFailed,
                message,
                hint(),
                said(&printed, &stderr),
            ));
        }
        Err(_) => {
            let waited = limits::LAUNCH_PATIENCE;
            let message = format!("the login shell did not start codex within {waited:?}");
            return Err(failure(
                FailureKind::LaunchFailed,
                message,
                hint(),
                said(&printed, &stderr),
            ));
        }
    };
    match &found.outcome {
        Outcome::Codex { path } => {
            let path = path.clone();
            Ok((process, found, path, printed))
        }
        Outcome::Missing { searched, asked } => {
            let silent = if *asked {
                String::new()
            } else {
                let seconds = launch::SHELL_PATIENCE_S;
                format!("; the login shell did not tell its own PATH within {seconds} s")
            };
            let message = format!(
                "there is no codex on {id}: looked in the login shell's PATH ({searched}) and in the usual folders{silent}"
            );
            let hint =
                "install it there, e.g. with `npm install -g @openai/codex@0.169.0`, and connect again";
            Err(failure(
                FailureKind::NotInstalled,
                message,
                Some(hint.to_owned()),
                None,
            ))
        }
    }
}

/// What the remote printed, for a failure: its noise on stdout and its stderr.
fn said(printed: &[u8], stderr: &Stderr) -> Option<String> {
    let printed = String::from_utf8_lossy(printed);
    let text = format!("{}\n{}", printed.trim(), stderr.tail(limits::STDERR_LINES));
    Some(text.trim().to_owned()).filter(|it| !it.is_empty())
}

async fn initialize(
    client: &rpc::Client,
    client_info: &v2::ClientInfo,
) -> Result<v2::InitializeResponse, rpc::CallError> {
    let capabilities = v2::InitializeCapabilities {
        experimental_api: false,
        // Of no use here, and not small: the whole diff of a turn comes with each patch.
        opt_out_notification_methods: [
            "turn/diff/updated",
            "account/rateLimits/updated",
            "skills/changed",
        ]
        .map(str::to_owned)
        .to_vec(),
    };
    let params = v2::InitializeParams {
        client_info: client_info.clone(),
        capabilities: Some(capabilities),
    };
    let name = method::Initialize::NAME;
    let params = serde_json::value::to_raw_value(&params).ok();
    let answer = client
        .call(name, params, Some(limits::INITIALIZE_PATIENCE))
        .await?;
    client.notify("initialized", None).await;
    // A server that answers in another shape is still a server: nothing in the answer is needed.
    let unknown = || v2::InitializeResponse {
        user_agent: String::new(),
        codex_home: String::new(),
        platform_family: String::new(),
        platform_os: String::new(),
    };
    Ok(serde_json::from_str(answer.get()).unwrap_or_else(|_| unknown()))
}

/// The server is there and does not speak the protocol.
fn no_handshake(
    error: &rpc::CallError,
    events: &mut mpsc::Receiver<rpc::Event>,
    stderr: &Stderr,
    path: &str,
) -> Failure {
    let mut garbage = None;
    while let Ok(event) = events.try_recv() {
        if let rpc::Event::Malformed(why) = event {
            garbage.get_or_insert(why);
        }
    }
    let message = match garbage {
        Some(garbage) => format!("{path} does not speak the app-server protocol: {garbage}"),
        None => format!("{path} refused the handshake: {error}"),
    };
    let kind = match error {
        rpc::CallError::Closed { .. } => FailureKind::Unreachable,
        rpc::CallError::Refused(_)
        | rpc::CallError::TimedOut { .. }
        | rpc::CallError::TooLong { .. }
        | rpc::CallError::Busy(_) => FailureKind::Incompatible,
    };
    let hint = Some(format!(
        "run `{path} --version` on the host; 0.169.0 is known to work"
    ));
    Failure {
        kind,
        phase: Some(Phase::Initializing),
        message,
        hint,
        stderr: said(&[], stderr),
    }
}

/// Why the conversation ended.
async fn ended(end: End, exit: &ExitWatch, stderr: &Stderr, phase: Option<Phase>, path: &str) -> Failure {
    // The end of the stream comes before the reason for it.
    let exit = timeout(limits::LAST_WORDS_PATIENCE, exit.wait())
        .await
        .unwrap_or(Exit::Unknown);
    let (kind, message) = match (exit, end) {
        (Exit::Lost(closed), _) => (FailureKind::Unreachable, closed.to_string()),
        (Exit::Unknown, End::Broken(error)) => (FailureKind::Unreachable, chain(&error)),
        (exit, _) => {
            let kind = if phase.is_some() {
                FailureKind::LaunchFailed
            } else {
                FailureKind::ServerExited
            };
            (kind, format!("{path} app-server ended: {exit}"))
        }
    };
    let hint = (kind == FailureKind::LaunchFailed)
        .then(|| format!("run `{path} app-server` on the host and see what it says"));
    let stderr = if kind == FailureKind::Unreachable {
        None
    } else {
        said(&[], stderr)
    };
    Failure {
        kind,
        phase,
        message,
        hint,
        stderr,
    }
}

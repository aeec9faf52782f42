//! To a host of SSH: the route, the session, and what they ask and say.

use std::sync::Arc;

use codex_hosts::{Failure, FailureKind, HostId, Met, Phase, Report, Search};
use codex_ssh::{
    Class, ConnectError, Event as SshEvent, Question as SshQuestion, Route, Session, Stage,
    config::{Problem, Query, Severity},
};
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    attempt::{FromAttempt, Reporter},
    limits,
    names::suggest,
    question,
    run::FleetConfig,
    server::chain,
    system::Lender,
    transport::{Need, Transport},
};

/// Why our own SSH did not get through.
pub(crate) struct Refused {
    pub(crate) failure: Failure,
    /// What the system's `ssh` might have.
    pub(crate) need: Option<Need>,
}

/// Finds the way, with what another transport could do left to it.
pub(crate) async fn resolve(
    id: &HostId,
    config: &FleetConfig,
    transport: Transport,
    reporter: &Reporter,
) -> Result<Route, Failure> {
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
    let (mut route, problems) = resolved
        .map_err(|error| bad(format!("reading the configuration failed: {error}"), None))?
        .map_err(|error| bad(error.to_string(), Some(error.hint())))?;
    for hop in &mut route.hops {
        hop.host_keys.leave_beyond = transport != Transport::Builtin;
    }
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

/// What a session tells and asks after its login: `UpdateHostKeys`.
pub(crate) struct Told {
    told: mpsc::Receiver<SshEvent>,
    /// A session speaks only while somebody could answer.
    _speaker: mpsc::Sender<SshEvent>,
}

impl Told {
    /// For a session that nobody has listened to for a while: what it has to say, it has said.
    pub(crate) fn nothing() -> Told {
        let (_speaker, told) = mpsc::channel(1);
        Told { told, _speaker }
    }

    /// Passes it on, without an end.
    pub(crate) async fn pass_on(&mut self, route: &Route, reporter: &Reporter) {
        while let Some(event) = self.told.recv().await {
            // Where the host stands is known by now.
            if !matches!(event, SshEvent::Stage { .. }) {
                translate(event, route, reporter, &mut Phase::Authenticating).await;
            }
        }
    }
}

/// Connects by our own SSH. `lender` is asked before the first question about a login comes to the user, and before a
/// refused one is told: where there is a connection that needs no login, the result is `None`.
pub(crate) async fn connect(
    lender: &Lender<'_>,
    search: Option<Search>,
    reporter: &Reporter,
) -> Result<Option<(Session, Told)>, Refused> {
    let Lender { config, route, .. } = *lender;
    let (events, mut told) = mpsc::channel(limits::REPORTS_MAX);
    let _speaker = events.clone();
    let mut connecting = std::pin::pin!(async {
        match search {
            Some(search) => config.connector.search(route, events, limits_of(search)).await,
            None => config.connector.connect(route, events).await,
        }
    });
    let mut phase = Phase::Resolving;
    let mut was_asked = false;
    loop {
        tokio::select! {
            session = &mut connecting => {
                if let Some(met) = session.as_ref().err().and_then(met) {
                    reporter.report(Report::Met(met)).await;
                }
                let session = match session {
                    Ok(session) => Ok(session),
                    Err(error) => Err(Refused {
                        failure: suggest(&config.names, &error, refused(&error, phase)).await,
                        need: Need::after(&error, route),
                    }),
                };
                let is_refused = |it: &Refused| it.failure.kind == FailureKind::Unauthorized;
                if !was_asked && session.as_ref().err().is_some_and(is_refused) && lender.lends().await {
                    return Ok(None);
                }
                while let Ok(event) = told.try_recv() {
                    translate(event, route, reporter, &mut phase).await;
                }
                return Ok(Some((session?, Told { told, _speaker })));
            }
            Some(event) = told.recv() => {
                if is_about_login(&event) && !std::mem::replace(&mut was_asked, true) && lender.lends().await {
                    return Ok(None);
                }
                translate(event, route, reporter, &mut phase).await;
            }
        }
    }
}

/// Whether the user is asked for a secret. Whether a host is the right one is never left to another connection.
pub(crate) fn is_about_login(event: &SshEvent) -> bool {
    let SshEvent::Question { question, .. } = event else {
        return false;
    };
    matches!(
        question,
        SshQuestion::Passphrase { .. }
            | SshQuestion::Password { .. }
            | SshQuestion::KeyboardInteractive { .. }
    )
}

/// Waits until the first server on the way to a host that is looked for is there.
pub(crate) async fn find(
    config: &FleetConfig,
    route: &Route,
    search: Search,
    reporter: &Reporter,
) -> Result<(), Failure> {
    let (events, mut told) = mpsc::channel(limits::REPORTS_MAX);
    let mut finding = std::pin::pin!(config.connector.find(route, events, limits_of(search)));
    let mut phase = Phase::Resolving;
    loop {
        tokio::select! {
            found = &mut finding => {
                let Err(error) = found else { return Ok(()) };
                if let Some(met) = met(&error) {
                    reporter.report(Report::Met(met)).await;
                }
                return Err(refused(&error, phase));
            }
            Some(event) = told.recv() => translate(event, route, reporter, &mut phase).await,
        }
    }
}

fn limits_of(search: Search) -> codex_ssh::Search {
    let Search {
        silence,
        program,
        unread,
    } = search;
    codex_ssh::Search {
        silence,
        program,
        unread,
    }
}

/// Who has sent an attempt away; `None`: nobody was there.
fn met(error: &ConnectError) -> Option<Met> {
    match (error.is_program(), error.is_silence()) {
        (true, _) => Some(Met::Program),
        (false, true) => None,
        (false, false) => Some(Met::Server),
    }
}

/// One more connection to a host that is connected: it changes nothing about where the host stands.
pub(crate) async fn connect_beside(
    config: &FleetConfig,
    route: &Route,
    reporter: &Reporter,
) -> Result<Session, Failure> {
    let (events, mut told) = mpsc::channel(limits::REPORTS_MAX);
    let mut connecting = std::pin::pin!(config.connector.connect(route, events));
    let mut phase = Phase::Resolving;
    loop {
        tokio::select! {
            session = &mut connecting => return session.map_err(|error| refused(&error, phase)),
            Some(event) = told.recv() => match event {
                SshEvent::Stage { stage, .. } => phase = phase_of(&stage),
                event => translate(event, route, reporter, &mut phase).await,
            },
        }
    }
}

fn phase_of(stage: &Stage) -> Phase {
    match stage {
        Stage::Resolving => Phase::Resolving,
        Stage::Connecting { .. } | Stage::Proxy | Stage::Handshake | Stage::HostKey => Phase::Connecting,
        Stage::Authenticating { .. } | Stage::Authenticated => Phase::Authenticating,
    }
}

async fn translate(event: SshEvent, route: &Route, reporter: &Reporter, phase: &mut Phase) {
    match event {
        SshEvent::Stage { stage, .. } => {
            *phase = phase_of(&stage);
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

pub(crate) fn refused(error: &ConnectError, phase: Phase) -> Failure {
    // A question that nobody answers is the login's, also one about the host's key.
    let phase = match error.kind() {
        codex_ssh::Failure::Impatient { .. } => Phase::Authenticating,
        _ => phase,
    };
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

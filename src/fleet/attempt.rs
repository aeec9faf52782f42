//! One attempt: from a name to a conversation, and on until it ends.

use std::{
    future::pending,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    time::Duration,
};

use codex_hosts::{Attempt, Failure, Forwarded, HostId, Phase, Question, Report, Search};
use codex_protocol::{Method, method, v2};
use codex_rpc::{self as rpc, Limits};
use codex_ssh::{Route, Session};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    forward::{self, Forward},
    heartbeat,
    install::{Install, InstallEvent},
    kept::Heard,
    limits,
    link::{Link, Pulse},
    reach::{OverSsh, Reached, reach},
    run::{FleetConfig, HostFacts},
    server::{ended, initialize, no_handshake},
    ssh::Told,
    standby::Standby,
};

/// What an attempt tells its host.
pub(crate) enum FromAttempt {
    Report(Report),
    Notice(String),
    Question(Question, oneshot::Sender<codex_ssh::Answer>),
    Install(InstallEvent),
    /// All that there are, each time one of them changes; none when their connection ended.
    Forwards(Vec<Forwarded>),
    /// The conversation stands; [`Report::Ready`] follows.
    Up(Box<Link>, Box<HostFacts>),
}

/// Goes through the phases, reports each, and at the end why it ended.
pub(crate) async fn run(
    id: HostId,
    config: Arc<FleetConfig>,
    attempt: Attempt,
    search: Option<Search>,
    (install, standby): (Option<Install>, Standby),
    reports: mpsc::Sender<(Attempt, FromAttempt)>,
) {
    let reporter = Reporter { attempt, reports };
    let Err(failure) = life(&id, &config, search, (install.as_ref(), &standby), &reporter).await;
    reporter.report(Report::Lost(failure)).await;
}

/// Asks the peer whether it is there; silence is left to the connection's own limit.
pub(crate) async fn probe(
    pulse: Pulse,
    client: rpc::Client,
    patience: Duration,
    attempt: Attempt,
    reports: mpsc::Sender<(Attempt, FromAttempt)>,
) {
    let is_alive = match pulse {
        Pulse::Session(session) => match session.upgrade() {
            Some(session) => session.ping(patience).await.is_ok(),
            None => false,
        },
        // Any answer is one, and this question costs a server nothing.
        Pulse::Call => {
            type Call = method::AccountRead;
            let params = serde_json::value::to_raw_value(&v2::AccountReadParams {}).ok();
            let answer = client.call(Call::NAME, params, Some(patience)).await;
            matches!(answer, Ok(_) | Err(rpc::CallError::Refused(_)))
        }
        Pulse::Here => true,
    };
    if is_alive {
        Reporter { attempt, reports }.report(Report::Alive).await;
    }
}

pub(crate) struct Reporter {
    attempt: Attempt,
    reports: mpsc::Sender<(Attempt, FromAttempt)>,
}

impl Reporter {
    pub(crate) fn new(attempt: Attempt, reports: mpsc::Sender<(Attempt, FromAttempt)>) -> Reporter {
        Reporter { attempt, reports }
    }

    pub(crate) async fn send(&self, it: FromAttempt) {
        // The host aborts its attempts before it ends.
        _ = self.reports.send((self.attempt, it)).await;
    }

    pub(crate) async fn report(&self, report: Report) {
        self.send(FromAttempt::Report(report)).await;
    }
}

/// Never succeeds for good: a connection that was up ends some day.
async fn life(
    id: &HostId,
    config: &FleetConfig,
    search: Option<Search>,
    (install, standby): (Option<&Install>, &Standby),
    reporter: &Reporter,
) -> Result<std::convert::Infallible, Failure> {
    let Reached {
        transport,
        witness,
        pulse,
        system,
        home,
        program,
        held,
        ssh,
        heard,
        did: _,
    } = reach(id, config, search, install, standby, reporter).await?;
    reporter.report(Report::Entered(Phase::Initializing)).await;
    let peer_limits = Limits {
        outstanding_max: limits::CALLS_MAX,
    };
    let (client, mut events, driver) = rpc::client(transport, peer_limits, CancellationToken::new());
    let mut driver = pin!(driver);
    let initialize = initialize(&client, &config.client_info);
    let initialized = tokio::select! {
        end = &mut driver => {
            let failure = ended(end, &witness, Some(Phase::Initializing), &program).await;
            drop(held);
            return Err(failure);
        }
        answer = initialize => answer,
    };
    let initialize = initialized.map_err(|error| no_handshake(&error, &mut events, &witness, &program))?;
    let home = home.unwrap_or_else(|| home_of(&initialize));
    let facts = HostFacts {
        initialize,
        system,
        home: home.clone(),
        codex: program.clone(),
    };
    let is_here = matches!(pulse, Pulse::Here);
    let link = Link {
        client: client.clone(),
        events,
        pulse,
        home,
    };
    reporter
        .send(FromAttempt::Up(Box::new(link), Box::new(facts)))
        .await;
    let over_ssh = ssh
        .as_ref()
        .map(|it| (it.route.clone(), Weak::clone(&it.session)));
    let standing = Standing {
        id,
        config,
        reporter,
        client,
        is_here,
        ssh,
        heard,
    };
    let (end, phase) = standing.until(driver).await?;
    let failure = ended(end, &witness, phase, &program).await;
    if let Some((route, session)) = over_ssh
        && let Some(session) = session.upgrade()
    {
        standby.keep_after(&failure, &route, session);
    }
    drop(held);
    Err(failure)
}

/// A conversation that stands, and what goes on beside it.
struct Standing<'a> {
    id: &'a HostId,
    config: &'a FleetConfig,
    reporter: &'a Reporter,
    client: rpc::Client,
    is_here: bool,
    ssh: Option<OverSsh>,
    heard: Option<Heard>,
}

impl Standing<'_> {
    /// Lets the host be ready once its forwardings are open, and waits for the end: in which phase it came, or what
    /// else has to end the connection.
    async fn until(
        self,
        mut driver: Pin<&mut impl Future<Output = rpc::End>>,
    ) -> Result<(rpc::End, Option<Phase>), Failure> {
        let Standing {
            id, config, reporter, ..
        } = self;
        let (there, told) = match self.ssh {
            Some(OverSsh { route, session, told }) => (Some((route, session)), Some(told)),
            None => (None, None),
        };
        let settled = Notify::new();
        let mut forwards = pin!(forwarding(id, config, there.as_ref(), reporter, &settled));
        tokio::select! {
            failure = &mut forwards => return Err(failure),
            () = settled.notified() => {}
            () = sleep(limits::FORWARD_PATIENCE) => {}
            end = &mut driver => return Ok((end, Some(Phase::Initializing))),
        }
        reporter.report(Report::Ready).await;
        let mut listening = pin!(listen(told, there.as_ref().map(|it| &it.0), reporter));
        let mut silence = pin!(heartbeat::watch(
            id,
            self.heard,
            self.client.downgrade(),
            reporter
        ));
        let mut login = pin!(check_login(id, self.is_here, self.client, reporter));
        let mut is_checked = false;
        loop {
            tokio::select! {
                end = &mut driver => return Ok((end, None)),
                () = &mut login, if !is_checked => is_checked = true,
                failure = &mut forwards => return Err(failure),
                failure = &mut silence => return Err(failure),
                never = &mut listening => match never {},
            }
        }
    }
}

/// Passes on what the SSH session tells and asks after its login.
async fn listen(told: Option<Told>, route: Option<&Route>, reporter: &Reporter) -> std::convert::Infallible {
    if let (Some(mut told), Some(route)) = (told, route) {
        told.pass_on(route, reporter).await;
    }
    pending().await
}

/// Opens the forwardings of a host whose user wants them, and ends only when they must end the connection.
async fn forwarding(
    id: &HostId,
    config: &FleetConfig,
    there: Option<&(Route, Weak<Session>)>,
    reporter: &Reporter,
    settled: &Notify,
) -> Failure {
    match there {
        Some((route, session)) if config.forward.is_wanted(id) => {
            forward::keep(id, config, (route, session), reporter, settled).await
        }
        there => {
            if there.is_none() && matches!(&config.forward, Forward::Of(hosts) if hosts.contains(id)) {
                let text = format!("nothing is forwarded: {id} is not reached by SSH");
                reporter.send(FromAttempt::Notice(text)).await;
            }
            settled.notify_one();
            pending().await
        }
    }
}

/// The user's home directory where the server tells only its own: the one that has `.codex` in it. Empty when
/// it is somewhere else.
fn home_of(initialize: &v2::InitializeResponse) -> String {
    let home = initialize.codex_home.strip_suffix("/.codex");
    home.unwrap_or_default().to_owned()
}

/// Tells the user when the server cannot ask its model because nobody is logged in there: the first turn
/// would fail, with less to say about why.
async fn check_login(id: &HostId, is_here: bool, client: rpc::Client, reporter: &Reporter) {
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
        let there = if is_here { "" } else { " there" };
        let text = format!("nobody is logged in to Codex on {id}: run `codex login`{there}");
        reporter.send(FromAttempt::Notice(text)).await;
    }
}

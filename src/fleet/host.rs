//! One host: a [`HostConnection`] and the task that performs its actions.
//!
//! The task never waits for the consumer of its events: they queue up here, and while any of them waits
//! the link is not read. Commands, questions, limits and the connection's own reports go on, the latter two
//! until [`limits::OUTBOX_MAX`] events wait.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use codex_hosts::{
    Action, Attempt, CallFailure, Failure, FailureKind, HostConnection, HostEvent, HostId, QuestionId, Reply,
    Report, Status, Ticket,
};
use codex_protocol::{
    CODE_METHOD_NOT_FOUND, ClientRequest, ErrorObject, Id, ServerNotification, ServerRequest,
};
use codex_rpc as rpc;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, sleep_until},
};

use crate::{
    attempt::{self, FromAttempt},
    install::{Install, InstallEvent},
    limits,
    link::{self, Link, Pending},
    question,
    run::{self, Event, FleetConfig},
    standby::Standby,
};

/// A command for one host.
pub(crate) enum Command {
    Host(codex_hosts::Command),
    Install(Install),
    Call(Ticket, ClientRequest),
    Reply(Id, Value),
    Refuse(Id),
    Answer(QuestionId, Reply),
}

impl Command {
    pub(crate) fn from_fleet(command: run::Command) -> (HostId, Command) {
        match command {
            run::Command::Host(id, command) => (id, Command::Host(command)),
            run::Command::Install(id, order) => (id, Command::Install(order)),
            run::Command::Call(id, ticket, request) => (id, Command::Call(ticket, request)),
            run::Command::Reply(id, request, answer) => (id, Command::Reply(request, answer)),
            run::Command::Refuse(id, request) => (id, Command::Refuse(request)),
            run::Command::Answer(id, question, reply) => (id, Command::Answer(question, reply)),
        }
    }
}

struct Host {
    id: HostId,
    config: Arc<FleetConfig>,
    connection: HostConnection,
    /// The attempt that is alive; what others report comes too late.
    alive: Option<Attempt>,
    /// The task of that attempt, its probes, and others that are ending. Aborting it ends the connection.
    attempts: JoinSet<()>,
    reports: mpsc::Sender<(Attempt, FromAttempt)>,
    /// What the attempts have to do before they start the server, until one has done it.
    install: Option<Install>,
    standby: Standby,
    link: Option<Link>,
    was_up: bool,
    /// When the link was made that is not the first one.
    returned: Option<Instant>,
    malformed: u32,
    notices: BTreeSet<String>,
    questions: BTreeMap<QuestionId, oneshot::Sender<codex_ssh::Answer>>,
    /// Calls of the link by their tags, none of which is ever used twice.
    pending: BTreeMap<u64, Pending>,
    next_tag: u64,
    /// What is being handed to the link, in order. Comes back with the tag of a call to be repeated.
    sending: JoinSet<Option<u64>>,
    outbox: VecDeque<Event>,
}

/// Runs a host until its commands end.
pub(crate) async fn run(
    id: HostId,
    config: Arc<FleetConfig>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
) {
    let (host, reported) = Host::new(id, config);
    drive(host, commands, reported, events).await;
}

async fn drive(
    mut host: Host,
    mut commands: mpsc::Receiver<Command>,
    mut reported: mpsc::Receiver<(Attempt, FromAttempt)>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let has_room = host.outbox.len() < limits::OUTBOX_MAX;
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => host.obey(command),
                None => return,
            },
            () = at(host.standby.deadline()) => host.standby.clear(),
            Some((attempt, report)) = reported.recv(), if has_room => host.hear(attempt, report),
            () = at(host.connection.poll_timeout()), if has_room => {
                host.connection.handle_timeout(Instant::now(), fastrand::f64());
            }
            permit = events.reserve(), if !host.outbox.is_empty() => match permit {
                Ok(permit) => _ = host.outbox.pop_front().map(|it| permit.send(it)),
                Err(_) => return,
            },
            Some(event) = said(&mut host.link), if host.outbox.is_empty() => host.receive(event),
            Some(sent) = host.sending.join_next() => host.sent(sent.ok().flatten()),
            Some(ended) = host.attempts.join_next() => if ended.is_err_and(|it| it.is_panic()) {
                host.report(Report::Lost(broken()));
            },
        }
        host.perform();
    }
}

/// A defect of ours must not leave a host that looks alive for ever.
fn broken() -> Failure {
    Failure {
        kind: FailureKind::Protocol,
        phase: None,
        message: "an internal error ended the connection".to_owned(),
        hint: Some("connect again; what was printed about it helps to mend it".to_owned()),
        stderr: None,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(it) => sleep_until(it.into()).await,
        None => pending().await,
    }
}

/// The next message of the server's. A link without any more messages is ended by its attempt.
async fn said(link: &mut Option<Link>) -> Option<rpc::Event> {
    match link {
        Some(link) => link.events.recv().await,
        None => None,
    }
}

impl Host {
    fn new(id: HostId, config: Arc<FleetConfig>) -> (Host, mpsc::Receiver<(Attempt, FromAttempt)>) {
        let (reports, reported) = mpsc::channel(limits::REPORTS_MAX);
        let host = Host {
            id,
            connection: HostConnection::new(config.policy),
            config,
            alive: None,
            attempts: JoinSet::new(),
            reports,
            install: None,
            standby: Standby::default(),
            link: None,
            was_up: false,
            returned: None,
            malformed: 0,
            notices: BTreeSet::new(),
            questions: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_tag: 0,
            sending: JoinSet::new(),
            outbox: VecDeque::new(),
        };
        (host, reported)
    }

    fn tell(&mut self, event: impl FnOnce(HostId) -> Event) {
        self.outbox.push_back(event(self.id.clone()));
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Host(command) => {
                if command == codex_hosts::Command::Disconnect {
                    self.install = None;
                    self.standby.clear();
                }
                self.connection.handle_command(Instant::now(), command);
            }
            Command::Install(order) => {
                self.install = Some(order);
                for command in [codex_hosts::Command::Disconnect, codex_hosts::Command::Connect] {
                    self.connection.handle_command(Instant::now(), command);
                }
            }
            Command::Call(ticket, request) => self.call(ticket, request),
            Command::Reply(id, answer) => match serde_json::value::to_raw_value(&answer) {
                Ok(answer) => self.reply(id, Ok(answer)),
                Err(error) => self.tell(|id| Event::Notice(id, format!("an answer was not sent: {error}"))),
            },
            Command::Refuse(id) => {
                let message = "this client does not know the method".to_owned();
                self.reply(
                    id,
                    Err(ErrorObject {
                        code: CODE_METHOD_NOT_FOUND,
                        message,
                        data: None,
                    }),
                );
            }
            Command::Answer(question, reply) => {
                let Some(answer) = self.questions.remove(&question) else {
                    return;
                };
                // The login may have ended while the user was typing; its report tells.
                _ = answer.send(question::answer(reply));
                if self.questions.is_empty() {
                    self.report(Report::Answered);
                }
            }
        }
    }

    /// A report of our own about the attempt that is alive.
    fn report(&mut self, report: Report) {
        let attempt = self.connection.attempt();
        self.connection
            .handle_report(Instant::now(), attempt, report, fastrand::f64());
    }

    fn call(&mut self, ticket: Ticket, request: ClientRequest) {
        let refused = match &self.link {
            None => format!("{} is not connected", self.id),
            Some(_) if limits::CALLS_MAX <= self.pending.len() => {
                format!("{} calls to {} are waiting already", limits::CALLS_MAX, self.id)
            }
            Some(link) => {
                let request = link::absolute(request, &link.home);
                return self.send(Pending::new(ticket, request));
            }
        };
        self.tell(|id| Event::Answered(id, ticket, Err(link::refused(refused))));
    }

    fn send(&mut self, call: Pending) {
        let Some(link) = &self.link else { return };
        let params = match call.request.params() {
            Ok(params) => Some(params),
            Err(error) => {
                let failure = link::refused(format!("{} was not sent: {error}", call.request.method()));
                return self.tell(|id| Event::Answered(id, call.ticket, Err(failure)));
            }
        };
        let (client, method, tag) = (link.client.clone(), call.request.method(), self.next_tag);
        self.next_tag += 1;
        self.pending.insert(tag, call);
        self.sending.spawn(async move {
            client.ask(tag, method, params, Some(limits::CALL_PATIENCE)).await;
            None
        });
    }

    /// Something was handed to the link, or the time has come to make a call again.
    fn sent(&mut self, again: Option<u64>) {
        if let Some(mut call) = again.and_then(|tag| self.pending.remove(&tag)) {
            call.tries += 1;
            self.send(call);
        }
    }

    fn answered(&mut self, tag: u64, outcome: rpc::Outcome) {
        let Some(call) = self.pending.remove(&tag) else {
            return;
        };
        let answer = match outcome {
            Ok(answer) => call.request.decode(&answer).map_err(|error| {
                let method = call.request.method();
                link::refused(format!("the answer to {method} cannot be read: {error}"))
            }),
            Err(error) => {
                let returned = self.returned.map(|it| it.elapsed());
                if let Some(pause) = call.again_after(&error, returned, fastrand::f64()) {
                    self.pending.insert(tag, call);
                    self.sending.spawn(async move {
                        sleep(pause).await;
                        Some(tag)
                    });
                    return;
                }
                Err(link::failure(error))
            }
        };
        self.tell(|id| Event::Answered(id, call.ticket, answer));
    }

    fn reply(&mut self, id: Id, outcome: Result<codex_protocol::Params, ErrorObject>) {
        // Without a link the request is void: the server asks again when its thread is resumed.
        if let Some(link) = &self.link {
            let client = link.client.clone();
            self.sending.spawn(async move {
                client.reply(id, outcome).await;
                None
            });
        }
    }

    fn hear(&mut self, attempt: Attempt, report: FromAttempt) {
        // An attempt that was given up may have something under way to us, even a whole connection.
        if Some(attempt) != self.alive {
            return;
        }
        match report {
            FromAttempt::Report(report) => {
                if matches!(report, Report::Lost(_)) {
                    self.read_the_rest();
                }
                self.connection
                    .handle_report(Instant::now(), attempt, report, fastrand::f64());
            }
            FromAttempt::Notice(text) => self.notice(text),
            FromAttempt::Install(event) => {
                if matches!(event, InstallEvent::Installed(_) | InstallEvent::Removed(_)) {
                    self.install = None;
                }
                self.tell(|id| Event::Install(id, event));
            }
            FromAttempt::Forwards(forwards) => self.tell(|id| Event::Forwards(id, forwards)),
            FromAttempt::Up(link, facts) => {
                self.link = Some(*link);
                if std::mem::replace(&mut self.was_up, true) {
                    self.returned = Some(Instant::now());
                }
                self.malformed = 0;
                let text = facts.to_string();
                self.tell(|id| Event::Initialized(id, facts));
                self.notice(text);
            }
            FromAttempt::Question(question, answer) => {
                static NEXT: AtomicU64 = AtomicU64::new(0);
                let number = QuestionId(NEXT.fetch_add(1, Ordering::Relaxed));
                self.questions.insert(number, answer);
                self.report(Report::Asking);
                self.tell(|id| Event::Asked(id, number, question));
            }
        }
    }

    /// A warning or a banner comes with each connection, and is news only once.
    fn notice(&mut self, text: String) {
        if limits::NOTICES_TOLD_MAX <= self.notices.len() {
            self.notices.clear();
        }
        if self.notices.insert(text.clone()) {
            self.tell(|id| Event::Notice(id, text));
        }
    }

    /// What the server said before it ended counts, however far behind the consumer is. It is not more than
    /// the link's own queue holds.
    fn read_the_rest(&mut self) {
        while let Some(event) = self.link.as_mut().and_then(|it| it.events.try_recv().ok()) {
            self.receive(event);
        }
    }

    fn receive(&mut self, event: rpc::Event) {
        match event {
            rpc::Event::Notification(it) => {
                let notification = ServerNotification::parse(&it.method, it.params.as_ref());
                self.tell(|id| Event::Notification(id, notification));
            }
            rpc::Event::Request(it) => {
                let request = ServerRequest::parse(&it.method, it.params.as_ref());
                self.tell(|id| Event::Request(id, it.id, request));
            }
            rpc::Event::Malformed(why) => {
                self.malformed += 1;
                let text = match self.malformed.cmp(&limits::MALFORMED_TOLD_MAX) {
                    std::cmp::Ordering::Less => format!("skipped what the server said: {why}"),
                    std::cmp::Ordering::Equal => format!("skipped what the server said, again: {why}"),
                    std::cmp::Ordering::Greater => return,
                };
                self.tell(|id| Event::Notice(id, text));
            }
            rpc::Event::Answered(tag, outcome) => self.answered(tag, outcome),
            // An answer after its call was given up: whoever asked has been told already.
            rpc::Event::Stray(_) => (),
        }
    }

    /// Does what the connection wants, and tells what it tells: first how it stands, then what that ended.
    fn perform(&mut self) {
        let mut void = Vec::new();
        while let Some(action) = self.connection.poll_action() {
            match action {
                Action::Begin(attempt, search) => {
                    self.alive = Some(attempt);
                    let (reports, config) = (self.reports.clone(), Arc::clone(&self.config));
                    let (id, given) = (self.id.clone(), (self.install.clone(), self.standby.clone()));
                    self.attempts
                        .spawn(attempt::run(id, config, attempt, search, given, reports));
                }
                Action::Probe(attempt) => {
                    if let Some(link) = &self.link {
                        let (pulse, client) = (link.pulse.clone(), link.client.clone());
                        let reports = self.reports.clone();
                        let patience = self.config.policy.probe_patience;
                        self.attempts
                            .spawn(attempt::probe(pulse, client, patience, attempt, reports));
                    }
                }
                Action::Abandon(_) => self.abandon(&mut void),
            }
        }
        while let Some(HostEvent::StatusChanged(status)) = self.connection.poll_event() {
            if matches!(status, Status::Failed(_)) {
                self.install = None;
            }
            self.tell(|id| Event::Host(id, HostEvent::StatusChanged(status)));
        }
        self.outbox.extend(void);
    }

    /// Ends the attempt and all that depends on it; `void` gets what its consumers must be told.
    fn abandon(&mut self, void: &mut Vec<Event>) {
        self.alive = None;
        self.attempts.abort_all();
        self.sending.abort_all();
        self.link = None;
        for question in std::mem::take(&mut self.questions).into_keys() {
            void.push(Event::Withdrawn(self.id.clone(), question));
        }
        for call in std::mem::take(&mut self.pending).into_values() {
            let method = call.request.method();
            let failure = CallFailure {
                code: None,
                message: format!("the connection closed before {method} was answered"),
                lost: true,
            };
            void.push(Event::Answered(self.id.clone(), call.ticket, Err(failure)));
        }
    }
}

#[cfg(test)]
mod tests;

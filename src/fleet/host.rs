//! One host: a [`HostConnection`] and the task that performs its actions.
//!
//! The task never waits for the consumer of its events: they queue up here, and while any of them waits
//! the link is not read. Commands, questions, limits and the connection's own reports always go on.

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use codex_hosts::{
    Action, Attempt, CallFailure, HostConnection, HostEvent, HostId, QuestionId, Reply, Report, Ticket,
};
use codex_protocol::{
    CODE_METHOD_NOT_FOUND, ClientRequest, ClientResponse, ErrorObject, Id, ServerNotification, ServerRequest,
};
use codex_rpc as rpc;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::sleep_until,
};

use crate::{
    attempt::{self, FromAttempt},
    limits,
    link::Link,
    question,
    run::{self, Event, FleetConfig},
};

/// A command for one host.
pub(crate) enum Command {
    Host(codex_hosts::Command),
    Call(Ticket, ClientRequest),
    Reply(Id, Value),
    Refuse(Id),
    Answer(QuestionId, Reply),
}

impl Command {
    pub(crate) fn from_fleet(command: run::Command) -> (HostId, Command) {
        match command {
            run::Command::Host(id, command) => (id, Command::Host(command)),
            run::Command::Call(id, ticket, request) => (id, Command::Call(ticket, request)),
            run::Command::Reply(id, request, answer) => (id, Command::Reply(request, answer)),
            run::Command::Refuse(id, request) => (id, Command::Refuse(request)),
            run::Command::Answer(id, question, reply) => (id, Command::Answer(question, reply)),
        }
    }
}

/// What a task of a live connection comes back with.
enum Finished {
    Call(Ticket, Result<ClientResponse, CallFailure>),
    Replied,
}

struct Host {
    id: HostId,
    config: Arc<FleetConfig>,
    connection: HostConnection,
    /// The task of the attempt, if one is alive. Aborting it ends the connection.
    attempt: JoinSet<()>,
    reports: mpsc::Sender<(Attempt, FromAttempt)>,
    link: Option<Link>,
    malformed: u32,
    questions: BTreeMap<QuestionId, oneshot::Sender<codex_ssh::Answer>>,
    calls: JoinSet<Finished>,
    outbox: VecDeque<Event>,
}

/// Runs a host until its commands end.
pub(crate) async fn run(
    id: HostId,
    config: Arc<FleetConfig>,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
) {
    let (reports, mut reported) = mpsc::channel(limits::REPORTS_MAX);
    let mut host = Host {
        id,
        config,
        connection: HostConnection::new(limits::POLICY),
        attempt: JoinSet::new(),
        reports,
        link: None,
        malformed: 0,
        questions: BTreeMap::new(),
        calls: JoinSet::new(),
        outbox: VecDeque::new(),
    };
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => host.obey(command),
                None => return,
            },
            Some((attempt, report)) = reported.recv() => host.hear(attempt, report),
            () = at(host.connection.poll_timeout()) => {
                host.connection.handle_timeout(Instant::now(), fastrand::f64());
            }
            permit = events.reserve(), if !host.outbox.is_empty() => match permit {
                Ok(permit) => _ = host.outbox.pop_front().map(|it| permit.send(it)),
                Err(_) => return,
            },
            Some(event) = said(&mut host.link), if host.outbox.is_empty() => host.receive(event),
            Some(finished) = host.calls.join_next() => {
                if let Ok(Finished::Call(ticket, answer)) = finished {
                    host.tell(|id| Event::Answered(id, ticket, answer));
                }
            }
        }
        host.perform();
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
    fn tell(&mut self, event: impl FnOnce(HostId) -> Event) {
        self.outbox.push_back(event(self.id.clone()));
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Host(command) => self.connection.handle_command(Instant::now(), command),
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
        let refuse = |message: String| {
            Err(CallFailure {
                code: None,
                message,
                lost: false,
            })
        };
        let refused = match &self.link {
            None => refuse(format!("{} is not connected", self.id)),
            Some(_) if limits::CALLS_MAX <= self.calls.len() => refuse(format!(
                "{} calls to {} are waiting already",
                limits::CALLS_MAX,
                self.id
            )),
            Some(link) => {
                let call = link.call(request);
                self.calls
                    .spawn(async move { Finished::Call(ticket, call.await) });
                return;
            }
        };
        self.tell(|id| Event::Answered(id, ticket, refused));
    }

    fn reply(&mut self, id: Id, outcome: Result<codex_protocol::Params, ErrorObject>) {
        // Without a link the request is void: the server asks again when its thread is resumed.
        if let Some(link) = &self.link {
            let client = link.client.clone();
            self.calls.spawn(async move {
                client.reply(id, outcome).await;
                Finished::Replied
            });
        }
    }

    fn hear(&mut self, attempt: Attempt, report: FromAttempt) {
        if attempt != self.connection.attempt() {
            return;
        }
        match report {
            FromAttempt::Report(report) => {
                self.connection
                    .handle_report(Instant::now(), attempt, report, fastrand::f64());
            }
            FromAttempt::Notice(text) => self.tell(|id| Event::Notice(id, text)),
            FromAttempt::Up(link, facts) => {
                self.link = Some(*link);
                self.malformed = 0;
                self.tell(|id| Event::Initialized(id, facts));
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
            // An answer after its call was given up: whoever asked has been told already.
            rpc::Event::Stray(_) | rpc::Event::Answered(..) => (),
        }
    }

    /// Does what the connection wants, and tells what it tells.
    fn perform(&mut self) {
        while let Some(action) = self.connection.poll_action() {
            match action {
                Action::Begin(attempt) => {
                    let (reports, config) = (self.reports.clone(), Arc::clone(&self.config));
                    self.attempt
                        .spawn(attempt::run(self.id.clone(), config, attempt, reports));
                }
                Action::Probe(attempt) => {
                    if let Some(link) = &self.link {
                        let (probe, reports) = (Arc::clone(&link.session), self.reports.clone());
                        self.attempt.spawn(attempt::probe(probe, attempt, reports));
                    }
                }
                Action::Abandon(_) => {
                    self.attempt.abort_all();
                    self.link = None;
                    for (question, _) in std::mem::take(&mut self.questions) {
                        self.tell(|id| Event::Withdrawn(id, question));
                    }
                }
            }
        }
        while self.attempt.try_join_next().is_some() {}
        while let Some(HostEvent::StatusChanged(status)) = self.connection.poll_event() {
            self.tell(|id| Event::Host(id, HostEvent::StatusChanged(status)));
        }
    }
}

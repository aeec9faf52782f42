//! `codex exec --host`: one turn on each host, side by side, without a UI.

mod output;
mod turn;

use std::{
    collections::BTreeMap,
    io::Read,
    time::{Duration, Instant},
};

use codex_fleet::{Command, Event, Fleet};
use codex_hosts::{HostId, Question, QuestionId, Reply, Ticket};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};

use self::{
    output::Output,
    turn::{Order, Turn, TurnOptions},
};
use super::{
    Directories, ExecArgs, ask,
    report::{Code, Problem},
    ssh::{self, SshConfig},
};

/// The protocol takes no longer text in one turn (observed: error -32602).
const PROMPT_CHARS_MAX: usize = 1 << 20;
/// How long turns may take to end after Ctrl+C, before the connections are closed anyway.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: ExecArgs) -> Result<Code, Problem> {
    ssh::check_destinations(&args.hosts)?;
    let directories = Directories::parse(&args.cd, &args.hosts)?;
    let prompt = prompt(&args.prompt)?;
    let fleet_config = SshConfig::new(&args.ssh).fleet("codex-exec");
    let turns = args.hosts.iter().map(|host| {
        let options = TurnOptions {
            prompt: prompt.clone(),
            cwd: directories.of(host).map(str::to_owned),
            model: args.model.clone(),
            sandbox: args.sandbox.map(Into::into),
            approval: args.approval.map(Into::into),
        };
        (HostId(host.clone()), Turn::new(host.clone(), options))
    });
    let turns: BTreeMap<HostId, Turn> = turns.collect();
    let output = Output::new(args.json, turns.len());
    let failed = |error: &dyn std::error::Error| Problem::new(Code::Unreachable, error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|it| failed(&it))?;
    let code = runtime.block_on(async {
        let (fleet, events) = Fleet::start(fleet_config).map_err(|it| failed(&it))?;
        let signals = Signals::listen().map_err(|it| failed(&it))?;
        let exec = Exec {
            turns,
            output,
            fleet,
            asking: JoinSet::new(),
            terminal: None,
            waiting: Vec::new(),
            tickets: 0,
        };
        exec.drive(events, signals).await
    });
    // A question that is still open on the terminal must not keep the program from ending.
    runtime.shutdown_timeout(Duration::ZERO);
    code
}

fn prompt(arg: &str) -> Result<String, Problem> {
    let mut text = arg.to_owned();
    if arg == "-" {
        text.clear();
        let limit = 4 * PROMPT_CHARS_MAX as u64 + 1;
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_string(&mut text)
            .map_err(|error| Problem::usage(format!("reading the prompt from stdin: {error}")))?;
    }
    if text.trim().is_empty() {
        return Err(Problem::usage("the prompt is empty"));
    }
    if PROMPT_CHARS_MAX < text.chars().count() {
        let message = format!("the prompt is longer than {PROMPT_CHARS_MAX} characters");
        return Err(Problem::usage(message).hint("put it into a file on the host and name the file"));
    }
    Ok(text)
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(it) => tokio::time::sleep_until(it.into()).await,
        None => std::future::pending().await,
    }
}

/// What ends the program from outside. Listening begins once: a signal that came between two waits would be
/// lost otherwise.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one, as the exit code that it leads to.
    async fn next(&mut self) -> Code {
        tokio::select! {
            _ = self.interrupt.recv() => Code::Interrupted,
            _ = self.terminate.recv() => Code::Terminated,
        }
    }
}

struct Exec {
    turns: BTreeMap<HostId, Turn>,
    output: Output,
    fleet: Fleet,
    /// The question on the terminal, one at a time.
    asking: JoinSet<(HostId, QuestionId, Reply)>,
    /// Held while a question is on the terminal.
    terminal: Option<ask::SavedTerminal>,
    waiting: Vec<(HostId, QuestionId, Question)>,
    tickets: u64,
}

impl Exec {
    async fn drive(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut signals: Signals,
    ) -> Result<Code, Problem> {
        for host in self.turns.keys() {
            self.fleet
                .send(Command::Host(host.clone(), codex_hosts::Command::Connect))
                .await;
        }
        let mut stopped = None;
        let mut give_up = None;
        while self.turns.values().any(|it| it.code().is_none()) {
            let deadline = self.turns.values().filter_map(Turn::deadline).min();
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => return Err(Problem::new(Code::Unreachable, "the connections ended unexpectedly")),
                },
                Some(Ok((host, question, reply))) = self.asking.join_next() => {
                    self.terminal = None;
                    self.fleet.send(Command::Answer(host, question, reply)).await;
                    self.ask_next();
                }
                () = at(deadline) => {
                    self.with_all(|turn, orders, output| {
                        turn.handle_timeout(Instant::now(), orders, output);
                    })
                    .await;
                }
                code = signals.next() => {
                    if stopped.replace(code).is_some() {
                        break;
                    }
                    give_up = Some(Instant::now() + INTERRUPT_PATIENCE);
                    self.with_all(Turn::interrupt).await;
                }
                () = at(give_up) => break,
            }
        }
        self.with_all(Turn::give_up).await;
        self.fleet.shutdown().await;
        if let Some(code) = stopped {
            return Ok(code);
        }
        Ok(self
            .turns
            .values()
            .filter_map(Turn::code)
            .max()
            .unwrap_or(Code::Done))
    }

    async fn with_all(&mut self, handle: impl Fn(&mut Turn, &mut Vec<Order>, &mut Output)) {
        let hosts: Vec<HostId> = self.turns.keys().cloned().collect();
        for host in hosts {
            self.with(&host, &handle).await;
        }
    }

    fn is_over(&self, host: &HostId) -> bool {
        self.turns.get(host).is_none_or(|it| it.code().is_some())
    }

    async fn handle(&mut self, event: Event) {
        match event {
            // After its last word nothing is said about a host any more.
            Event::Asked(host, ..) | Event::Notice(host, _) | Event::Initialized(host, _)
                if self.is_over(&host) => {}
            Event::Asked(host, id, question) => {
                self.with(&host, |turn, _, _| turn.asked(&question)).await;
                if ask::can_ask() {
                    self.waiting.push((host, id, question));
                    self.ask_next();
                } else {
                    self.with(&host, |turn, _, output| turn.nobody_to_ask(&question, output))
                        .await;
                    self.fleet.send(Command::Answer(host, id, Reply::Refuse)).await;
                }
            }
            Event::Withdrawn(_, id) => self.waiting.retain(|(_, it, _)| *it != id),
            Event::Host(host, event) => {
                self.with(&host, |turn, orders, output| {
                    turn.handle_host(event, orders, output)
                })
                .await;
            }
            Event::Notice(host, text) => self.output.notice(&host.0, &text),
            Event::Initialized(host, facts) => self.output.initialized(&host.0, &facts),
            Event::Notification(host, notification) => {
                self.with(&host, |turn, orders, output| {
                    turn.handle_notification(notification, orders, output);
                })
                .await;
            }
            Event::Request(host, id, request) => {
                self.with(&host, |turn, orders, output| {
                    turn.handle_request(id, request, orders, output)
                })
                .await;
            }
            Event::Answered(host, ticket, answer) => {
                self.with(&host, |turn, orders, output| {
                    turn.handle_answer(ticket, answer, orders, output)
                })
                .await;
            }
        }
    }

    /// Lets a turn handle something, and does what it orders.
    async fn with(&mut self, host: &HostId, handle: impl FnOnce(&mut Turn, &mut Vec<Order>, &mut Output)) {
        let Some(turn) = self.turns.get_mut(host).filter(|it| it.code().is_none()) else {
            return;
        };
        let mut orders = Vec::new();
        handle(turn, &mut orders, &mut self.output);
        for order in orders {
            let command = match order {
                Order::Call(request) => {
                    self.tickets += 1;
                    let ticket = Ticket(self.tickets);
                    if let Some(turn) = self.turns.get_mut(host) {
                        turn.called(ticket, &request);
                    }
                    Command::Call(host.clone(), ticket, *request)
                }
                Order::Reply(id, answer) => Command::Reply(host.clone(), id, answer),
                Order::Refuse(id) => Command::Refuse(host.clone(), id),
                Order::Disconnect => Command::Host(host.clone(), codex_hosts::Command::Disconnect),
            };
            self.fleet.send(command).await;
        }
    }

    /// Puts the next question on the terminal, when none is there.
    fn ask_next(&mut self) {
        if !self.asking.is_empty() || self.waiting.is_empty() {
            return;
        }
        let (host, id, question) = self.waiting.remove(0);
        self.terminal = ask::SavedTerminal::save();
        self.asking.spawn(async move {
            let reply = spawn_blocking(move || ask::ask(&question)).await;
            (host, id, reply.unwrap_or(Reply::Refuse))
        });
    }
}

//! `codex exec`: one turn on this machine, or on each host, side by side, without a UI.

mod output;
mod turn;

use std::{
    collections::BTreeMap,
    io::Read,
    time::{Duration, Instant},
};

use codex_fleet::{Command, Event, Fleet, FleetConfig};
use codex_hosts::{HostId, QuestionId, Reply, Ticket};
use codex_protocol::ThreadId;
use tokio::sync::mpsc;

use self::{
    output::Output,
    turn::{Order, Resume, Turn, TurnOptions},
};
use super::{
    Directories, ExecArgs, ExecCommand, ResumeArgs, SshArgs, ask,
    asker::Asker,
    forward, home,
    machine::{Machine, THIS_MACHINE},
    report::{Code, Problem},
    signals::Signals,
    ssh::SshConfig,
    ways,
};

/// The protocol takes no longer text in one turn (observed: error -32602).
const PROMPT_CHARS_MAX: usize = 1 << 20;
/// How long turns may take to end after Ctrl+C, before the connections are closed anyway.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: ExecArgs) -> Result<Code, Problem> {
    let ExecArgs {
        turn: args,
        prompt: text,
        command,
    } = args;
    let is_any = matches!(&command, Some(ExecCommand::Resume(it)) if it.all);
    let (resume, text) = match command {
        Some(ExecCommand::Resume(args)) => resumed(args).map(|(resume, text)| (Some(resume), text))?,
        None => {
            let hint = "`codex exec \"PROMPT\"`, or `codex exec -` to read it from stdin";
            let text = text.ok_or_else(|| Problem::usage("there is no prompt").hint(hint))?;
            (None, text)
        }
    };
    let hosts = match (args.remote, args.hosts) {
        (Some(address), _) => {
            ways::check_address(&address)?;
            vec![address]
        }
        (None, hosts) if hosts.is_empty() => vec![THIS_MACHINE.to_owned()],
        (None, hosts) => hosts,
    };
    ways::check_destinations(&hosts)?;
    if 1 < hosts.len() && matches!(resume, Some(Resume::Thread(_))) {
        return Err(Problem::usage("a thread is on one host").hint("name one --host, or use --last"));
    }
    let directories = Directories::parse(&args.cd, &hosts)?;
    let prompt = prompt(&text)?;
    let machine = Machine::default();
    let fleet_config = FleetConfig {
        forward: forward::parse(&args.forward, &hosts)?,
        ..SshConfig::new(&SshArgs { file: args.file }).fleet("codex-exec", &machine)
    };
    let mut turns = BTreeMap::new();
    for host in hosts {
        let cwd = match directories.of(&host) {
            Some(directory) => Some(ways::directory(&host, directory)?),
            None => None,
        };
        let mut resume = resume.clone();
        if let Some(Resume::Last { of }) = &mut resume {
            *of = match &cwd {
                _ if is_any => None,
                None if host == THIS_MACHINE => Some(home::current_dir()?.display().to_string()),
                cwd => cwd.clone(),
            };
        }
        let options = TurnOptions {
            prompt: prompt.clone(),
            cwd,
            model: args.model.clone(),
            sandbox: args.sandbox.map(Into::into),
            approval: args.approval.map(Into::into),
            resume,
        };
        turns.insert(HostId(host.clone()), Turn::new(host, options));
    }
    let code = drive(turns, args.json, fleet_config);
    machine.shutdown();
    code
}

/// What `resume` says: which thread, and the prompt.
fn resumed(args: ResumeArgs) -> Result<(Resume, String), Problem> {
    let mut words = args.words.into_iter();
    match (args.last, words.next(), words.next()) {
        (true, Some(prompt), None) => Ok((Resume::Last { of: None }, prompt)),
        (false, Some(thread), Some(prompt)) => Ok((Resume::Thread(ThreadId(thread)), prompt)),
        (true, ..) => {
            let message = "with --last there is only a prompt";
            Err(Problem::usage(message).hint("leave out the thread's id, or --last"))
        }
        (false, ..) => {
            let message = "the thread or the prompt is missing";
            Err(Problem::usage(message).hint("`codex exec resume THREAD_ID PROMPT`, or `--last PROMPT`"))
        }
    }
}

fn drive(turns: BTreeMap<HostId, Turn>, is_json: bool, fleet_config: FleetConfig) -> Result<Code, Problem> {
    let output = Output::new(is_json, turns.len());
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
            asker: Asker::new(),
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

struct Exec {
    turns: BTreeMap<HostId, Turn>,
    output: Output,
    fleet: Fleet,
    asker: Asker<(HostId, QuestionId)>,
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
                ((host, question), reply) = self.asker.answered() => {
                    self.fleet.send(Command::Answer(host, question, reply)).await;
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
                    self.asker.push((host, id), question);
                } else {
                    self.with(&host, |turn, _, output| turn.nobody_to_ask(&question, output))
                        .await;
                    self.fleet.send(Command::Answer(host, id, Reply::Refuse)).await;
                }
            }
            // Nothing is installed here.
            Event::Install(..) => (),
            // Their notices say it.
            Event::Forwards(..) => (),
            Event::Withdrawn(_, id) => self.asker.retain(|(_, it)| *it != id),
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
}

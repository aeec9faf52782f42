//! `codex install`: puts our own server on hosts, over the connection that is there, and removes it again.

mod job;
mod output;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use codex_fleet::{Command, Event, Fleet, FleetConfig, Install, Program, ProgramError};
use codex_hosts::{HostEvent, HostId, Question, QuestionId, Reply};
use codex_tui::app::install::Offer;
use tokio::sync::mpsc;

use self::{job::Job, output::Output};
use super::{
    SshArgs, ask,
    asker::Asker,
    machine::Machine,
    report::{Code, Problem},
    settings::Settings,
    signals::Signals,
    ssh::SshConfig,
    unanswered::{Nobody, Unanswered},
    ways,
};

/// What is to be known of a program that is not static.
const NEEDS_LIBRARIES: &str = "needs the C library of the machine it was built on, and an older one on a host may \
                               not do; `.ci/release` builds one that needs none";

/// Put this program on hosts that have only sshd
///
/// It goes over the same SSH connection, to `~/.codex/codex-server/bin` on the host (below $CODEX_HOME where
/// that is set there), or where a program can be run if that is not possible there. Other installations are not
/// touched, and a codex that the login shell of the host finds comes first, unless hosts.toml says
/// `server = "ours"`. An upload that was cut off goes on where it ended.
#[derive(Args)]
#[command(after_help = "Exit codes (the highest of all hosts):
  0  done, or there already        3  could not connect, or not installed
  2  usage, configuration          4  authentication
  130  interrupted, 143 ended by SIGTERM: run it again to go on

Examples:
  codex install devbox
  codex install devbox gpu1 gpu2
  codex install pi --binary ./codex-aarch64
  codex install devbox --remove")]
pub(crate) struct InstallArgs {
    /// Hosts to put it on, side by side
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
    /// The program to put there, for hosts with another system or processor than this machine
    #[arg(long, value_name = "FILE", conflicts_with = "remove")]
    binary: Option<PathBuf>,
    /// Remove what was put there
    #[arg(long)]
    remove: bool,
    /// Print one JSON object per event and line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ssh: SshArgs,
}

/// The program that is running, for other hosts like this machine. Blocking.
pub(crate) fn own_program() -> Result<Program, Problem> {
    read(&own_path()?)
}

/// The same program, as the interface offers it. It is read only once the user wants it.
pub(crate) fn offer() -> Option<Offer> {
    let bytes = std::fs::metadata(own_path().ok()?).ok()?.len();
    Some(Offer {
        bytes,
        directory: "~/.codex/codex-server/bin".to_owned(),
        warning: (cfg!(target_os = "linux") && !cfg!(target_feature = "crt-static"))
            .then(|| format!("It {NEEDS_LIBRARIES}.")),
    })
}

/// Where the program that is running is.
fn own_path() -> Result<PathBuf, Problem> {
    // On Linux the name of a program that was replaced leads nowhere; this one always leads to what runs.
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        return Ok(running);
    }
    std::env::current_exe().map_err(|error| Problem::usage(format!("finding this program: {error}")))
}

fn read(path: &std::path::Path) -> Result<Program, Problem> {
    Program::read(path).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|it| format!(": {it}"));
        let problem = Problem::usage(format!("{error}{}", cause.unwrap_or_default()));
        match error {
            ProgramError::NoProgram { .. } => {
                problem.hint("`.ci/release` builds one that runs on every Linux")
            }
            ProgramError::Read { .. } | ProgramError::TooLong(_) => problem,
        }
    })
}

pub(crate) fn run(args: InstallArgs) -> Result<Code, Problem> {
    ways::check_destinations(&args.hosts)?;
    let mut output = Output::new(args.json, args.hosts.len());
    let order = if args.remove {
        Install::Remove
    } else {
        let program = match &args.binary {
            Some(file) => read(file)?,
            None => own_program()?,
        };
        if program.needs_libraries() {
            let name = args
                .binary
                .as_ref()
                .map_or("this program".into(), |it| it.to_string_lossy());
            output.warning(&format!("{name} {NEEDS_LIBRARIES}"));
        }
        Install::Put {
            program: Arc::new(program),
            then_connect: false,
        }
    };
    let machine = Machine::default();
    let config = SshConfig::new(&args.ssh).fleet("codex-install", &machine);
    let jobs = args
        .hosts
        .into_iter()
        .map(|it| (HostId(it.clone()), Job::new(it)))
        .collect();
    drive(jobs, output, order, config)
}

fn drive(
    jobs: BTreeMap<HostId, Job>,
    output: Output,
    order: Install,
    config: FleetConfig,
) -> Result<Code, Problem> {
    let failed = |error: &dyn std::error::Error| Problem::new(Code::Unreachable, error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|it| failed(&it))?;
    let code = runtime.block_on(async {
        let signals = Signals::listen().map_err(|it| failed(&it))?;
        let (fleet, events) = Fleet::start(config).map_err(|it| failed(&it))?;
        let installing = Installing {
            jobs,
            output,
            fleet,
            asker: Asker::new(),
        };
        installing.drive(order, events, signals).await
    });
    // A question that is still open on the terminal must not keep the program from ending.
    runtime.shutdown_timeout(Duration::ZERO);
    code
}

struct Installing {
    jobs: BTreeMap<HostId, Job>,
    output: Output,
    fleet: Fleet,
    asker: Asker<(HostId, QuestionId)>,
}

impl Installing {
    async fn drive(
        mut self,
        order: Install,
        mut events: mpsc::Receiver<Event>,
        mut signals: Signals,
    ) -> Result<Code, Problem> {
        let hosts: Vec<HostId> = self.jobs.keys().cloned().collect();
        for host in hosts {
            self.fleet.send(Command::Install(host, order.clone())).await;
        }
        let mut stopped = None;
        while stopped.is_none() && self.jobs.values().any(|it| it.code().is_none()) {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => return Err(Problem::new(Code::Unreachable, "the connections ended unexpectedly")),
                },
                ((host, question), reply) = self.asker.answered() => {
                    self.output.hold(self.asker.is_asking());
                    self.fleet.send(Command::Answer(host, question, reply)).await;
                }
                code = signals.next() => stopped = Some(code),
            }
        }
        self.output.end();
        for (HostId(host), _) in self.jobs.iter().filter(|(_, job)| job.is_sending()) {
            let text = "interrupted: run it again, and it goes on where it ended";
            self.output.notice(host, text);
        }
        self.fleet.shutdown().await;
        let worst = self.jobs.values().filter_map(Job::code).max();
        Ok(stopped.or(worst).unwrap_or(Code::Done))
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Asked(host, id, question) => self.asked(host, id, question).await,
            // Nothing is forwarded here.
            Event::Forwards(..) => (),
            Event::Withdrawn(_, id) => self.asker.retain(|(_, it)| *it != id),
            Event::Notice(host, text) => self.output.notice(&host.0, &text),
            Event::Host(host, HostEvent::StatusChanged(status)) => {
                self.with(&host, |job, output| job.handle_status(status, output))
                    .await;
            }
            Event::Install(host, event) => {
                self.with(&host, |job, output| job.handle_install(event, output))
                    .await;
                if self.jobs.get(&host).and_then(Job::code) == Some(Code::Done) {
                    self.tell_what_starts(&host);
                }
            }
            // No server is started.
            Event::Initialized(..) | Event::Notification(..) | Event::Request(..) | Event::Answered(..) => (),
        }
    }

    /// Lets a job handle something, and gives its host up when that was the end of it.
    async fn with(&mut self, host: &HostId, handle: impl FnOnce(&mut Job, &mut Output)) {
        let Some(job) = self.jobs.get_mut(host).filter(|it| it.code().is_none()) else {
            return;
        };
        handle(job, &mut self.output);
        if job.code().is_some() {
            let end = codex_hosts::Command::Disconnect;
            self.fleet.send(Command::Host(host.clone(), end)).await;
        }
    }

    /// An installation that the settings pass over would look like a failure later.
    fn tell_what_starts(&mut self, host: &HostId) {
        let Ok(mut settings) = Settings::read() else {
            return;
        };
        if let Some(Ok(settings)) = settings.hosts.remove(&host.0)
            && !settings.server.may_be_installed()
        {
            let text = "hosts.toml wants another server here, so this one is not started";
            self.output.notice(&host.0, text);
        }
    }

    async fn asked(&mut self, host: HostId, id: QuestionId, question: Question) {
        let can_ask = ask::can_ask();
        let unanswered = match can_ask {
            true => Unanswered::asked(&question),
            false => Unanswered::by(&question, Nobody::NoTerminal),
        };
        let text = unanswered.text();
        self.with(&host, |job, _| job.handle_question(unanswered)).await;
        if can_ask {
            self.output.hold(true);
            self.asker.push((host, id), question);
            return;
        }
        self.output.notice(&host.0, &text);
        self.fleet.send(Command::Answer(host, id, Reply::Refuse)).await;
    }
}

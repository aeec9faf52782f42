//! Hosts: their examinations side by side, and the questions of their logins one after another.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::IsTerminal,
    sync::Arc,
    time::Duration,
};

use codex_fleet::{Answering, Examined as Told, FleetConfig, Outcome, Step, examine as walk};
use codex_hosts::HostId;
use codex_ssh::config::{Effective, Query, Sources, SystemWorld, resolve};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};

use super::{
    DoctorArgs,
    finding::{Examined, Finding},
    heading, line,
    remover::Remover,
    say, text,
};
use crate::cli::{
    ask,
    asker::Asker,
    machine::{Machine, THIS_MACHINE},
    report::{Code, Problem},
    signals::Signals,
    ssh::SshConfig,
    unanswered::{Nobody, Unanswered},
    ways,
};

/// What one host tells and nobody has taken yet; it waits when this is full.
const TOLD_MAX: usize = 16;
/// Settings of SSH that decide where and how one gets, and are told in the line.
const DECISIVE: &[&str] = &[
    "hostname",
    "port",
    "user",
    "proxyjump",
    "proxycommand",
    "identityfile",
    "hostkeyalias",
];

/// What was found, and the exit code of the signal that ended it before it was done.
/// `remover` learns what the hosts' settings hold.
pub(super) fn examine(
    args: &DoctorArgs,
    remover: &mut Remover,
) -> Result<(Vec<Examined>, Option<Code>), Problem> {
    ways::check_destinations(&args.hosts)?;
    if args.hosts.iter().any(|it| it == THIS_MACHINE) {
        return Err(
            Problem::usage("this machine is no host to connect to").hint("run `codex doctor` without a HOST")
        );
    }
    let failed =
        |error: &std::io::Error| Problem::new(Code::TurnFailed, format!("starting the runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|it| failed(&it))?;
    let machine = Machine::default();
    let mut fleet = SshConfig::new(&args.ssh).fleet("codex-doctor", &machine);
    if args.batch {
        // A program that asks would be somebody who is asked.
        fleet.connector = fleet.connector.with_askpass(None);
        fleet.system.batch();
    }
    let fleet = Arc::new(fleet);
    let examined = runtime.block_on(async {
        let signals = Signals::listen().map_err(|it| failed(&it))?;
        Ok(Desk::new(args, remover).run(&args.hosts, &fleet, signals).await)
    });
    // A question that is still open on the terminal must not keep the program from ending.
    runtime.shutdown_timeout(Duration::ZERO);
    examined
}

/// Takes what all hosts tell.
struct Desk<'a> {
    sources: Sources,
    /// Why nobody can be asked.
    nobody: Option<Nobody>,
    /// What the logins ask.
    unanswered: BTreeMap<String, Unanswered>,
    remover: &'a mut Remover,
    is_json: bool,
    /// Each stage is told when it ends. The stages of several hosts would be mixed: they are told host by host.
    is_live: bool,
    /// Hosts whose examination is over.
    over: BTreeSet<String>,
    /// How many of the hosts were told.
    told: usize,
    found: BTreeMap<String, Examined>,
    asker: Asker<Answering>,
}

impl<'a> Desk<'a> {
    fn new(args: &DoctorArgs, remover: &'a mut Remover) -> Desk<'a> {
        let sources = match &args.ssh.file {
            Some(file) => Sources::file(file),
            None => Sources::default_for(&SystemWorld::new()),
        };
        Desk {
            sources,
            nobody: match args.batch {
                true => Some(Nobody::Batch),
                false => (!ask::can_ask()).then_some(Nobody::NoTerminal),
            },
            unanswered: BTreeMap::new(),
            remover,
            is_json: args.json,
            is_live: args.hosts.len() == 1,
            over: BTreeSet::new(),
            told: 0,
            found: BTreeMap::new(),
            asker: Asker::new(),
        }
    }

    async fn run(
        mut self,
        hosts: &[String],
        fleet: &Arc<FleetConfig>,
        mut signals: Signals,
    ) -> (Vec<Examined>, Option<Code>) {
        let mut walks = JoinSet::new();
        let (told, mut received) = mpsc::channel(TOLD_MAX);
        for host in hosts {
            let settings = settings(host, self.sources.clone()).await;
            self.remover.learn_settings(&settings);
            let examined = Examined {
                host: Some(host.clone()),
                findings: Vec::new(),
                more: json!({ "notices": [], "settings": settings }),
            };
            self.found.insert(host.clone(), examined);
            let (host, fleet, told) = (host.clone(), Arc::clone(fleet), told.clone());
            walks.spawn(async move {
                let (own, mut passed) = mpsc::channel(TOLD_MAX);
                let id = HostId(host.clone());
                let pass = async {
                    while let Some(it) = passed.recv().await {
                        // The desk lives as long as there are walks.
                        _ = told.send((host.clone(), it)).await;
                    }
                };
                tokio::join!(walk(&id, &fleet, own), pass);
                id.0
            });
        }
        let mut stopped = None;
        while stopped.is_none() && self.over.len() < hosts.len() {
            tokio::select! {
                biased;
                code = signals.next() => stopped = Some(code),
                // What a host has told is taken before its end.
                Some((host, it)) = received.recv() => self.take(&host, it),
                (answering, reply) = self.asker.answered() => answering.answer(reply),
                Some(ended) = walks.join_next() => match ended {
                    Ok(host) => _ = self.over.insert(host),
                    // A panic is a defect, and nobody waits for the rest.
                    Err(_) => break,
                },
            }
            self.tell(hosts, false);
        }
        if stopped.is_some() {
            self.cut_off();
        }
        self.tell(hosts, true);
        let mut found = self.found;
        let examined = hosts.iter().filter_map(|it| found.remove(it)).collect();
        (examined, stopped)
    }

    /// Stages without a fault before an interruption are no sign that there is none.
    fn cut_off(&mut self) {
        if std::io::stdout().is_terminal() {
            // The `^C` that the terminal shows has a line of its own.
            say("\n");
        }
        for (host, examined) in &mut self.found {
            if self.over.contains(host) {
                continue;
            }
            let finding = Finding::skipped("rest", "interrupted: what comes next was not seen");
            if self.is_live {
                let json = self.is_json.then_some(&*self.remover);
                say(&line(Some(host), &finding, json));
            }
            examined.findings.push(finding);
        }
    }

    /// Tells the hosts that come next and whose examination is over, or all of them; not into the line of a question.
    fn tell(&mut self, hosts: &[String], all: bool) {
        while let Some(host) = hosts.get(self.told) {
            if !all && (self.asker.is_asking() || !self.over.contains(host)) {
                return;
            }
            self.told += 1;
            if let Some(examined) = self.found.get(host).filter(|_| !self.is_live) {
                let json = self.is_json.then_some(&*self.remover);
                say(&text(examined, json));
            }
        }
    }

    fn take(&mut self, host: &str, it: Told) {
        let Some(examined) = self.found.get_mut(host) else {
            return;
        };
        match it {
            Told::Step(mut step) => {
                if let Outcome::Failed(failure) = &mut step.outcome
                    && let Some(unanswered) = self.unanswered.remove(host)
                {
                    unanswered.explain(failure);
                }
                let finding = finding(step, &examined.more["settings"]);
                if self.is_live {
                    if examined.findings.is_empty() {
                        say(&heading(Some(host), self.is_json));
                    }
                    let json = self.is_json.then_some(&*self.remover);
                    say(&line(Some(host), &finding, json));
                }
                examined.findings.push(finding);
            }
            Told::Notice(text) => {
                if let Some(notices) = examined.more["notices"].as_array_mut() {
                    notices.push(json!(text));
                }
            }
            Told::Question(question, answering) => {
                let unanswered = match self.nobody {
                    Some(nobody) => Unanswered::by(&question, nobody),
                    None => Unanswered::asked(&question),
                };
                self.unanswered.insert(host.to_owned(), unanswered);
                // Dropped, it is refused.
                if self.nobody.is_none() {
                    self.asker.push(answering, question);
                }
            }
        }
    }
}

/// What holds for a host of SSH and is no default, with the line that decided it. Errors are found again by the
/// walk itself.
async fn settings(host: &str, sources: Sources) -> Value {
    let Ok(query) = Query::parse(host) else {
        return json!([]);
    };
    let resolved = spawn_blocking(move || {
        let resolved = resolve(&query, &sources, &mut SystemWorld::new()).ok()?;
        let decided = |it: Effective| {
            let origin = it.origin?;
            let place = format!("{}:{}", origin.file.display(), origin.line);
            Some(json!({ "keyword": it.keyword, "value": it.value, "decidedBy": place }))
        };
        Some(
            resolved
                .effective()
                .into_iter()
                .filter_map(decided)
                .collect::<Vec<Value>>(),
        )
    });
    json!(resolved.await.ok().flatten().unwrap_or_default())
}

fn finding(step: Step, settings: &Value) -> Finding {
    let Step {
        name,
        hop,
        took,
        outcome,
    } = step;
    let placed = |text: String| match &hop {
        Some(hop) => format!("{hop}: {text}"),
        None => text,
    };
    let finding = match outcome {
        Outcome::Fine(text) if name == "config" => {
            Finding::fine(name, decided(&text, settings)).details(settings.clone())
        }
        Outcome::Fine(text) => Finding::fine(name, placed(text)),
        Outcome::Poor { text, fix } => Finding::warning(name, placed(text), fix),
        Outcome::Skipped(text) => Finding::skipped(name, placed(text)),
        Outcome::Failed(mut failure) => {
            failure.message = placed(failure.message);
            Finding::failed(name, &failure)
        }
    };
    finding.took(took)
}

/// Where the way leads, and which lines decided it.
fn decided(route: &str, settings: &Value) -> String {
    let lines: Vec<String> = settings
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| {
            let (keyword, place) = (it["keyword"].as_str()?, it["decidedBy"].as_str()?);
            DECISIVE
                .contains(&keyword)
                .then(|| format!("{keyword} by {place}"))
        })
        .collect();
    match lines.is_empty() {
        true => format!("{route}; no line of the configuration decided it"),
        false => format!("{route}; {}", lines.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_told_with_the_lines_that_decide_where_one_gets() {
        let settings = json!([
            { "keyword": "hostname", "value": "real", "decidedBy": "/c:2" },
            { "keyword": "loglevel", "value": "QUIET", "decidedBy": "/c:3" },
        ]);
        assert_eq!(decided("me@real:22", &settings), "me@real:22; hostname by /c:2");
        let step = Step {
            name: "tcp",
            hop: Some("bastion".to_owned()),
            took: Duration::from_millis(1),
            outcome: Outcome::Fine("connected".to_owned()),
        };
        assert_eq!(finding(step, &settings).text, "bastion: connected");
    }
}

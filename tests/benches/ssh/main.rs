//! Measures the crate `codex-ssh` beside OpenSSH's client: the same configuration, key and sshd, in turn, on
//! loopback and over a round trip of 50 ms.
//!
//! `cargo bench --bench ssh` builds what is measured as it is released, starts the hosts and prints tables. It
//! has to be root for the slow link; without it says so and leaves that part out. `-- --help` says what else it
//! takes.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what this program is for"
)]

mod again;
mod bulk;
mod idle;
mod link;
mod login;
mod options;
mod programs;
mod ready;
mod report;
mod rig;
mod running;

use std::{error::Error, fs, path::Path, process::ExitCode};

use clap::Parser;
use codex_testkit::{Part, available};
use options::Options;
use report::Report;
use rig::{Rig, Way};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What can be measured by itself.
const MEASURES: [&str; 8] = [
    "first", "many", "again", "jump", "download", "upload", "idle", "ready",
];

type Measure = fn(&Rig, usize, &mut Report) -> Outcome;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ssh: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let options = Options::parse();
    if ![Part::Ssh, Part::Sshd].into_iter().all(available) {
        return Err("OpenSSH is needed on both ends".into());
    }
    let client = match &options.client {
        Some(path) => path.clone(),
        None => programs::client()?,
    };
    let codex = match (&options.codex, options.wants("ready")) {
        (Some(path), true) => Some(path.clone()),
        (None, true) => Some(programs::codex()?),
        (_, false) => None,
    };
    let load = load_average();
    let mut report = Report::default();
    for (way, wanted) in [
        (Way::Loopback, !options.without_loopback),
        (Way::Delayed, !options.without_delay),
    ] {
        if !wanted {
            eprintln!("ssh: {}: left out, as the options say", way.name());
            continue;
        }
        match Rig::new(way, &client) {
            Ok(rig) => rig.near(|| measure(&rig, &options, codex.as_deref(), &mut report))?,
            Err(lack) if way == Way::Delayed => {
                eprintln!(
                    "ssh: {}: left out, no slow link can be made here: {lack}",
                    way.name()
                );
            }
            Err(lack) => return Err(lack),
        }
        println!("{}", report.table(way));
    }
    println!("Load average before and after: {load}; {}.", load_average());
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&report.json())?)?;
    }
    Ok(())
}

fn measure(rig: &Rig, options: &Options, codex: Option<&Path>, report: &mut Report) -> Outcome {
    let measures: [(&str, Measure); 7] = [
        ("first", login::first),
        ("many", login::many),
        ("again", again::measure),
        ("jump", login::jump),
        ("download", bulk::download),
        ("upload", bulk::upload),
        ("idle", idle::measure),
    ];
    for (name, measure) in measures {
        // Nothing of an idle connection depends on the distance.
        if options.wants(name) && (name, rig.way) != ("idle", Way::Delayed) {
            eprintln!("ssh: {}: {name}", rig.way.name());
            measure(rig, options.runs.get(), report)?;
        }
    }
    let Some(codex) = codex else { return Ok(()) };
    eprintln!("ssh: {}: ready", rig.way.name());
    ready::ours(codex, rig, options.runs.get(), report)?;
    if available(Part::Official) {
        ready::official(codex, rig, options.runs.get(), report)?;
    }
    Ok(())
}

/// The three numbers of proc_loadavg(5), so that a reader sees what else the machine did.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

//! Measures our app-server beside the official one: the same machine, the same scripted model, in turn.
//!
//! `cargo bench --bench app_server` builds what is released (`.ci/release`), measures and prints a table and
//! which targets are met. `-- --help` says what else it takes.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what this program is for"
)]

mod burst;
mod flood;
mod options;
mod report;
mod server;
mod slow;
mod start;
mod targets;
mod threads;
mod turns;
mod wire;

use std::{error::Error, fs, process::ExitCode};

use clap::Parser;
use options::Options;
use report::Report;
use server::Program;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("app_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let options = Options::parse();
    let programs = programs(&options)?;
    let mut report = Report::new();
    report.record(
        "binary",
        programs[0].side,
        fs::metadata(&programs[0].path)?.len() as f64 / 1e6,
    );
    let load = load_average();
    type Measure = fn(&[Program], usize, &mut Report) -> Outcome;
    let measures: [(&str, Measure); 6] = [
        ("start", start::measure),
        ("turns", turns::measure),
        ("burst", burst::measure),
        ("flood", flood::measure),
        ("slow", slow::measure),
        ("threads", threads::measure),
    ];
    for (name, measure) in measures {
        if options.wants(name) {
            eprintln!("app_server: {name}");
            measure(&programs, options.runs.get(), &mut report)?;
        } else {
            eprintln!("app_server: {name}: left out, as --only says");
        }
    }
    println!("{}", report.table());
    println!("Load average before and after: {load}; {}.\n", load_average());
    println!("{}", targets::list(&report));
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&report.json())?)?;
    }
    Ok(())
}

/// Ours, and the official one unless it is not wanted.
fn programs(options: &Options) -> Outcome<Vec<Program>> {
    let mut programs = vec![match &options.ours {
        Some(path) => Program::ours(path.clone()),
        None => Program::release()?,
    }];
    if !options.without_official {
        programs.push(Program::official()?);
    } else {
        eprintln!("app_server: the official server is left out, as --without-official says");
    }
    Ok(programs)
}

/// The three numbers of proc_loadavg(5), so that a reader sees what else the machine did.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

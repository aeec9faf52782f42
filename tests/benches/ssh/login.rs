//! From the start of the program to the first byte of a command: one host, ten at once, a host behind another.

use std::time::{Duration, Instant};

use crate::{
    Outcome,
    report::Report,
    rig::{BEHIND, HOSTS, Rig, Side, alias, in_turn, milliseconds},
    running::{Running, first_line},
};

/// What the hosts are asked for.
const COMMAND: &str = "echo";

pub(crate) fn first(rig: &Rig, runs: usize, report: &mut Report) -> Outcome {
    to("first", &alias(0), rig, runs, report)
}

pub(crate) fn jump(rig: &Rig, runs: usize, report: &mut Report) -> Outcome {
    to("jump", BEHIND, rig, runs, report)
}

fn to(key: &'static str, alias: &str, rig: &Rig, runs: usize, report: &mut Report) -> Outcome {
    in_turn(runs, |side, counts| {
        let took = first_line(match side {
            Side::Ours => rig.ours("first", COMMAND, &[alias.to_owned()]),
            Side::OpenSsh => rig.openssh(COMMAND, alias),
        })?;
        if counts {
            report.record(key, rig.way, side, milliseconds(took));
        }
        Ok(())
    })
}

pub(crate) fn many(rig: &Rig, runs: usize, report: &mut Report) -> Outcome {
    in_turn(runs, |side, counts| {
        let took = match side {
            Side::Ours => all_of_one(rig)?,
            Side::OpenSsh => all_of_many(rig)?,
        };
        if counts {
            report.record("many", rig.way, side, milliseconds(took));
        }
        Ok(())
    })
}

/// One program that connects to all.
fn all_of_one(rig: &Rig) -> Outcome<Duration> {
    let aliases: Vec<String> = (0..HOSTS).map(alias).collect();
    let mut running = Running::start(rig.ours("first", COMMAND, &aliases))?;
    let mut last = Duration::ZERO;
    for _ in 0..HOSTS {
        last = running.line()?.0;
    }
    running.end()?;
    Ok(last)
}

/// A program for each, started at once.
fn all_of_many(rig: &Rig) -> Outcome<Duration> {
    let begun = Instant::now();
    let started: Outcome<Vec<Running>> = (0..HOSTS)
        .map(|index| Running::start(rig.openssh(COMMAND, &alias(index))))
        .collect();
    let started = started?;
    // Each one's pipe keeps its line, so that reading them in order finds the last one's time.
    let mut ended = Vec::new();
    for mut running in started {
        running.line()?;
        ended.push(running);
    }
    let last = begun.elapsed();
    for running in ended {
        running.end()?;
    }
    Ok(last)
}

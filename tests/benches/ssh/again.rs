//! One more command on a connection that stands: ours beside a master connection of OpenSSH.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    report::Report,
    rig::{Rig, Side, alias, in_turn, milliseconds},
    running::{Running, first_line},
};

const COMMAND: &str = "echo";
/// Between two commands: nobody opens one more project within a round trip of the one before.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the master connection may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Our ways to one more command, as modes of the measured program: its shell is started with it, or was started ahead.
const MODES: [&str; 2] = ["again", "script"];

/// From the wish to the first byte. Ours comes about inside a program that runs, which has a clock of its own;
/// OpenSSH's is the start of a program.
pub(crate) fn measure(rig: &Rig, runs: usize, report: &mut Report) -> Outcome {
    let socket = rig.home.home().join("master.sock");
    let _master = master(rig, &socket)?;
    MODES
        .into_iter()
        .try_for_each(|mode| beside_master(rig, mode, &socket, runs, report))
}

fn beside_master(rig: &Rig, mode: &'static str, socket: &Path, runs: usize, report: &mut Report) -> Outcome {
    let mut ours = Running::start(rig.ours(mode, COMMAND, &[alias(0)]))?;
    ours.line()?;
    in_turn(runs, |side, counts| {
        thread::sleep(PAUSE);
        let took = match side {
            Side::Ours => {
                ours.say("again")?;
                Duration::from_nanos(ours.line()?.1.trim().parse()?)
            }
            Side::OpenSsh => first_line(through(rig, socket, &[&alias(0), COMMAND]))?,
        };
        if counts {
            report.record(mode, rig.way, side, milliseconds(took));
        }
        Ok(())
    })
}

fn through(rig: &Rig, socket: &Path, arguments: &[&str]) -> Command {
    let mut command = rig.home.ssh();
    command.arg("-S").arg(socket).args(arguments);
    command
}

fn master(rig: &Rig, socket: &Path) -> Outcome<Running> {
    let running = Running::start(through(rig, socket, &["-M", "-N", &alias(0)]))?;
    let deadline = Instant::now() + PATIENCE;
    while !through(rig, socket, &["-O", "check", &alias(0)])
        .output()?
        .status
        .success()
    {
        if deadline < Instant::now() {
            return Err("OpenSSH's master connection does not stand".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(running)
}

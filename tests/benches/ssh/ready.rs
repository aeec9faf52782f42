//! From the start of the program to an app-server that has answered `initialize`: `codex` beside
//! `ssh HOST codex app-server` with a script, both with the same server.

use std::path::Path;

use codex_testkit::{Codex, Model};

use crate::{
    Outcome,
    report::Report,
    rig::{Rig, Side, in_turn, milliseconds},
    running::Running,
};

const INITIALIZE: &str =
    r#"{"id":0,"method":"initialize","params":{"clientInfo":{"name":"bench","version":"1"}}}"#;

/// With this program on the host, which is the near one too.
pub(crate) fn ours(codex: &Path, rig: &Rig, runs: usize, report: &mut Report) -> Outcome {
    with(
        "ready ours",
        Codex::Program(codex.to_owned()),
        codex,
        rig,
        runs,
        report,
    )
}

/// With the official one on the host.
pub(crate) fn official(codex: &Path, rig: &Rig, runs: usize, report: &mut Report) -> Outcome {
    with("ready official", Codex::Official, codex, rig, runs, report)
}

fn with(
    key: &'static str,
    server: Codex,
    codex: &Path,
    rig: &Rig,
    runs: usize,
    report: &mut Report,
) -> Outcome {
    let model: Model = rig.model()?;
    let host = rig.host(|options| options.codex(server).model(&model))?;
    let alias = key.replace(' ', "-");
    rig.home.add(&rig.alias(&alias, &host));
    in_turn(runs, |side, counts| {
        let mut command;
        let sign = match side {
            Side::Ours => {
                command = rig.home.command(codex);
                command.args(["exec", "--json", "--host", &alias, "say hello"]);
                "\"status\":\"ready\""
            }
            Side::OpenSsh => {
                command = rig.openssh("codex app-server", &alias);
                "\"userAgent\""
            }
        };
        let mut running = Running::start(command)?;
        if side == Side::OpenSsh {
            running.say(INITIALIZE)?;
        }
        let took = loop {
            let (at, line) = running.line()?;
            if line.contains(sign) {
                break at;
            }
        };
        if counts {
            report.record(key, rig.way, side, milliseconds(took));
        }
        Ok(())
    })
}

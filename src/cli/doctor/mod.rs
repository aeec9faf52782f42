//! `codex doctor`: what works and what does not, one line a stage, on this machine or on the way to hosts.

mod bundle;
mod finding;
mod here;
mod hosts;
mod programs;
mod remover;
mod state;

use std::{io::Write, path::PathBuf};

use clap::Args;
use codex_tui::text::sanitize::sanitize_line;
use serde_json::json;

use super::{
    SshArgs,
    report::{self, Code, Problem},
};
use finding::{Examined, Finding, Verdict};
use remover::Remover;

/// Say what works and what does not, stage by stage, with a fix for what does not
///
/// Without a HOST this machine is examined: what its own app-server needs. With HOSTs each is connected to by
/// the very steps of `codex connect`, and every step is told with its time.
#[derive(Args)]
#[command(after_help = "Exit codes:
  0  fine                          1  something is broken here
  2  usage, configuration          3  could not connect
  4  authentication (of the host or of you)
  130  interrupted, 143 ended by SIGTERM: what was found until then is told

Examples:
  codex doctor
  codex doctor devbox gpu1
  codex doctor devbox --batch --json
  codex doctor devbox --bundle devbox.json")]
pub(crate) struct DoctorArgs {
    /// Hosts to examine, as for `codex connect`; this machine if none is named
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Print one JSON object per stage, with secrets removed
    #[arg(long)]
    json: bool,
    /// Also ask the configured model provider for a sign of life; nothing else here uses the network
    #[arg(long, conflicts_with = "hosts")]
    online: bool,
    /// Ask nothing: an unknown host key or a password ends the stage
    #[arg(long)]
    batch: bool,
    /// Write all that was found into FILE, with secrets removed, to show it to somebody
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    ssh: SshArgs,
}

pub(crate) fn run(args: DoctorArgs) -> Result<Code, Problem> {
    if let Some(file) = &args.bundle {
        bundle::check(file)?;
    }
    let mut remover = Remover::of_this_process();
    let (examined, stopped) = match args.hosts.is_empty() {
        true => (vec![here::examine(args.online)?], None),
        false => hosts::examine(&args, &mut remover)?,
    };
    // Hosts were told as they ended.
    if args.hosts.is_empty() {
        let json = args.json.then_some(&remover);
        let text: String = examined.iter().map(|it| text(it, json)).collect();
        say(&text);
    }
    if let Some(file) = &args.bundle {
        bundle::write(file, &examined, &remover)?;
        report::note(&format!(
            "The bundle is in {}: look at it before you show it to anybody.",
            file.display()
        ));
    }
    let worst = examined.iter().map(code).max();
    Ok(stopped.or(worst).unwrap_or(Code::Done))
}

fn say(text: &str) {
    // A reader that closed the pipe has seen enough.
    _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// As text, or as JSON without secrets.
fn text(examined: &Examined, json: Option<&Remover>) -> String {
    let host = examined.host.as_deref();
    let lines = examined.findings.iter().map(|it| line(host, it, json));
    heading(host, json.is_some()) + &lines.collect::<String>()
}

/// What stands above the stages of a host.
fn heading(host: Option<&str>, is_json: bool) -> String {
    match host {
        Some(host) if !is_json => format!("{}\n", sanitize_line(host)),
        _ => String::new(),
    }
}

/// One stage.
fn line(host: Option<&str>, finding: &Finding, json: Option<&Remover>) -> String {
    let Some(remover) = json else {
        return finding.text(host.is_some());
    };
    let mut value = finding.value();
    remover.clean(&mut value);
    value["host"] = json!(host);
    report::json_line(&value)
}

fn code(examined: &Examined) -> Code {
    let of = |it: &Finding| match (it.verdict, it.kind) {
        (Verdict::Broken, Some(kind)) => kind.into(),
        (Verdict::Broken, None) => Code::TurnFailed,
        _ => Code::Done,
    };
    examined.findings.iter().map(of).max().unwrap_or(Code::Done)
}

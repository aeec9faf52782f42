//! `codex hosts`: the aliases of the configuration and the hosts beside them, for people and for scripts.

use std::io::Write;

use codex_hosts::did_you_mean;
use codex_tui::text::{sanitize::sanitize_line, wrap::text_width};
use serde_json::json;

use super::{
    HostsArgs, effective,
    machine::THIS_MACHINE,
    report::{self, Code, Problem},
    settings::{HostSettings, Settings},
    ssh::{self, Listed, SshConfig},
};

/// A longer cell does not push the columns of all other lines away.
const COLUMN_CHARS_MAX: usize = 40;

/// One line of the list.
struct Row {
    alias: String,
    /// How it is reached: `ssh`, `command`, or `embedded` for the server in this program.
    way: &'static str,
    /// What gives a shell on it.
    command: Option<Vec<String>>,
    user: String,
    host_name: String,
    port: Option<u16>,
    jump: Option<String>,
    defined: String,
    error: Option<String>,
}

pub(crate) fn run(args: &HostsArgs) -> Result<Code, Problem> {
    if let Some(host) = &args.effective {
        return effective::run(args, host);
    }
    let config = SshConfig::new(&args.ssh);
    let settings = Settings::read()?;
    let (listed, problems) = config.list(usize::MAX, &settings)?;
    let mut rows: Vec<Row> = listed.into_iter().map(row).collect();
    let says_none = rows.is_empty() && args.hosts.is_empty() && !args.json;
    for (name, host) in &settings.hosts {
        let (line, command, error) = match host {
            // Settings for a host of SSH: its alias, if it has one, is in the list.
            Ok(HostSettings { command: None, .. }) => continue,
            Ok(host) => (host.line, host.command.clone(), None),
            Err(remark) => (remark.line, None, Some(remark.text.clone())),
        };
        // Of two hosts with one name the settings of ours decide.
        rows.retain(|it| it.alias != *name);
        rows.push(Row {
            command,
            error,
            ..Row::new(
                name.clone(),
                "command",
                format!("{}:{line}", settings.file.display()),
            )
        });
    }
    rows.push(Row::new(
        THIS_MACHINE.to_owned(),
        "embedded",
        "in this program".to_owned(),
    ));
    let unknown = match args.hosts.as_slice() {
        [] => None,
        hosts => select(&mut rows, hosts),
    };
    let text = if args.json {
        lines_of_json(&rows)
    } else {
        table(&rows)
    };
    // A reader that closed the pipe has seen enough.
    _ = std::io::stdout().lock().write_all(text.as_bytes());
    let problems = problems.iter().map(ToString::to_string);
    for problem in problems.chain(settings.remarks.iter().map(ToString::to_string)) {
        report::note(&format!("warning: {}", sanitize_line(&problem)));
    }
    if says_none {
        report::note("no hosts of SSH: the configuration names none (patterns do not count)");
    }
    match unknown {
        Some(problem) => Err(problem),
        None => Ok(Code::Done),
    }
}

/// Leaves the hosts that are asked for, in that order. Says which of them is not there.
fn select(rows: &mut Vec<Row>, hosts: &[String]) -> Option<Problem> {
    let missing = |host: &&String| rows.iter().all(|it| it.alias != **host);
    let unknown = hosts.iter().find(missing).map(|host| {
        let question = did_you_mean(host, rows.iter().map(|it| it.alias.as_str()));
        let question = question.map_or_else(String::new, |it| format!("{it}? Else "));
        Problem::usage(format!("no host of the list is named `{host}`")).hint(format!(
            "{question}`codex hosts -G {host}` prints what holds for any name"
        ))
    });
    rows.retain(|it| hosts.contains(&it.alias));
    rows.sort_by_key(|it| hosts.iter().position(|host| *host == it.alias));
    unknown
}

impl Row {
    fn new(alias: String, way: &'static str, defined: String) -> Row {
        Row {
            alias,
            way,
            command: None,
            user: String::new(),
            host_name: String::new(),
            port: None,
            jump: None,
            defined,
            error: None,
        }
    }
}

fn row(listed: Listed) -> Row {
    let defined = format!("{}:{}", listed.alias.file.display(), listed.alias.line);
    let alias = listed.alias.name;
    let row = Row::new(alias, "ssh", defined);
    match listed.settings {
        Some(Ok(settings)) => Row {
            jump: ssh::jump(&settings),
            user: settings.user,
            host_name: settings.host_name,
            port: Some(settings.port),
            ..row
        },
        failed => Row {
            error: failed.and_then(Result::err).map(|it| it.to_string()),
            ..row
        },
    }
}

fn lines_of_json(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let value = json!({
            "alias": row.alias,
            "way": row.way,
            "command": row.command,
            "user": row.user,
            "hostName": row.host_name,
            "port": row.port,
            "jump": row.jump,
            "defined": row.defined,
            "error": row.error,
        });
        report::json_line(&value)
    };
    rows.iter().map(line).collect()
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let header = ["ALIAS", "USER", "HOST NAME", "PORT", "JUMP", "DEFINED"].map(str::to_owned);
    let cells = |row: &Row| {
        let host_name = match (&row.error, &row.command) {
            (Some(error), _) => format!("({error})"),
            (None, Some(command)) => format!("$ {}", command.join(" ")),
            (None, None) => row.host_name.clone(),
        };
        let port = row.port.map(|it| it.to_string()).unwrap_or_default();
        let jump = row.jump.clone().unwrap_or_else(|| "-".to_owned());
        let cells = [
            row.alias.clone(),
            row.user.clone(),
            host_name,
            port,
            jump,
            row.defined.clone(),
        ];
        cells.map(|it| sanitize_line(&it).into_owned())
    };
    let lines: Vec<[String; 6]> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            text += cell;
            if column + 1 < line.len() {
                let width = lines
                    .iter()
                    .map(|it| text_width(&it[column]))
                    .filter(|it| *it <= COLUMN_CHARS_MAX)
                    .max()
                    .unwrap_or_default();
                text += &" ".repeat(width.saturating_sub(text_width(cell)) + 2);
            }
        }
        text.push('\n');
    }
    text
}

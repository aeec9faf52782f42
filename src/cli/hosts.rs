//! `codex hosts`: the aliases of the configuration, for people and for scripts.

use std::io::Write;

use codex_tui::text::{sanitize::sanitize_line, wrap::text_width};
use serde_json::json;

use super::{
    HostsArgs,
    report::{self, Code, Problem},
    ssh::{self, Listed, SshConfig},
};

/// One line of the list.
struct Row {
    alias: String,
    user: String,
    host_name: String,
    port: Option<u16>,
    jump: Option<String>,
    defined: String,
    error: Option<String>,
}

pub(crate) fn run(args: &HostsArgs) -> Result<Code, Problem> {
    let config = SshConfig::new(&args.ssh);
    let (listed, problems) = config.list(usize::MAX)?;
    let rows: Vec<Row> = listed.into_iter().map(row).collect();
    let text = if args.json {
        lines_of_json(&rows)
    } else {
        table(&rows)
    };
    // A reader that closed the pipe has seen enough.
    _ = std::io::stdout().lock().write_all(text.as_bytes());
    for problem in &problems {
        report::note(&format!("warning: {}", sanitize_line(&problem.to_string())));
    }
    if rows.is_empty() && !args.json {
        report::note("no hosts: the configuration names none (patterns do not count)");
    }
    Ok(Code::Done)
}

fn row(listed: Listed) -> Row {
    let defined = format!("{}:{}", listed.alias.file.display(), listed.alias.line);
    let alias = listed.alias.name;
    match listed.settings {
        Some(Ok(settings)) => Row {
            jump: ssh::jump(&settings),
            alias,
            user: settings.user,
            host_name: settings.host_name,
            port: Some(settings.port),
            defined,
            error: None,
        },
        failed => Row {
            alias,
            user: String::new(),
            host_name: String::new(),
            port: None,
            jump: None,
            defined,
            error: failed.and_then(Result::err).map(|it| it.to_string()),
        },
    }
}

fn lines_of_json(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let value = json!({
            "alias": row.alias,
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
        let host_name = match &row.error {
            Some(error) => format!("({error})"),
            None => row.host_name.clone(),
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
                    .max()
                    .unwrap_or_default();
                text += &" ".repeat(width + 2 - text_width(cell));
            }
        }
        text.push('\n');
    }
    text
}

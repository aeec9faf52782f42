//! Exit codes, and errors as people read them.

use std::{fmt, io::Write, process::ExitCode};

use codex_fleet::NoWay;
use codex_hosts::{Failure, FailureKind};
use codex_tui::text::sanitize::{sanitize, sanitize_line};

/// How the program ends. The README lists them; of several hosts the highest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    Done = 0,
    TurnFailed = 1,
    Usage = 2,
    Unreachable = 3,
    Authentication = 4,
    ApprovalNeeded = 5,
    /// 128 + SIGINT, as shells say it.
    Interrupted = 130,
    /// 128 + SIGTERM.
    Terminated = 143,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

impl From<FailureKind> for Code {
    fn from(kind: FailureKind) -> Code {
        match kind {
            FailureKind::BadConfig => Code::Usage,
            FailureKind::Unreachable
            | FailureKind::TimedOut
            | FailureKind::Protocol
            | FailureKind::Forbidden
            | FailureKind::ForwardFailed
            | FailureKind::NotInstalled
            | FailureKind::LaunchFailed
            | FailureKind::ServerExited
            | FailureKind::Incompatible => Code::Unreachable,
            FailureKind::HostKeyUnknown
            | FailureKind::HostKeyChanged
            | FailureKind::HostKeyRevoked
            | FailureKind::Unauthorized
            | FailureKind::Cancelled => Code::Authentication,
        }
    }
}

/// Why the program cannot do what it was asked for.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Problem {
        Problem {
            code,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Problem {
        Problem::new(Code::Usage, message)
    }

    /// The same as the reason why there is no way to a host.
    pub(crate) fn no_way(self) -> NoWay {
        NoWay {
            message: self.message,
            hint: self.hint,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

/// Without the hint.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Prints a problem to stderr: what went wrong, and apart from it what can be done.
pub(crate) fn print(problem: &Problem) {
    let mut text = format!("error: {}\n", sanitize(&problem.message));
    if let Some(hint) = &problem.hint {
        text += &format!("hint: {}\n", sanitize(hint));
    }
    note(text.trim_end());
}

/// One host's failure, with all that helps: where, why, what to do, what the remote said.
pub(crate) fn failure_text(host: &str, failure: &Failure) -> String {
    let phase = failure
        .phase
        .map(|it| format!(" while {}", it.label()))
        .unwrap_or_default();
    let mut text = format!(
        "error: {host}: {} [{}]{phase}",
        sanitize(&failure.message),
        failure.kind.code()
    );
    text += &format!("\nhint: {}", sanitize(failure.advice()));
    if let Some(stderr) = &failure.stderr {
        text += "\nit said:";
        for line in sanitize(stderr).lines() {
            text += &format!("\n  {}", sanitize_line(line));
        }
    }
    text
}

/// A value as one line of JSON, with its end. Control characters beyond ASCII are escaped too: terminals
/// obey them, and somebody may be looking.
pub(crate) fn json_line(value: &serde_json::Value) -> String {
    let json = value.to_string();
    let mut line = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        // JSON itself has no such characters: it is inside a string.
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' => {
                line += &format!("\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('\n');
    line
}

/// Says something on stderr. Also the names of hosts in it come from elsewhere: files of others may be included into a
/// configuration.
pub(crate) fn note(text: &str) {
    // When stderr is gone there is nobody left to tell.
    _ = writeln!(std::io::stderr().lock(), "{}", sanitize(text));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_control_character_of_a_remote_is_in_a_line_of_json_and_nothing_is_lost() {
        let value = json!({ "text": "a\u{1b}[2J\u{9b}2J\u{7f}\u{202e}b\u{200b} ä 漢\n" });
        let line = json_line(&value);
        assert_eq!(
            line.chars().filter(|it| it.is_control()).collect::<String>(),
            "\n"
        );
        assert!(!line.contains('\u{202e}'), "{line}");
        assert!(line.contains("ä 漢"), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }
}

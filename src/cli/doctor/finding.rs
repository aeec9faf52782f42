//! What was found out in one stage, for people and for scripts.

use std::time::Duration;

use codex_hosts::{Failure, FailureKind};
use codex_tui::text::sanitize::sanitize_line;
use serde_json::{Value, json};

/// All stages of one host, or of this machine.
pub(super) struct Examined {
    pub(super) host: Option<String>,
    pub(super) findings: Vec<Finding>,
    /// What goes into a bundle beside the findings.
    pub(super) more: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// It works, and something should be known or better.
    Warning,
    Broken,
    /// Not looked at.
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Fine => "ok",
            Verdict::Warning => "warning",
            Verdict::Broken => "broken",
            Verdict::Skipped => "skipped",
        }
    }
}

pub(super) struct Finding {
    /// A stable word.
    pub(super) stage: &'static str,
    pub(super) verdict: Verdict,
    /// Of a connection that failed: what the same failure is called everywhere else.
    pub(super) kind: Option<FailureKind>,
    /// What was found: a lowercase fragment. May hold text of a remote.
    pub(super) text: String,
    /// The one thing to do about it.
    pub(super) fix: Option<String>,
    pub(super) took: Option<Duration>,
    /// More than fits into a line.
    pub(super) details: Value,
}

impl Finding {
    pub(super) fn new(stage: &'static str, verdict: Verdict, text: impl Into<String>) -> Finding {
        Finding {
            stage,
            verdict,
            kind: None,
            text: text.into(),
            fix: None,
            took: None,
            details: Value::Null,
        }
    }

    pub(super) fn fine(stage: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(stage, Verdict::Fine, text)
    }

    pub(super) fn warning(stage: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding::new(stage, Verdict::Warning, text).fix(Some(fix.into()))
    }

    pub(super) fn broken(stage: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding::new(stage, Verdict::Broken, text).fix(Some(fix.into()))
    }

    pub(super) fn skipped(stage: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(stage, Verdict::Skipped, text)
    }

    /// A stage at which the connection ended.
    pub(super) fn failed(stage: &'static str, failure: &Failure) -> Finding {
        let finding = Finding::new(stage, Verdict::Broken, failure.message.clone());
        Finding {
            kind: Some(failure.kind),
            details: match &failure.stderr {
                Some(stderr) => json!({ "stderr": stderr }),
                None => Value::Null,
            },
            ..finding.fix(Some(failure.advice().to_owned()))
        }
    }

    pub(super) fn fix(mut self, fix: Option<String>) -> Finding {
        self.fix = fix;
        self
    }

    pub(super) fn took(mut self, took: Duration) -> Finding {
        self.took = Some(took);
        self
    }

    pub(super) fn details(mut self, details: Value) -> Finding {
        self.details = details;
        self
    }

    /// For scripts, without the host.
    pub(super) fn value(&self) -> Value {
        json!({
            "stage": self.stage,
            "verdict": self.verdict.word(),
            "code": self.kind.map(FailureKind::code),
            "text": self.text,
            "fix": self.fix,
            "ms": self.took.map(|it| it.as_micros() as f64 / 1000.0),
            "details": self.details,
        })
    }

    /// For people, with the ends of the lines.
    pub(super) fn text(&self, is_indented: bool) -> String {
        let indent = if is_indented { "  " } else { "" };
        let code = self
            .kind
            .map(|it| format!(" [{}]", it.code()))
            .unwrap_or_default();
        let took = self
            .took
            .map(|it| format!(" ({})", milliseconds(it)))
            .unwrap_or_default();
        let mut text = format!(
            "{indent}{:<8} {:<12} {}{code}{took}\n",
            self.verdict.word(),
            self.stage,
            sanitize_line(&self.text)
        );
        if let Some(fix) = &self.fix {
            text += &format!("{indent}{:<21} fix: {}\n", "", sanitize_line(fix));
        }
        if let Some(stderr) = self.details["stderr"].as_str() {
            for line in stderr.lines() {
                text += &format!("{indent}{:<21} | {}\n", "", sanitize_line(line));
            }
        }
        text
    }
}

fn milliseconds(it: Duration) -> String {
    let milliseconds = it.as_secs_f64() * 1000.0;
    match milliseconds {
        ..10.0 => format!("{milliseconds:.1} ms"),
        _ => format!("{milliseconds:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_one_line_with_one_fix_and_nothing_of_a_remote_moves_the_cursor() {
        let failure = Failure {
            kind: FailureKind::NotInstalled,
            phase: None,
            message: "there is no codex\u{1b}[2J".to_owned(),
            hint: Some("install it".to_owned()),
            stderr: Some("sh:\u{7}not found".to_owned()),
        };
        let finding = Finding::failed("codex", &failure).took(Duration::from_millis(12));
        let text = finding.text(true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].starts_with("  broken   codex        there is no codex"),
            "{text}"
        );
        assert!(lines[0].ends_with("[not-installed] (12 ms)"), "{text}");
        assert!(lines[1].ends_with(" fix: install it"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'));
        assert_eq!(finding.value()["code"], "not-installed");
        assert_eq!(finding.value()["ms"], 12.0);
    }
}

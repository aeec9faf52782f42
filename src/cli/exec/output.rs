//! What `codex exec` prints: answers on stdout, everything else on stderr; or one JSON object a line.

use std::{collections::BTreeMap, io::Write};

use codex_fleet::HostFacts;
use codex_hosts::{Failure, Status};
use codex_protocol::{ServerNotification, v2};
use codex_tui::{
    cells::readable_command,
    text::sanitize::{sanitize, sanitize_line},
};
use serde_json::{Value, json};

use crate::cli::report::{self, Code};

/// Where and how things are said.
pub(crate) struct Output {
    form: Form,
}

enum Form {
    Json,
    /// One host: its answer is streamed. `is_open` while a line of it is not ended.
    Stream {
        is_open: bool,
    },
    /// Several hosts: each answer is kept until it is complete.
    Blocks {
        answers: BTreeMap<String, String>,
    },
}

impl Output {
    pub(crate) fn new(is_json: bool, hosts: usize) -> Output {
        let form = match (is_json, hosts) {
            (true, _) => Form::Json,
            (false, 1) => Form::Stream { is_open: false },
            (false, _) => Form::Blocks {
                answers: BTreeMap::new(),
            },
        };
        Output { form }
    }

    /// The answer so far, of several hosts.
    #[cfg(test)]
    pub(super) fn answer(&self, host: &str) -> &str {
        match &self.form {
            Form::Blocks { answers } => answers.get(host).map_or("", String::as_str),
            Form::Json | Form::Stream { .. } => "",
        }
    }

    /// A piece of the answer.
    pub(crate) fn text(&mut self, host: &str, text: &str) {
        match &mut self.form {
            Form::Json => (),
            Form::Stream { is_open } => {
                let text = sanitize(text);
                if let Some(last) = text.chars().next_back() {
                    *is_open = last != '\n';
                }
                print(&text);
            }
            Form::Blocks { answers } => answers.entry(host.to_owned()).or_default().push_str(text),
        }
    }

    /// The answer's message is complete; another may follow.
    pub(crate) fn end_of_message(&mut self, host: &str) {
        match &mut self.form {
            Form::Json => (),
            Form::Stream { is_open } => {
                if std::mem::take(is_open) {
                    print("\n");
                }
            }
            Form::Blocks { answers } => answers.entry(host.to_owned()).or_default().push('\n'),
        }
    }

    pub(crate) fn done(&mut self, host: &str, code: Code) {
        match &mut self.form {
            Form::Json => self.event(host, "done", json!({ "exitCode": code as u8 })),
            Form::Stream { is_open } => {
                if std::mem::take(is_open) {
                    print("\n");
                }
            }
            Form::Blocks { answers } => {
                let answer = answers.remove(host).unwrap_or_default();
                let (host, answer) = (sanitize_line(host), sanitize(answer.trim_end()));
                print(&format!("── {host} ──\n{answer}\n\n"));
            }
        }
    }

    pub(crate) fn status(&mut self, host: &str, status: &Status) {
        let params = match status {
            Status::Offline => json!({ "status": "offline" }),
            Status::Working {
                phase, retry, asking, ..
            } => {
                json!({ "status": phase.label(), "retry": retry, "asking": asking })
            }
            Status::Ready { took, .. } => json!({ "status": "ready", "tookMs": took.as_millis() as u64 }),
            Status::Waiting { retry, failure, .. } => {
                json!({ "status": "waiting", "retry": retry, "failure": failure_json(failure) })
            }
            Status::Failed(failure) => json!({ "status": "failed", "failure": failure_json(failure) }),
        };
        self.event(host, "status", params);
    }

    /// The connection is lost, and the turn waits for its return; programs know from the status.
    pub(crate) fn waiting(&mut self, host: &str, failure: &Failure) {
        self.aside(
            host,
            &format!("connection lost, trying again: {}", failure.message),
        );
    }

    pub(crate) fn initialized(&mut self, host: &str, facts: &HostFacts) {
        let version = facts.initialize.server_version().unwrap_or("of unknown version");
        let params = json!({
            "userAgent": facts.initialize.user_agent,
            "version": version,
            "codex": facts.codex,
            "home": facts.home,
            "system": facts.system,
        });
        self.event(host, "initialized", params);
    }

    pub(crate) fn thread(&mut self, host: &str, opened: &v2::ThreadOpened) {
        let text = format!(
            "thread {} in {} ({}, {}, approval {})",
            opened.thread.id,
            opened.cwd,
            opened.model,
            opened.sandbox.label(),
            opened.approval_policy.label()
        );
        self.aside(host, &text);
        let params = json!({ "threadId": opened.thread.id, "cwd": opened.cwd, "model": opened.model });
        self.event(host, "thread", params);
    }

    /// The server's own words, for programs.
    pub(crate) fn notification(&mut self, host: &str, notification: &ServerNotification) {
        if let (Form::Json, Ok(params)) = (&self.form, notification.params()) {
            // `error` alone has no slash, and is the name of our own event.
            let kind = match notification.method() {
                "error" => "turn/error",
                method => method,
            };
            self.event(host, kind, params);
        }
    }

    pub(crate) fn item_started(&mut self, host: &str, item: &v2::ThreadItem) {
        if let v2::ThreadItem::CommandExecution(it) = item {
            self.aside(host, &format!("$ {}", readable_command(&it.command)));
        }
    }

    pub(crate) fn item_completed(&mut self, host: &str, item: &v2::ThreadItem) {
        match item {
            v2::ThreadItem::CommandExecution(it) => {
                let exit = it
                    .exit_code
                    .map(|it| format!(", exit status {it}"))
                    .unwrap_or_default();
                let command = readable_command(&it.command);
                self.aside(host, &format!("{}{exit}: {command}", it.status.as_str()));
            }
            v2::ThreadItem::FileChange(it) => {
                for change in &it.changes {
                    let text = format!("{} {}: {}", change.kind.tag(), change.path, it.status.as_str());
                    self.aside(host, &text);
                }
            }
            v2::ThreadItem::UserMessage(_)
            | v2::ThreadItem::AgentMessage(_)
            | v2::ThreadItem::Reasoning(_) => (),
            other => self.aside(host, other.tag()),
        }
    }

    pub(crate) fn turn_error(&mut self, host: &str, error: &v2::TurnError, will_retry: bool) {
        if will_retry {
            self.aside(host, &error.message);
        }
    }

    pub(crate) fn notice(&mut self, host: &str, text: &str) {
        self.aside(host, text);
        self.event(host, "notice", json!({ "text": text }));
    }

    pub(crate) fn error(&mut self, host: &str, text: &str) {
        self.aside(host, &format!("error: {text}"));
        self.event(host, "error", json!({ "message": text }));
    }

    /// Tells what the user can do; programs know.
    pub(crate) fn hint(&mut self, text: &str) {
        if !matches!(self.form, Form::Json) {
            self.close_line();
            report::note(&format!("hint: {text}"));
        }
    }

    pub(crate) fn failure(&mut self, host: &str, failure: &Failure) {
        match self.form {
            Form::Json => self.event(host, "failure", failure_json(failure)),
            Form::Stream { .. } | Form::Blocks { .. } => {
                self.close_line();
                report::note(&report::failure_text(host, failure));
            }
        }
    }

    /// Something beside the answer, for people.
    fn aside(&mut self, host: &str, text: &str) {
        if matches!(self.form, Form::Json) {
            return;
        }
        self.close_line();
        for line in sanitize(text).lines() {
            report::note(&format!("{host}: {}", sanitize_line(line)));
        }
    }

    /// On a terminal stdout and stderr share their lines.
    fn close_line(&mut self) {
        if let Form::Stream { is_open } = &mut self.form
            && std::mem::take(is_open)
        {
            print("\n");
        }
    }

    fn event(&self, host: &str, kind: &str, params: Value) {
        if matches!(self.form, Form::Json) {
            let event = json!({ "host": host, "event": kind, "params": params });
            print(&report::json_line(&event));
        }
    }
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "code": failure.kind.code(),
        "phase": failure.phase.map(codex_hosts::Phase::label),
        "message": failure.message,
        "hint": failure.advice(),
        "stderr": failure.stderr,
    })
}

fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A reader that closed the pipe has seen enough; the turn goes on to its exit code.
    _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

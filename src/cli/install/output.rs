//! What `codex install` says: results on stdout, progress on stderr; or one JSON object a line.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use codex_fleet::{InstallEvent, Installed};
use codex_hosts::{Failure, Phase};
use codex_tui::text::sanitize::{sanitize, sanitize_line};
use serde_json::{Value, json};

use crate::cli::report;

/// Between two lines of progress where there is no terminal.
const LINE_PERIOD: Duration = Duration::from_secs(5);
/// Cells of the bar.
const BAR_CELLS: usize = 24;
/// Columns of a terminal that does not tell its width.
const COLUMNS: usize = 80;

/// Where and how things are said.
pub(super) struct Output {
    form: Form,
    hosts: usize,
    /// A question is on the terminal, and the bar waits for its end.
    is_held: bool,
    uploads: BTreeMap<String, Upload>,
}

enum Form {
    Json,
    /// One line at the bottom of the terminal, written again and again.
    Bar {
        is_drawn: bool,
    },
    Lines,
}

/// What is on the way to one host.
struct Upload {
    begun: Instant,
    from: u64,
    sent: u64,
    total: u64,
    told: Instant,
}

impl Upload {
    fn percent(&self) -> u64 {
        self.sent * 100 / self.total.max(1)
    }

    /// Bytes in a second, on average since this upload began.
    fn rate(&self) -> f64 {
        (self.sent - self.from) as f64 / self.begun.elapsed().as_secs_f64().max(0.001)
    }

    fn text(&self) -> String {
        format!(
            "{:3} %  {} of {} MB  {}",
            self.percent(),
            megabytes(self.sent as f64),
            megabytes(self.total as f64),
            rate_of(self.rate())
        )
    }
}

/// In units of 10^6 bytes.
fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}

/// Bytes in a second, in a unit in which it is not nothing.
fn rate_of(bytes: f64) -> String {
    match bytes {
        1e5.. => format!("{:.1} MB/s", bytes / 1e6),
        _ => format!("{:.1} kB/s", bytes / 1e3),
    }
}

impl Output {
    pub(super) fn new(is_json: bool, hosts: usize) -> Output {
        let form = match is_json {
            true => Form::Json,
            false if stderr().is_terminal() => Form::Bar { is_drawn: false },
            false => Form::Lines,
        };
        Output {
            form,
            hosts,
            is_held: false,
            uploads: BTreeMap::new(),
        }
    }

    pub(super) fn warning(&mut self, text: &str) {
        self.aside(&format!("warning: {text}"));
        self.event("", "warning", json!({ "text": text }));
    }

    pub(super) fn notice(&mut self, host: &str, text: &str) {
        self.aside(&format!("{host}: {text}"));
        self.event(host, "notice", json!({ "text": text }));
    }

    pub(super) fn phase(&mut self, host: &str, phase: Phase) {
        self.event(host, "status", json!({ "status": phase.label() }));
    }

    /// The connection is lost, and another attempt follows.
    pub(super) fn lost(&mut self, host: &str, failure: &Failure) {
        self.uploads.remove(host);
        self.aside(&format!(
            "{host}: connection lost, trying again: {}",
            failure.message
        ));
        self.event(host, "lost", failure_json(failure));
    }

    pub(super) fn failure(&mut self, host: &str, failure: &Failure) {
        self.uploads.remove(host);
        self.end();
        match self.form {
            Form::Json => self.event(host, "failure", failure_json(failure)),
            Form::Bar { .. } | Form::Lines => report::note(&report::failure_text(host, failure)),
        }
    }

    pub(super) fn install(&mut self, host: &str, event: &InstallEvent) {
        match event {
            InstallEvent::Begun {
                system,
                directory,
                resumed_at,
                total,
                passed_over,
            } => {
                if !passed_over.is_empty() {
                    self.aside(&format!(
                        "{host}: no program can be written and run in {passed_over}; it goes to {directory}"
                    ));
                }
                if 0 < *resumed_at {
                    let (there, total) = (megabytes(*resumed_at as f64), megabytes(*total as f64));
                    self.aside(&format!(
                        "{host}: {there} of {total} MB are there, sending the rest"
                    ));
                }
                let now = Instant::now();
                let upload = Upload {
                    begun: now,
                    from: *resumed_at,
                    sent: *resumed_at,
                    total: *total,
                    told: now,
                };
                self.uploads.insert(host.to_owned(), upload);
                let params = json!({
                    "system": system,
                    "directory": directory,
                    "resumedAt": resumed_at,
                    "total": total,
                    "passedOver": passed_over,
                });
                self.event(host, "begun", params);
            }
            InstallEvent::Sent { sent, total } => self.sent(host, *sent, *total),
            InstallEvent::Installed(installed) => self.installed(host, installed),
            InstallEvent::Removed(removed) => self.removed(host, removed),
        }
    }

    fn sent(&mut self, host: &str, sent: u64, total: u64) {
        let Some(upload) = self.uploads.get_mut(host) else {
            return;
        };
        upload.sent = sent;
        let rate = upload.rate() as u64;
        let is_time = LINE_PERIOD <= upload.told.elapsed();
        match self.form {
            Form::Json => {
                let params = json!({ "sent": sent, "total": total, "bytesPerSecond": rate });
                self.event(host, "sent", params);
            }
            Form::Bar { .. } => self.draw(),
            Form::Lines if is_time => {
                upload.told = Instant::now();
                report::note(&format!("{host}: {}", upload.text()));
            }
            Form::Lines => (),
        }
    }

    fn installed(&mut self, host: &str, installed: &Installed) {
        let upload = self.uploads.remove(host);
        let seconds = upload.map_or(0.0, |it| it.begun.elapsed().as_secs_f64());
        let Installed {
            path,
            version,
            was_there,
            sent,
            removed,
        } = installed;
        let how = if *was_there {
            "already there".to_owned()
        } else {
            let (size, rate) = (
                megabytes(*sent as f64),
                rate_of(*sent as f64 / seconds.max(0.001)),
            );
            format!("installed, {size} MB in {seconds:.1} s, {rate}")
        };
        self.result(&format!("{host}: {version} at {path} ({how})"));
        let params = json!({
            "path": path,
            "version": version,
            "wasThere": was_there,
            "sent": sent,
            "seconds": seconds,
            "removedVersions": removed,
        });
        self.event(host, "installed", params);
    }

    fn removed(&mut self, host: &str, removed: &[(String, u32)]) {
        if removed.is_empty() {
            self.result(&format!("{host}: nothing was installed"));
        }
        for (folder, count) in removed {
            let versions = if *count == 1 { "version" } else { "versions" };
            self.result(&format!("{host}: removed {count} {versions} from {folder}"));
        }
        let folders: Vec<Value> = removed
            .iter()
            .map(|(folder, count)| json!({ "directory": folder, "versions": count }))
            .collect();
        self.event(host, "removed", json!({ "folders": folders }));
    }

    /// Keeps the bar away while a question is on the terminal.
    pub(super) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
        self.end();
    }

    /// Takes the bar away, for what comes next on the terminal.
    pub(super) fn end(&mut self) {
        if let Form::Bar { is_drawn } = &mut self.form
            && std::mem::take(is_drawn)
        {
            // When stderr is gone there is nobody left to tell.
            _ = write!(stderr().lock(), "\r\x1b[K");
        }
    }

    fn draw(&mut self) {
        if self.is_held {
            return;
        }
        let texts: Vec<String> = self
            .uploads
            .iter()
            .map(|(host, upload)| match self.hosts {
                1 => format!("{host}  {}  {}", bar(upload.percent()), upload.text()),
                _ => format!("{host} {} %", upload.percent()),
            })
            .collect();
        let rate: f64 = self.uploads.values().map(Upload::rate).sum();
        let mut line = texts.join(" · ");
        if self.hosts != 1 {
            line = format!("{}  {line}", rate_of(rate));
        }
        let columns = rustix::termios::tcgetwinsize(stderr()).map_or(COLUMNS, |it| usize::from(it.ws_col));
        let line: String = sanitize_line(&line)
            .chars()
            .take(columns.saturating_sub(1))
            .collect();
        _ = write!(stderr().lock(), "\r{line}\x1b[K");
        if let Form::Bar { is_drawn } = &mut self.form {
            *is_drawn = true;
        }
    }

    /// What people read beside the result.
    fn aside(&mut self, text: &str) {
        if matches!(self.form, Form::Json) {
            return;
        }
        self.end();
        report::note(&sanitize(text));
    }

    fn result(&mut self, text: &str) {
        if !matches!(self.form, Form::Json) {
            self.end();
            print(&format!("{}\n", sanitize_line(text)));
        }
    }

    fn event(&self, host: &str, kind: &str, params: Value) {
        if matches!(self.form, Form::Json) {
            let event = json!({ "host": host, "event": kind, "params": params });
            print(&report::json_line(&event));
        }
    }
}

fn bar(percent: u64) -> String {
    let filled = usize::try_from(percent).unwrap_or(0).min(100) * BAR_CELLS / 100;
    format!("[{}{}]", "#".repeat(filled), "-".repeat(BAR_CELLS - filled))
}

fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever closed stdout wants no more of it.
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "code": failure.kind.code(),
        "phase": failure.phase.map(Phase::label),
        "message": failure.message,
        "hint": failure.advice(),
        "stderr": failure.stderr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_the_whole_way_and_never_more() {
        assert_eq!(bar(0), format!("[{}]", "-".repeat(24)));
        assert_eq!(bar(50), format!("[{}{}]", "#".repeat(12), "-".repeat(12)));
        assert_eq!(bar(200), format!("[{}]", "#".repeat(24)));
    }
}

//! What most tests start from: hosts with aliases, and the binary run in the near side's home.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Model, wait};
use serde_json::Value;

/// The binary under test.
pub(crate) const CODEX: &str = env!("CARGO_BIN_EXE_codex");

/// Lines of output that wait for the test; more than any test reads.
const LINES_MAX: usize = 100_000;

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary to its end with nothing on stdin.
pub(crate) fn codex(client: &Client, args: &[&str]) -> Outcome {
    run(client.command(CODEX).args(args))
}

/// Runs a command to its end with nothing on stdin and no terminal.
pub(crate) fn run(command: &mut Command) -> Outcome {
    // `setsid`: a test that is started from a terminal must not find it.
    let output = in_own_session(command).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The same command without a controlling terminal.
fn in_own_session(command: &Command) -> Command {
    let mut wrapped = Command::new("setsid");
    wrapped
        .arg("--wait")
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

/// A host with the official codex and this model, known to the client under this name.
pub(crate) fn devbox(client: &Client, name: &str, model: &Model) -> Host {
    let host = Host::start(HostOptions::new().authorize(client.key()).model(model));
    client.add(&Alias::new(name, &host));
    host
}

/// A host whose `codex` is this script.
pub(crate) fn scripted(client: &Client, name: &str, script: &str) -> Host {
    let options = HostOptions::new()
        .authorize(client.key())
        .codex(Codex::Script(script.to_owned()));
    let host = Host::start(options);
    client.add(&Alias::new(name, &host));
    host
}

/// A run of the binary that goes on while the test looks.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// All that was read so far, for the text of a failure.
    seen: Vec<String>,
}

impl Running {
    pub(crate) fn start(client: &Client, args: &[&str]) -> Running {
        let mut command = client.command(CODEX);
        command.args(args);
        let mut child = in_own_session(&command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout: ChildStdout = child.stdout.take().unwrap();
        let stderr: ChildStderr = child.stderr.take().unwrap();
        Running {
            child,
            stdout: lines(stdout),
            stderr: lines(stderr),
            seen: Vec::new(),
        }
    }

    /// Waits for the next line of stdout that fits and hands it back.
    pub(crate) fn wait_for_line(&mut self, name: &str, fits: impl Fn(&str) -> bool) -> String {
        let (stdout, seen) = (&self.stdout, &mut self.seen);
        wait::until(name, wait::DEADLINE, || {
            stdout.try_iter().find(|line| {
                seen.push(line.clone());
                fits(line)
            })
        })
    }

    /// Waits for the next event of this kind from this host, in a run with `--json`.
    pub(crate) fn wait_for_event(&mut self, host: &str, kind: &str) -> Value {
        self.wait_for_event_where(host, kind, |_| true)
    }

    pub(crate) fn wait_for_event_where(
        &mut self,
        host: &str,
        kind: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let name = format!("{kind} of {host}");
        let line = self.wait_for_line(&name, |line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["host"] == host && event["event"] == kind && fits(&event["params"])
        });
        serde_json::from_str::<Value>(&line).unwrap()["params"].clone()
    }

    /// Sends SIGINT, as Ctrl+C does.
    pub(crate) fn interrupt(&self) {
        self.signal("-INT");
    }

    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.session());
        assert!(
            Command::new("kill")
                .args([signal, "--", &group])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The session that `setsid` made: its leader is the binary.
    fn session(&self) -> String {
        let parent = self.child.id().to_string();
        wait::until("the binary in its session", wait::DEADLINE, || {
            let sid = Command::new("ps")
                .args(["-o", "sid=", "-p", &parent])
                .output()
                .ok()?;
            // Without a fork, setsid became the binary itself, whose children are not meant.
            if String::from_utf8(sid.stdout).ok()?.trim() == parent {
                return Some(parent.clone());
            }
            let found = Command::new("pgrep").args(["-P", &parent]).output().ok()?;
            let own = String::from_utf8(found.stdout).ok()?.trim().to_owned();
            (!own.is_empty()).then_some(own)
        })
    }

    /// Waits for the end: the exit code, and what was not read before.
    pub(crate) fn finish(mut self) -> Outcome {
        let child = &mut self.child;
        let status = wait::until("the end of codex", wait::DEADLINE, || child.try_wait().unwrap());
        let rest = |lines: &Receiver<String>| lines.iter().map(|it| it + "\n").collect::<String>();
        Outcome {
            code: status.code(),
            stdout: rest(&self.stdout),
            stderr: rest(&self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            let session = self.session();
            _ = Command::new("kill").args(["-KILL", &session]).status();
            let stderr: Vec<String> = self.stderr.iter().collect();
            let text = format!("stdout so far: {:#?}\nstderr: {stderr:#?}\n", self.seen);
            std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
        }
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

//! A server's program: its process group, the end of what it says on standard error, and its end.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio as Stream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Stdio;
use crate::secret::{Environment, redact};

/// How much of the end of standard error is kept, in bytes.
pub(crate) const STDERR_TAIL_MAX: usize = 4 * 1024;
/// What is read of standard error at once, in bytes.
const STDERR_CHUNK: usize = 1024;
/// How long a program has to end by itself after its standard input is closed (MCP, Lifecycle, Shutdown: the client
/// closes the input, then sends SIGTERM, then SIGKILL).
const INPUT_GRACE: Duration = Duration::from_secs(1);
/// How long a program has to end after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// How long the last words of a program that has ended are waited for: a process that got away may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// A program that runs, in a process group of its own. Dropping it kills the group at once.
pub(crate) struct Child {
    child: tokio::process::Child,
    /// The group, until the program has been waited for: after that the number can be somebody else's.
    group: Option<Pid>,
    tail: Arc<Mutex<VecDeque<u8>>>,
    drain: JoinSet<()>,
    secrets: Vec<crate::Secret>,
}

/// A program could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("starting `{command}`: {source}")]
    Spawn { command: String, source: std::io::Error },
    #[error("starting `{command}`: the directory {} cannot be used", .cwd.display())]
    Directory { command: String, cwd: PathBuf },
    #[error("starting `{command}`: it has no standard streams")]
    Streams { command: String },
}

impl Child {
    /// Starts a program. `cwd` is the directory of the owner.
    pub(crate) fn spawn(
        config: &Stdio,
        environment: &Environment,
        cwd: &Path,
    ) -> Result<(Child, ChildStdout, ChildStdin), SpawnError> {
        let name = || config.command.clone();
        let cwd = config
            .cwd
            .as_ref()
            .map_or_else(|| cwd.to_owned(), |it| cwd.join(it));
        if !cwd.is_dir() {
            return Err(SpawnError::Directory { command: name(), cwd });
        }
        let mut child = Command::new(&config.command)
            .args(config.args.iter().map(|it| it.expose()))
            .env_clear()
            .envs(environment.for_program(&config.env_vars, &config.env))
            .current_dir(cwd)
            .stdin(Stream::piped())
            .stdout(Stream::piped())
            .stderr(Stream::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| SpawnError::Spawn {
                command: name(),
                source,
            })?;
        let group = child.id().and_then(|it| Pid::from_raw(it.cast_signed()));
        let streams = (child.stdout.take(), child.stdin.take(), child.stderr.take());
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let mut child = Child {
            child,
            group,
            tail: Arc::clone(&tail),
            drain: JoinSet::new(),
            secrets: secrets(config, environment),
        };
        let (Some(stdout), Some(stdin), Some(stderr)) = streams else {
            return Err(SpawnError::Streams { command: name() });
        };
        child.drain.spawn(drain(stderr, tail));
        Ok((child, stdout, stdin))
    }

    /// Waits for the end of the program. What it has started and left behind is killed. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.wait().await.ok();
        self.kill();
        status
    }

    /// Waits for the end, but not long. Cancel-safe.
    pub(crate) async fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        timeout(patience, self.ended()).await.ok().flatten()
    }

    /// Ends the program, whose standard input must have been closed: a grace, SIGTERM to its group, a grace,
    /// SIGKILL. Returns when it is gone.
    pub(crate) async fn end(&mut self) {
        if timeout(INPUT_GRACE, self.ended()).await.is_ok() {
            return;
        }
        self.signal(Signal::TERM);
        if timeout(TERM_GRACE, self.ended()).await.is_ok() {
            return;
        }
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Returns the end of what the program has written to standard error, without the secrets that it was given;
    /// waits a moment for the rest if the program has ended.
    pub(crate) async fn last_words(&mut self) -> String {
        if self.group.is_none() {
            let _ = timeout(LAST_WORDS, self.drain.join_next()).await;
        }
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        redact(text.trim(), self.secrets.iter().map(|it| it.expose()))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may be gone already, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.group = None;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the program was given and must not be repeated to people.
fn secrets(config: &Stdio, environment: &Environment) -> Vec<crate::Secret> {
    let named = config.env_vars.iter().filter_map(|it| environment.get(it));
    config.env.values().chain(named).cloned().collect()
}

async fn drain(mut stderr: ChildStderr, tail: Arc<Mutex<VecDeque<u8>>>) {
    let mut chunk = [0; STDERR_CHUNK];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(&chunk[..read]);
        let surplus = tail.len().saturating_sub(STDERR_TAIL_MAX);
        tail.drain(..surplus);
    }
}

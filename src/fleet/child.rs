//! A program of the user that leads to a host: its standard streams, its end, its last words.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    pin::Pin,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    process::{ChildStdin, ChildStdout, Command},
    sync::{oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use crate::limits;

/// A running program. Reading gives its standard output, writing feeds its standard input. Dropping it ends
/// the program and everything in its process group.
pub(crate) struct Child {
    /// Gone when it was closed.
    input: Option<ChildStdin>,
    output: ChildStdout,
    watch: ChildWatch,
    _tasks: JoinSet<()>,
    _group: Group,
}

/// What is known of a program, also after its end; cheap to clone.
#[derive(Clone)]
pub(crate) struct ChildWatch {
    status: watch::Receiver<Option<ExitStatus>>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
}

/// Ends a process group when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself. Nothing in it is worth a grace: it only carries bytes.
            _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Child {
    /// Starts a program. `argv` is not empty.
    pub(crate) fn start(argv: &[String]) -> io::Result<Child> {
        Child::start_with(argv, Vec::new())
    }

    /// The same, with variables beside those of this process.
    pub(crate) fn start_with(argv: &[String], variables: Vec<(&str, OsString)>) -> io::Result<Child> {
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, to end its children too and to keep the terminal's Ctrl-C away.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|it| i32::try_from(it).ok());
        let group = Group(group.and_then(Pid::from_raw));
        let (Some(input), Some(output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("no pipes to the command"));
        };
        let (told, status) = watch::channel(None);
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&stderr);
        let (said_all, has_said_all) = oneshot::channel::<()>();
        tasks.spawn(async move {
            let _said_all = said_all;
            let mut buffer = vec![0; 4096];
            while let Ok(read @ 1..) = errors.read(&mut buffer).await {
                keep(&kept, &buffer[..read]);
            }
        });
        tasks.spawn(async move {
            if let Ok(status) = child.wait().await {
                // Whoever hears of the end wants to know what was said about it.
                _ = timeout(limits::STDERR_PATIENCE, has_said_all).await;
                told.send_replace(Some(status));
            }
        });
        Ok(Child {
            input: Some(input),
            output,
            watch: ChildWatch { status, stderr },
            _tasks: tasks,
            _group: group,
        })
    }

    /// Whether it has read all that was written to it; also where the system does not tell.
    pub(crate) fn has_taken_input(&self) -> bool {
        let left = self.input.as_ref().map(rustix::io::ioctl_fionread);
        !matches!(left, Some(Ok(1..)))
    }

    pub(crate) fn watch(&self) -> ChildWatch {
        self.watch.clone()
    }
}

fn keep(kept: &Mutex<VecDeque<u8>>, data: &[u8]) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.extend(data);
    let excess = kept.len().saturating_sub(limits::STDERR_BYTES_MAX);
    kept.drain(..excess);
}

impl ChildWatch {
    /// How the program ended, once it has; `None` when nobody waits for it any more.
    pub(crate) async fn ended(&self) -> Option<ExitStatus> {
        let mut status = self.status.clone();
        status.wait_for(Option::is_some).await.ok().and_then(|it| *it)
    }

    /// The last `lines` lines of its standard error that are not empty. The far side's text, uncleaned.
    pub(crate) fn stderr(&self, lines: usize) -> String {
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let filled: Vec<&str> = text.lines().filter(|it| !it.trim().is_empty()).collect();
        filled[filled.len().saturating_sub(lines)..].join("\n")
    }
}

impl AsyncRead for Child {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl Child {
    fn input(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "the program's input is closed");
        self.input.as_mut().map(Pin::new).ok_or_else(closed)
    }
}

impl AsyncWrite for Child {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.input()?.poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input()?.poll_flush(context)
    }

    /// Only a dropped pipe is closed.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    fn sh(script: &str) -> Child {
        Child::start(&["sh", "-c", script].map(str::to_owned)).unwrap()
    }

    #[tokio::test]
    async fn streams_end_and_last_words_are_the_programs() {
        let mut child = sh("read line; echo \"got $line\"; echo one >&2; echo two >&2; exit 7");
        child.write_all(b"it\n").await.unwrap();
        let mut text = String::new();
        child.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "got it\n");
        let status = child.watch().ended().await.unwrap();
        assert_eq!(status.code(), Some(7));
        while child.watch().stderr(9) != "one\ntwo" {
            tokio::task::yield_now().await;
        }
        assert_eq!(child.watch().stderr(1), "two");
    }

    #[tokio::test]
    async fn a_dropped_program_takes_its_children_along() {
        let mut child = sh("sleep 1000 & echo $!; wait");
        let mut line = [0; 16];
        let read = child.read(&mut line).await.unwrap();
        let pid = String::from_utf8_lossy(&line[..read]).trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        assert!(rustix::process::test_kill_process(pid).is_ok());
        drop(child);
        let gone = async {
            // A zombie counts as there until somebody has waited for it.
            let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            while state().is_ok_and(|it| !it.contains(") Z ")) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone)
            .await
            .expect("the child's child goes on");
    }
}

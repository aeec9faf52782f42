//! A running command as its owner sees it.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    command::TerminalSize,
    leash::Leash,
    output::{Captured, Output, Recorder},
    terminal,
};

/// Pieces of standard input that wait for the command. When it is full, [`Process::write`] waits.
pub(crate) const INPUT_MAX: usize = 16;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Exited(i32),
    /// By a signal's number. Inside bubblewrap it is seen as an exit code of 128 more.
    Signaled(i32),
    /// Its sandbox could not be set up, for this reason.
    NotRun(String),
}

/// Who ended a command. After [`Process::kill`] it is `Itself`, with the status of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Itself,
    TimedOut,
    /// [`Process::terminate`].
    Terminated,
}

/// The end of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub status: Status,
    pub cause: Cause,
    /// From its start to its end.
    pub duration: Duration,
    /// False if a process that got away still held the output open, so that its end was not seen.
    pub output_is_whole: bool,
}

impl Exit {
    /// Returns the exit code as a shell says it: 128 more than the number of a signal, 126 for what could not be
    /// run (POSIX, Shell Command Language 2.8.2).
    pub fn code(&self) -> i32 {
        const CANNOT_RUN: i32 = 126;
        const SIGNALS: i32 = 128;
        match self.status {
            Status::Exited(code) => code,
            Status::Signaled(signal) => SIGNALS + signal,
            Status::NotRun(_) => CANNOT_RUN,
        }
    }
}

/// Something that cannot be done to a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("writing to standard input: it is closed")]
    InputClosed,
    #[error("resizing the terminal: the process is not attached to one")]
    NoTerminal,
    #[error("resizing the terminal to {rows} rows and {columns} columns")]
    Resize {
        rows: u16,
        columns: u16,
        source: std::io::Error,
    },
}

/// What a look at a background process brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The output since the last look, with the ends kept as the command's capture limits say.
    pub output: Captured,
    /// Set once the command has ended and its output has been read.
    pub exit: Option<Exit>,
}

/// Where a command is in its life.
#[derive(Clone, Debug)]
pub(crate) enum Life {
    Running,
    /// Ended; there may be output in the pipes.
    Gone(Exit),
    /// Ended and read to the end.
    Settled(Exit),
}

/// A running command. Dropping it kills the command and all that it started.
#[derive(Debug)]
pub struct Process {
    pub(crate) pid: u32,
    pub(crate) leash: Arc<Leash>,
    pub(crate) life: watch::Receiver<Life>,
    pub(crate) requests: Arc<Notify>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) input: Mutex<Option<mpsc::Sender<Bytes>>>,
    pub(crate) master: Option<OwnedFd>,
    /// Ends the tasks with the process.
    pub(crate) _tasks: JoinSet<()>,
}

impl Process {
    /// Returns the process number: the command's own, or that of its sandbox's supervisor.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Writes to standard input; waits while 16 writes are pending.
    pub async fn write(&self, bytes: Bytes) -> Result<(), ProcessError> {
        let input = self.lock_input().clone().ok_or(ProcessError::InputClosed)?;
        input.send(bytes).await.map_err(|_| ProcessError::InputClosed)
    }

    /// Closes standard input after what was written; on a terminal, types its end-of-input character.
    pub fn close_input(&self) {
        self.lock_input().take();
    }

    /// Sets the terminal's size.
    pub fn resize(&self, size: TerminalSize) -> Result<(), ProcessError> {
        let master = self.master.as_ref().ok_or(ProcessError::NoTerminal)?;
        let TerminalSize { rows, columns } = size;
        terminal::resize(master, size).map_err(|source| ProcessError::Resize {
            rows,
            columns,
            source,
        })
    }

    /// Returns how the command ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        match &*self.life.borrow() {
            Life::Running => None,
            Life::Gone(exit) | Life::Settled(exit) => Some(exit.clone()),
        }
    }

    /// Waits for the end of the command and of its output. Somebody must read its [`crate::Chunks`] meanwhile, or
    /// have dropped them. Cancel-safe.
    pub async fn wait(&self) -> Exit {
        self.wait_for(|life| matches!(life, Life::Settled(_))).await
    }

    /// Ends the command: `SIGTERM` to all its processes, two seconds of grace, `SIGKILL`. Returns when it is gone;
    /// its last output may still be unread. Cancelling the wait does not cancel the ending.
    pub async fn terminate(&self) -> Exit {
        self.requests.notify_one();
        self.wait_for(|life| !matches!(life, Life::Running)).await
    }

    /// Kills the command and all that it started, without grace and without waiting.
    pub fn kill(&self) {
        self.leash.kill();
    }

    /// Returns what is kept of the output so far.
    pub fn output(&self) -> Output {
        self.recorder.output()
    }

    /// Waits until the command has ended, but not longer than `patience`, and takes the output that no earlier
    /// call has taken.
    pub async fn poll(&self, patience: Duration) -> Unread {
        let exit = timeout(patience, self.wait()).await.ok();
        Unread {
            output: self.recorder.take_unread(),
            exit,
        }
    }

    async fn wait_for(&self, is_reached: impl Fn(&Life) -> bool) -> Exit {
        let mut life = self.life.clone();
        let reached = life.wait_for(|life| is_reached(life)).await;
        match reached.as_deref() {
            Ok(Life::Gone(exit) | Life::Settled(exit)) => exit.clone(),
            // The keeper lives as long as this process; it ends early only with the runtime.
            Ok(Life::Running) | Err(_) => Exit {
                status: Status::NotRun("the runtime has ended".to_owned()),
                cause: Cause::Terminated,
                duration: Duration::ZERO,
                output_is_whole: false,
            },
        }
    }

    fn lock_input(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Bytes>>> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.leash.kill();
    }
}

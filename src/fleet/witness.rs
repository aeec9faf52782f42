//! Who can tell how a server ended.

use codex_ssh::{Exit, ExitWatch, Stderr};
use tokio::time::timeout;

use crate::{child::ChildWatch, limits};

/// The exit status of ssh(1) for a failure of its own.
pub(crate) const SSH_FAILED: i32 = 255;

/// Who knows how the far end ended, and what it said beside the conversation.
#[derive(Clone)]
pub(crate) enum Witness {
    Ssh(ExitWatch, Stderr),
    Child(ChildWatch),
    /// The system's `ssh`: it passes on how the command ended, and has a status of its own for a lost connection.
    System(ChildWatch),
    /// A server that was there before us: the connection is all there is.
    Socket,
    /// A server in this process.
    Embedded,
}

/// How it ended.
pub(crate) enum Ended {
    /// The way to it was lost first; the text says how.
    Lost(String),
    /// The process ended; the text has its exit status.
    Exited(String),
    /// The host closed the process's channel while the connection stands, without a word about how the process ended:
    /// sshd(8) has one for every end, so it closed a channel that it found idle.
    Closed,
}

impl Witness {
    /// How the far end ended. The end of its stream comes before the reason for it, so this waits a moment;
    /// `None` when nobody knows.
    pub(crate) async fn ended(&self) -> Option<Ended> {
        let patience = limits::LAST_WORDS_PATIENCE;
        match self {
            Witness::Ssh(exit, _) => match timeout(patience, exit.wait()).await {
                Ok(Exit::Lost(closed)) => Some(Ended::Lost(closed.to_string())),
                Ok(Exit::Unknown) => Some(Ended::Closed),
                Err(_) => None,
                Ok(exit) => Some(Ended::Exited(exit.to_string())),
            },
            Witness::Child(watch) => {
                let status = timeout(patience, watch.ended()).await.ok().flatten()?;
                Some(Ended::Exited(status.to_string()))
            }
            Witness::System(watch) => {
                let status = timeout(patience, watch.ended()).await.ok().flatten()?;
                Some(match status.code() {
                    Some(SSH_FAILED) | None => {
                        let said = watch.stderr(1);
                        let said = if said.is_empty() { status.to_string() } else { said };
                        Ended::Lost(format!("the system's ssh ended: {said}"))
                    }
                    Some(_) => Ended::Exited(status.to_string()),
                })
            }
            Witness::Socket | Witness::Embedded => None,
        }
    }

    /// The end of its standard error. Not sanitized.
    pub(crate) fn stderr(&self) -> String {
        match self {
            Witness::Ssh(_, stderr) => stderr.tail(limits::STDERR_LINES),
            Witness::Child(watch) | Witness::System(watch) => watch.stderr(limits::STDERR_LINES),
            Witness::Socket | Witness::Embedded => String::new(),
        }
    }
}

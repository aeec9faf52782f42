//! A shell that is started ahead, and waits for its script.
//!
//! On a connection that stands, a short command costs what the far side needs to start it: sshd's fork, the login
//! shell, its start-up files, which may take seconds. Nothing on this side makes that faster, but it can be over
//! before the command is known.

use std::io;

use tokio::io::AsyncWriteExt;

use crate::{channel, error::ExecError, exec::Process, session::Session};

/// Every login shell passes this on unchanged. `read` takes its input byte by byte (POSIX.1-2017, `read`), so that all
/// behind the line is left to the script.
const WAITS: &str = "exec /bin/sh -c 'IFS= read -r line && eval \"$line\"'";

/// A POSIX shell on the far side that waits for one script. It ends when this is dropped, and with the session.
pub struct WaitingShell(Process);

impl Session {
    /// Starts a shell for a script that is still to come: the script then costs no more than a round trip.
    ///
    /// It is an idle process and a channel on the far side meanwhile, and a forced command (`ForceCommand`) runs once
    /// more: this is for who knows that the host runs what it is asked to, and that a script is about to follow.
    /// Limits and errors are those of [`exec`](Session::exec), but its output never stops the session: 16 MiB wait for
    /// the reader, and a shell with more is given up, as an error behind them says.
    pub async fn start_shell(&self) -> Result<WaitingShell, ExecError> {
        // Nobody reads what start-up files print before there is a script.
        self.exec_by(WAITS, channel::open_stored).await.map(WaitingShell)
    }
}

impl WaitingShell {
    /// Gives it `script`, one line of POSIX sh, which has the rest of the input for its own.
    ///
    /// Whether a shell was still there is known by what the script prints: a server may have ended it, and then its
    /// output ends without a word. What start-up files printed comes first. An error says that the channel is closed.
    pub async fn run(self, script: &str) -> io::Result<Process> {
        let WaitingShell(mut process) = self;
        debug_assert!(!script.contains('\n'), "a script is one line");
        process.write_all(format!("{script}\n").as_bytes()).await?;
        process.flush().await?;
        Ok(process)
    }
}

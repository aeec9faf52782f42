//! The signals that concern a terminal program.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM, SIGHUP: end in order.
    End,
    /// SIGINT: the same, but an editor that has the terminal means itself.
    Interrupt,
    /// SIGTSTP: give the terminal back and stop.
    Stop,
    /// SIGCONT: somebody else may have changed the terminal.
    Continue,
}

/// The process's signals; none at all in tests.
pub(crate) enum Signals {
    Process {
        terminate: Stream,
        hangup: Stream,
        interrupt: Stream,
        stop: Stream,
        resume: Stream,
    },
    /// A test's loop must not listen to the test runner's signals.
    #[cfg(test)]
    Silent,
}

impl Signals {
    pub(crate) fn of_process() -> io::Result<Signals> {
        Ok(Signals::Process {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            stop: signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?,
            resume: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }

    /// The next signal. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Signal {
        match self {
            Signals::Process {
                terminate,
                hangup,
                interrupt,
                stop,
                resume,
            } => tokio::select! {
                _ = terminate.recv() => Signal::End,
                _ = hangup.recv() => Signal::End,
                _ = interrupt.recv() => Signal::Interrupt,
                _ = stop.recv() => Signal::Stop,
                _ = resume.recv() => Signal::Continue,
            },
            #[cfg(test)]
            Signals::Silent => std::future::pending().await,
        }
    }
}

/// Stops the whole job, as the terminal driver does for Ctrl+Z; returns when it is continued.
///
/// SIGSTOP and not SIGTSTP: our own handler is installed for that one. The whole process group, because a
/// shell waits for the job's leader, which may be a wrapper around us.
pub(crate) fn stop_job() -> io::Result<()> {
    rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?;
    Ok(())
}

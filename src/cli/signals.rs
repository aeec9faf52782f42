//! What ends a command without a UI from outside.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::report::Code;

/// SIGINT and SIGTERM. Listening begins once: a signal that came between two waits would be lost otherwise.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on. It needs a runtime.
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one, as the exit code that it leads to.
    pub(crate) async fn next(&mut self) -> Code {
        tokio::select! {
            _ = self.interrupt.recv() => Code::Interrupted,
            _ = self.terminate.recv() => Code::Terminated,
        }
    }
}

//! The hold on a running command: how it is asked to end, and how it is ended.

use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(target_os = "linux")]
use std::{io::Write, net::Shutdown, os::unix::net::UnixStream};

use rustix::process::Signal;
#[cfg(target_os = "linux")]
use rustix::process::{Pid, kill_process};

use crate::family;
#[cfg(target_os = "linux")]
use crate::sandbox::TERMINATE;

/// What a signal goes to.
#[derive(Debug)]
pub(crate) struct Leash {
    hold: Hold,
    /// Set when the command has ended, after which its numbers may belong to others.
    is_over: AtomicBool,
}

#[derive(Debug)]
pub(crate) enum Hold {
    /// The leader of a session of its own.
    Session { leader: i32 },
    /// The supervisor of a sandbox does what the control stream says, and kills when it ends.
    #[cfg(target_os = "linux")]
    Supervisor { pid: i32, control: UnixStream },
}

impl Leash {
    pub(crate) fn new(hold: Hold) -> Self {
        Leash {
            hold,
            is_over: AtomicBool::new(false),
        }
    }

    /// Sends `SIGTERM` to all of the command's processes.
    pub(crate) fn ask(&self) {
        if self.is_over() {
            return;
        }
        match &self.hold {
            Hold::Session { leader } => family::signal_session(*leader, Signal::TERM),
            // If the stream is broken, the supervisor is already killing.
            #[cfg(target_os = "linux")]
            Hold::Supervisor { control, .. } => drop((&mut &*control).write(&[TERMINATE])),
        }
    }

    /// Kills all of the command's processes.
    pub(crate) fn kill(&self) {
        if self.is_over() {
            return;
        }
        match &self.hold {
            Hold::Session { leader } => family::signal_session(*leader, Signal::KILL),
            #[cfg(target_os = "linux")]
            Hold::Supervisor { control, .. } => drop(control.shutdown(Shutdown::Write)),
        }
    }

    /// Kills a supervisor that did not do its work. The kernel then ends the sandbox (its first process has
    /// asked for that).
    pub(crate) fn kill_supervisor(&self) {
        match &self.hold {
            Hold::Session { .. } => {}
            #[cfg(target_os = "linux")]
            Hold::Supervisor { pid, .. } => {
                if let (false, Some(pid)) = (self.is_over(), Pid::from_raw(*pid)) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }

    /// Ends what the command left running, once it has ended itself, and lets go.
    pub(crate) fn release(&self) {
        match &self.hold {
            Hold::Session { leader } => family::signal_session(*leader, Signal::KILL),
            // It has done so itself.
            #[cfg(target_os = "linux")]
            Hold::Supervisor { .. } => {}
        }
        self.is_over.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

//! What is to be run: a command as a value.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use codex_protocol::v2::SandboxPolicy;

use crate::output::CaptureLimits;

/// A command, complete: nothing is inherited from this process.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program, searched in `PATH` of `environment`, and its arguments. Never a shell line.
    pub argv: Vec<String>,
    /// An existing directory, absolute.
    pub cwd: PathBuf,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where standard input comes from. With a terminal it is the terminal in either case.
    pub stdin: Stdin,
    /// A terminal of this size in place of three pipes.
    pub terminal: Option<TerminalSize>,
    /// How long it may run before it is ended as by [`crate::Process::terminate`].
    pub time_out: Option<Duration>,
    /// How much of the output is kept.
    pub capture: CaptureLimits,
    /// What it may do.
    pub sandbox: SandboxPolicy,
    /// Files and directories which a sandboxed command must not read: stored credentials. Those that do not
    /// exist are skipped. Absolute.
    pub hidden: Vec<PathBuf>,
    /// Unix sockets to which a sandboxed command may connect. Only Seatbelt can open single ones; elsewhere a list
    /// that is not empty is refused. Absolute.
    pub unix_sockets: Vec<PathBuf>,
}

/// Where standard input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// Nowhere: it is at its end.
    Null,
    /// From [`crate::Process::write`].
    Piped,
}

/// A terminal's size in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

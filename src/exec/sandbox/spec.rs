//! What this process and the supervisor of a sandboxed command tell each other, as lines of JSON.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{bubblewrap::Variant, rules::Rules};

/// Bytes of a [`Spec`] on the wire: more than Linux lets a program have as arguments and environment (execve(2)
/// gives a quarter of the stack limit, 2 MiB).
pub(crate) const SPEC_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Asks the supervisor to pass `SIGTERM` on. The end of its control stream asks it to kill.
pub(crate) const TERMINATE: u8 = b't';

/// A sandboxed command, the first line that the supervisor reads. It travels in a socket because arguments and
/// environments are readable to others in the process table, and because an environment such as `LD_PRELOAD`
/// must not act on programs outside the sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) enforcement: Enforcement,
    pub(crate) rules: Rules,
    /// Absolute.
    pub(crate) program: PathBuf,
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    /// Standard input, output and error are a terminal of its own.
    pub(crate) terminal: Option<PathBuf>,
}

/// How the rules are enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Enforcement {
    Bubblewrap { program: PathBuf, variant: Variant },
    Landlock,
}

/// What the supervisor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The first line, if the command could be started.
    Started,
    /// The sandbox could not be set up; the command did not run.
    Failed(String),
    /// The last line.
    Exited(i32),
    /// The last line.
    Signaled(i32),
}

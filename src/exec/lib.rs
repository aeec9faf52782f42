//! Runs commands, contained: processes and their output, sandboxes, and tables of known commands.
//!
//! ```text
//! Command ──► Runner ──► Process + Chunks        (spawn)
//!               │            └── Processes         those that go on in the background
//!               ├── Rules                          what a policy means here   (sandbox/rules)
//!               └── Preflight                      what this host can enforce (sandbox/preflight)
//! ```
//!
//! Without a sandbox a command is a child of this process. With one it is a child of a supervisor: our own
//! binary again, started with [`SANDBOX_MODE`] as its first argument, which holds the command's life in its
//! hands and cleans up even if this process is killed.

mod command;
mod family;
mod keeper;
mod leash;
mod output;
pub mod policy;
mod process;
mod processes;
mod program;
mod raw;
mod runner;
pub mod sandbox;
mod terminal;
mod text;

pub use command::{Command, Stdin, TerminalSize};
pub use output::{CaptureLimits, Captured, Chunk, Chunks, Output, Stream};
pub use process::{Cause, Exit, Process, ProcessError, Status, Unread};
pub use processes::{PROCESSES_MAX, ProcessId, Processes, ProcessesError};
pub use runner::{Runner, SpawnError};
pub use sandbox::{SANDBOX_MODE, sandbox_main};
pub use text::TextStream;

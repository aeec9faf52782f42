//! What an SSH host does with a command line: gives it to the user's shell.

use std::time::Duration;

use codex_exec::{CaptureLimits, Command, Runner, SpawnError, Stdin};
use codex_protocol::v2::{DangerFullAccess, SandboxPolicy};

use crate::home::{Home, SHELL};

/// How long a command may take. Starting a server takes a fraction of a second; a shell's start-up files may
/// hang for some seconds without being waited for longer by the line itself.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
/// How much of each stream is kept; the middle of more is left out.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What a command line came to.
pub(crate) enum Ran {
    /// It ended by starting `codex app-server`, and had printed this before.
    Server { printed: Vec<u8> },
    Ended {
        stdout: Vec<u8>,
        stderr: Vec<u8>,
        code: u32,
    },
}

/// Runs a line as sshd would, with an empty standard input and in the user's home.
pub(crate) async fn run(runner: &Runner, home: &Home, line: &str) -> Result<Ran, SpawnError> {
    let command = Command {
        argv: vec![SHELL.to_owned(), "-c".to_owned(), line.to_owned()],
        cwd: home.folder.clone(),
        environment: home.environment.clone(),
        stdin: Stdin::Null,
        terminal: None,
        time_out: Some(COMMAND_PATIENCE),
        capture: CaptureLimits::of(OUTPUT_BYTES_MAX),
        // Whoever holds the key may do what the user may, as on every host.
        sandbox: SandboxPolicy::DangerFullAccess(DangerFullAccess {}),
        hidden: Vec::new(),
        unix_sockets: Vec::new(),
    };
    let (process, chunks) = runner.spawn(command).await?;
    drop(chunks);
    let exit = process.wait().await;
    let output = process.output();
    let (mut stdout, stderr) = (output.stdout.bytes(), output.stderr.bytes());
    let call = format!("{}\n", home.call);
    if exit.code() == 0 && stdout.ends_with(call.as_bytes()) {
        stdout.truncate(stdout.len() - call.len());
        return Ok(Ran::Server { printed: stdout });
    }
    let code = u32::try_from(exit.code()).unwrap_or(u32::MAX);
    Ok(Ran::Ended { stdout, stderr, code })
}

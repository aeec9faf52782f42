//! Scripts on a host over SSH, around start-up files that keep its login shell from running them.
//!
//! A shell that sshd starts reads start-up files even for a single command. One of them may become another shell
//! (`exec zsh`), which then looks for commands on its input, or take the input itself (`read`). The script's first
//! word back tells that it runs. Where that does not come, the script is started anew with a line that takes its
//! input as well.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use codex_ssh::{ExecError, Process, Session};
use tokio::{
    io::{AsyncRead, AsyncWriteExt},
    time::{sleep, timeout},
};

use crate::{
    launch::{self, Noise},
    limits,
};

/// Until a command that was refused is tried again.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// What start-up files did to a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detour {
    /// They made this shell of the login shell.
    Shell(String),
    /// They took its input, or all of the time that it had.
    Input,
}

/// Whether a script has said its first word, or ended, in time. What was read stays in `printed`.
pub(crate) async fn begins(
    word: &str,
    stream: &mut (impl AsyncRead + Unpin),
    printed: &mut BytesMut,
) -> bool {
    let said = async {
        let mut noise = Noise::default();
        while memchr::memmem::find(printed, word.as_bytes()).is_none() && noise.read(stream, printed).await {}
    };
    timeout(limits::SHELL_PATIENCE, said).await.is_ok()
}

/// Ends a process that did not begin and starts this line, which has [`launch::DRAIN`] in it, in its place.
pub(crate) async fn go_around(
    session: &Session,
    process: Process,
    nonce: &str,
    line: &str,
) -> Result<Process, ExecError> {
    end(process).await;
    with_input(session, nonce, line).await
}

/// Starts a line with [`launch::DRAIN`] in it, and gives it its input.
pub(crate) async fn with_input(session: &Session, nonce: &str, line: &str) -> Result<Process, ExecError> {
    let mut process = run_after_another(session, line).await?;
    // A shell that does not read shows itself by its silence.
    let input = launch::fed(line, nonce);
    _ = timeout(limits::LAUNCH_PATIENCE, process.write_all(input.as_bytes())).await;
    Ok(process)
}

async fn end(mut process: Process) {
    _ = process.shutdown().await;
    _ = timeout(limits::LAST_WORDS_PATIENCE, process.exit().wait()).await;
}

/// Starts a command behind one that has just ended: where a server allows one at a time (`MaxSessions`), its place
/// may be free a moment later.
pub(crate) async fn run_after_another(session: &Session, line: &str) -> Result<Process, ExecError> {
    let deadline = Instant::now() + limits::LAST_WORDS_PATIENCE;
    loop {
        match session.exec(line).await {
            Err(ExecError::ChannelRefused { .. }) if Instant::now() < deadline => sleep(REFUSED_PAUSE).await,
            begun => return begun,
        }
    }
}

//! Scripts on a host over SSH, around start-up files that keep its login shell from running them.
//!
//! A shell that sshd starts reads start-up files even for a single command. One of them may become another shell
//! (`exec zsh`), which then looks for commands on its input, or take the input itself (`read`). The script's first
//! word back tells that it runs. Where that does not come, the script is started a second time with a line that takes
//! its input as well, and the one that says its word first is the one that counts: a start-up file may only be slow.

use std::time::Duration;

use bytes::BytesMut;
use codex_ssh::{ExecError, Process, Session};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    launch::{self, Noise},
    limits,
};

/// Until a command that was refused is tried again.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// Standard output that is silent for so long, behind a word on the other one, has lost the word.
const ASTRAY: Duration = Duration::from_millis(500);

/// What start-up files did to a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detour {
    /// They made this shell of the login shell.
    Shell(String),
    /// They took its input.
    Input,
}

/// A script, as the two lines that run it.
pub(crate) struct Script<'a> {
    pub(crate) nonce: &'a str,
    pub(crate) plain: &'a str,
    /// With [`launch::DRAIN`] in it.
    pub(crate) around: &'a str,
    /// Its input ends at once: there are shells that read all of theirs before they do anything.
    pub(crate) ends: bool,
    /// From its start to its first word.
    pub(crate) patience: Duration,
}

/// A script that was started.
pub(crate) struct Begun {
    pub(crate) process: Process,
    /// What was read of its output.
    pub(crate) printed: BytesMut,
    /// Whether it is the second one, with its input.
    pub(crate) around: bool,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It has said its first word.
    Runs,
    /// The output ended without it.
    Ended,
    /// The output was more than is read.
    TooMuch,
    /// It was waited for in vain.
    Late,
    /// It said the word on standard error, and standard output leads nowhere.
    Astray,
}

/// One of the two.
struct Try {
    process: Process,
    printed: BytesMut,
    noise: Noise,
}

impl Try {
    fn new(process: Process) -> Try {
        Try {
            process,
            printed: BytesMut::new(),
            noise: Noise::default(),
        }
    }

    /// Waits for the first word. Nothing is lost when this is given up.
    async fn begins(&mut self, script: &Script<'_>) -> How {
        let word = launch::first_word(script.nonce);
        let stderr = self.process.stderr();
        let mut was_silent = false;
        loop {
            if has(&self.printed, &word) {
                return How::Runs;
            }
            match timeout(ASTRAY, self.noise.read(&mut self.process, &mut self.printed)).await {
                Ok(true) => was_silent = false,
                Ok(false) if self.noise.is_too_much() => return How::TooMuch,
                Ok(false) => return How::Ended,
                Err(_) if was_silent => return How::Astray,
                Err(_) => was_silent = is_said(script.nonce, &stderr.text()),
            }
        }
    }

    /// Gives it its input, and waits for the first word.
    async fn begins_with_input(&mut self, script: &Script<'_>) -> How {
        // A shell that does not read shows itself by its silence.
        let input = launch::fed(script.around, script.nonce);
        _ = timeout(limits::LAUNCH_PATIENCE, self.process.write_all(input.as_bytes())).await;
        if script.ends {
            _ = self.process.shutdown().await;
        }
        let how = self.begins(script).await;
        if how == How::Runs && !script.ends {
            end_input(&mut self.process, script.nonce).await;
        }
        how
    }

    fn begun(self, around: bool, how: How) -> Begun {
        Begun {
            process: self.process,
            printed: self.printed,
            around,
            how,
        }
    }
}

fn has(printed: &[u8], word: &str) -> bool {
    memchr::memmem::find(printed, word.as_bytes()).is_some()
}

/// Reads up to the first word of a script. `false`: the output ended without it, or was too much.
pub(crate) async fn begins(
    word: &str,
    stream: &mut (impl AsyncRead + Unpin),
    printed: &mut BytesMut,
) -> bool {
    let mut noise = Noise::default();
    while !has(printed, word) {
        if !noise.read(stream, printed).await {
            return false;
        }
    }
    true
}

/// Waits until a line with [`launch::DRAIN`] in it has said its first word on standard error, and a while longer: for a
/// stream on which nothing has come yet.
pub(crate) async fn goes_astray(nonce: &str, stderr: impl Fn() -> String) {
    while !is_said(nonce, &stderr()) {
        sleep(ASTRAY).await;
    }
    sleep(ASTRAY).await;
}

/// Whether the first word stands in this text.
pub(crate) fn is_said(nonce: &str, text: &str) -> bool {
    text.contains(launch::first_word(nonce).trim_end())
}

/// Tells a line with [`launch::DRAIN`] in it, which has said its first word, that all behind this is its own. Sent
/// before, it may be lost with what a shell has read of its input and not run.
pub(crate) async fn end_input(stream: &mut (impl AsyncWrite + Unpin), nonce: &str) {
    // A stream that is gone has ended.
    _ = stream.write_all(launch::end_of_input(nonce).as_bytes()).await;
    _ = stream.flush().await;
}

/// Starts a script, and waits for its first word.
pub(crate) async fn begin(session: &Session, script: &Script<'_>) -> Result<Begun, ExecError> {
    let deadline = Instant::now() + script.patience;
    let mut first = Try::new(run_after_another(session, script.plain, limits::LAST_WORDS_PATIENCE).await?);
    if let Ok(how) = timeout(limits::DETOUR_AFTER, first.begins(script)).await {
        return Ok(first.begun(false, how));
    }
    let mut second = match session.exec(script.around).await {
        Ok(process) => Try::new(process),
        Err(ExecError::ChannelRefused { .. }) => return one_by_one(session, script, first, deadline).await,
        Err(error) => return Err(error),
    };
    let raced = timeout_at(deadline, race(&mut first, &mut second, script)).await;
    Ok(match raced {
        Ok((false, how)) => first.begun(false, how),
        Ok((true, how)) => second.begun(true, how),
        Err(_) => second.begun(true, How::Late),
    })
}

/// Which of the two begins first, and how; when none does, what is known of the second.
async fn race(first: &mut Try, second: &mut Try, script: &Script<'_>) -> (bool, How) {
    let mut plain = std::pin::pin!(first.begins(script));
    let mut around = std::pin::pin!(second.begins_with_input(script));
    let (mut plain_failed, mut around_failed) = (false, None);
    loop {
        tokio::select! {
            how = &mut plain, if !plain_failed => match how {
                How::Runs => return (false, how),
                _ => plain_failed = true,
            },
            how = &mut around, if around_failed.is_none() => match how {
                How::Ended => around_failed = Some(how),
                _ => return (true, how),
            },
        }
        if let (true, Some(how)) = (plain_failed, around_failed) {
            return (true, how);
        }
    }
}

/// Where the server allows one command at a time (`MaxSessions 1`).
async fn one_by_one(
    session: &Session,
    script: &Script<'_>,
    mut first: Try,
    deadline: Instant,
) -> Result<Begun, ExecError> {
    let until = deadline.min(Instant::now() + limits::SHELL_PATIENCE - limits::DETOUR_AFTER);
    if let Ok(how) = timeout_at(until, first.begins(script)).await {
        return Ok(first.begun(false, how));
    }
    _ = first.process.shutdown().await;
    _ = timeout(limits::LAST_WORDS_PATIENCE, first.process.exit().wait()).await;
    // sshd keeps its place for it until it has ended, which a start-up file may keep it from for a while.
    let left = deadline.saturating_duration_since(Instant::now());
    let mut second = match run_after_another(session, script.around, left).await {
        Ok(process) => Try::new(process),
        Err(ExecError::ChannelRefused { .. }) => return Ok(first.begun(false, How::Late)),
        Err(error) => return Err(error),
    };
    drop(first);
    let how = timeout_at(deadline, second.begins_with_input(script)).await;
    Ok(second.begun(true, how.unwrap_or(How::Late)))
}

/// Starts a script by its second line, where that is known to be needed.
pub(crate) async fn begin_around(session: &Session, script: &Script<'_>) -> Result<Begun, ExecError> {
    let process = run_after_another(session, script.around, limits::LAST_WORDS_PATIENCE).await?;
    let mut only = Try::new(process);
    let how = timeout(script.patience, only.begins_with_input(script)).await;
    Ok(only.begun(true, how.unwrap_or(How::Late)))
}

/// Starts a command behind one that has just ended: where a server allows one at a time (`MaxSessions`), its place
/// may be free a moment later.
async fn run_after_another(session: &Session, line: &str, patience: Duration) -> Result<Process, ExecError> {
    let deadline = Instant::now() + patience;
    loop {
        match session.exec(line).await {
            Err(ExecError::ChannelRefused { .. }) if Instant::now() < deadline => sleep(REFUSED_PAUSE).await,
            begun => return begun,
        }
    }
}

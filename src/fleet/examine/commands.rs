//! Short scripts on the host, started as the launch starts its own.

use std::{iter, sync::Arc, time::Duration};

use bytes::BytesMut;
use codex_ssh::{ExecError, Exit, ExitWatch, Process, Session, WaitingShell};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::timeout,
};

use crate::{
    around::{Detour, begins, go_around, run_after_another, with_input},
    launch, limits,
    server::nonce,
    shell,
};

/// A short script: its login shell may take its time.
const PATIENCE: Duration = Duration::from_secs(20);
/// A shell that reads all of its input before it does anything.
const READS_ALL_FIRST: &str = "fish";
/// What a short script may print.
const OUTPUT_BYTES_MAX: u64 = 256 << 10;

/// Scripts that may follow the first one: the environment, the version, the sandbox, the bandwidth.
const FOLLOWING: usize = 4;

/// Runs scripts one after the other.
pub(super) struct Commands {
    session: Arc<Session>,
    /// What is known to stand in the way: no script then loses time to see whether it begins.
    detour: Option<Detour>,
    /// Shells for the scripts behind the first one, whose start-up files may take long. There are none before that has
    /// begun: a forced command would run for each of them.
    ahead: Option<JoinSet<Result<WaitingShell, ExecError>>>,
}

/// A script that runs, or never will.
pub(super) struct Begun {
    pub(super) process: Process,
    /// What it has printed already; `None`: the login shell ended without running it.
    pub(super) printed: Option<BytesMut>,
}

/// A script that ended.
pub(super) enum Ran {
    /// What it printed, without what start-up files did.
    Printed(String),
    /// The login shell did not run it, and ended like this, if it ended at all.
    Never(Option<Exit>),
}

impl Commands {
    pub(super) fn new(session: Arc<Session>, detour: Option<Detour>) -> Commands {
        Commands {
            session,
            detour,
            ahead: None,
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn detour(&self) -> Option<&Detour> {
        self.detour.as_ref()
    }

    /// Starts a script, which finds in `$n` a word of its own. It gets no input.
    async fn begin(&mut self, script: &str) -> Result<Begun, ExecError> {
        self.start(&format!("{{ {script}; }} </dev/null"), true).await
    }

    /// The same, and the script gets input: its end where the login shell became one that reads all of its own first.
    pub(super) async fn begin_with_input(&mut self, script: &str) -> Result<Begun, ExecError> {
        let ends = matches!(&self.detour, Some(Detour::Shell(shell)) if shell == READS_ALL_FIRST);
        self.start(script, ends).await
    }

    async fn start(&mut self, script: &str, ends: bool) -> Result<Begun, ExecError> {
        let (session, nonce) = (Arc::clone(&self.session), nonce());
        let (word, around) = (launch::first_word(&nonce), line(&nonce, launch::DRAIN, script));
        if let Some(begun) = self.by_waiting(&nonce, script).await {
            return Ok(begun);
        }
        let mut printed = BytesMut::new();
        let mut process = match self.detour {
            Some(_) => with_input(&session, &nonce, &around).await?,
            None => {
                let mut process = run_after_another(&session, &line(&nonce, "", script)).await?;
                if begins(&word, &mut process, &mut printed).await {
                    self.start_ahead();
                    let printed = after(&word, printed);
                    return Ok(Begun { process, printed });
                }
                printed.clear();
                go_around(&session, process, &nonce, &around).await?
            }
        };
        if ends {
            // There are shells that read all of their input before they do anything.
            _ = process.shutdown().await;
        }
        _ = timeout(PATIENCE, async {
            while !begins(&word, &mut process, &mut printed).await {}
        })
        .await;
        let shell = launch::shell_in(&nonce, &printed);
        let printed = after(&word, printed);
        if self.detour.is_none() && printed.is_some() {
            self.detour = Some(shell.map_or(Detour::Input, Detour::Shell));
        }
        Ok(Begun { process, printed })
    }

    /// Starts the shells for what follows, the first time.
    fn start_ahead(&mut self) {
        let session = &self.session;
        self.ahead.get_or_insert_with(|| {
            let sessions = iter::repeat_n(Arc::clone(session), FOLLOWING);
            sessions.map(|it| async move { it.start_shell().await }).collect()
        });
    }

    /// Lets a shell that waits run a script, if one does; `None`: nothing was run.
    async fn by_waiting(&mut self, nonce: &str, script: &str) -> Option<Begun> {
        let shells = self.ahead.as_mut()?;
        let shell = loop {
            // A refusal says that there is no room for so many (`MaxSessions`).
            if let Ok(Ok(shell)) = shells.join_next().await? {
                break shell;
            }
        };
        let (word, mut printed) = (launch::first_word(nonce), BytesMut::new());
        if let Ok(mut process) = shell.run(&body(nonce, "", script)).await {
            begins(&word, &mut process, &mut printed).await;
            if let Some(printed) = after(&word, printed) {
                let printed = Some(printed);
                return Some(Begun { process, printed });
            }
        }
        // A host that keeps the input from its commands, or ends those that wait.
        shells.shutdown().await;
        None
    }

    /// Runs a script and takes what it prints, within bounds.
    pub(super) async fn run(&mut self, script: &str) -> Result<Ran, ExecError> {
        let Begun { mut process, printed } = self.begin(script).await?;
        let Some(printed) = printed else {
            let exit = process.exit();
            // One that has not ended by now hangs, and was waited for already.
            _ = timeout(limits::LAST_WORDS_PATIENCE, drain(&mut process, &mut Vec::new())).await;
            return Ok(Ran::Never(ended(exit).await));
        };
        let mut output = printed.to_vec();
        drain(&mut process, &mut output).await;
        ended(process.exit()).await;
        Ok(Ran::Printed(String::from_utf8_lossy(&output).into_owned()))
    }
}

impl Ran {
    /// What was printed, if anything was.
    pub(super) fn text(self) -> String {
        match self {
            Ran::Printed(text) => text,
            Ran::Never(_) => String::new(),
        }
    }
}

/// Reads to the end. What came until a limit counts: a daemon that a start-up file left behind keeps the pipe open.
async fn drain(process: &mut Process, output: &mut Vec<u8>) {
    let mut limited = process.take(OUTPUT_BYTES_MAX);
    _ = timeout(PATIENCE, limited.read_to_end(output)).await;
}

/// How it ended. Only then is there room for the next one where few are allowed.
pub(super) async fn ended(exit: ExitWatch) -> Option<Exit> {
    timeout(limits::LAST_WORDS_PATIENCE, exit.wait()).await.ok()
}

fn line(nonce: &str, prelude: &str, script: &str) -> String {
    shell::line(&[body(nonce, prelude, script)])
}

/// What the shell of [`line`] runs.
fn body(nonce: &str, prelude: &str, script: &str) -> String {
    [&launch::opening(nonce), prelude, script].join(" ")
}

/// What comes behind the first word.
fn after(word: &str, mut printed: BytesMut) -> Option<BytesMut> {
    let start = memchr::memmem::find(&printed, word.as_bytes())?;
    Some(printed.split_off(start + word.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_behind_the_first_word_is_the_scripts() {
        let word = launch::first_word("x");
        let rest = |text: &str| after(&word, BytesMut::from(text)).map(|it| it.to_vec());
        assert_eq!(rest(&format!("motd 7\n{word}1000\n")), Some(b"1000\n".to_vec()));
        assert_eq!(rest("motd 7\n1000\n"), None);
    }

    #[test]
    fn the_line_passes_every_login_shell_unchanged() {
        let line = line("x", launch::DRAIN, "date +%s");
        let inner = line
            .strip_prefix("exec /bin/sh -c '")
            .and_then(|it| it.strip_suffix('\''))
            .unwrap();
        assert!(
            !inner.contains(['\'', '!', '\n']) && !inner.contains("\\\\"),
            "{inner}"
        );
    }
}

//! Short scripts on the host, started as the launch starts its own.

use std::{
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use codex_ssh::{ExecError, Exit, ExitWatch, Process, Session, WaitingShell};
use tokio::{io::AsyncReadExt, task::JoinSet, time::timeout};

use crate::{
    around::{self, Detour, Script, begins},
    launch, limits,
    server::nonce,
    shell,
};

/// A short script: its login shell may take its time.
const PATIENCE: Duration = Duration::from_secs(20);
/// Its first word, where a server has not said one: what a login shell that hangs has not done by now, it will not do.
const BRIEFLY: Duration = Duration::from_secs(8);
/// What a short script may print.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// Scripts that may follow the first one: the environment, the version, the sandbox, the bandwidth.
const FOLLOWING: usize = 4;

/// Runs scripts one after the other.
pub(super) struct Commands {
    session: Arc<Session>,
    /// What is known to stand in the way: no script then loses time to see whether it begins.
    detour: Option<Detour>,
    /// Whether a script that goes around has input of its own: a server has been started so.
    has_input: bool,
    /// From a script's start to its first word, the last time.
    took: Duration,
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
            has_input: detour.is_some(),
            detour,
            took: Duration::ZERO,
            ahead: None,
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn detour(&self) -> Option<&Detour> {
        self.detour.as_ref()
    }

    /// A script that gets input: its end where only the end of it lets the login shell run anything.
    ///
    /// It finds in `$n` a word of its own.
    pub(super) async fn begin_with_input(&mut self, script: &str) -> Result<Begun, ExecError> {
        let ends = self.detour.is_some() && !self.has_input;
        self.start((&nonce(), script), ends, PATIENCE).await
    }

    async fn start(
        &mut self,
        (nonce, script): (&str, &str),
        ends: bool,
        patience: Duration,
    ) -> Result<Begun, ExecError> {
        if let Some(begun) = self.by_waiting(nonce, script).await {
            return Ok(begun);
        }
        let session = Arc::clone(&self.session);
        let lines = Script {
            nonce,
            plain: &line(nonce, "", script),
            around: &line(nonce, launch::DRAIN, script),
            ends,
            patience,
        };
        let start = Instant::now();
        let begun = match self.detour {
            Some(_) => around::begin_around(&session, &lines).await?,
            None => around::begin(&session, &lines).await?,
        };
        self.took = start.elapsed();
        let shell = launch::shell_in(nonce, &begun.printed);
        let printed = after(&launch::first_word(nonce), begun.printed);
        match (&printed, begun.around) {
            (Some(_), true) if self.detour.is_none() => {
                self.detour = Some(shell.map_or(Detour::Input, Detour::Shell));
            }
            (Some(_), false) => self.start_ahead(),
            _ => (),
        }
        let process = begun.process;
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
            let patience = self.took + limits::SHELL_PATIENCE;
            _ = timeout(patience, begins(&word, &mut process, &mut printed)).await;
            if let Some(printed) = after(&word, printed) {
                let printed = Some(printed);
                return Some(Begun { process, printed });
            }
        }
        // A host that keeps the input from its commands, or ends those that wait.
        shells.shutdown().await;
        None
    }

    /// Runs a script without input, which finds in `$n` a word of its own, and takes what it prints, within bounds.
    pub(super) async fn run(&mut self, script: &str) -> Result<Ran, ExecError> {
        self.run_within(script, PATIENCE).await
    }

    /// The same with less time to its first word, where a server had all of its own in vain.
    pub(super) async fn run_briefly(&mut self, script: &str) -> Result<Ran, ExecError> {
        self.run_within(script, BRIEFLY).await
    }

    async fn run_within(&mut self, script: &str, patience: Duration) -> Result<Ran, ExecError> {
        let nonce = nonce();
        let script = format!("{{ {script}; }} </dev/null; {}", LAST_WORD);
        let begun = self.start((&nonce, &script), true, patience).await?;
        let Begun { mut process, printed } = begun;
        let Some(printed) = printed else {
            let exit = process.exit();
            // One that has not ended by now hangs, and was waited for already.
            _ = timeout(limits::LAST_WORDS_PATIENCE, process.read_to_end(&mut Vec::new())).await;
            return Ok(Ran::Never(ended(exit).await));
        };
        let mut output = printed.to_vec();
        drain(&mut process, &nonce, &mut output).await;
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

/// Prints what a script of ours ends with. Something that a start-up file left behind may keep its output open, or go on
/// printing.
const LAST_WORD: &str = "printf \"\\036codex-%s-ends\\n\" \"$n\"";

/// Reads to the script's last word, which is not part of its output. Without it, what came until a limit counts.
async fn drain(process: &mut Process, nonce: &str, output: &mut Vec<u8>) {
    let last = format!("\x1ecodex-{nonce}-ends\n");
    let read = async {
        while output.len() < OUTPUT_BYTES_MAX {
            if let Some(end) = memchr::memmem::find(output, last.as_bytes()) {
                output.truncate(end);
                break;
            }
            if !matches!(process.read_buf(output).await, Ok(1..)) {
                break;
            }
        }
    };
    _ = timeout(PATIENCE, read).await;
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

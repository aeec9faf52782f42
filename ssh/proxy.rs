//! `ProxyCommand`: a program of the user that makes the connection.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, join},
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{exec::Stderr, link::Io, program::Group};

/// What a `ProxyCommand` was given and may not have taken yet.
pub(crate) struct Intake {
    /// The end of the pipe that we write to. The command's input stays open for as long as this lives.
    pipe: OwnedFd,
    stderr: Stderr,
    patience: Duration,
}

impl Intake {
    /// Resolves when the time for it is over and the command has neither taken anything nor said a word: one that
    /// speaks may be asking for something. It is looked at once, and where the system does not tell (only Linux does),
    /// this never resolves.
    pub(crate) async fn ignored(&self) {
        sleep(self.patience).await;
        let is_taken = rustix::io::ioctl_fionread(&self.pipe).map_or(true, |left| left == 0);
        if is_taken || self.stderr.total() > 0 {
            std::future::pending().await
        }
    }
}

/// A running `ProxyCommand`. Dropping it ends the command and everything in its process group.
pub(crate) struct Proxy {
    pub(crate) command: String,
    stderr: Stderr,
    status: watch::Receiver<Option<ExitStatus>>,
    over: CancellationToken,
    _tasks: JoinSet<()>,
    _group: Group,
}

impl Proxy {
    /// Runs `command` by `shell -c`, as ssh_config(5) has it: `exec`, so that the shell is gone.
    /// `patience`: what it has for taking what it is given, where somebody wants to know.
    pub(crate) fn start(
        shell: &Path,
        command: &str,
        patience: Option<Duration>,
    ) -> io::Result<(Box<dyn Io>, Proxy, Option<Intake>)> {
        let mut child = Command::new(shell)
            .arg("-c")
            .arg(format!("exec {command}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, to end its children too and to keep the terminal's Ctrl-C away.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = Group::of(&child);
        let (Some(input), Some(output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("no pipes to the command"));
        };
        let stderr = Stderr::default();
        let intake = match patience {
            Some(patience) => Some(Intake {
                pipe: input.as_fd().try_clone_to_owned()?,
                stderr: stderr.clone(),
                patience,
            }),
            None => None,
        };
        let over = CancellationToken::new();
        let (told, status) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let kept = stderr.clone();
        tasks.spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(read @ 1..) = errors.read(&mut buffer).await {
                kept.push(&buffer[..read]);
            }
        });
        tasks.spawn(wait(child, told, over.clone()));
        let proxy = Proxy {
            command: command.to_owned(),
            stderr,
            status,
            over,
            _tasks: tasks,
            _group: group,
        };
        Ok((Box::new(join(output, input)), proxy, intake))
    }

    /// Cancelled when the command has ended.
    pub(crate) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// How it ended, if it did within `patience`, and what it said.
    pub(crate) async fn ending(&self, patience: Duration) -> (String, String) {
        let mut status = self.status.clone();
        let ended = timeout(patience, status.wait_for(Option::is_some)).await;
        let ending = match ended {
            Ok(Ok(status)) => status.map(|status| status.to_string()),
            _ => None,
        };
        let ending = ending.unwrap_or_else(|| "gave no SSH connection".to_owned());
        (ending, self.stderr.tail(5))
    }
}

async fn wait(mut child: Child, told: watch::Sender<Option<ExitStatus>>, over: CancellationToken) {
    if let Ok(status) = child.wait().await {
        told.send_replace(Some(status));
    }
    over.cancel();
}

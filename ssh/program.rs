//! Programs of the user that are asked for something and answer on stdout.

use std::{io, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use crate::limits;

/// Ends a process group when dropped.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// The group that `child` leads: it was started with a group of its own.
    pub(crate) fn of(child: &Child) -> Group {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Group(id.map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself. Nothing in it is worth a grace: it only carries bytes.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// What a program said. It may be a secret.
pub(crate) struct Said {
    pub(crate) output: Zeroizing<Vec<u8>>,
    /// Whether it ended with status 0.
    pub(crate) success: bool,
    /// How it ended and what it said on stderr, for people.
    pub(crate) ending: String,
}

/// Runs a program with its arguments and the environment of this process and `variables`. It ends with
/// its children when the future is dropped or `limit` is over, and fails where it says more than `most` bytes.
pub(crate) async fn run(
    words: &[String],
    variables: &[(&str, &str)],
    limit: Option<Duration>,
    most: u64,
) -> io::Result<Said> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| io::Error::other("there is no program"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let _group = Group::of(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (output, words) = tokio::try_join!(read(stdout, most), read(stderr, limits::PROGRAM_OUTPUT))?;
        Ok::<_, io::Error>((output, words, child.wait().await?))
    };
    let done = match limit {
        Some(limit) => timeout(limit, work).await.unwrap_or_else(|_| {
            let text = format!("it did not end within {} s", limit.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }),
        None => work.await,
    };
    let (output, words, status) = done?;
    let words = String::from_utf8_lossy(&words);
    let ending = match words.trim() {
        "" => status.to_string(),
        words => format!("{status}: {words}"),
    };
    Ok(Said {
        output,
        success: status.success(),
        ending,
    })
}

async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let Some(from) = from else { return Ok(bytes) };
    let read = from.take(most + 1).read_to_end(&mut bytes).await? as u64;
    match read > most {
        true => Err(io::Error::other("it says too much")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{limits, run};

    fn shell(command: &str) -> Vec<String> {
        ["/bin/sh", "-c", command].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn output_status_and_words_are_told_apart() {
        let words = shell("echo $X; echo why >&2; exit 3");
        let said = run(&words, &[("X", "answer")], None, limits::PROGRAM_OUTPUT)
            .await
            .unwrap();
        assert_eq!((said.output.as_slice(), said.success), (&b"answer\n"[..], false));
        assert_eq!(said.ending, "exit status: 3: why");
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_stopped_with_its_children() {
        let start = Instant::now();
        let limit = Some(Duration::from_millis(100));
        let result = run(&shell("sleep 60 & sleep 60"), &[], limit, limits::PROGRAM_OUTPUT).await;
        assert!(result.is_err() && start.elapsed() < Duration::from_secs(20));
        let yes = shell("yes");
        let endless = run(&yes, &[], Some(Duration::from_secs(20)), limits::PROGRAM_OUTPUT).await;
        assert_eq!(endless.err().unwrap().to_string(), "it says too much");
    }
}

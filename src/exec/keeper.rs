//! The tasks of a running command: one reads each stream, one writes, one waits for its end or brings it.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    process::Child,
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    leash::Leash,
    output::{CHUNK_BYTES_MAX, Chunk, Recorder, Stream},
    process::{Cause, Exit, Life, Status},
    terminal::END_OF_INPUT,
};

/// Between `SIGTERM` and `SIGKILL`: long enough to write files out, short enough for a person who waits.
const TERMINATE_GRACE: Duration = Duration::from_secs(2);
/// Between telling a supervisor to kill and killing it.
const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(5);
/// How long the output may stay silent and open after the command's end before it is given up.
const DRAIN_GRACE: Duration = Duration::from_millis(300);

/// What is read of each stream after the command's end at most: the largest pipe of an ordinary user (pipe(7)).
/// More can only come from a process that got away.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// How the command's end is learned.
pub(crate) enum Watch {
    Child(Child),
    /// The supervisor's reports come first, then it ends.
    #[cfg(target_os = "linux")]
    Supervisor(Child, tokio::io::BufReader<tokio::net::UnixStream>),
}

/// All that the keeper of one command works with.
pub(crate) struct Keeper {
    pub(crate) watch: Watch,
    pub(crate) leash: Arc<Leash>,
    pub(crate) requests: Arc<Notify>,
    pub(crate) life: watch::Sender<Life>,
    pub(crate) readers: Vec<(Stream, Reader)>,
    pub(crate) chunks: mpsc::Sender<Chunk>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) started: Instant,
    pub(crate) time_out: Option<Duration>,
}

/// How far the ending has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    NotBegun,
    Asked,
    Killed,
    SupervisorKilled,
}

impl Keeper {
    /// Lives as long as the command and its output.
    pub(crate) async fn run(mut self) {
        let mut readers = JoinSet::new();
        for (stream, reader) in self.readers.drain(..) {
            let (recorder, chunks, life) =
                (self.recorder.clone(), self.chunks.clone(), self.life.subscribe());
            readers.spawn(read(stream, reader, recorder, chunks, life));
        }
        // The stream of chunks ends with the last reader.
        drop(self.chunks);
        let limit = self.time_out.map(|time_out| self.started + time_out);
        let (status, cause) = watch_over(self.watch, &self.leash, &self.requests, limit).await;
        self.leash.release();
        let duration = self.started.elapsed();
        let mut exit = Exit {
            status,
            cause,
            duration,
            output_is_whole: true,
        };
        self.life.send_replace(Life::Gone(exit.clone()));
        while let Some(outcome) = readers.join_next().await {
            exit.output_is_whole &= outcome.unwrap_or(false);
        }
        self.life.send_replace(Life::Settled(exit));
    }
}

async fn watch_over(
    watch: Watch,
    leash: &Leash,
    requests: &Notify,
    limit: Option<Instant>,
) -> (Status, Cause) {
    let (mut cause, mut ending, mut deadline) = (Cause::Itself, Ending::NotBegun, limit);
    let mut end = std::pin::pin!(end_of(watch));
    loop {
        let reached = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = &mut end => return (status, cause),
            () = requests.notified(), if ending == Ending::NotBegun => {
                (cause, ending, deadline) = (Cause::Terminated, Ending::Asked, Some(Instant::now() + TERMINATE_GRACE));
                leash.ask();
            }
            () = reached => match ending {
                Ending::NotBegun => {
                    (cause, ending, deadline) = (Cause::TimedOut, Ending::Asked, Some(Instant::now() + TERMINATE_GRACE));
                    leash.ask();
                }
                Ending::Asked => {
                    (ending, deadline) = (Ending::Killed, Some(Instant::now() + SUPERVISOR_PATIENCE));
                    leash.kill();
                }
                Ending::Killed | Ending::SupervisorKilled => {
                    (ending, deadline) = (Ending::SupervisorKilled, None);
                    leash.kill_supervisor();
                }
            },
        }
    }
}

async fn end_of(watch: Watch) -> Status {
    match watch {
        Watch::Child(mut child) => status_of(child.wait().await),
        #[cfg(target_os = "linux")]
        Watch::Supervisor(mut child, mut reports) => {
            use crate::{runner::next_report, sandbox::Report};
            let report = next_report(&mut reports).await;
            let _ = child.wait().await;
            match report {
                Some(Report::Exited(code)) => Status::Exited(code),
                Some(Report::Signaled(signal)) => Status::Signaled(signal),
                Some(Report::Failed(reason)) => Status::NotRun(reason),
                Some(Report::Started) | None => Status::Signaled(rustix::process::Signal::KILL.as_raw()),
            }
        }
    }
}

fn status_of(outcome: std::io::Result<std::process::ExitStatus>) -> Status {
    use std::os::unix::process::ExitStatusExt;
    match outcome {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Status::Exited(code),
            (None, signal) => Status::Signaled(signal.unwrap_or_default()),
        },
        Err(error) => Status::NotRun(format!("waiting for the command: {error}")),
    }
}

/// Reads one stream to its end. Returns whether the end was seen.
async fn read(
    stream: Stream,
    mut reader: Reader,
    recorder: Arc<Recorder>,
    chunks: mpsc::Sender<Chunk>,
    mut life: watch::Receiver<Life>,
) -> bool {
    let mut has_listener = true;
    let mut buffer = BytesMut::new();
    let mut drained = 0;
    loop {
        // Room first, so that nothing is read which then has nowhere to go.
        let room = if has_listener {
            chunks.reserve().await.ok()
        } else {
            None
        };
        has_listener = room.is_some();
        buffer.reserve(CHUNK_BYTES_MAX);
        let mut window = (&mut reader).take(CHUNK_BYTES_MAX as u64);
        let count = tokio::select! {
            count = window.read_buf(&mut buffer) => count,
            () = silence(&mut life) => return false,
        };
        // A terminal whose last process is gone answers EIO on Linux: that is its end.
        if !matches!(count, Ok(1..)) {
            return true;
        }
        let bytes = buffer.split().freeze();
        if !matches!(*life.borrow(), Life::Running) {
            drained += bytes.len();
            if drained > DRAIN_BYTES_MAX {
                return false;
            }
        }
        recorder.push(stream, &bytes);
        if let Some(room) = room {
            room.send(Chunk { stream, bytes });
        }
    }
}

/// Ends when the command has ended and a grace has passed.
async fn silence(life: &mut watch::Receiver<Life>) {
    // An error means that the keeper is gone, and this task with it.
    let _ = life.wait_for(|life| !matches!(life, Life::Running)).await;
    tokio::time::sleep(DRAIN_GRACE).await;
}

/// Passes input on until it is closed on either side.
pub(crate) async fn write(mut writer: Writer, mut input: mpsc::Receiver<Bytes>, end: EndOfInput) {
    while let Some(bytes) = input.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    match end {
        EndOfInput::Close => {}
        // The command may be gone, and then nobody needs it.
        EndOfInput::Type => drop(timeout(TERMINATE_GRACE, writer.write_all(&[END_OF_INPUT])).await),
    }
}

/// How a command learns that there is no more input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndOfInput {
    Close,
    /// A terminal stays open; a character says it.
    Type,
}

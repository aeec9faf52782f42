//! One command on the far side: its stdin and stdout as a byte stream, stderr and exit beside it.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{mpsc, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::{
    limits,
    session::Closed,
    sounding::{Arrived, Sounded},
    store::Store,
};

/// A running command. Reading gives its stdout, writing feeds its stdin.
///
/// `poll_shutdown` closes stdin. The end of the stream is the end of stdout; how the command ended
/// says [`exit`](Process::exit). Dropping it closes the channel; the server ends the command by the
/// end of its stdin, without a signal. At most [32 packets](limits::STDOUT_PACKETS) of output wait
/// for the reader: one that stops reading stops everything on this session.
pub struct Process {
    pipe: Pipe,
    stderr: Stderr,
    exit: ExitWatch,
}

impl Process {
    pub(crate) fn new(pipe: Pipe, stderr: Stderr, exit: ExitWatch) -> Process {
        Process { pipe, stderr, exit }
    }

    /// stderr, readable at any time, also after the process is gone.
    pub fn stderr(&self) -> Stderr {
        self.stderr.clone()
    }

    /// How much of its stdin has got there, readable at any time.
    pub fn arrived(&self) -> Arrived {
        self.pipe.writer.arrived()
    }

    /// How the command ends, also after the process is gone.
    pub fn exit(&self) -> ExitWatch {
        self.exit.clone()
    }
}

impl AsyncRead for Process {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for Process {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The exit status; a shell's 127 is *not found*, 126 *not executable*.
    Status(u32),
    /// The name of the signal without `SIG`, and what the server says about it.
    Signal { name: String, message: String },
    /// The channel ended and the server told no status.
    Unknown,
    /// The connection ended first.
    Lost(Closed),
}

impl fmt::Display for Exit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Status(status) => write!(out, "exit status {status}"),
            Exit::Signal { name, message } if message.is_empty() => {
                write!(out, "killed by SIG{name}")
            }
            Exit::Signal { name, message } => write!(out, "killed by SIG{name}: {message}"),
            Exit::Unknown => out.write_str("ended without an exit status"),
            Exit::Lost(closed) => write!(out, "{closed}"),
        }
    }
}

/// Waits for the end of a command; cheap to clone.
#[derive(Clone, Debug)]
pub struct ExitWatch(watch::Receiver<Option<Exit>>);

impl ExitWatch {
    pub(crate) fn new() -> (watch::Sender<Option<Exit>>, ExitWatch) {
        let (sender, receiver) = watch::channel(None);
        (sender, ExitWatch(receiver))
    }

    /// Resolves when all output has been received and the command has ended, and again each time.
    ///
    /// It needs somebody who reads stdout.
    pub async fn wait(&self) -> Exit {
        let mut receiver = self.0.clone();
        match receiver.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or(Exit::Unknown),
            Err(_) => Exit::Lost(Closed::ByUs),
        }
    }

    pub fn now(&self) -> Option<Exit> {
        self.0.borrow().clone()
    }
}

/// The last 64 KiB of a command's stderr; cheap to clone.
#[derive(Clone, Default)]
pub struct Stderr(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    bytes: VecDeque<u8>,
    total: u64,
}

impl Stderr {
    pub(crate) fn push(&self, data: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.total += data.len() as u64;
        let data = &data[data.len().saturating_sub(limits::STDERR_KEPT)..];
        let excess = (kept.bytes.len() + data.len()).saturating_sub(limits::STDERR_KEPT);
        kept.bytes.drain(..excess);
        kept.bytes.extend(data);
    }

    /// All bytes so far, also those that are no longer kept.
    pub fn total(&self) -> u64 {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.total
    }

    /// What is kept, as text; what is not UTF-8 is replaced. It is the far side's text, uncleaned.
    pub fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.bytes.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last `lines` lines that are not empty.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let filled: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        filled[filled.len().saturating_sub(lines)..].join("\n")
    }
}

/// Where the bytes of a channel wait for their reader.
pub(crate) enum Incoming {
    /// A full queue makes the session wait.
    Queue(mpsc::Receiver<Bytes>),
    Store(Store),
}

impl Incoming {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        match self {
            Incoming::Queue(queue) => queue.poll_recv(cx).map(Ok),
            Incoming::Store(store) => store.poll_next(cx),
        }
    }
}

/// The bytes of one channel, both ways.
pub(crate) struct Pipe {
    incoming: Incoming,
    current: Bytes,
    writer: Sounded,
    /// russh waits for window forever when the link dies.
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    over: CancellationToken,
    _dropped: DropGuard,
}

impl Pipe {
    /// `over` is cancelled when the channel has ended; `dropped` will be when this is dropped.
    pub(crate) fn new(
        incoming: Incoming,
        writer: Sounded,
        over: CancellationToken,
        dropped: CancellationToken,
    ) -> Pipe {
        Pipe {
            incoming,
            current: Bytes::new(),
            writer,
            ended: Box::pin(over.clone().cancelled_owned()),
            over,
            _dropped: dropped.drop_guard(),
        }
    }

    pub(crate) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the channel is closed")),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match ready!(self.incoming.poll_next(cx))? {
                Some(data) => self.current = data,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.current.len().min(buf.remaining());
        buf.put_slice(&self.current[..length]);
        self.current.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_ended(cx)?;
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ended(cx)?;
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::Stderr;
    use crate::limits::STDERR_KEPT;

    #[test]
    fn stderr_keeps_its_end() {
        let stderr = Stderr::default();
        stderr.push(&vec![b'a'; STDERR_KEPT - 2]);
        stderr.push(b"bcd");
        assert_eq!(stderr.text().len(), STDERR_KEPT);
        assert!(stderr.text().ends_with("aabcd"));
        stderr.push(&vec![b'x'; 3 * STDERR_KEPT]);
        assert_eq!(stderr.text(), "x".repeat(STDERR_KEPT));
        assert_eq!(stderr.total(), 4 * STDERR_KEPT as u64 + 1);
    }

    #[test]
    fn the_tail_has_the_last_lines_with_text() {
        let stderr = Stderr::default();
        stderr.push(b"one\n\ntwo\nthree\n \n");
        assert_eq!(stderr.tail(2), "two\nthree");
    }
}

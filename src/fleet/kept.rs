//! A process that outlives whoever reads it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use codex_ssh::Process;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The process ends with its last handle.
///
/// The server's end of output arrives before its exit status, and the conversation ends with the former.
/// If that closed the channel, the reason would never be heard.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Mutex<Process>>);

impl Kept {
    pub(crate) fn new(process: Process) -> Kept {
        Kept(Arc::new(Mutex::new(process)))
    }

    fn with<T>(&self, poll: impl FnOnce(Pin<&mut Process>) -> T) -> T {
        let mut process = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        poll(Pin::new(&mut process))
    }
}

impl AsyncRead for Kept {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|it| it.poll_read(cx, buf))
    }
}

impl AsyncWrite for Kept {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|it| it.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|it| it.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|it| it.poll_shutdown(cx))
    }
}

//! A stream that outlives whoever reads it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// The stream, and the process behind it, ends with its last handle.
///
/// The server's end of output arrives before its exit status, and the conversation ends with the former.
/// If that closed the channel, the reason would never be heard.
pub(crate) struct Kept<S> {
    stream: Arc<Mutex<S>>,
    heard: Heard,
}

/// When something came last.
#[derive(Clone)]
pub(crate) struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    pub(crate) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl<S> Clone for Kept<S> {
    fn clone(&self) -> Kept<S> {
        Kept {
            stream: Arc::clone(&self.stream),
            heard: self.heard.clone(),
        }
    }
}

impl<S: Unpin> Kept<S> {
    pub(crate) fn new(stream: S) -> Kept<S> {
        Kept {
            stream: Arc::new(Mutex::new(stream)),
            heard: Heard(Arc::new(Mutex::new(Instant::now()))),
        }
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    fn with<T>(&self, poll: impl FnOnce(Pin<&mut S>) -> T) -> T {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        poll(Pin::new(&mut *stream))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Kept<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.with(|it| it.poll_read(cx, buf));
        if before < buf.filled().len() {
            self.heard.now();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Kept<S> {
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

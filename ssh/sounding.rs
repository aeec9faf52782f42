//! Answers from the server while much is sent to it.
//!
//! A keepalive waits behind everything that was sent before it, and over a slow link that may be for minutes; what
//! OpenSSH's server says by itself about what it took (`SSH_MSG_CHANNEL_WINDOW_ADJUST`) comes once in three packets of
//! the greatest size. So a question goes along with every packet or two: as long as the link moves, answers come.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use russh::client::Handle;
use tokio::{io::AsyncWrite, task::JoinSet};

use crate::{client::Client, limits};

/// Asks the server for an answer of any kind.
#[derive(Clone, Default)]
pub(crate) struct Sounder(Weak<Handle<Client>>);

impl Sounder {
    pub(crate) fn new(handle: &Arc<Handle<Client>>) -> Sounder {
        Sounder(Arc::downgrade(handle))
    }
}

/// How much of what was written to a command the server has got; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Arrived(Arc<AtomicU64>);

impl Arrived {
    /// Bytes of which the server has shown that it got them: up to 48 KiB less than it has. Where the configuration wants
    /// no keepalives it is not asked, and all that was written counts.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A channel's writer, with questions between what is written.
pub(crate) struct Sounded {
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    sounder: Sounder,
    written: u64,
    /// How much had been written at the last question.
    asked_at: u64,
    arrived: Arrived,
    /// Questions without an answer: as many as the channel's window lets through.
    asking: JoinSet<()>,
}

impl Sounded {
    pub(crate) fn new(writer: impl AsyncWrite + Send + 'static, sounder: Sounder) -> Sounded {
        Sounded {
            writer: Box::pin(writer),
            sounder,
            written: 0,
            asked_at: 0,
            arrived: Arrived::default(),
            asking: JoinSet::new(),
        }
    }

    pub(crate) fn arrived(&self) -> Arrived {
        self.arrived.clone()
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        while self.asking.try_join_next().is_some() {}
        let (arrived, written) = (self.arrived.clone(), self.written);
        let Some(handle) = self.sounder.0.upgrade() else {
            arrived.0.store(written, Ordering::Relaxed);
            return;
        };
        let mut asked = Box::pin(async move {
            if handle.send_ping().await.is_ok() {
                arrived.0.fetch_max(written, Ordering::Relaxed);
            }
        });
        // What is written next must not overtake it: now it takes its place in the queue.
        if asked.as_mut().poll(cx).is_pending() {
            self.asking.spawn(asked);
        }
    }
}

impl AsyncWrite for Sounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.writer.as_mut().poll_write(cx, buf))?;
        self.written += written as u64;
        if limits::SOUNDING <= self.written - self.asked_at {
            self.asked_at = self.written;
            self.ask(cx);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_shutdown(cx)
    }
}

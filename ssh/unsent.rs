//! What the link does not take yet.
//!
//! russh reads nothing, and counts no silence, while it waits for the link to take what it has to send. Over a slow link
//! that is for minutes, and over a dead one until the kernel gives up. So the link always takes it, up to a limit.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use crate::limits;

/// Bytes on their way to a link, in order.
#[derive(Default)]
pub(crate) struct Unsent {
    bytes: BytesMut,
}

impl Unsent {
    /// Takes what it can of `buf`; the link is given what it takes. Without any room, waits for the link.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut (impl AsyncWrite + Unpin),
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.poll_send(cx, link)?.is_ready()
            && let Poll::Ready(written) = Pin::new(&mut *link).poll_write(cx, buf)
        {
            return Poll::Ready(written);
        }
        let room = limits::UNSENT.saturating_sub(self.bytes.len()).min(buf.len());
        if room == 0 && !buf.is_empty() {
            return Poll::Pending;
        }
        self.bytes.extend_from_slice(&buf[..room]);
        Poll::Ready(Ok(room))
    }

    /// Ready when the link has taken all there was.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.bytes.is_empty() {
            let taken = ready!(Pin::new(&mut *link).poll_write(cx, &self.bytes))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes.advance(taken);
        }
        // A link that was slow once does not hold the memory for ever.
        self.bytes = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// What a broken link will never take.
    pub(crate) fn clear(&mut self) {
        self.bytes = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_link_that_takes_nothing_gets_all_in_order_later() {
        let (mut near, mut far) = duplex(10);
        let mut unsent = Unsent::default();
        let mut said = Vec::new();
        for round in 0..100_u8 {
            let words = [round; 7];
            let taken = poll_fn(|cx| unsent.poll_write(cx, &mut near, &words))
                .await
                .unwrap();
            said.extend_from_slice(&words[..taken]);
        }
        assert!(said.len() > 600, "{}", said.len());
        let mut heard = vec![0; said.len()];
        let sending = poll_fn(|cx| unsent.poll_send(cx, &mut near));
        let (sent, read) = tokio::join!(sending, far.read_exact(&mut heard));
        sent.unwrap();
        read.unwrap();
        assert_eq!(heard, said);
        assert_eq!(unsent.bytes.capacity(), 0);
    }

    #[tokio::test]
    async fn what_waits_has_a_limit() {
        let (mut near, _far) = duplex(1);
        let mut unsent = Unsent::default();
        let piece = vec![0; limits::UNSENT / 3];
        let mut taken = 0;
        let full = poll_fn(|cx| {
            loop {
                match unsent.poll_write(cx, &mut near, &piece) {
                    Poll::Ready(written) => taken += written.unwrap(),
                    Poll::Pending => return Poll::Ready(()),
                }
            }
        });
        full.await;
        assert_eq!(taken, limits::UNSENT + 1);
    }
}

//! Bytes that wait for a reader without ever making their writer wait.
//!
//! A bastion's session carries all hosts behind it, and russh hands over what arrives for all channels
//! of a session in one loop: a host whose reader is busy would stop every other one. What can arrive for
//! one host is bounded by the host's own SSH windows, so it is kept here instead, and a host that gets
//! more than that is cut off alone.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::limits;

#[derive(Default)]
struct Kept {
    queue: VecDeque<Bytes>,
    bytes: usize,
    ended: bool,
    overflown: bool,
    reader: Option<Waker>,
}

/// The end that is filled.
pub(crate) struct Filler(Arc<Mutex<Kept>>);

/// The end that is read.
pub(crate) struct Store(Arc<Mutex<Kept>>);

pub(crate) fn store() -> (Filler, Store) {
    let kept = Arc::default();
    (Filler(Arc::clone(&kept)), Store(kept))
}

impl Filler {
    /// False: there is no room, and the reader will be told.
    pub(crate) fn push(&self, data: Bytes) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An empty packet costs memory, too.
        let size = data.len().max(limits::STORED_LEAST);
        kept.overflown |= kept.bytes + size > limits::STORED;
        if !kept.overflown {
            kept.bytes += size;
            kept.queue.push_back(data);
        }
        if let Some(reader) = kept.reader.take() {
            reader.wake();
        }
        !kept.overflown
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.ended = true;
        if let Some(reader) = kept.reader.take() {
            reader.wake();
        }
    }
}

impl Store {
    /// The next packet, `None` at the end. An overflow is an error behind everything that was kept.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(data) = kept.queue.pop_front() {
            kept.bytes -= data.len().max(limits::STORED_LEAST);
            return Poll::Ready(Ok(Some(data)));
        }
        if kept.overflown {
            let text = format!("nothing was read while {} MiB came", limits::STORED >> 20);
            return Poll::Ready(Err(io::Error::other(text)));
        }
        if kept.ended {
            return Poll::Ready(Ok(None));
        }
        kept.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use bytes::Bytes;

    use super::store;
    use crate::limits;

    #[tokio::test]
    async fn what_is_kept_comes_in_order_and_then_the_end() {
        let (filler, mut store) = store();
        assert!(filler.push(Bytes::from_static(b"one")) && filler.push(Bytes::from_static(b"two")));
        for expected in ["one", "two"] {
            let next = poll_fn(|cx| store.poll_next(cx)).await.unwrap().unwrap();
            assert_eq!(next, expected);
        }
        let waiting = tokio::time::timeout(Duration::from_secs(20), poll_fn(|cx| store.poll_next(cx)));
        let (next, ()) = tokio::join!(waiting, async { drop(filler) });
        assert_eq!(next.unwrap().unwrap(), None);
    }

    #[tokio::test]
    async fn an_overflow_is_an_error_behind_what_was_kept() {
        let (filler, mut store) = store();
        let megabyte = Bytes::from(vec![0; 1 << 20]);
        let mut pushed = 0;
        while filler.push(megabyte.clone()) {
            pushed += 1;
        }
        assert_eq!(pushed, limits::STORED >> 20);
        for _ in 0..pushed {
            assert!(poll_fn(|cx| store.poll_next(cx)).await.unwrap().is_some());
        }
        assert!(poll_fn(|cx| store.poll_next(cx)).await.is_err());
        assert!(!filler.push(Bytes::from_static(b"late")));
    }
}

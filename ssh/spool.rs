//! Bytes of a forwarded connection that wait for a slow reader: a few in memory, the others in a file.
//!
//! A server may send as much as the window of a channel lets it, and russh widens the window as soon as bytes have
//! arrived, read or not. A reader that falls behind would have to be cut off, or all channels of its session would
//! wait for it; OpenSSH's client, which widens the window with what was read, does neither.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use tokio::{
    sync::mpsc::{Receiver, Sender, error::TrySendError},
    task::spawn_blocking,
};

use crate::limits;

/// What happens when a reader is [so far behind](limits::SPOOLED) that nothing more can be kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Everything on its session waits for it.
    Wait,
    /// Its connection ends: the session is needed for more than forwardings.
    Cut,
}

/// Stands between the queue that a channel is drained into and the one that its reader empties.
pub(crate) struct Spool {
    from: Receiver<Bytes>,
    to: Sender<Bytes>,
    when_full: WhenFull,
    ring: Ring,
}

impl Spool {
    pub(crate) fn new(from: Receiver<Bytes>, to: Sender<Bytes>, when_full: WhenFull) -> Spool {
        Spool {
            from,
            to,
            when_full,
            ring: Ring::new(limits::SPOOLED),
        }
    }

    /// Passes everything on in its order, until the far end is closed and empty or the reader is gone.
    pub(crate) async fn run(mut self) {
        // What found no room in the file.
        let mut held: Option<Bytes> = None;
        let mut is_closed = false;
        loop {
            if self.ring.is_empty() && held.is_none() {
                let Some(data) = self.from.recv().await else {
                    return;
                };
                match self.to.try_send(data) {
                    Ok(()) => {}
                    Err(TrySendError::Full(data)) => held = self.keep(data).await,
                    Err(TrySendError::Closed(_)) => return,
                }
            } else if held.is_some() && self.when_full == WhenFull::Cut {
                return;
            } else {
                let next = tokio::select! {
                    room = self.to.reserve() => match room {
                        Ok(_) => Next::Reader,
                        Err(_) => return,
                    },
                    data = self.from.recv(), if held.is_none() && !is_closed => Next::Filler(data),
                };
                held = match next {
                    Next::Filler(Some(data)) => self.keep(data).await,
                    Next::Filler(None) => {
                        is_closed = true;
                        None
                    }
                    Next::Reader => match self.pass(held.take()).await {
                        Ok(held) => held,
                        // Nothing is right behind bytes that are lost.
                        Err(_) => return,
                    },
                };
            }
        }
    }

    /// Gives the reader, who has room, what has waited longest. `held` stands behind all others; it is handed back
    /// when it still has no place among them.
    async fn pass(&mut self, held: Option<Bytes>) -> io::Result<Option<Bytes>> {
        let (data, held) = match self.ring.is_empty() {
            false => (Some(self.ring.read().await?), held),
            // There is no file to be had: the slow way loses nothing.
            true => (held, None),
        };
        if let Some(data) = data {
            // It is the only one who sends: there is still room, or nobody who reads.
            let _ = self.to.try_send(data);
        }
        Ok(match held {
            Some(data) => self.keep(data).await,
            None => None,
        })
    }

    /// Hands it back when there is no room for it, or the file cannot be written.
    async fn keep(&mut self, data: Bytes) -> Option<Bytes> {
        self.ring.write(&data).await.err().map(|_| data)
    }
}

/// Whose turn it is.
enum Next {
    Reader,
    Filler(Option<Bytes>),
}

/// A queue of bytes in a file without a name, which is made when it is needed first and never longer than its limit.
struct Ring {
    file: Option<Arc<File>>,
    /// How many bytes were ever read and written; a place in the file is the rest by its size.
    read: u64,
    written: u64,
    size: u64,
}

impl Ring {
    fn new(size: u64) -> Ring {
        Ring {
            file: None,
            read: 0,
            written: 0,
            size,
        }
    }

    fn is_empty(&self) -> bool {
        self.read == self.written
    }

    /// The longest piece from this place on that does not go over the end of the file.
    fn piece(&self, place: u64, most: usize) -> usize {
        let until_end = self.size - place % self.size;
        usize::try_from(until_end).map_or(most, |it| it.min(most))
    }

    /// Keeps all of it or nothing.
    async fn write(&mut self, data: &Bytes) -> io::Result<()> {
        let length = data.len() as u64;
        if self.size < self.written - self.read + length {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let made = spawn_blocking(tempfile::tempfile)
                    .await
                    .map_err(io::Error::other)??;
                Arc::clone(self.file.insert(Arc::new(made)))
            }
        };
        let (place, first) = (self.written % self.size, self.piece(self.written, data.len()));
        let data = data.clone();
        let write = spawn_blocking(move || {
            file.write_all_at(&data[..first], place)?;
            file.write_all_at(&data[first..], 0)
        });
        write.await.map_err(io::Error::other)??;
        self.written += length;
        Ok(())
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let Some(file) = self.file.clone() else {
            return Ok(Bytes::new());
        };
        let waiting = usize::try_from(self.written - self.read).unwrap_or(usize::MAX);
        let length = self.piece(self.read, waiting.min(limits::SPOOL_CHUNK));
        let place = self.read % self.size;
        let read = spawn_blocking(move || {
            let mut data = vec![0; length];
            file.read_exact_at(&mut data, place).map(|()| Bytes::from(data))
        });
        let data = read.await.map_err(io::Error::other)??;
        self.read += length as u64;
        if self.is_empty() {
            // The reader has caught up, and may never fall behind again.
            (self.file, self.read, self.written) = (None, 0, 0);
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::mpsc, time::timeout};

    use super::{Bytes, Ring, Spool, WhenFull};

    /// Of a spool whose file takes so many bytes: the ends, and its task.
    fn spool(size: u64, when_full: WhenFull) -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>, Spool) {
        let ((filler, from), (to, reader)) = (mpsc::channel(1), mpsc::channel(2));
        let ring = Ring::new(size);
        let spool = Spool {
            from,
            to,
            when_full,
            ring,
        };
        (filler, reader, spool)
    }

    fn packets() -> impl Iterator<Item = Bytes> {
        (1..=200_usize).map(|it| Bytes::from(vec![it as u8; it * 7 % 31 + 1]))
    }

    async fn rest(reader: &mut mpsc::Receiver<Bytes>) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(data) = reader.recv().await {
            all.extend_from_slice(&data);
        }
        all
    }

    #[tokio::test]
    async fn what_nobody_reads_is_kept_in_its_order_also_over_the_end_of_the_file() {
        // In the small ones nearly every packet finds no room, or lies over the end.
        for size in [1 << 20, 97, 31, 7] {
            let (filler, mut reader, spool) = spool(size, WhenFull::Wait);
            let fill = async {
                for packet in packets() {
                    filler.send(packet).await.unwrap();
                }
                drop(filler);
            };
            let both = async { tokio::join!(fill, spool.run(), rest(&mut reader)).2 };
            let read = timeout(Duration::from_secs(20), both).await.unwrap();
            assert_eq!(read, packets().flatten().collect::<Vec<u8>>(), "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_filler_waits_for_no_reader_until_the_file_is_full() {
        let (filler, mut reader, spool) = spool(64, WhenFull::Wait);
        let packet = Bytes::from_static(&[7; 16]);
        let mut sent = 0;
        let fill = async {
            // Two in the reader's queue, four in the file, one without room, and one in the filler's own queue.
            while timeout(Duration::from_secs(1), filler.send(packet.clone()))
                .await
                .is_ok()
            {
                sent += 1;
            }
            drop(filler);
            rest(&mut reader).await
        };
        let (read, ()) = tokio::join!(fill, spool.run());
        assert_eq!((sent, read), (8, vec![7; 8 * 16]));
    }

    #[tokio::test]
    async fn where_nobody_may_wait_a_reader_too_far_behind_is_cut_off() {
        let (filler, mut reader, spool) = spool(64, WhenFull::Cut);
        let fill = async { while filler.send(Bytes::from_static(&[7; 16])).await.is_ok() {} };
        let both = async { tokio::join!(fill, spool.run()) };
        timeout(Duration::from_secs(20), both).await.unwrap();
        assert_eq!(
            rest(&mut reader).await,
            [7; 2 * 16],
            "what its own queue had room for"
        );
    }

    #[tokio::test]
    async fn without_its_reader_it_ends() {
        let (filler, reader, spool) = spool(64, WhenFull::Wait);
        drop(reader);
        let fill = async { while filler.send(Bytes::from_static(b"x")).await.is_ok() {} };
        let both = async { tokio::join!(fill, spool.run()) };
        timeout(Duration::from_secs(20), both).await.unwrap();
    }
}

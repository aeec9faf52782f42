//! A command's output: the live stream of chunks, and what is kept of it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Bytes of one chunk at most, so that a chunk fits one `outputDelta`.
pub(crate) const CHUNK_BYTES_MAX: usize = 8 * 1024;
/// Chunks between the command and the reader of [`Chunks`]. When it is full, the command's pipe is not read,
/// and the command waits in its next write.
pub(crate) const CHUNKS_MAX: usize = 16;

/// Which of a command's streams. A terminal has only [`Stream::Stdout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A piece of output, at most 8 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub stream: Stream,
    pub bytes: Bytes,
}

/// The live stream of a command's output. Nothing is lost: a reader that is slow slows the command. Dropping
/// it lets the command run at its own pace, and only the capture remains.
#[derive(Debug)]
pub struct Chunks {
    pub(crate) queue: mpsc::Receiver<Chunk>,
}

impl Chunks {
    /// Returns the next chunk, or `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Chunk> {
        self.queue.recv().await
    }
}

/// How much of each stream is kept: the first and the last bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureLimits {
    pub head_bytes_max: usize,
    pub tail_bytes_max: usize,
}

impl CaptureLimits {
    /// The first and the last 32 KiB: enough for a person and for a model to see how it began and how it ended.
    pub const USUAL: CaptureLimits = CaptureLimits {
        head_bytes_max: 32 * 1024,
        tail_bytes_max: 32 * 1024,
    };

    /// Splits one cap into halves.
    pub fn of(bytes_max: usize) -> CaptureLimits {
        CaptureLimits {
            head_bytes_max: bytes_max - bytes_max / 2,
            tail_bytes_max: bytes_max / 2,
        }
    }
}

/// What was kept of a stream: its beginning and its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    pub head: Vec<u8>,
    /// How many bytes are missing between head and tail.
    pub omitted: u64,
    pub tail: Vec<u8>,
}

impl Captured {
    /// Returns the text, lossy, with a line in place of what is missing.
    pub fn text(&self) -> String {
        if self.omitted == 0 {
            return String::from_utf8_lossy(&[&self.head[..], &self.tail[..]].concat()).into_owned();
        }
        let (head, tail) = (
            String::from_utf8_lossy(&self.head),
            String::from_utf8_lossy(&self.tail),
        );
        format!("{head}\n[… {} bytes omitted …]\n{tail}", self.omitted)
    }

    /// Returns the bytes that are left, without a mark.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.head[..], &self.tail[..]].concat()
    }

    /// Returns how many bytes were printed.
    pub fn total(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64 + self.omitted
    }
}

/// All that was kept of a command's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub stdout: Captured,
    pub stderr: Captured,
    /// Both in the order in which they were read.
    pub aggregated: Captured,
}

/// Keeps the beginning and the end of a stream.
#[derive(Debug)]
struct Capture {
    limits: CaptureLimits,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: u64,
}

impl Capture {
    fn new(limits: CaptureLimits) -> Self {
        Capture {
            limits,
            head: Vec::new(),
            tail: VecDeque::new(),
            omitted: 0,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.limits.head_bytes_max.saturating_sub(self.head.len());
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        // Of a piece that is longer than the tail, only its own end can stay.
        let skipped = rest.len().saturating_sub(self.limits.tail_bytes_max);
        self.tail.extend(&rest[skipped..]);
        let surplus = self.tail.len().saturating_sub(self.limits.tail_bytes_max);
        self.tail.drain(..surplus);
        self.omitted += (skipped + surplus) as u64;
    }

    fn captured(&self) -> Captured {
        Captured {
            head: self.head.clone(),
            omitted: self.omitted,
            tail: self.tail.iter().copied().collect(),
        }
    }

    fn take(&mut self) -> Captured {
        let captured = self.captured();
        *self = Capture::new(self.limits);
        captured
    }
}

/// What the readers write and everybody may look at.
#[derive(Debug)]
pub(crate) struct Recorder {
    inner: Mutex<Recording>,
}

#[derive(Debug)]
struct Recording {
    stdout: Capture,
    stderr: Capture,
    aggregated: Capture,
    unread: Capture,
}

impl Recorder {
    pub(crate) fn new(limits: CaptureLimits) -> Self {
        let capture = || Capture::new(limits);
        let inner = Recording {
            stdout: capture(),
            stderr: capture(),
            aggregated: capture(),
            unread: capture(),
        };
        Recorder {
            inner: Mutex::new(inner),
        }
    }

    pub(crate) fn push(&self, stream: Stream, bytes: &[u8]) {
        let mut recording = self.lock();
        match stream {
            Stream::Stdout => recording.stdout.push(bytes),
            Stream::Stderr => recording.stderr.push(bytes),
        }
        recording.aggregated.push(bytes);
        recording.unread.push(bytes);
    }

    pub(crate) fn output(&self) -> Output {
        let recording = self.lock();
        Output {
            stdout: recording.stdout.captured(),
            stderr: recording.stderr.captured(),
            aggregated: recording.aggregated.captured(),
        }
    }

    pub(crate) fn take_unread(&self) -> Captured {
        self.lock().unread.take()
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        // A panic elsewhere leaves at worst a shorter capture.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_capture_keeps_the_ends_and_counts_the_middle(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
            head in 0_usize..40,
            tail in 0_usize..40,
        ) {
            let mut capture = Capture::new(CaptureLimits { head_bytes_max: head, tail_bytes_max: tail });
            pieces.iter().for_each(|piece| capture.push(piece));
            let whole = pieces.concat();
            let captured = capture.captured();
            prop_assert_eq!(&captured.head[..], &whole[..head.min(whole.len())]);
            let after = &whole[head.min(whole.len())..];
            prop_assert_eq!(&captured.tail[..], &after[after.len().saturating_sub(tail)..]);
            prop_assert_eq!(captured.total(), whole.len() as u64);
        }
    }

    #[test]
    fn what_is_missing_is_marked_and_what_is_whole_is_not() {
        let mut capture = Capture::new(CaptureLimits::of(4));
        capture.push("aé".as_bytes());
        assert_eq!(
            capture.captured().text(),
            "aé",
            "a character over the seam is not broken"
        );
        capture.push(b"xyz");
        assert_eq!(capture.captured().omitted, 2);
        assert!(capture.captured().text().contains("[… 2 bytes omitted …]"));
    }
}

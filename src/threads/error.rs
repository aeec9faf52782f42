//! What can go wrong with threads on disk, and what was found damaged and worked around.

use std::{io, path::PathBuf};

use codex_protocol::{ThreadId, TurnId};

/// How much of a bad cursor or id is repeated in an error's text, in characters: they come from clients and
/// may be megabytes.
const ECHO_CHARS: usize = 80;

/// An operation on stored threads failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a UUID. Ids become file names, so nothing else is ever accepted.
    #[error("invalid thread id: {0}")]
    InvalidId(String),
    #[error("thread not found: {0}")]
    NotFound(ThreadId),
    #[error("thread {0} exists already")]
    AlreadyExists(ThreadId),
    /// Another process, or another part of this one, holds the thread's lock.
    #[error("thread {0} already has an active writer")]
    ActiveWriter(ThreadId),
    #[error("turn {turn} not found in thread {thread}")]
    TurnNotFound { thread: ThreadId, turn: TurnId },
    #[error("invalid cursor: {0}")]
    InvalidCursor(String),
    #[error("thread {id} is written in format {version}, newer than {known}")]
    NewerFormat { id: ThreadId, version: u32, known: u32 },
    /// The first line is not a thread's head.
    #[error("{} does not begin with a thread's head", path.display())]
    NoHeader { path: PathBuf },
    #[error("a record of {bytes} bytes is larger than the limit of {max}")]
    TooLarge { bytes: usize, max: usize },
    /// A thread that lives in memory must not fill it.
    #[error("an ephemeral thread takes no more than {max} bytes")]
    MemoryFull { max: u64 },
    /// An earlier write failed half-way, so that what is on disk is not known any more.
    #[error("thread {0} takes no more records: an earlier write failed")]
    Broken(ThreadId),
    #[error("encoding a record: {0}")]
    Encode(#[source] serde_json::Error),
    #[error("{doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.into();
        move |source| StoreError::Io { doing, path, source }
    }

    pub(crate) fn invalid_cursor(cursor: &str) -> StoreError {
        StoreError::InvalidCursor(cursor.chars().take(ECHO_CHARS).collect())
    }

    pub(crate) fn invalid_id(id: &ThreadId) -> StoreError {
        StoreError::InvalidId(id.0.chars().take(ECHO_CHARS).collect())
    }

    /// What the user can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            StoreError::ActiveWriter(_) => {
                Some("close the thread in the other app-server, or end that process")
            }
            StoreError::NewerFormat { .. } => Some("update codex on this host"),
            StoreError::Broken(_) => {
                Some("free disk space and resume the thread: it is repaired when it is opened")
            }
            StoreError::MemoryFull { .. } => Some("go on in a new thread"),
            StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free disk space and try again")
            }
            _ => None,
        }
    }
}

/// Damage that was met and worked around. Nothing that was acknowledged is lost by a torn end; garbage in
/// the middle can only come from outside (a bad disk, an editor).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The last line had no end: a write was cut off. It was taken out and kept in `note`.
    TornTail { offset: u64, bytes: u64, note: PathBuf },
    /// The last line was a whole record without its line end, which was added.
    MissingLineEnd { offset: u64 },
    /// A line that is no record was skipped.
    Garbage { offset: u64, bytes: u64 },
    /// The beginning of a turn was damaged; the turns before it were found by searching backwards.
    BrokenLink { offset: u64 },
    /// A file among the threads that cannot be listed.
    Unlisted { path: PathBuf, reason: String },
}

//! The one writer of a thread's log.

use std::{fs::File, io::Write, path::PathBuf, sync::Arc};

use codex_protocol::{ThreadId, TurnId, v2::ThreadItem};

use crate::{
    error::{Problem, StoreError},
    files,
    index::Index,
    lines::MAX_LINE,
    read::ThreadReader,
    record::{Entry, Header, Record},
    repair,
    source::Source,
    state::State,
    summary::Summary,
};

/// The longest record, in bytes on disk; longer ones are refused, since nobody could read them.
pub const MAX_RECORD_BYTES: usize = MAX_LINE;
/// The longest log of an ephemeral thread, in bytes; what comes after that is refused.
pub const MAX_EPHEMERAL_BYTES: u64 = 64 << 20;
/// After how many bytes the state is written into the log again: what opening a thread reads at most, apart
/// from one long record.
const CHECKPOINT_BYTES: u64 = 256 << 10;
/// A large state is written less often, so that checkpoints stay a small part of the log.
const CHECKPOINT_FACTOR: u64 = 16;

/// What must have happened before an append is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The operating system has it: survives the end of this process by any means, `kill -9` included.
    Written,
    /// It is on the disk (fdatasync(2)): survives also a loss of power.
    Synced,
}

/// The only writer of a thread. The lock is held until it is dropped.
#[derive(Debug)]
pub struct ThreadLog {
    header: Header,
    state: State,
    path: PathBuf,
    file: File,
    /// How long the log is.
    len: u64,
    since_checkpoint: u64,
    checkpoint_len: u64,
    broken: bool,
    problems: Vec<Problem>,
    index: Arc<Index>,
}

impl ThreadLog {
    /// Takes over a log that exists: locks it, repairs its end, reads its state.
    pub(crate) fn open(
        path: PathBuf,
        note: PathBuf,
        id: &ThreadId,
        index: Arc<Index>,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let file = files::open_append(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::NotFound(id.clone()),
            _ => StoreError::io("opening", &path)(error),
        })?;
        if !files::try_lock(&file).map_err(StoreError::io("locking", &path))? {
            return Err(StoreError::ActiveWriter(id.clone()));
        }
        if !files::is_still_at(&file, &path).map_err(StoreError::io("looking at", &path))? {
            return Err(StoreError::NotFound(id.clone()));
        }
        let source = Source::new(path, file)?;
        // Before anything is changed: a log that cannot be understood is left as it is.
        source.header()?;
        let (len, problem) =
            repair::repair(&source.file, &note, now_ms).map_err(StoreError::io("repairing", &source.path))?;
        let source = Source {
            len,
            file_len: len,
            ..source
        };
        let loaded = source.load()?;
        let problems = problem.into_iter().chain(loaded.problems).collect();
        Ok(ThreadLog {
            header: loaded.header,
            state: loaded.state,
            path: source.path,
            file: source.file,
            len,
            since_checkpoint: loaded.since_checkpoint,
            checkpoint_len: loaded.checkpoint_len,
            broken: false,
            problems,
            index,
        })
    }

    /// A new log in a file that holds its head and is locked.
    pub(crate) fn new(header: Header, path: PathBuf, file: File, len: u64, index: Arc<Index>) -> Self {
        let state = State::new(&header);
        ThreadLog {
            header,
            state,
            path,
            file,
            len,
            since_checkpoint: 0,
            checkpoint_len: 0,
            broken: false,
            problems: Vec::new(),
            index,
        }
    }

    pub fn id(&self) -> &ThreadId {
        &self.header.id
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// How long the log is, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Never: there is always a head.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was found damaged when the log was opened; empty after the first call.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// Writes one record. When it returns, the record is as safe as `durability` says. When it fails, the
    /// record is not part of the log; only after a failed sync nobody knows, and the log takes no more.
    ///
    /// `at_ms` is the wall clock in Unix milliseconds.
    pub fn append(&mut self, at_ms: i64, record: Record, durability: Durability) -> Result<(), StoreError> {
        self.append_all(at_ms, [record], durability)
    }

    /// Writes records with one write, and for [`Durability::Synced`] one fdatasync. A kill in between leaves
    /// a beginning of them.
    pub fn append_all(
        &mut self,
        at_ms: i64,
        records: impl IntoIterator<Item = Record>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new(self.state.clone(), self.len);
        let mut listed = false;
        for record in records {
            listed |= changes_lists(&record);
            let entry = Entry::new(at_ms, record, &batch.state);
            batch.add(&entry)?;
        }
        self.write(at_ms, batch, durability)?;
        if listed {
            self.update_index();
        }
        Ok(())
    }

    /// Makes everything up to now survive a loss of power.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        self.file.sync_data().map_err(|error| {
            // After a failed sync the kernel may have dropped the data and called it clean (fsync(2)).
            self.broken = true;
            StoreError::io("syncing", &self.path)(error)
        })
    }

    /// Takes the turn and everything after it out of the thread. It stays in the file.
    ///
    /// Returns the ids of the turns that are gone, newest first.
    pub fn revert_before(&mut self, at_ms: i64, turn: &TurnId) -> Result<Vec<TurnId>, StoreError> {
        let reader = self.reader()?;
        let (start, last, gone) = reader.revert_point(turn)?;
        let mut batch = Batch::new(self.state.clone(), self.len);
        batch.add(&Entry::Reverted {
            at: at_ms,
            before: turn.clone(),
            start,
            last,
        })?;
        self.write(at_ms, batch, Durability::Synced)?;
        self.update_index();
        Ok(gone)
    }

    /// Reads the history as it is now.
    pub fn reader(&self) -> Result<ThreadReader, StoreError> {
        let file = match self.header.ephemeral {
            true => self.file.try_clone(),
            false => File::open(&self.path),
        };
        let source = Source {
            path: self.path.clone(),
            file: file.map_err(StoreError::io("opening", &self.path))?,
            len: self.len,
            file_len: self.len,
        };
        Ok(ThreadReader::new(source, self.header.clone(), self.state.clone()))
    }

    pub fn summary(&self) -> Summary {
        Summary::new(&self.header, &self.state, self.len)
    }

    pub(crate) fn write_copied(&mut self, at_ms: i64, entries: Vec<Entry>) -> Result<(), StoreError> {
        let mut batch = Batch::new(self.state.clone(), self.len);
        for entry in entries {
            let entry = relink(entry, &batch.state);
            batch.add(&entry)?;
        }
        self.write(at_ms, batch, Durability::Written)
    }

    pub(crate) fn update_index(&self) {
        if self.header.ephemeral {
            return;
        }
        // The index is a cache that heals itself: a list notices by the log's length that a line is missing.
        let _ = self.index.put(&self.summary());
    }

    pub(crate) fn moved_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.broken {
            Err(StoreError::Broken(self.header.id.clone()))
        } else {
            Ok(())
        }
    }

    fn write(&mut self, at_ms: i64, mut batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.check_usable()?;
        if batch.bytes.is_empty() {
            return Ok(());
        }
        if self.header.ephemeral && self.len + batch.bytes.len() as u64 > MAX_EPHEMERAL_BYTES {
            return Err(StoreError::MemoryFull {
                max: MAX_EPHEMERAL_BYTES,
            });
        }
        let since = self.since_checkpoint + batch.bytes.len() as u64;
        let mut checkpoint_len = None;
        if since > CHECKPOINT_BYTES.max(self.checkpoint_len * CHECKPOINT_FACTOR) {
            let before = batch.bytes.len();
            let state = Box::new(batch.state.clone());
            match batch.add(&Entry::Checkpoint { at: at_ms, state }) {
                Ok(()) => checkpoint_len = Some((batch.bytes.len() - before) as u64),
                // Opening reads more without it; the records are not to suffer for that.
                Err(_) => batch.bytes.truncate(before),
            }
        }
        if let Err(error) = self.file.write_all(&batch.bytes) {
            // What was half written would make the next record unreadable.
            self.broken = self.file.set_len(self.len).is_err();
            return Err(StoreError::io("writing", &self.path)(error));
        }
        self.len += batch.bytes.len() as u64;
        self.state = batch.state;
        match checkpoint_len {
            Some(len) => (self.since_checkpoint, self.checkpoint_len) = (0, len),
            None => self.since_checkpoint = since,
        }
        if durability == Durability::Synced {
            self.sync()
        } else {
            Ok(())
        }
    }
}

impl Drop for ThreadLog {
    fn drop(&mut self) {
        // Closing alone is not enough: a process that is just being started elsewhere in this one may hold a
        // copy of the descriptor until its exec, and with it the lock.
        let _ = self.file.unlock();
    }
}

/// A fork's entry has to point to places in the new file.
fn relink(mut entry: Entry, state: &State) -> Entry {
    match &mut entry {
        Entry::TurnStarted { prev, .. } => prev.clone_from(&state.last_turn),
        Entry::ItemCompleted {
            turn, start, item, ..
        } => *start = item.id().and_then(|id| state.start_of(turn, &id)),
        _ => {}
    }
    entry
}

/// Whether a list shows something else after this record.
fn changes_lists(record: &Record) -> bool {
    match record {
        // It may become the preview. Other items only move times, which the turn's end does too.
        Record::ItemCompleted { item, .. } => matches!(item, ThreadItem::UserMessage(_)),
        Record::TurnStarted { .. }
        | Record::TurnCompleted { .. }
        | Record::NameSet { .. }
        | Record::Archived(_)
        | Record::SettingsChanged(_)
        | Record::MetadataSet(_) => true,
        _ => false,
    }
}

/// Lines that are written together, and the state behind them.
struct Batch {
    bytes: Vec<u8>,
    state: State,
    base: u64,
}

impl Batch {
    fn new(state: State, base: u64) -> Batch {
        Batch {
            bytes: Vec::new(),
            state,
            base,
        }
    }

    fn add(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let before = self.bytes.len();
        entry.encode(&mut self.bytes).map_err(StoreError::Encode)?;
        let bytes = self.bytes.len() - before;
        if bytes > MAX_RECORD_BYTES {
            return Err(StoreError::TooLarge {
                bytes,
                max: MAX_RECORD_BYTES,
            });
        }
        self.state.apply(self.base + before as u64, entry);
        Ok(())
    }
}

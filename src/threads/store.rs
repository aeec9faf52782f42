//! All threads of one place: created, opened, forked, listed, deleted.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use codex_protocol::ThreadId;

use crate::{
    error::{Problem, StoreError},
    files,
    fork::{self, ForkPoint},
    id,
    index::{Index, Seen},
    list::{self, ListPage, ListQuery},
    log::{Durability, ThreadLog},
    read::ThreadReader,
    record::{self, Header, Record},
    source::{self, Source},
    summary::Summary,
};

/// A log's file name is the thread's id with this behind it.
const LOG: &str = "jsonl";
/// A log that is being created; it gets its name when it is whole.
const NEW: &str = "new";
/// What repairs took out of a log.
const TORN: &str = "torn";
/// After how many milliseconds a log that is being created is taken for left behind.
const ABANDONED_MS: i64 = 3_600_000;

/// The threads below one directory. Cheap to share; every method can be called from any thread.
#[derive(Debug)]
pub struct ThreadStore {
    dir: PathBuf,
    index: Arc<Index>,
}

impl ThreadStore {
    /// Uses `<root>/threads`, which is created with mode 0700 if it is missing.
    pub fn open(root: &Path) -> Result<ThreadStore, StoreError> {
        let dir = root.join("threads");
        files::create_dir(&dir).map_err(StoreError::io("creating", &dir))?;
        let index = Arc::new(Index::new(root));
        Ok(ThreadStore { dir, index })
    }

    /// Where a thread's log is, or would be.
    pub fn path_of(&self, id: &ThreadId) -> Result<PathBuf, StoreError> {
        self.file(id, LOG)
    }

    /// Creates a thread. When it returns, the thread is on disk (unless it is [`Header::ephemeral`]), and this is
    /// its writer.
    pub fn create(&self, header: Header) -> Result<ThreadLog, StoreError> {
        let log = self.begin(header)?;
        self.publish(log)
    }

    /// Becomes the writer of a thread. A torn end is repaired; see [`ThreadLog::take_problems`].
    ///
    /// Fails with [`StoreError::ActiveWriter`] while anybody else is it, in this process or in another.
    pub fn open_writer(&self, id: &ThreadId, now_ms: i64) -> Result<ThreadLog, StoreError> {
        let log = ThreadLog::open(
            self.file(id, LOG)?,
            self.file(id, TORN)?,
            id,
            Arc::clone(&self.index),
            now_ms,
        )?;
        log.update_index();
        Ok(log)
    }

    /// Reads a thread, also while somebody writes it.
    pub fn reader(&self, id: &ThreadId) -> Result<ThreadReader, StoreError> {
        let source = Source::open(&self.file(id, LOG)?, id)?;
        let loaded = source.load()?;
        Ok(ThreadReader::new(source, loaded.header, loaded.state))
    }

    /// A new thread with a copy of another's history. `header` is the new thread's; `forked_from_id` is set.
    pub fn fork(
        &self,
        from: &ThreadId,
        point: &ForkPoint,
        header: Header,
        now_ms: i64,
    ) -> Result<ThreadLog, StoreError> {
        let reader = self.reader(from)?;
        let header = Header {
            forked_from_id: Some(from.clone()),
            ..header
        };
        let mut log = self.begin(header)?;
        match fork::copy(&reader, point, &mut log, now_ms) {
            Ok(()) => self.publish(log),
            Err(error) => {
                // Nothing points to the file yet; what stays of it is swept later.
                let _ = fs::remove_file(self.file(log.id(), NEW)?);
                Err(error)
            }
        }
    }

    /// Archives or unarchives a thread that nobody writes. For one that is open, append the record instead.
    pub fn set_archived(&self, id: &ThreadId, archived: bool, now_ms: i64) -> Result<Summary, StoreError> {
        self.change(id, Record::Archived(archived), now_ms)
    }

    /// Appends one record to a thread that nobody writes.
    pub fn change(&self, id: &ThreadId, record: Record, now_ms: i64) -> Result<Summary, StoreError> {
        let mut log = self.open_writer(id, now_ms)?;
        log.append(now_ms, record, Durability::Synced)?;
        Ok(log.summary())
    }

    /// Removes a thread that nobody writes, with all that belongs to it.
    pub fn delete(&self, id: &ThreadId, now_ms: i64) -> Result<(), StoreError> {
        let log = self.open_writer(id, now_ms)?;
        self.delete_open(log)
    }

    /// Removes the thread whose writer this is.
    pub fn delete_open(&self, log: ThreadLog) -> Result<(), StoreError> {
        let path = self.file(log.id(), LOG)?;
        fs::remove_file(&path).map_err(StoreError::io("removing", &path))?;
        let note = self.file(log.id(), TORN)?;
        match fs::remove_file(&note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("removing", note)(error));
            }
            _ => {}
        }
        files::sync_dir(&self.dir).map_err(StoreError::io("syncing", &self.dir))
    }

    /// One page of threads. Reads the index, and of the logs only those whose length the index does not know.
    pub fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        let mut seen = self
            .index
            .load()
            .map_err(StoreError::io("reading", self.index.path()))?;
        let problems = self.heal(&mut seen)?;
        let mut page = list::page(seen.summaries.values(), query)?;
        page.problems = problems;
        // Only a matter of space; the next list tries again.
        let _ = self.index.compact(&mut seen);
        Ok(page)
    }

    /// Removes what killed processes left behind when they were creating threads. To be called at start.
    pub fn sweep(&self, now_ms: i64) -> Result<(), StoreError> {
        let failed = || StoreError::io("sweeping", &self.dir);
        for file in fs::read_dir(&self.dir).map_err(failed())? {
            let path = file.map_err(failed())?.path();
            if path.extension().is_none_or(|extension| extension != NEW) {
                continue;
            }
            let Ok(modified) = fs::metadata(&path).and_then(|meta| meta.modified()) else {
                continue;
            };
            let age = modified
                .duration_since(std::time::UNIX_EPOCH)
                .map(|since| now_ms - since.as_millis() as i64);
            if age.is_ok_and(|age| age > ABANDONED_MS) {
                // Somebody else may sweep as well.
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }

    fn file(&self, id: &ThreadId, extension: &str) -> Result<PathBuf, StoreError> {
        Ok(self.dir.join(format!("{}.{extension}", id::file_stem(id)?)))
    }

    /// A log under its temporary name or in memory, locked.
    fn begin(&self, header: Header) -> Result<ThreadLog, StoreError> {
        let path = self.file(&header.id, NEW)?;
        if self.file(&header.id, LOG)?.exists() {
            return Err(StoreError::AlreadyExists(header.id));
        }
        let created = match header.ephemeral {
            true => files::create_in_memory(&path),
            false => files::create_new(&path),
        };
        let mut file = created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::AlreadyExists(header.id.clone()),
            _ => StoreError::io("creating", &path)(error),
        })?;
        if !files::try_lock(&file).map_err(StoreError::io("locking", &path))? {
            return Err(StoreError::ActiveWriter(header.id));
        }
        let head = record::encode_head(&header).map_err(StoreError::Encode)?;
        file.write_all(&head).map_err(StoreError::io("writing", &path))?;
        Ok(ThreadLog::new(
            header,
            path,
            file,
            head.len() as u64,
            Arc::clone(&self.index),
        ))
    }

    /// Gives a log its name.
    fn publish(&self, mut log: ThreadLog) -> Result<ThreadLog, StoreError> {
        if log.header().ephemeral {
            return Ok(log);
        }
        log.sync()?;
        let (from, to) = (self.file(log.id(), NEW)?, self.file(log.id(), LOG)?);
        fs::rename(&from, &to).map_err(StoreError::io("naming", &to))?;
        files::sync_dir(&self.dir).map_err(StoreError::io("syncing", &self.dir))?;
        log.moved_to(to);
        log.update_index();
        Ok(log)
    }

    /// Makes the summaries true: one for each log that is there, read anew where the log has another length.
    fn heal(&self, seen: &mut Seen) -> Result<Vec<Problem>, StoreError> {
        let failed = || StoreError::io("listing", &self.dir);
        let mut problems = Vec::new();
        let mut healed: Vec<Summary> = Vec::new();
        let mut there = std::collections::HashSet::with_capacity(seen.summaries.len());
        for file in fs::read_dir(&self.dir).map_err(failed())? {
            let file = file.map_err(failed())?;
            let name = file.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".jsonl")) else {
                continue;
            };
            let id = ThreadId::from(stem);
            // Removed in between: then it is not there.
            let Ok(meta) = file.metadata() else {
                continue;
            };
            if seen
                .summaries
                .get(&id)
                .is_none_or(|known| known.log_bytes != meta.len())
            {
                match self.summarize(&file.path(), &id) {
                    Ok(summary) => healed.push(summary),
                    Err(StoreError::NotFound(_)) => continue,
                    Err(error) => {
                        let problem = Problem::Unlisted {
                            path: file.path(),
                            reason: error.to_string(),
                        };
                        source::note(&mut problems, problem);
                        continue;
                    }
                }
            }
            there.insert(id);
        }
        seen.summaries.retain(|id, _| there.contains(id));
        if !healed.is_empty() {
            // If it cannot be written, the next list heals again.
            let _ = self.index.put_all(&healed);
        }
        seen.summaries
            .extend(healed.into_iter().map(|summary| (summary.id.clone(), summary)));
        Ok(problems)
    }

    fn summarize(&self, path: &Path, id: &ThreadId) -> Result<Summary, StoreError> {
        let source = Source::open(path, id)?;
        let loaded = source.load()?;
        if loaded.header.id != *id {
            return Err(StoreError::NoHeader {
                path: path.to_owned(),
            });
        }
        Ok(Summary::new(&loaded.header, &loaded.state, source.file_len))
    }
}

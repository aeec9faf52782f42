//! The index for lists: a cache of summaries that can be lost at any time.
//!
//! It is one append-only file of lines; the last line of a thread counts. Nobody needs a lock to append: a
//! line is one write to a file opened for appending, and begins with a line end, so that it does not stick to
//! what a killed process left half-written. Only who rewrites the file takes a lock. A line that is lost,
//! torn or written over in a race does no harm: a list compares each summary with the length of its log, and
//! a log only grows.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use codex_protocol::ThreadId;

use crate::{files, lines::MAX_LINE, summary::Summary};

/// The first line. Another one, of another version, makes the index as good as lost.
const HEAD: &str = r#"{"type":"index","version":1}"#;
/// The index is rewritten when it has this many lines more than twice the threads.
const SLACK_LINES: usize = 1000;

#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    lock: PathBuf,
    /// What was read so far, so that the next list reads only what is new.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Which file it was, and how far it was read.
    inode: u64,
    read: u64,
    lines: usize,
    pub(crate) summaries: HashMap<ThreadId, Summary>,
}

impl Index {
    pub(crate) fn new(dir: &Path) -> Index {
        Index {
            path: dir.join("index.jsonl"),
            lock: dir.join("index.lock"),
            seen: Mutex::default(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    pub(crate) fn put(&self, summary: &Summary) -> io::Result<()> {
        self.put_all([summary])
    }

    pub(crate) fn put_all<'s>(&self, summaries: impl IntoIterator<Item = &'s Summary>) -> io::Result<()> {
        let mut file = files::open_or_create_append(&self.path)?;
        let mut bytes = Vec::new();
        if file.metadata()?.len() == 0 {
            bytes.extend_from_slice(HEAD.as_bytes());
        }
        bytes.push(b'\n');
        for summary in summaries {
            serde_json::to_writer(&mut bytes, summary)?;
            bytes.push(b'\n');
        }
        file.write_all(&bytes)
    }

    /// What the index says now. It may be behind the logs.
    pub(crate) fn load(&self) -> io::Result<MutexGuard<'_, Seen>> {
        // A panic in between can only leave a cache that is behind.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match File::open(&self.path) {
            Ok(file) => seen.catch_up(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => *seen = Seen::default(),
            Err(error) => return Err(error),
        }
        Ok(seen)
    }

    /// Rewrites the file when most of it is outdated. Does nothing while another process does it.
    pub(crate) fn compact(&self, seen: &mut Seen) -> io::Result<()> {
        if seen.lines <= 2 * seen.summaries.len() + SLACK_LINES {
            return Ok(());
        }
        let lock = files::open_or_create_append(&self.lock)?;
        if !files::try_lock(&lock)? {
            return Ok(());
        }
        let done = self.rewrite(seen);
        // Explicitly, since a process that is being started may hold a copy of the descriptor for a while.
        lock.unlock().and(done)
    }

    fn rewrite(&self, seen: &mut Seen) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut bytes = HEAD.as_bytes().to_vec();
        bytes.push(b'\n');
        for summary in seen.summaries.values() {
            serde_json::to_writer(&mut bytes, summary)?;
            bytes.push(b'\n');
        }
        let mut file = files::create_new(&temporary)?;
        file.write_all(&bytes)?;
        fs::rename(&temporary, &self.path)?;
        *seen = Seen {
            inode: file.metadata()?.ino(),
            read: bytes.len() as u64,
            lines: seen.summaries.len(),
            summaries: std::mem::take(&mut seen.summaries),
        };
        Ok(())
    }
}

impl Seen {
    fn catch_up(&mut self, mut file: File) -> io::Result<()> {
        let meta = file.metadata()?;
        if meta.ino() != self.inode || meta.len() < self.read {
            *self = Seen {
                inode: meta.ino(),
                ..Seen::default()
            };
        }
        if meta.len() == self.read {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::with_capacity((meta.len() - self.read) as usize);
        file.read_to_end(&mut bytes)?;
        // A last line without its end may still be being written: it is read the next time.
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
        let mut start = 0;
        let mut first = self.read == 0;
        for end in memchr::memchr_iter(b'\n', &bytes[..whole]) {
            let line = &bytes[std::mem::replace(&mut start, end + 1)..end];
            if std::mem::take(&mut first) && line != HEAD.as_bytes() {
                // Nothing of it can be trusted: the summaries come from the logs, and the file is rewritten.
                self.read = meta.len();
                self.lines = usize::MAX / 2;
                return Ok(());
            }
            self.take(line);
        }
        self.read += whole as u64;
        Ok(())
    }

    fn take(&mut self, line: &[u8]) {
        if line.is_empty() || line.len() > MAX_LINE {
            return;
        }
        self.lines += 1;
        if let Ok(summary) = serde_json::from_slice::<Summary>(line) {
            self.summaries.insert(summary.id.clone(), summary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(id: &str) -> Summary {
        let value = serde_json::json!({"id": id, "len": 1, "created_at": 1, "updated_at": 1, "recency_at": 1,
            "cwd": "/", "model": "m", "model_provider": "p", "cli_version": "0", "source": "vscode"});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_line_that_a_killed_process_left_half_written_does_not_swallow_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::new(dir.path());
        index.put(&summary("first")).unwrap();
        files::open_append(index.path())
            .unwrap()
            .write_all(b"{\"id\":\"torn")
            .unwrap();
        index.put(&summary("second")).unwrap();
        let seen = index.load().unwrap();
        let mut ids: Vec<_> = seen.summaries.keys().map(|id| id.0.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["first", "second"]);
    }
}

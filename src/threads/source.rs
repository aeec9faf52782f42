//! A log as it can be read without a lock: its head, its state and its lines.

use std::{
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

use codex_protocol::ThreadId;

use crate::{
    error::{Problem, StoreError},
    lines::{self, Forward},
    record::{self, Decoded, DecodedHead, Entry, Header, prefix},
    repair,
    state::State,
};

/// How many problems of one reading are told one by one.
const MAX_PROBLEMS: usize = 100;

/// An open log, seen up to the length that it had when it was opened.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Up to here the lines are whole.
    pub(crate) len: u64,
    /// With what may be torn behind it.
    pub(crate) file_len: u64,
}

/// Remembers a problem, within a limit.
pub(crate) fn note(problems: &mut Vec<Problem>, problem: Problem) {
    if problems.len() < MAX_PROBLEMS && !problems.contains(&problem) {
        problems.push(problem);
    }
}

impl Source {
    pub(crate) fn open(path: &Path, id: &ThreadId) -> Result<Source, StoreError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::NotFound(id.clone()),
            _ => StoreError::io("opening", path)(error),
        })?;
        Source::new(path.to_owned(), file)
    }

    pub(crate) fn new(path: PathBuf, file: File) -> Result<Source, StoreError> {
        let lens = file
            .metadata()
            .and_then(|meta| Ok((repair::whole_len(&file, meta.len())?, meta.len())));
        let (len, file_len) = lens.map_err(StoreError::io("reading", &path))?;
        Ok(Source {
            path,
            file,
            len,
            file_len,
        })
    }

    pub(crate) fn read_error(&self) -> impl FnOnce(std::io::Error) -> StoreError {
        StoreError::io("reading", &self.path)
    }

    /// The head, and where the lines behind it begin.
    pub(crate) fn header(&self) -> Result<(Header, u64), StoreError> {
        let mut line = Vec::new();
        let found = lines::line_at(&self.file, 0, &mut line).map_err(self.read_error())?;
        match found.map(|()| record::decode_head(&line)) {
            Some(DecodedHead::Header(header)) => Ok((*header, line.len() as u64 + 1)),
            Some(DecodedHead::Newer(version)) => {
                let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
                let id = ThreadId::from(&*stem);
                Err(StoreError::NewerFormat {
                    id,
                    version,
                    known: record::FORMAT_VERSION,
                })
            }
            Some(DecodedHead::Garbage) | None => Err(StoreError::NoHeader {
                path: self.path.clone(),
            }),
        }
    }

    /// The line at this offset, if it is a whole and good one.
    pub(crate) fn entry_at(&self, offset: u64) -> Result<Option<Entry>, StoreError> {
        let mut line = Vec::new();
        if offset >= self.len
            || lines::line_at(&self.file, offset, &mut line)
                .map_err(self.read_error())?
                .is_none()
        {
            return Ok(None);
        }
        Ok(match Entry::decode(&line) {
            Decoded::Entry(entry) => Some(*entry),
            Decoded::Unknown | Decoded::Garbage => None,
        })
    }

    /// Gives the entries between two offsets in order, until `take` says stop.
    pub(crate) fn for_each(
        &self,
        range: Range<u64>,
        wanted: impl Fn(&[u8]) -> bool,
        problems: &mut Vec<Problem>,
        mut take: impl FnMut(Place, Entry) -> Result<Flow, StoreError>,
    ) -> Result<(), StoreError> {
        let mut forward = Forward::new(&self.file, range.start, range.end.min(self.len));
        while let Some(line) = forward.next_line().map_err(self.read_error())? {
            if !wanted(line.bytes) {
                if !record::looks_like_entry(line.bytes) {
                    note(
                        problems,
                        Problem::Garbage {
                            offset: line.offset,
                            bytes: line.len,
                        },
                    );
                }
                continue;
            }
            match Entry::decode(line.bytes) {
                Decoded::Entry(entry) => {
                    if take(
                        Place {
                            offset: line.offset,
                            len: line.len,
                        },
                        *entry,
                    )? == Flow::Stop
                    {
                        break;
                    }
                }
                Decoded::Unknown => {}
                Decoded::Garbage => note(
                    problems,
                    Problem::Garbage {
                        offset: line.offset,
                        bytes: line.len,
                    },
                ),
            }
        }
        Ok(())
    }

    /// The parts of the log, from `from` on, that reverts took out: from the beginning of a turn to the revert.
    pub(crate) fn reverted(&self, from: u64) -> Result<Vec<Range<u64>>, StoreError> {
        let mut ranges = Vec::new();
        let is_revert = |line: &[u8]| line.starts_with(prefix::REVERTED);
        self.for_each(from..self.len, is_revert, &mut Vec::new(), |place, entry| {
            if let Entry::Reverted { start, .. } = entry {
                ranges.push(start..place.offset);
            }
            Ok(Flow::Go)
        })?;
        Ok(ranges)
    }

    /// The head and the state: from the last checkpoint on, else from the beginning.
    pub(crate) fn load(&self) -> Result<Loaded, StoreError> {
        let (header, body) = self.header()?;
        let checkpoint = repair::find_last(&self.file, body, self.len, |offset, line| {
            if !line.starts_with(prefix::CHECKPOINT) {
                return None;
            }
            match Entry::decode(line) {
                Decoded::Entry(entry) => match *entry {
                    Entry::Checkpoint { state, .. } => Some((offset, line.len() as u64, *state)),
                    _ => None,
                },
                _ => None,
            }
        });
        let (from, checkpoint_len, mut state) = match checkpoint.map_err(self.read_error())? {
            Some((offset, len, state)) => (offset + len + 1, len, state),
            None => (body, 0, State::new(&header)),
        };
        let mut problems = Vec::new();
        self.for_each(
            from..self.len,
            |_| true,
            &mut problems,
            |place, entry| {
                state.apply(place.offset, &entry);
                Ok(Flow::Go)
            },
        )?;
        Ok(Loaded {
            header,
            state,
            since_checkpoint: self.len - from,
            checkpoint_len,
            problems,
        })
    }
}

/// Where a line is, and how long it is without its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Whether there is to be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Go,
    Stop,
}

#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) header: Header,
    pub(crate) state: State,
    /// Bytes behind the last checkpoint, or behind the head.
    pub(crate) since_checkpoint: u64,
    pub(crate) checkpoint_len: u64,
    pub(crate) problems: Vec<Problem>,
}

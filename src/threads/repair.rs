//! The torn last line: what a write that was cut off leaves behind.

use std::{fmt::Write as _, fs::File, io, io::Write as _, os::unix::fs::FileExt, path::Path};

use serde::Serialize;

use crate::{
    error::Problem,
    files,
    lines::{Backward, MAX_LINE},
    record::{Decoded, Entry},
};

/// What is kept of a torn line, beside the log.
#[derive(Serialize)]
struct Note<'a> {
    /// Unix milliseconds of the repair.
    at: i64,
    /// Where in the log the line began.
    offset: u64,
    /// How long it was. More than is kept only where it was longer than any record can be.
    bytes: u64,
    text: &'a str,
    /// What follows the text and is no UTF-8, in hexadecimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    rest: String,
}

/// Where the last line end is, plus one: the length of what is whole.
pub(crate) fn whole_len(file: &File, len: u64) -> io::Result<u64> {
    let mut last = [0];
    if len == 0 || (file.read_at(&mut last, len - 1)? == 1 && last[0] == b'\n') {
        return Ok(len);
    }
    // One byte is pretended behind the end: the torn line then is a line like the others.
    let mut upper = len;
    let mut block = vec![0; 64 << 10];
    while upper > 0 {
        let lower = upper.saturating_sub(block.len() as u64);
        let part = &mut block[..(upper - lower) as usize];
        file.read_exact_at(part, lower)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(lower + at as u64 + 1);
        }
        upper = lower;
    }
    Ok(0)
}

/// Makes the file end with a whole line and returns its new length. What is taken out is in the note before
/// it leaves the log. To be called with the lock held.
pub(crate) fn repair(file: &File, note: &Path, now_ms: i64) -> io::Result<(u64, Option<Problem>)> {
    let len = file.metadata()?.len();
    let offset = whole_len(file, len)?;
    if offset == len {
        return Ok((len, None));
    }
    let bytes = len - offset;
    let mut torn = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(MAX_LINE)];
    file.read_exact_at(&mut torn, offset)?;
    if offset > 0 && matches!(Entry::decode(&torn), Decoded::Entry(_) | Decoded::Unknown) {
        (&*file).write_all(b"\n")?;
        file.sync_all()?;
        return Ok((len + 1, Some(Problem::MissingLineEnd { offset })));
    }
    keep(note, now_ms, offset, bytes, &torn)?;
    file.set_len(offset)?;
    file.sync_all()?;
    Ok((
        offset,
        Some(Problem::TornTail {
            offset,
            bytes,
            note: note.to_owned(),
        }),
    ))
}

fn keep(path: &Path, at: i64, offset: u64, bytes: u64, torn: &[u8]) -> io::Result<()> {
    let valid = match std::str::from_utf8(torn) {
        Ok(text) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    let text = std::str::from_utf8(&torn[..valid]).unwrap_or_default();
    let rest = torn[valid..].iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut line = serde_json::to_vec(&Note {
        at,
        offset,
        bytes,
        text,
        rest,
    })?;
    line.push(b'\n');
    let mut file = files::open_or_create_append(path)?;
    file.write_all(&line)?;
    file.sync_all()
}

/// The last line that satisfies the test, given to `take` until it says yes.
pub(crate) fn find_last<T>(
    file: &File,
    start: u64,
    end: u64,
    mut take: impl FnMut(u64, &[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut lines = Backward::new(file, start, end);
    while let Some(line) = lines.next_line()? {
        if let Some(found) = take(line.offset, line.bytes) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

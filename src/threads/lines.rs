//! Lines of a file by their offset, forwards and backwards, with bounded memory.
//!
//! A line exists once its line end is written. Lines beyond [`MAX_LINE`] are passed over without being held.

use std::{fs::File, io, os::unix::fs::FileExt};

/// The longest line that is read or written, in bytes: an image of some tens of megabytes in base64 fits.
pub(crate) const MAX_LINE: usize = 64 << 20;
/// How much is read at once, in bytes, where the line's length is not known.
const BLOCK: usize = 64 << 10;

/// One line without its line end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) offset: u64,
    /// Without the line end. Differs from `bytes.len()` for a line beyond the limit, whose `bytes` are empty.
    pub(crate) len: u64,
    pub(crate) bytes: &'a [u8],
}

/// Fills `buffer` from `offset`, or less of it where `end` comes first.
fn read_block(file: &File, buffer: &mut Vec<u8>, offset: u64, end: u64, want: usize) -> io::Result<usize> {
    let room = usize::try_from(end.saturating_sub(offset))
        .unwrap_or(usize::MAX)
        .min(want);
    let old = buffer.len();
    buffer.resize(old + room, 0);
    let mut filled = 0;
    while filled < room {
        match file.read_at(&mut buffer[old + filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(old + filled);
    Ok(filled)
}

/// The line that begins at `offset`, into `buffer`. `None` where no whole line of a bearable length is.
pub(crate) fn line_at(file: &File, offset: u64, buffer: &mut Vec<u8>) -> io::Result<Option<()>> {
    buffer.clear();
    let mut want = 4 << 10;
    loop {
        let searched = buffer.len();
        let got = read_block(file, buffer, offset + searched as u64, u64::MAX, want)?;
        if let Some(end) = memchr::memchr(b'\n', &buffer[searched..]) {
            buffer.truncate(searched + end);
            return Ok(Some(()));
        }
        if got == 0 || buffer.len() > MAX_LINE {
            return Ok(None);
        }
        want = buffer.len();
    }
}

/// Reads lines in order. `end` is exclusive; a line that has no line end before it is not given.
pub(crate) struct Forward<'f> {
    file: &'f File,
    buffer: Vec<u8>,
    /// What of `buffer` was given out.
    used: usize,
    /// The offset of `buffer[used]`.
    offset: u64,
    end: u64,
}

impl<'f> Forward<'f> {
    pub(crate) fn new(file: &'f File, start: u64, end: u64) -> Self {
        Forward {
            file,
            buffer: Vec::new(),
            used: 0,
            offset: start,
            end,
        }
    }

    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = self.used;
        let mut passed = 0_u64;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let start = std::mem::replace(&mut self.used, searched + at + 1);
                let len = passed + (searched + at - start) as u64;
                let offset = self.offset;
                self.offset += len + 1;
                let bytes = if passed > 0 {
                    &[][..]
                } else {
                    &self.buffer[start..searched + at]
                };
                return Ok(Some(Line { offset, len, bytes }));
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            if self.buffer.len() > MAX_LINE || passed > 0 {
                passed += self.buffer.len() as u64;
                self.buffer.clear();
            }
            searched = self.buffer.len();
            let from = self.offset + passed + searched as u64;
            let want = searched.max(BLOCK);
            if read_block(self.file, &mut self.buffer, from, self.end, want)? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Reads lines from the last to the first. `end` is just behind a line end, `start` is where a line begins.
pub(crate) struct Backward<'f> {
    file: &'f File,
    window: Vec<u8>,
    /// The offset of `window[0]`.
    from: u64,
    /// Where the lines end that were not given out yet.
    end: u64,
    start: u64,
}

impl<'f> Backward<'f> {
    pub(crate) fn new(file: &'f File, start: u64, end: u64) -> Self {
        Backward {
            file,
            window: Vec::new(),
            from: end,
            end,
            start,
        }
    }

    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        if self.end <= self.start {
            return Ok(None);
        }
        let line_end = self.end - 1;
        let mut want = BLOCK;
        loop {
            if self.from <= line_end && !self.window.is_empty() {
                let inside = (line_end - self.from) as usize;
                if let Some(at) = memchr::memrchr(b'\n', &self.window[..inside]) {
                    return Ok(Some(self.give(at + 1, inside)));
                }
                if self.from <= self.start {
                    let first = (self.start - self.from) as usize;
                    return Ok(Some(self.give(first, inside)));
                }
                // Doubling keeps the work linear in the line's length.
                want = (inside + 1).saturating_mul(2).max(BLOCK);
            }
            if want > 2 * MAX_LINE {
                return self.pass_over(line_end).map(Some);
            }
            self.from = self.end.saturating_sub(want as u64).max(self.start);
            self.window.clear();
            read_block(self.file, &mut self.window, self.from, self.end, want)?;
            if self.from + (self.window.len() as u64) < self.end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn give(&mut self, first: usize, last: usize) -> Line<'_> {
        let offset = self.from + first as u64;
        self.end = offset;
        let bytes = &self.window[first..last];
        let len = bytes.len() as u64;
        Line {
            offset,
            len,
            bytes: if bytes.len() > MAX_LINE { &[] } else { bytes },
        }
    }

    /// Finds the beginning of a line that is too long to be held.
    fn pass_over(&mut self, line_end: u64) -> io::Result<Line<'_>> {
        let mut upper = self.from;
        let offset = loop {
            let lower = upper.saturating_sub(BLOCK as u64).max(self.start);
            self.window.clear();
            read_block(self.file, &mut self.window, lower, upper, BLOCK)?;
            if let Some(at) = memchr::memrchr(b'\n', &self.window) {
                break lower + at as u64 + 1;
            }
            if lower == self.start {
                break self.start;
            }
            upper = lower;
        };
        self.window.clear();
        self.from = offset;
        self.end = offset;
        Ok(Line {
            offset,
            len: line_end - offset,
            bytes: &[],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn file_of(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn both_directions_give_the_same_lines(lengths in prop::collection::vec(prop_oneof![0..40usize, 60_000..70_000usize, 0..300_000usize], 0..12)) {
            let mut text = Vec::new();
            let mut expected = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                expected.push((text.len() as u64, *length));
                text.extend(std::iter::repeat_n(b'a' + number as u8, *length));
                text.push(b'\n');
            }
            let file = file_of(&text);
            let mut forward = Forward::new(&file, 0, text.len() as u64);
            let mut seen = Vec::new();
            while let Some(line) = forward.next_line().unwrap() {
                prop_assert!(line.bytes.iter().all(|byte| *byte == b'a' + seen.len() as u8));
                seen.push((line.offset, line.bytes.len()));
            }
            prop_assert_eq!(&seen, &expected);
            let mut backward = Backward::new(&file, 0, text.len() as u64);
            let mut reversed = Vec::new();
            while let Some(line) = backward.next_line().unwrap() {
                reversed.push((line.offset, line.bytes.len()));
            }
            reversed.reverse();
            prop_assert_eq!(&reversed, &expected);
            let mut buffer = Vec::new();
            for (offset, length) in expected {
                line_at(&file, offset, &mut buffer).unwrap().unwrap();
                prop_assert_eq!(buffer.len(), length);
            }
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_passed_over_in_both_directions() {
        let mut text = b"first\n".to_vec();
        text.resize(text.len() + 2 * MAX_LINE + 10, b'x');
        text.extend(b"\nlast\n");
        let (file, end) = (file_of(&text), text.len() as u64);
        let mut forward = Forward::new(&file, 0, end);
        let mut backward = Backward::new(&file, 0, end);
        let mut there = Vec::new();
        while let Some(line) = forward.next_line().unwrap() {
            there.push((line.offset, line.len, line.bytes.to_vec()));
        }
        let mut back = Vec::new();
        while let Some(line) = backward.next_line().unwrap() {
            back.push((line.offset, line.len, line.bytes.to_vec()));
        }
        back.reverse();
        assert_eq!(there, back);
        assert_eq!(there.len(), 3);
        assert_eq!((there[1].1, there[1].2.len()), (2 * MAX_LINE as u64 + 10, 0));
    }
}

//! Folds long text to its head and tail without looking at the middle.

use std::borrow::Cow;

use super::{
    sanitize::sanitize_line,
    wrap::{text_width, truncate},
};

/// How many lines of a long text stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    pub head: usize,
    pub tail: usize,
}

/// Bytes of one line that a folded view looks at. A program may print a megabyte without a line break.
pub const FOLDED_LINE_BYTES_MAX: usize = 2048;

/// Lines of the screen that one line of a folded text may take.
pub const FOLDED_ROWS_MAX: usize = 4;

/// The parts of a folded text: raw lines, not yet sanitized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded<'a> {
    pub head: Vec<&'a str>,
    /// Lines between head and tail; 0 when everything is there, and then all lines are in `head`.
    pub hidden: usize,
    pub tail: Vec<&'a str>,
}

impl Fold {
    /// Keeps everything.
    pub const ALL: Self = Self {
        head: usize::MAX,
        tail: 0,
    };

    /// Splits a text into lines and hides the middle. Hides one line never: its count takes one as well.
    /// Reads the middle only to count its line breaks. A line break at the end begins no line.
    pub fn split<'a>(&self, text: &'a str) -> Folded<'a> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        if text.is_empty() {
            return Folded {
                head: Vec::new(),
                hidden: 0,
                tail: Vec::new(),
            };
        }
        let shown = self.head.saturating_add(self.tail).saturating_add(1);
        let total = text.bytes().filter(|&byte| byte == b'\n').count() + 1;
        if total <= shown {
            return Folded {
                head: text.split('\n').collect(),
                hidden: 0,
                tail: Vec::new(),
            };
        }
        let mut tail: Vec<&str> = text.rsplit('\n').take(self.tail).collect();
        tail.reverse();
        let hidden = total - self.head - self.tail;
        Folded {
            head: text.split('\n').take(self.head).collect(),
            hidden,
            tail,
        }
    }
}

/// Sanitizes one line and cuts it to a number of columns; what is cut shows as `ellipsis`.
pub fn fold_line<'a>(line: &'a str, columns: usize, ellipsis: &str) -> Cow<'a, str> {
    let (start, is_cut) = cut_line(line);
    let clean = sanitize_line(start);
    if !is_cut && text_width(&clean) <= columns {
        return clean;
    }
    Cow::Owned(truncate(&format!("{clean}{ellipsis}"), columns, ellipsis))
}

/// Cuts one overlong line to [`FOLDED_LINE_BYTES_MAX`] and tells whether its end went. What a progress bar
/// wrote last counts, so its last state stays; of other lines the beginning does.
fn cut_line(line: &str) -> (&str, bool) {
    if line.len() <= FOLDED_LINE_BYTES_MAX {
        return (line, false);
    }
    let trimmed = line.trim_end_matches('\r');
    let last = trimmed.rfind('\r').map_or(trimmed, |at| &trimmed[at + 1..]);
    let end = last.floor_char_boundary(FOLDED_LINE_BYTES_MAX);
    (&last[..end], end < last.len())
}

/// The words for what is hidden, e.g. `… 120 more lines`.
pub fn hidden_lines(ellipsis: &str, count: usize) -> Cow<'static, str> {
    let noun = if count == 1 { "line" } else { "lines" };
    Cow::Owned(format!("{ellipsis} {count} more {noun}"))
}

//! Text with a cursor: movement and deletion by grapheme and by word.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::keymap::Command;

/// Text of one field. Larger input is cut: nobody types it, and a paste of that size is a mistake.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextField {
    text: String,
    /// A grapheme boundary in bytes.
    cursor: usize,
}

impl TextField {
    pub fn new(text: impl Into<String>) -> TextField {
        let text = text.into();
        TextField {
            cursor: text.len(),
            text,
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn cursor(&self) -> usize {
        self.cursor
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    pub fn insert(&mut self, text: &str) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.insert_str(self.cursor, &text[..end]);
        self.cursor += end;
        // What was inserted may have joined with what follows into one grapheme.
        self.snap();
    }

    pub fn replace(&mut self, range: Range<usize>, text: &str) {
        if self.text.get(range.clone()).is_some() {
            self.text.replace_range(range.clone(), text);
            self.cursor = range.start + text.len();
            self.snap();
        }
    }

    pub fn set_cursor(&mut self, cursor: usize) {
        self.cursor = cursor.min(self.text.len());
        self.snap();
    }

    /// Performs a command on the text; `false` when it is none of a text's.
    pub fn handle(&mut self, command: Command) -> bool {
        match command {
            Command::CursorLeft => self.cursor = self.left(),
            Command::CursorRight => self.cursor = self.right(),
            Command::WordLeft => self.cursor = self.word_left(),
            Command::WordRight => self.cursor = self.word_right(),
            Command::LineStart => self.cursor = self.line_start(),
            Command::LineEnd => self.cursor = self.line_end(),
            Command::DeleteBack => self.delete(self.left()..self.cursor),
            Command::DeleteForward => self.delete(self.cursor..self.right()),
            Command::DeleteWordBack => self.delete(self.word_left()..self.cursor),
            Command::DeleteWordForward => self.delete(self.cursor..self.word_right()),
            Command::DeleteToStart => self.delete(self.line_start()..self.cursor),
            // At the end of a line its break goes, as in Emacs and readline.
            Command::DeleteToEnd if self.line_end() == self.cursor => self.delete(self.cursor..self.right()),
            Command::DeleteToEnd => self.delete(self.cursor..self.line_end()),
            _ => return false,
        }
        true
    }

    fn delete(&mut self, range: Range<usize>) {
        self.replace(range, "");
    }

    fn left(&self) -> usize {
        let last = self.text[..self.cursor].graphemes(true).next_back();
        self.cursor - last.map_or(0, str::len)
    }

    fn right(&self) -> usize {
        let first = self.text[self.cursor..].graphemes(true).next();
        self.cursor + first.map_or(0, str::len)
    }

    fn word_left(&self) -> usize {
        let mut words = self.text[..self.cursor].unicode_word_indices();
        words.next_back().map_or(0, |(index, _)| index)
    }

    fn word_right(&self) -> usize {
        let mut words = self.text[self.cursor..].unicode_word_indices();
        let end = words.next().map(|(index, word)| self.cursor + index + word.len());
        end.unwrap_or(self.text.len())
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |it| it + 1)
    }

    fn line_end(&self) -> usize {
        let rest = self.text[self.cursor..].find('\n');
        rest.map_or(self.text.len(), |it| self.cursor + it)
    }

    fn snap(&mut self) {
        while !self.text.is_char_boundary(self.cursor) {
            self.cursor += 1;
        }
    }
}

/// The rows of a text in a window of this width, as byte ranges; a row's line break is in no range. Rows
/// are cut where they are full: in a field that is edited, words that jump to the next row while they are
/// typed are worse than words that are cut. There is always a row for the cursor behind the last character.
pub fn rows(text: &str, width: u16) -> Vec<Range<usize>> {
    let width = usize::from(width.max(1));
    let mut rows = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        let (mut row_start, mut column) = (start, 0);
        for (index, grapheme) in line.grapheme_indices(true) {
            let wide = grapheme.width();
            if 0 < column && width < column + wide {
                rows.push(row_start..start + index);
                (row_start, column) = (start + index, 0);
            }
            column += wide;
        }
        rows.push(row_start..start + line.len());
        if width <= column {
            rows.push(start + line.len()..start + line.len());
        }
        start += line.len() + 1;
    }
    rows
}

/// Row and column of a byte position.
pub fn place(text: &str, rows: &[Range<usize>], cursor: usize) -> (usize, usize) {
    let row = rows.iter().rposition(|it| it.start <= cursor).unwrap_or(0);
    let start = rows.get(row).map_or(0, |it| it.start);
    let column = text.get(start..cursor).map_or(0, UnicodeWidthStr::width);
    (row, column)
}

/// The byte position that is nearest to a column of a row.
pub fn at_column(text: &str, row: &Range<usize>, column: usize) -> usize {
    let mut width = 0;
    for (index, grapheme) in text[row.clone()].grapheme_indices(true) {
        if column < width + grapheme.width() {
            return row.start + index;
        }
        width += grapheme.width();
    }
    row.end
}

//! Makes text of a remote harmless: what is left cannot move the cursor, change a mode or hide anything.
//!
//! A program's output is written for a terminal, so a line is read the way a terminal would: a carriage
//! return or a backspace goes back and overwrites, which leaves the last state of a progress bar. Control
//! sequences (ECMA-48, xterm's `ctlseqs`) have no effect beyond that and are taken out whole. No sequence
//! reaches past the end of its line, so each line can be sanitized alone, and a sequence that never ends
//! cannot swallow what follows.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// Distance of tab stops, as in a terminal.
pub const TAB_WIDTH: usize = 8;

/// Zero-width characters that may follow each other. Writing systems need a handful; a pile of hundreds
/// draws over the lines around it.
pub const ZERO_WIDTH_RUN_MAX: usize = 16;

/// Returns the text without anything that a terminal would obey: no control character but `\n`, no
/// bidirectional or invisible formatting. Idempotent, linear in time; printable text comes back as it is,
/// but for flags, which become their letters.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    let mut screen = Screen::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        rest = match c {
            '\u{1b}' => escape(rest, &mut screen),
            '\u{9b}' => control_sequence(rest, &mut screen),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => control_string(rest),
            '\r' => carriage_return(rest, &mut screen),
            _ => {
                screen.put(c);
                rest
            }
        };
    }
    screen.finish()
}

/// Returns the text as one line: sanitized, with a space for each line break.
pub fn sanitize_line(text: &str) -> Cow<'_, str> {
    let clean = sanitize(text);
    if clean.contains('\n') {
        Cow::Owned(clean.replace('\n', " "))
    } else {
        clean
    }
}

/// Whether there is nothing to do. Errs on the side of work.
fn is_clean(text: &str) -> bool {
    if text.is_ascii() {
        return text
            .bytes()
            .all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte));
    }
    let mut run = 0;
    text.chars().all(|c| {
        run = if is_zero_width(c) { run + 1 } else { 0 };
        (c == '\n' || !c.is_control())
            && flag_letter(c).is_none()
            && !is_separator(c)
            && !is_format(c)
            && !is_joiner(c)
            && run <= 1
    })
}

/// After ESC: returns what follows the sequence.
fn escape<'a>(text: &'a str, screen: &mut Screen) -> &'a str {
    let Some(c) = text.chars().next() else { return text };
    match c {
        '[' => control_sequence(&text[1..], screen),
        ']' | 'P' | 'X' | '^' | '_' => control_string(&text[1..]),
        ' '..='~' => {
            let text = text.trim_start_matches(|c| (' '..='/').contains(&c));
            let ends = text.starts_with(|c| ('0'..='~').contains(&c));
            if ends { &text[1..] } else { text }
        }
        _ => text,
    }
}

/// After CSI: parameters, intermediates, one final character. Anything else breaks it off.
fn control_sequence<'a>(text: &'a str, screen: &mut Screen) -> &'a str {
    let body = text.trim_start_matches(|c| ('0'..='?').contains(&c));
    let parameters = &text[..text.len() - body.len()];
    let end = body.trim_start_matches(|c| (' '..='/').contains(&c));
    if !end.starts_with(|c| ('@'..='~').contains(&c)) {
        return end;
    }
    if body.starts_with('K') {
        screen.erase(parameters);
    }
    &end[1..]
}

/// After OSC, DCS, APC, PM or SOS: a string up to BEL or ST. CAN, SUB and ESC break it off as in a
/// terminal, a line break does here.
fn control_string(text: &str) -> &str {
    let ends = |c| matches!(c, '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}' | '\u{1b}') || is_line_break(c);
    let Some(at) = text.find(ends) else { return "" };
    let end = &text[at..];
    match end.chars().next() {
        Some('\u{1b}') => end.strip_prefix("\u{1b}\\").unwrap_or(end),
        Some(c) if !is_line_break(c) => &end[c.len_utf8()..],
        _ => end,
    }
}

/// After a carriage return. Any number of them before a line feed are part of the line break.
fn carriage_return<'a>(text: &'a str, screen: &mut Screen) -> &'a str {
    let rest = text.trim_start_matches('\r');
    if !rest.is_empty() && !rest.starts_with('\n') {
        screen.go_back(usize::MAX);
    }
    rest
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\u{b}' | '\u{c}') || is_separator(c)
}

fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Zero-width joiner and non-joiner: needed inside emoji and some scripts, a disguise elsewhere.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Invisible characters that change how others look or only hide something: general category Cf without
/// the visible ones, and fillers that draw nothing.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}')
}

fn is_zero_width(c: char) -> bool {
    !c.is_ascii() && c.width() == Some(0)
}

/// The letter of a regional indicator. Terminals disagree whether a flag, which is two of them, takes two
/// columns or four: what follows would be drawn beside its place, and stay there. Its letters take two.
fn flag_letter(c: char) -> Option<char> {
    const FIRST: char = '\u{1f1e6}';
    let index = u8::try_from(u32::from(c).checked_sub(u32::from(FIRST))?).ok()?;
    (index < 26).then(|| char::from(b'A' + index))
}

/// Whether a joiner beside this character can mean something.
fn can_join(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace()
}

/// What a terminal would show, as far as lines go.
struct Screen {
    /// All lines before the current one, and the current one while it only grows.
    text: String,
    /// The current line once something went back in it.
    cells: Option<Cells>,
    /// Columns of the current line in `text`.
    column: usize,
    /// Zero-width characters at the end of `text`.
    run: usize,
    /// Waits for a character that it can join.
    joiner: Option<char>,
}

impl Screen {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            cells: None,
            column: 0,
            run: 0,
            joiner: None,
        }
    }

    fn put(&mut self, c: char) {
        match flag_letter(c).unwrap_or(c) {
            c if is_line_break(c) => self.end_line(),
            '\t' => self.tab(),
            '\u{8}' => self.go_back(1),
            c if c.is_control() || is_format(c) => {}
            c => match &mut self.cells {
                Some(cells) => cells.put(c),
                None => self.append(c),
            },
        }
    }

    fn append(&mut self, c: char) {
        if is_joiner(c) {
            let follows = self.text.chars().next_back().is_some_and(can_join);
            if self.joiner.is_none() && follows && self.run < ZERO_WIDTH_RUN_MAX {
                self.joiner = Some(c);
            }
            return;
        }
        let zero_width = is_zero_width(c);
        if zero_width && self.run + usize::from(self.joiner.is_some()) >= ZERO_WIDTH_RUN_MAX {
            return;
        }
        if let Some(joiner) = self.joiner.take().filter(|_| can_join(c)) {
            self.text.push(joiner);
            self.run += 1;
        }
        self.run = if zero_width { self.run + 1 } else { 0 };
        self.column += c.width().unwrap_or(0);
        self.text.push(c);
    }

    fn tab(&mut self) {
        if let Some(cells) = &mut self.cells {
            return cells.tab();
        }
        for _ in 0..TAB_WIDTH - self.column % TAB_WIDTH {
            self.append(' ');
        }
    }

    fn go_back(&mut self, columns: usize) {
        if self.cells.is_none() {
            self.joiner = None;
            let start = self.text.rfind('\n').map_or(0, |at| at + 1);
            let mut cells = Cells::default();
            self.text[start..].chars().for_each(|c| cells.put(c));
            self.text.truncate(start);
            self.cells = Some(cells);
        }
        if let Some(cells) = &mut self.cells {
            cells.column = cells.column.saturating_sub(columns);
        }
    }

    /// EL, `CSI Ps K`: to the end of the line, to its beginning, or all of it.
    fn erase(&mut self, parameters: &str) {
        // The cursor stands at the end: only a line that went back has something behind it.
        if self.cells.is_none() && matches!(parameters, "1" | "2") {
            self.go_back(0);
        }
        let Some(cells) = &mut self.cells else { return };
        if matches!(parameters, "1" | "2") {
            cells.blank(..cells.column.saturating_add(1));
        }
        if matches!(parameters, "" | "0" | "2") {
            cells.line.truncate(cells.column);
        }
    }

    fn end_line(&mut self) {
        self.flush();
        self.joiner = None;
        self.text.push('\n');
        (self.column, self.run) = (0, 0);
    }

    fn flush(&mut self) {
        let Some(cells) = self.cells.take() else { return };
        (self.column, self.run, self.joiner) = (0, 0, None);
        for cell in cells.line {
            if let Some(base) = cell.base {
                self.append(base);
            }
            cell.marks.chars().for_each(|mark| self.append(mark));
        }
    }

    fn finish(mut self) -> Cow<'static, str> {
        self.flush();
        Cow::Owned(self.text)
    }
}

/// A line in which the cursor went back.
#[derive(Default)]
struct Cells {
    line: Vec<Cell>,
    column: usize,
}

struct Cell {
    /// `None` is the right half of a wide character.
    base: Option<char>,
    /// Zero-width characters on top of it.
    marks: String,
}

impl Cell {
    const fn new(base: Option<char>) -> Self {
        Self {
            base,
            marks: String::new(),
        }
    }
}

impl Cells {
    fn put(&mut self, c: char) {
        let width = c.width().unwrap_or(0);
        if width == 0 {
            let mut left = self.line.iter_mut().take(self.column).rev();
            if let Some(cell) = left.find(|cell| cell.base.is_some()) {
                cell.marks.push(c);
            }
            return;
        }
        self.blank(self.column..self.column.saturating_add(width));
        for part in 0..width {
            self.set(Cell::new((part == 0).then_some(c)));
        }
    }

    /// Writes one cell and steps right.
    fn set(&mut self, cell: Cell) {
        match self.line.get_mut(self.column) {
            Some(old) => *old = cell,
            None => self.line.push(cell),
        }
        self.column += 1;
    }

    /// Moves to the next stop. What it passes stays; beyond the end there are spaces.
    fn tab(&mut self) {
        self.column += TAB_WIDTH - self.column % TAB_WIDTH;
        while self.line.len() < self.column {
            self.line.push(Cell::new(Some(' ')));
        }
    }

    /// Clears columns, and the other half of each wide character that is cut.
    fn blank(&mut self, range: impl std::ops::RangeBounds<usize>) {
        use std::ops::Bound;
        let mut start = match range.start_bound() {
            Bound::Included(&at) => at,
            _ => 0,
        };
        let mut end = match range.end_bound() {
            Bound::Excluded(&at) => at.min(self.line.len()),
            _ => self.line.len(),
        };
        if self.line.get(start).is_some_and(|cell| cell.base.is_none()) {
            start = start.saturating_sub(1);
        }
        if self.line.get(end).is_some_and(|cell| cell.base.is_none()) {
            end += 1;
        }
        for cell in self.line.get_mut(start..end).unwrap_or_default() {
            *cell = Cell::new(Some(' '));
        }
    }
}

#[cfg(test)]
mod tests;

//! Changed files: line numbers, marks that need no colour, long ones folded.

use codex_protocol::v2::{FileUpdateChange, PatchChangeKind};
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{
    fold::{FOLDED_ROWS_MAX, Fold, fold_line, hidden_lines},
    sanitize::sanitize_line,
    wrap::{Breaks, Wrap, has_room, spans_width},
};
use crate::theme::Theme;

/// What stays of a long diff that is not expanded.
pub const DIFF_FOLD: Fold = Fold { head: 14, tail: 6 };

/// How a diff is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// In columns.
    pub width: u16,
    pub theme: &'a Theme,
    pub fold: Fold,
}

/// How many lines a change adds and removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub added: usize,
    pub removed: usize,
}

/// Counts the lines of a change without drawing it.
pub fn counts(change: &FileUpdateChange) -> Counts {
    let lines = || change.diff.lines().count();
    match change.kind {
        PatchChangeKind::Add(_) => Counts {
            added: lines(),
            removed: 0,
        },
        PatchChangeKind::Delete(_) => Counts {
            added: 0,
            removed: lines(),
        },
        PatchChangeKind::Update(_) | PatchChangeKind::Unknown(_) => {
            let mut counts = Counts::default();
            let mut hunk = Hunk::default();
            for line in change.diff.lines() {
                match hunk.read(line).kind {
                    Kind::Added => counts.added += 1,
                    Kind::Removed => counts.removed += 1,
                    Kind::Context | Kind::Header | Kind::Note => {}
                }
            }
            counts
        }
    }
}

/// One line about the change: `M src/a.rs → src/b.rs (+3 −1)`. Not wrapped.
pub fn summary(change: &FileUpdateChange, theme: &Theme) -> Vec<Span<'static>> {
    let Counts { added, removed } = counts(change);
    let glyphs = theme.glyphs;
    let (letter, moved) = match &change.kind {
        PatchChangeKind::Add(_) => ("A", None),
        PatchChangeKind::Delete(_) => ("D", None),
        PatchChangeKind::Update(update) => {
            match update.move_path.as_deref().filter(|to| *to != change.path) {
                Some(to) => ("R", Some(to)),
                None => ("M", None),
            }
        }
        PatchChangeKind::Unknown(_) => ("?", None),
    };
    let path = |path: &str| Span::styled(sanitize_line(path).into_owned(), theme.path);
    let mut spans = vec![Span::styled(format!("{letter} "), theme.dim), path(&change.path)];
    if let Some(to) = moved {
        spans.extend([Span::raw(format!(" {} ", glyphs.arrow)), path(to)]);
    }
    spans.extend([
        Span::raw(" ("),
        Span::styled(format!("+{added}"), theme.added),
        Span::raw(" "),
        Span::styled(format!("{}{removed}", glyphs.minus), theme.removed),
        Span::raw(")"),
    ]);
    spans
}

/// The body of a change, without its summary.
pub fn body(change: &FileUpdateChange, options: Options<'_>) -> Vec<Line<'static>> {
    let whole = match change.kind {
        PatchChangeKind::Add(_) => Some(Kind::Added),
        PatchChangeKind::Delete(_) => Some(Kind::Removed),
        PatchChangeKind::Update(_) | PatchChangeKind::Unknown(_) => None,
    };
    render(&change.diff, whole, options)
}

/// A unified diff as `turn/diff/updated` sends it: several files with their headers.
pub fn unified(diff: &str, options: Options<'_>) -> Vec<Line<'static>> {
    render(diff, None, options)
}

fn render(diff: &str, whole: Option<Kind>, options: Options<'_>) -> Vec<Line<'static>> {
    let folded = options.fold.split(diff);
    let digits = number_width(diff, whole);
    let mut lines = Vec::new();
    let mut hunk = Hunk::default();
    let mut read = |line| match whole {
        Some(kind) => hunk.whole(kind, line),
        None => hunk.read(line),
    };
    for line in folded.head {
        push(read(line), digits, options, &mut lines);
    }
    if folded.hidden > 0 {
        let text = hidden_lines(options.theme.glyphs.ellipsis, folded.hidden).into_owned();
        Wrap::words(options.width).push(&[Span::styled(text, options.theme.dim)], &mut lines);
        // The numbers of the tail depend on every line before it.
        let head = options.fold.head;
        for line in diff.split('\n').skip(head).take(folded.hidden) {
            read(line);
        }
    }
    for line in folded.tail {
        push(read(line), digits, options, &mut lines);
    }
    lines
}

fn push(row: Row<'_>, digits: usize, options: Options<'_>, lines: &mut Vec<Line<'static>>) {
    let theme = options.theme;
    let (mark, style) = match row.kind {
        Kind::Added => ("+", theme.added),
        Kind::Removed => ("-", theme.removed),
        Kind::Context => (" ", Style::new()),
        Kind::Header => return push_header(row.text, theme.hunk, options, lines),
        Kind::Note => return push_header(row.text, theme.dim, options, lines),
    };
    let number = row.number.map_or(String::new(), |number| number.to_string());
    let first = [
        Span::styled(format!("{number:>digits$} "), theme.dim),
        Span::styled(format!("{mark} "), style),
    ];
    let rest = [Span::raw(" ".repeat(spans_width(&first)))];
    let columns = FOLDED_ROWS_MAX
        * usize::from(options.width)
            .saturating_sub(spans_width(&first))
            .max(1);
    let text = match options.fold {
        Fold::ALL => sanitize_line(row.text),
        _ => fold_line(row.text, columns, theme.glyphs.ellipsis),
    };
    let mut spans = vec![Span::styled(text, style)];
    // Where numbers have no room the mark still has: it is what the line means.
    if !has_room(spans_width(&first), options.width) {
        spans.insert(0, Span::styled(mark, style));
        return Wrap::anywhere(options.width).push(&spans, lines);
    }
    Wrap {
        width: options.width,
        breaks: Breaks::Anywhere,
        first: &first,
        rest: &rest,
    }
    .push(&spans, lines);
}

fn push_header(text: &str, style: Style, options: Options<'_>, lines: &mut Vec<Line<'static>>) {
    let text = sanitize_line(text);
    Wrap::anywhere(options.width).push(&[Span::styled(text, style)], lines);
}

/// Digits of the largest line number that can appear.
fn number_width(diff: &str, whole: Option<Kind>) -> usize {
    let count = diff.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let largest = match whole {
        Some(_) => count,
        None => {
            let ends = diff
                .split('\n')
                .filter_map(range)
                .map(|range| range.old.max(range.new));
            ends.max().unwrap_or(1).saturating_add(count)
        }
    };
    largest.to_string().len()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Added,
    Removed,
    Context,
    /// A hunk header or a file header.
    Header,
    /// `\ No newline at end of file` and what is not a diff.
    Note,
}

#[derive(Clone, Copy, Debug)]
struct Row<'a> {
    kind: Kind,
    number: Option<usize>,
    /// Without the mark.
    text: &'a str,
}

impl<'a> Row<'a> {
    const fn numbered(kind: Kind, text: &'a str, number: Option<usize>) -> Self {
        Self { kind, number, text }
    }
}

/// Where each side stands, and how many lines of the hunk are still to come.
#[derive(Debug, Default)]
struct Hunk {
    old: usize,
    new: usize,
    old_left: usize,
    new_left: usize,
}

impl Hunk {
    /// Reads a line of a file that is added or deleted as a whole.
    fn whole<'a>(&mut self, kind: Kind, text: &'a str) -> Row<'a> {
        self.new += 1;
        Row::numbered(kind, text, Some(self.new))
    }

    /// Reads the next line. Inside a hunk a line that begins with `--` or `++` is content, not a header.
    /// Outside of one, line numbers are not known.
    fn read<'a>(&mut self, line: &'a str) -> Row<'a> {
        let inside = self.old_left > 0 || self.new_left > 0;
        if !inside {
            if let Some(range) = range(line) {
                *self = range;
                return Row::numbered(Kind::Header, line, None);
            }
            if ["--- ", "+++ ", "diff ", "@@"]
                .iter()
                .any(|start| line.starts_with(start))
            {
                return Row::numbered(Kind::Header, line, None);
            }
        }
        if let Some(text) = line.strip_prefix('+') {
            let number = step(&mut self.new, &mut self.new_left);
            return Row::numbered(Kind::Added, text, number.filter(|_| inside));
        }
        if let Some(text) = line.strip_prefix('-') {
            let number = step(&mut self.old, &mut self.old_left);
            return Row::numbered(Kind::Removed, text, number.filter(|_| inside));
        }
        let context = line.strip_prefix(' ').or(line.is_empty().then_some(line));
        let Some(text) = context.filter(|_| inside) else {
            return Row::numbered(Kind::Note, line, None);
        };
        step(&mut self.old, &mut self.old_left);
        let number = step(&mut self.new, &mut self.new_left);
        Row::numbered(Kind::Context, text, number)
    }
}

/// Takes one line of a side and returns its number.
fn step(line: &mut usize, left: &mut usize) -> Option<usize> {
    let number = *line;
    *line = line.saturating_add(1);
    *left = left.saturating_sub(1);
    Some(number)
}

/// Reads `@@ -12,7 +12,9 @@ fn main()`. A count that is left out is 1.
fn range(line: &str) -> Option<Hunk> {
    let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let side = |side: &str| {
        let (start, count) = side.split_once(',').unwrap_or((side, "1"));
        Some((start.parse::<usize>().ok()?, count.parse::<usize>().ok()?))
    };
    let ((old, old_left), (new, new_left)) = (side(old)?, side(new)?);
    Some(Hunk {
        old,
        new,
        old_left,
        new_left,
    })
}

#[cfg(test)]
mod tests;

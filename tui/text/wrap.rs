//! Cuts styled lines to a width in columns, as the terminal counts them.

use ratatui::{
    buffer::CellWidth,
    style::Style,
    text::{Line, Span},
};
use unicode_segmentation::UnicodeSegmentation;

/// The widest that a grapheme normally is. Lines get at least this much beside their prefix.
const GRAPHEME_WIDTH: usize = 2;

/// Where a line may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaks {
    /// Between words, which takes the white space there; within a word that is wider than a line.
    Words,
    /// Wherever the line is full; nothing is taken away. For code and output.
    Anywhere,
}

/// How to wrap.
#[derive(Clone, Copy, Debug)]
pub struct Wrap<'a> {
    /// In columns; 0 counts as 1.
    pub width: u16,
    pub breaks: Breaks,
    /// Stands before the first line. Prefixes that leave too little room are left out.
    pub first: &'a [Span<'static>],
    /// Stands before each line that follows.
    pub rest: &'a [Span<'static>],
}

impl Wrap<'_> {
    /// Wraps between words, without prefixes.
    pub const fn words(width: u16) -> Self {
        Self {
            width,
            breaks: Breaks::Words,
            first: &[],
            rest: &[],
        }
    }

    /// Wraps anywhere, without prefixes.
    pub const fn anywhere(width: u16) -> Self {
        Self {
            width,
            breaks: Breaks::Anywhere,
            first: &[],
            rest: &[],
        }
    }

    /// Appends the spans, which are sanitized and hold no line break, as lines no wider than the width.
    /// Only a single grapheme that is wider than the width goes beyond it. Always adds at least one line.
    pub fn push(&self, spans: &[Span<'_>], lines: &mut Vec<Line<'static>>) {
        let text = Graphemes::new(spans);
        let mut start = 0;
        let mut prefix = self.first;
        loop {
            let (prefix_width, shown) = self.prefix(prefix);
            let room = usize::from(self.width.max(1)).saturating_sub(prefix_width);
            let (end, next) = match self.breaks {
                Breaks::Words => text.break_words(start, room),
                Breaks::Anywhere => text.break_anywhere(start, room),
            };
            let mut line = shown.to_vec();
            text.copy(start..end, spans, &mut line);
            lines.push(Line::from(line));
            if next >= text.graphemes.len() {
                return;
            }
            start = next;
            prefix = self.rest;
        }
    }

    fn prefix<'p>(&self, prefix: &'p [Span<'static>]) -> (usize, &'p [Span<'static>]) {
        let width = spans_width(prefix);
        if has_room(width, self.width) {
            (width, prefix)
        } else {
            (0, &[])
        }
    }
}

/// Whether a prefix may stand beside text: it takes at most half of the width, since text matters more.
pub fn has_room(prefix_width: usize, width: u16) -> bool {
    let width = usize::from(width);
    prefix_width * 2 <= width && prefix_width + GRAPHEME_WIDTH <= width
}

/// Columns that text takes: the sum of its graphemes, since each is drawn into cells of its own.
pub fn text_width(text: &str) -> usize {
    match text.is_ascii() {
        true => text.len(),
        false => text.graphemes(true).map(grapheme_width).sum(),
    }
}

/// Columns that spans take together.
pub fn spans_width(spans: &[Span<'_>]) -> usize {
    spans.iter().map(|span| text_width(&span.content)).sum()
}

/// As the buffer counts that the text is drawn into.
fn grapheme_width(grapheme: &str) -> usize {
    usize::from(grapheme.cell_width())
}

/// Cuts text to a width; what is cut shows as `ellipsis`. The end of the text goes.
pub fn truncate(text: &str, width: usize, ellipsis: &str) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let ellipsis = if text_width(ellipsis) <= width {
        ellipsis
    } else {
        ""
    };
    let room = width - text_width(ellipsis);
    let mut used = 0;
    let fits = |grapheme: &&str| {
        used += grapheme_width(grapheme);
        used <= room
    };
    let mut cut: String = text.graphemes(true).take_while(fits).collect();
    cut.push_str(ellipsis);
    cut
}

/// One cluster of the text, in bytes of its span.
#[derive(Clone, Copy)]
struct Grapheme {
    span: u32,
    start: u32,
    end: u32,
    width: u8,
    is_space: bool,
}

struct Graphemes {
    graphemes: Vec<Grapheme>,
}

impl Graphemes {
    fn new(spans: &[Span<'_>]) -> Self {
        let bytes = spans.iter().map(|span| span.content.len()).sum();
        let mut graphemes = Vec::with_capacity(bytes);
        for (index, span) in spans.iter().enumerate() {
            let text = span.content.as_ref();
            let mut push = |start: usize, cluster: &str, width: usize| {
                graphemes.push(Grapheme {
                    span: index as u32,
                    start: start as u32,
                    end: (start + cluster.len()) as u32,
                    width: width.min(usize::from(u8::MAX)) as u8,
                    is_space: cluster == " " || cluster == "\t" || cluster == "\u{3000}",
                });
            };
            if text.is_ascii() {
                (0..text.len()).for_each(|at| push(at, &text[at..=at], 1));
            } else {
                text.grapheme_indices(true)
                    .for_each(|(at, cluster)| push(at, cluster, grapheme_width(cluster)));
            }
        }
        Self { graphemes }
    }

    /// Where the line that begins at `start` ends, and where the next one begins.
    fn break_anywhere(&self, start: usize, room: usize) -> (usize, usize) {
        let end = self.fill(start, room);
        // A grapheme wider than the line stands alone: stopping would never end.
        let end = if end == start && end < self.graphemes.len() {
            end + 1
        } else {
            end
        };
        (end, end)
    }

    fn break_words(&self, start: usize, room: usize) -> (usize, usize) {
        let full = self.fill(start, room);
        if full == self.graphemes.len() {
            return (full, full);
        }
        let is_space = |at: usize| self.graphemes.get(at).is_some_and(|it| it.is_space);
        // The last place at or before the overflow where something may end: a space, or beside a wide
        // grapheme, since Chinese and Japanese are written without spaces.
        let wide = |at: usize| self.graphemes.get(at).is_some_and(|it| it.width > 1);
        let place = (start + 1..=full)
            .rev()
            .find(|&at| is_space(at) || is_space(at - 1) || wide(at) || wide(at - 1));
        let place = if is_space(full) { Some(full) } else { place };
        if let Some(place) = place {
            let end = (start..place)
                .rev()
                .find(|&at| !is_space(at))
                .map_or(start, |at| at + 1);
            let next = (place..self.graphemes.len())
                .find(|&at| !is_space(at))
                .unwrap_or(self.graphemes.len());
            // Indentation alone is not a line, unless nothing follows it.
            if end > start || (full == start && next > start) {
                return (end, next);
            }
        }
        self.break_anywhere(start, room)
    }

    /// The first grapheme from `start` that has no room.
    fn fill(&self, start: usize, room: usize) -> usize {
        let mut used = 0;
        for (at, grapheme) in self.graphemes.iter().enumerate().skip(start) {
            used += usize::from(grapheme.width);
            if used > room {
                return at;
            }
        }
        self.graphemes.len()
    }

    /// Copies a range as spans with their styles.
    fn copy(&self, range: std::ops::Range<usize>, spans: &[Span<'_>], line: &mut Vec<Span<'static>>) {
        let Some(mut rest) = self.graphemes.get(range) else {
            return;
        };
        while let Some(first) = rest.first() {
            let same = rest.iter().take_while(|it| it.span == first.span).count();
            let end = rest.get(same - 1).map_or(first.end, |it| it.end);
            let source = spans.get(first.span as usize);
            let text = source.and_then(|span| span.content.get(first.start as usize..end as usize));
            line.push(Span::styled(
                text.unwrap_or_default().to_owned(),
                source.map_or(Style::new(), |it| it.style),
            ));
            rest = rest.get(same..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests;

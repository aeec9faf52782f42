//! Markdown that grows: finished blocks are drawn once.

use pulldown_cmark::{Event, Parser};
use ratatui::text::Line;

use super::{Options, render_clean, syntax};
use crate::text::sanitize::sanitize;

/// The lines of a text that is being written. Each update costs what its last block costs.
///
/// What it shows is what [`render`](super::render) shows of the same text, save for links whose definition
/// stands in another block: draw the text as a whole once it is complete.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    width: u16,
    /// Bytes of the text whose lines are complete and taken over.
    read: usize,
    /// Complete lines, sanitized, of blocks that may still change.
    open: String,
    /// Finished blocks and then the open ones.
    lines: Vec<Line<'static>>,
    /// How many of the lines are finished.
    finished: usize,
}

impl Stream {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the whole text so far, which begins with the text of the last update, and returns its lines.
    /// Starts over by itself when the width changes or the text got shorter; for another text or theme use a
    /// new value.
    pub fn update(&mut self, text: &str, options: Options<'_>) -> &[Line<'static>] {
        if self.width != options.width || !text.is_char_boundary(self.read) {
            *self = Self {
                width: options.width,
                ..Self::default()
            };
        }
        let added = text.get(self.read..).unwrap_or_default();
        let complete = added.rfind('\n').map_or(0, |at| at + 1);
        let (complete, last) = added.split_at(complete);
        self.read += complete.len();
        // Sanitizing works line by line, so complete lines are sanitized for good.
        self.open.push_str(&sanitize(complete));
        self.lines.truncate(self.finished);
        if !complete.is_empty() {
            // The last line does not count: `|` begins a paragraph until it turns out to be a table's row.
            let closed: String = self.open.drain(..last_block(&self.open)).collect();
            self.append(
                &closed,
                Options {
                    live: false,
                    ..options
                },
            );
            self.finished = self.lines.len();
        }
        self.append(&format!("{}{}", self.open, sanitize(last)), options);
        &self.lines
    }

    fn append(&mut self, text: &str, options: Options<'_>) {
        let lines = render_clean(text, options);
        if !lines.is_empty() && !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
        self.lines.extend(lines);
    }
}

/// Where the line begins on which the last block of the top level begins. All before it is settled: what
/// follows cannot change a block after which another one began (CommonMark 0.31.2, appendix A).
fn last_block(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut last = 0;
    for (event, range) in Parser::new_ext(text, syntax()).into_offset_iter() {
        if depth == 0 {
            last = range.start;
        }
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    text.get(..last)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |at| at + 1)
}

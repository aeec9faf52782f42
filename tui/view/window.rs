//! The window over a transcript: which lines of which entries are in it.
//!
//! Only entries that are in the window, or that it passes on its way, are wrapped: a frame costs what it
//! shows and not what there is.

use ratatui::text::Line;

use super::Cache;
use crate::{
    app::{Pane, SeenTranscript, scroll::Scroll},
    theme::Theme,
};

/// What the window shows, and where that is.
pub(super) struct Window {
    pub(super) lines: Vec<Line<'static>>,
    pub(super) seen: SeenTranscript,
}

/// Cuts the window out of the pane's entries followed by `tail`, which has no place of its own.
pub(super) fn window(
    pane: &Pane,
    tail: &[Line<'static>],
    (width, height): (u16, u16),
    theme: &Theme,
    cache: &mut Cache,
) -> Window {
    let mut source = Source {
        pane,
        tail,
        width,
        theme,
        cache,
    };
    let rows = usize::from(height);
    let end = source.end_window(rows);
    let start = match source.start_of_scroll() {
        Some(start) if start < end => start,
        _ => end,
    };
    let at_end = start == end;
    let lines = source.lines_from(start, rows);
    let entries = pane.transcript.entries();
    let top = match (entries.get(start.block), entries.last()) {
        (Some(entry), _) => Some((entry.id, start.line)),
        (None, Some(last)) => Some((last.id, source.height(entries.len() - 1) + start.line)),
        (None, None) => None,
    };
    let seen = SeenTranscript {
        pane: pane.id,
        top,
        at_end,
        near_start: start.block == 0 && start.line < rows.max(1),
        height,
    };
    Window { lines, seen }
}

/// A line: which block, and which of its lines. The block behind the last entry is the tail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    block: usize,
    line: usize,
}

struct Source<'a> {
    pane: &'a Pane,
    tail: &'a [Line<'static>],
    width: u16,
    theme: &'a Theme,
    cache: &'a mut Cache,
}

impl Source<'_> {
    fn blocks(&self) -> usize {
        self.pane.transcript.entries().len() + 1
    }

    fn block(&mut self, index: usize) -> &[Line<'static>] {
        match self.pane.transcript.entries().get(index) {
            Some(entry) => self.cache.lines(self.pane, entry, self.width, self.theme),
            None => self.tail,
        }
    }

    fn height(&mut self, index: usize) -> usize {
        self.block(index).len()
    }

    /// The first line of the window that shows the last line.
    fn end_window(&mut self, rows: usize) -> Place {
        let mut missing = rows;
        for block in (0..self.blocks()).rev() {
            let height = self.height(block);
            if missing <= height {
                let line = height - missing;
                return Place { block, line };
            }
            missing -= height;
        }
        Place { block: 0, line: 0 }
    }

    /// Where the scroll position is, put right where it is beyond its entry; `None` when it follows.
    fn start_of_scroll(&mut self) -> Option<Place> {
        let Scroll::At { entry, mut line } = self.pane.scroll else {
            return None;
        };
        let mut block = self.pane.transcript.position(entry)?;
        while line < 0 && 0 < block {
            block -= 1;
            line = line.saturating_add_unsigned(self.height(block));
        }
        let mut line = usize::try_from(line).unwrap_or(0);
        while block + 1 < self.blocks() {
            let height = self.height(block);
            if line < height {
                break;
            }
            line -= height;
            block += 1;
        }
        Some(Place { block, line })
    }

    fn lines_from(&mut self, start: Place, rows: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::with_capacity(rows);
        let mut skip = start.line;
        for block in start.block..self.blocks() {
            let missing = rows - lines.len();
            lines.extend(self.block(block).iter().skip(skip).take(missing).cloned());
            skip = 0;
            if lines.len() == rows {
                break;
            }
        }
        lines
    }
}

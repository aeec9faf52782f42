//! Wrapped lines of transcript entries, kept until their content or the width changes.

use std::collections::HashMap;

use ratatui::text::Line;

use crate::{
    app::{
        Pane, PaneId, SeenTranscript,
        transcript::{Body, Entry, EntryId},
    },
    cells,
    theme::Theme,
};

/// Entries whose lines are kept. A window shows a few dozen; the rest is for scrolling back and forth.
const ENTRIES_MAX: usize = 2_048;

#[derive(Default)]
pub struct Cache {
    drawn: HashMap<(PaneId, EntryId), Drawn>,
    frame: u64,
    pub(super) transcript: Option<SeenTranscript>,
    /// How many entries were wrapped since the beginning; a test of the cache asks.
    pub(super) wrapped: u64,
}

struct Drawn {
    revision: u64,
    width: u16,
    is_expanded: bool,
    frame: u64,
    lines: Vec<Line<'static>>,
}

impl Cache {
    pub(super) fn begin_frame(&mut self) {
        self.transcript = None;
        self.frame += 1;
        if ENTRIES_MAX < self.drawn.len() {
            // Far more than one window: what the last frames did not use is elsewhere.
            let recent = self.frame.saturating_sub(8);
            self.drawn.retain(|_, it| recent <= it.frame);
        }
    }

    /// The lines of an entry, wrapped again only where something changed.
    pub(super) fn lines(
        &mut self,
        pane: &Pane,
        entry: &Entry,
        width: u16,
        theme: &Theme,
    ) -> &[Line<'static>] {
        let key = (pane.id, entry.id);
        let is_fresh = self.drawn.get(&key).is_some_and(|it| {
            it.revision == entry.revision && it.width == width && it.is_expanded == pane.is_expanded
        });
        if !is_fresh {
            self.wrapped += 1;
            let drawn = Drawn {
                revision: entry.revision,
                width,
                is_expanded: pane.is_expanded,
                frame: self.frame,
                lines: wrap(pane, entry, width, theme),
            };
            self.drawn.insert(key, drawn);
        }
        match self.drawn.get_mut(&key) {
            Some(drawn) => {
                drawn.frame = self.frame;
                &drawn.lines
            }
            None => &[],
        }
    }
}

/// An entry with the empty line that separates it from the next; nothing at all for one that shows nothing.
fn wrap(pane: &Pane, entry: &Entry, width: u16, theme: &Theme) -> Vec<Line<'static>> {
    let ctx = cells::Context {
        width,
        theme,
        expanded: pane.is_expanded,
        live: entry.live,
    };
    let mut lines = match &entry.body {
        Body::Item(item) => cells::render(item, &ctx),
        Body::Plan { steps, explanation } => cells::plan(steps, explanation.as_deref(), &ctx),
        Body::TurnEnd {
            status,
            duration_ms,
            error,
        } => {
            let mut lines = error
                .as_ref()
                .map(|it| cells::error(it, &ctx))
                .unwrap_or_default();
            lines.extend(cells::turn_summary(status, *duration_ms, &ctx));
            lines
        }
        Body::Remark(level, text) => cells::notice(text, *level, &ctx),
    };
    if !lines.is_empty() {
        lines.push(Line::default());
    }
    lines
}

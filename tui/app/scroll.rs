//! Where in a transcript the user looks.

use super::transcript::EntryId;

/// What a drawn frame showed of the transcript. Heights are known only to what wraps the lines, so the
/// view reports back where it really was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Absent when no transcript was drawn.
    pub transcript: Option<SeenTranscript>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenTranscript {
    pub pane: super::PaneId,
    /// The entry at the top of the window and how many of its lines are above it; `None` when empty.
    pub top: Option<(EntryId, usize)>,
    /// Whether the last line is in the window.
    pub at_end: bool,
    /// Whether the first line is in the window, or nearly so.
    pub near_start: bool,
    /// Lines of the window.
    pub height: u16,
}

/// The position. While it follows, new lines push old ones out of the window; else the window stays on
/// its lines, whatever arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scroll {
    #[default]
    Follow,
    /// The line at the top of the window, counted from the first line of an entry. May be beyond the
    /// entry in either direction until the next frame.
    At { entry: EntryId, line: isize },
}

impl Scroll {
    /// Moves by lines, down if positive. `top` is what the last frame showed.
    pub fn by(&mut self, lines: isize, top: Option<(EntryId, usize)>) {
        *self = match (*self, top) {
            (Scroll::At { entry, line }, _) => Scroll::At {
                entry,
                line: line.saturating_add(lines),
            },
            (Scroll::Follow, Some((entry, line))) if lines < 0 => Scroll::At {
                entry,
                line: isize::try_from(line).unwrap_or(isize::MAX).saturating_add(lines),
            },
            (Scroll::Follow, _) => Scroll::Follow,
        };
    }

    /// Takes the frame's word for where the window was.
    pub fn settle(&mut self, seen: &SeenTranscript) {
        if let Scroll::At { .. } = self {
            *self = match seen.top {
                Some((entry, line)) if !seen.at_end => Scroll::At {
                    entry,
                    line: isize::try_from(line).unwrap_or(isize::MAX),
                },
                _ => Scroll::Follow,
            };
        }
    }
}

//! Where in a text something stands.

use std::ops::Range;

use codex_protocol::v2::{TextPosition, TextRange};

/// The place of these bytes of `text`.
pub(super) fn range(text: &str, bytes: Range<usize>) -> TextRange {
    TextRange {
        start: position(text, bytes.start),
        end: position(text, bytes.end),
    }
}

fn position(text: &str, byte: usize) -> TextPosition {
    let before = &text[..text.floor_char_boundary(byte)];
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    TextPosition {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

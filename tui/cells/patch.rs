//! Changes of files.

use codex_protocol::v2::FileChange;
use ratatui::text::{Line, Span};

use super::{
    Context,
    block::{self, State},
};
use crate::text::{
    diff::{self, DIFF_FOLD},
    fold::Fold,
};

pub(super) fn file_change(item: &FileChange, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let theme = ctx.theme;
    let mut lines = Vec::new();
    let state = State::read(item.status.as_str(), ctx);
    let word = match state {
        State::Running | State::Other(_) => "patch",
        State::Completed => "patch applied",
        State::Failed => "patch failed",
        State::Declined => "patch declined",
        State::Unfinished => "patch not applied",
    };
    let files = item.changes.len();
    let noun = if files == 1 { "file" } else { "files" };
    let dot = theme.glyphs.dot;
    let mut facts = format!(" {dot} {files} {noun}");
    if let State::Other(_) = state {
        facts.push_str(&format!(" {dot} {}", state.word()));
    }
    let spans = [
        Span::styled(word, state.style(ctx)),
        Span::styled(facts, theme.dim),
    ];
    block::headline(state.glyph(ctx), &spans, ctx, &mut lines);
    let fold = if ctx.expanded { Fold::ALL } else { DIFF_FOLD };
    for change in &item.changes {
        block::headline(Span::raw(" "), &diff::summary(change, theme), ctx, &mut lines);
        lines.extend(diff::body(
            change,
            diff::Options {
                width: ctx.width,
                theme,
                fold,
            },
        ));
    }
    lines
}

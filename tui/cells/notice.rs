//! What is said between items: errors, notices, how a turn ended.

use codex_protocol::v2::{TurnError, TurnStatus};
use ratatui::text::{Line, Span};

use super::{Context, block};
use crate::text::{fold::Fold, sanitize::sanitize};

/// What stays of an error's details; some are a whole response body.
const DETAILS_FOLD: Fold = Fold { head: 4, tail: 2 };

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// Renders why a turn failed, or why the server tries again.
pub fn error(error: &TurnError, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let message = error.message.trim();
    let message = if message.is_empty() {
        error.class().unwrap_or("unknown error")
    } else {
        message
    };
    let mut lines = notice(message, Level::Error, ctx);
    let details = error.additional_details.as_deref().unwrap_or_default();
    block::output(details, DETAILS_FOLD, ctx, &mut lines);
    lines
}

/// Renders a remark of the host or of this program. Empty text has no lines.
pub fn notice(text: &str, level: Level, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let theme = ctx.theme;
    let (glyph, word, style) = match level {
        Level::Info => (theme.glyphs.bullet, "", theme.dim),
        Level::Warning => (theme.glyphs.warning, "warning: ", theme.warning),
        Level::Error => (theme.glyphs.failed, "error: ", theme.error),
    };
    let mut lines = Vec::new();
    let mut mark = Span::styled(glyph, style);
    let mut word = word;
    for line in sanitize(text.trim()).lines() {
        block::headline(
            mark,
            &[Span::styled(word, style), Span::styled(line, style)],
            ctx,
            &mut lines,
        );
        (mark, word) = (Span::raw(" "), "");
    }
    lines
}

/// Renders how a turn ended, e.g. `✓ done in 12.3 s`. A turn that is in progress has no lines.
pub fn turn_summary(status: &TurnStatus, duration_ms: Option<i64>, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let theme = ctx.theme;
    let (glyph, word, style) = match status {
        TurnStatus::InProgress => return Vec::new(),
        TurnStatus::Completed => (theme.glyphs.done, "done", theme.done),
        TurnStatus::Interrupted => (theme.glyphs.failed, "interrupted", theme.warning),
        TurnStatus::Failed => (theme.glyphs.failed, "failed", theme.failed),
        TurnStatus::Other(word) => (theme.glyphs.bullet, word.as_str(), theme.dim),
    };
    let word = crate::text::sanitize::sanitize_line(word).into_owned();
    let time = duration_ms
        .filter(|&ms| ms > 0)
        .map(|ms| format!(" in {}", block::duration(ms)));
    let spans = [
        Span::styled(word, style),
        Span::styled(time.unwrap_or_default(), theme.dim),
    ];
    let mut lines = Vec::new();
    block::headline(Span::styled(glyph, style), &spans, ctx, &mut lines);
    lines
}

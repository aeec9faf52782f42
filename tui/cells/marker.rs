//! Items that are one remark: an image was seen, a review began, the context was compacted.

use codex_protocol::v2::{ImageView, ReviewMode};
use ratatui::text::{Line, Span};

use super::{Context, block};
use crate::text::sanitize::sanitize_line;

pub(super) fn image(item: &ImageView, ctx: &Context<'_>) -> Vec<Line<'static>> {
    remark("viewed image", &item.path, ctx)
}

pub(super) fn review_entered(item: &ReviewMode, ctx: &Context<'_>) -> Vec<Line<'static>> {
    remark("review started", &item.review, ctx)
}

/// The review's text also comes as a message; here its end is what matters.
pub(super) fn review_exited(item: &ReviewMode, ctx: &Context<'_>) -> Vec<Line<'static>> {
    remark(
        "review finished",
        item.review.lines().next().unwrap_or_default(),
        ctx,
    )
}

pub(super) fn compaction(ctx: &Context<'_>) -> Vec<Line<'static>> {
    remark(
        if ctx.live {
            "compacting context"
        } else {
            "context compacted"
        },
        "",
        ctx,
    )
}

/// An item of another version of the protocol: its name is better than silence.
pub(super) fn unknown(tag: &str, ctx: &Context<'_>) -> Vec<Line<'static>> {
    remark("item", tag, ctx)
}

fn remark(what: &str, detail: &str, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let theme = ctx.theme;
    let detail = sanitize_line(detail.trim());
    let mut spans = vec![Span::styled(what, theme.dim)];
    if !detail.is_empty() {
        spans.extend([Span::styled(": ", theme.dim), Span::styled(detail, theme.path)]);
    }
    let mut lines = Vec::new();
    block::headline(
        Span::styled(theme.glyphs.bullet, theme.dim),
        &spans,
        ctx,
        &mut lines,
    );
    lines
}

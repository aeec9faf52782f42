//! What the model thought: a headline when it is over, the last lines while it goes on.

use codex_protocol::v2::Reasoning;
use ratatui::text::{Line, Span};

use super::{Context, block};
use crate::text::{fold::hidden_lines, markdown, sanitize::sanitize_line};

/// Lines of a running thought that are shown.
const LIVE_LINES: usize = 4;

pub(super) fn reasoning(item: &Reasoning, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let parts = if item.summary.iter().any(|part| !part.trim().is_empty()) {
        &item.summary
    } else {
        &item.content
    };
    let text = parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n");
    if text.is_empty() {
        return Vec::new();
    }
    let theme = ctx.theme;
    let mark = Span::styled(theme.glyphs.bullet, theme.dim);
    if !ctx.live && !ctx.expanded {
        let mut lines = Vec::new();
        let words = headline(&text);
        block::headline(mark, &[Span::styled(words, theme.reasoning)], ctx, &mut lines);
        return lines;
    }
    let width = ctx.width.saturating_sub(2).max(1);
    let body = markdown::render(
        &text,
        markdown::Options {
            width,
            theme,
            live: ctx.live,
        },
    );
    let skipped = if ctx.expanded {
        0
    } else {
        body.len().saturating_sub(LIVE_LINES)
    };
    let mut lines = Vec::new();
    if skipped > 0 {
        let words = hidden_lines(theme.glyphs.ellipsis, skipped);
        block::headline(mark.clone(), &[Span::styled(words, theme.dim)], ctx, &mut lines);
    }
    for (index, line) in body.into_iter().skip(skipped).enumerate() {
        // The indentation goes where the text's own prefixes would: away when there is no room.
        let mut spans = match ctx.width {
            0..4 => Vec::new(),
            _ if index == 0 && skipped == 0 => vec![mark.clone(), Span::raw(" ")],
            _ => vec![Span::raw("  ")],
        };
        let quiet = |span: Span<'static>| Span::styled(span.content, theme.reasoning.patch(span.style));
        spans.extend(line.spans.into_iter().map(quiet));
        lines.push(Line::from(spans));
    }
    lines
}

/// The last headline of the text, which says what the thought was about; else its first line.
fn headline(text: &str) -> String {
    let bold = |line: &str| {
        Some(
            line.trim()
                .strip_prefix("**")?
                .split_once("**")?
                .0
                .trim()
                .to_owned(),
        )
    };
    let found = text
        .lines()
        .rev()
        .find_map(bold)
        .filter(|title| !title.is_empty());
    let title = found.unwrap_or_else(|| text.lines().next().unwrap_or_default().trim().to_owned());
    sanitize_line(&title).into_owned()
}

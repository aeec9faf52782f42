//! The shapes that cells share: a headline with a mark, an indented body, folded output, words for a state.

use std::borrow::Cow;

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::Context;
use crate::text::{
    fold::{FOLDED_ROWS_MAX, Fold, fold_line, hidden_lines},
    sanitize::{sanitize, sanitize_line},
    wrap::{Breaks, Wrap, has_room, spans_width},
};

/// A state as everybody sees it: a mark, a word and a style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State<'a> {
    Running,
    Completed,
    Failed,
    Declined,
    /// Said to be in progress by an item whose turn is over: a cancelled patch never completes.
    Unfinished,
    /// Of another version of the protocol: shown by its name.
    Other(&'a str),
}

impl<'a> State<'a> {
    /// Reads a status of the wire.
    pub(super) fn read(status: &'a str, ctx: &Context<'_>) -> Self {
        match status {
            "inProgress" if ctx.live => Self::Running,
            "inProgress" => Self::Unfinished,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "declined" => Self::Declined,
            other => Self::Other(other),
        }
    }

    pub(super) fn glyph(self, ctx: &Context<'_>) -> Span<'static> {
        let glyphs = ctx.theme.glyphs;
        let glyph = match self {
            Self::Running => glyphs.working,
            Self::Completed => glyphs.done,
            Self::Failed | Self::Declined | Self::Unfinished => glyphs.failed,
            Self::Other(_) => glyphs.bullet,
        };
        Span::styled(glyph, self.style(ctx))
    }

    pub(super) fn style(self, ctx: &Context<'_>) -> Style {
        match self {
            Self::Running => ctx.theme.working,
            Self::Completed => ctx.theme.done,
            Self::Failed => ctx.theme.failed,
            Self::Declined | Self::Unfinished => ctx.theme.warning,
            Self::Other(_) => ctx.theme.dim,
        }
    }

    pub(super) fn word(self) -> Cow<'a, str> {
        match self {
            Self::Running => Cow::Borrowed("running"),
            Self::Completed => Cow::Borrowed("done"),
            Self::Failed => Cow::Borrowed("failed"),
            Self::Declined => Cow::Borrowed("declined"),
            Self::Unfinished => Cow::Borrowed("unfinished"),
            Self::Other(status) => sanitize_line(status),
        }
    }
}

/// Appends one logical line behind a mark; what is wrapped stands below its text. Where the mark has no room
/// beside the text it stands before it: it may carry meaning.
pub(super) fn headline(
    mark: Span<'static>,
    spans: &[Span<'_>],
    ctx: &Context<'_>,
    lines: &mut Vec<Line<'static>>,
) {
    let first = [mark, Span::raw(" ")];
    let width = spans_width(&first);
    if !has_room(width, ctx.width) {
        let is_blank = first.iter().all(|span| span.content.trim().is_empty());
        let mark = if is_blank { &[][..] } else { &first[..] };
        let all: Vec<Span<'_>> = mark.iter().chain(spans).cloned().collect();
        return Wrap::words(ctx.width).push(&all, lines);
    }
    let rest = [Span::raw(" ".repeat(width))];
    Wrap {
        width: ctx.width,
        breaks: Breaks::Words,
        first: &first,
        rest: &rest,
    }
    .push(spans, lines);
}

/// Appends text below a headline, indented, between words.
pub(super) fn detail(text: &str, style: Style, ctx: &Context<'_>, lines: &mut Vec<Line<'static>>) {
    let indent = [Span::raw("  ")];
    let wrap = Wrap {
        width: ctx.width,
        breaks: Breaks::Words,
        first: &indent,
        rest: &indent,
    };
    for line in sanitize(text.trim_end()).lines() {
        wrap.push(&[Span::styled(line, style)], lines);
    }
}

/// Appends what a program printed: behind a bar, cut anywhere, folded unless the cell is expanded.
pub(super) fn output(text: &str, fold: Fold, ctx: &Context<'_>, lines: &mut Vec<Line<'static>>) {
    let theme = ctx.theme;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return;
    }
    let bar = [Span::styled(format!("  {} ", theme.glyphs.bar), theme.dim)];
    let wrap = Wrap {
        width: ctx.width,
        breaks: Breaks::Anywhere,
        first: &bar,
        rest: &bar,
    };
    let mut push = |text: &str, style| wrap.push(&[Span::styled(text, style)], lines);
    if ctx.expanded {
        return sanitize(text)
            .split('\n')
            .for_each(|line| push(line, theme.output));
    }
    let ellipsis = theme.glyphs.ellipsis;
    let columns = FOLDED_ROWS_MAX * usize::from(ctx.width).saturating_sub(spans_width(&bar)).max(1);
    let folded = fold.split(text);
    folded
        .head
        .iter()
        .for_each(|raw| push(&fold_line(raw, columns, ellipsis), theme.output));
    if folded.hidden > 0 {
        push(&hidden_lines(ellipsis, folded.hidden), theme.dim);
    }
    folded
        .tail
        .iter()
        .for_each(|raw| push(&fold_line(raw, columns, ellipsis), theme.output));
}

/// A duration in milliseconds for people: `340 ms`, `1.2 s`, `3 min 05 s`, `1 h 02 min`.
pub(super) fn duration(milliseconds: i64) -> String {
    let ms = milliseconds.max(0);
    let seconds = ms / 1000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{seconds}.{} s", ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

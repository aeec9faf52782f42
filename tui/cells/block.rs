//! The shapes that cells share: a headline with a mark, an indented body, folded output, words for a state.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::Context;
use crate::text::{
    fold::{Fold, cut_line, hidden_lines},
    sanitize::sanitize,
    wrap::{Breaks, Wrap},
};

/// A state as everybody sees it: a mark, a word and a style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Completed,
    Failed,
    Declined,
}

impl State {
    /// Reads a status of the wire. One that is not known is taken for what the item's life says.
    pub(super) fn read(status: &str, ctx: &Context<'_>) -> Self {
        match status {
            "inProgress" => Self::Running,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "declined" => Self::Declined,
            _ if ctx.live => Self::Running,
            _ => Self::Completed,
        }
    }

    pub(super) fn glyph(self, ctx: &Context<'_>) -> Span<'static> {
        let glyphs = ctx.theme.glyphs;
        let glyph = match self {
            Self::Running => glyphs.working,
            Self::Completed => glyphs.done,
            Self::Failed | Self::Declined => glyphs.failed,
        };
        Span::styled(glyph, self.style(ctx))
    }

    pub(super) fn style(self, ctx: &Context<'_>) -> Style {
        match self {
            Self::Running => ctx.theme.working,
            Self::Completed => ctx.theme.done,
            Self::Failed => ctx.theme.failed,
            Self::Declined => ctx.theme.warning,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "done",
            Self::Failed => "failed",
            Self::Declined => "declined",
        }
    }
}

/// Appends one logical line behind a mark; what is wrapped stands below its text.
pub(super) fn headline(
    mark: Span<'static>,
    spans: &[Span<'_>],
    ctx: &Context<'_>,
    lines: &mut Vec<Line<'static>>,
) {
    let first = [mark, Span::raw(" ")];
    let rest = [Span::raw(" ".repeat(crate::text::wrap::spans_width(&first)))];
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
    let bar = [Span::styled(format!("  {} ", theme.glyphs.bar), theme.dim)];
    let wrap = Wrap {
        width: ctx.width,
        breaks: Breaks::Anywhere,
        first: &bar,
        rest: &bar,
    };
    let fold = if ctx.expanded { Fold::ALL } else { fold };
    let mut line = |raw: &str| {
        let (shown, cut) = if ctx.expanded { (raw, 0) } else { cut_line(raw) };
        // Vertical tabs, form feeds and the Unicode separators are line breaks, too.
        for part in sanitize(shown).split('\n') {
            wrap.push(&[Span::styled(part, theme.output)], lines);
        }
        if cut > 0 {
            wrap.push(
                &[Span::styled(
                    format!("{} {cut} more bytes", theme.glyphs.ellipsis),
                    theme.dim,
                )],
                lines,
            );
        }
    };
    let folded = fold.split(text.trim_end_matches(['\n', '\r']));
    folded.head.iter().for_each(|raw| line(raw));
    if folded.hidden > 0 {
        line(&hidden_lines(theme.glyphs.ellipsis, folded.hidden));
    }
    folded.tail.iter().for_each(|raw| line(raw));
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

//! What the user and the model said.

use codex_protocol::v2::{AgentMessage, UserInput, UserMessage};
use ratatui::text::{Line, Span};

use super::Context;
use crate::text::{
    markdown,
    sanitize::{sanitize, sanitize_line},
    wrap::{Breaks, Wrap},
};

/// The user's words as they were typed: no Markdown, every line break kept.
pub(super) fn user(item: &UserMessage, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let theme = ctx.theme;
    let mut lines = Vec::new();
    let rest = [Span::raw("  ")];
    let mut first = [Span::styled(format!("{} ", theme.glyphs.prompt), theme.user)];
    let mut push = |spans: &[Span<'_>]| {
        Wrap {
            width: ctx.width,
            breaks: Breaks::Words,
            first: &first,
            rest: &rest,
        }
        .push(spans, &mut lines);
        first = rest.clone();
    };
    for part in &item.content {
        match part {
            UserInput::Text(text) => {
                let clean = sanitize(text.text.trim_end());
                clean
                    .lines()
                    .for_each(|line| push(&[Span::styled(line, theme.user)]));
            }
            UserInput::LocalImage(image) => {
                let path = sanitize_line(&image.path);
                push(&[
                    Span::styled("[image] ", theme.dim),
                    Span::styled(path, theme.path),
                ]);
            }
            UserInput::Unknown(_) => {
                let tag = sanitize_line(part.tag()).into_owned();
                push(&[Span::styled(format!("[{tag}]"), theme.dim)]);
            }
        }
    }
    lines
}

pub(super) fn agent(item: &AgentMessage, ctx: &Context<'_>) -> Vec<Line<'static>> {
    markdown::render(
        &item.text,
        markdown::Options {
            width: ctx.width,
            theme: ctx.theme,
            live: ctx.live,
        },
    )
}

//! Markdown to lines.

use ratatui::text::{Line, Span};

use super::{sanitize::sanitize, wrap::Wrap};
use crate::theme::Theme;

/// How text is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// In columns.
    pub width: u16,
    pub theme: &'a Theme,
}

/// Renders Markdown. Empty text has no lines.
pub fn render(text: &str, options: Options<'_>) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for line in sanitize(text.trim()).lines() {
        Wrap::words(options.width).push(&[Span::styled(line, options.theme.agent)], &mut lines);
    }
    lines
}

//! Puts text into cells, within bounds.

use ratatui::{
    Frame,
    layout::{Position, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Block, Clear},
};

use crate::{
    text::{
        sanitize::sanitize_line,
        wrap::{text_width, truncate},
    },
    theme::Theme,
};

/// Writes into a frame. Whatever the area, nothing is written outside the frame.
pub(super) struct Pen<'a, 'f> {
    frame: &'a mut Frame<'f>,
    pub(super) theme: &'a Theme,
}

impl<'a, 'f> Pen<'a, 'f> {
    pub(super) fn new(frame: &'a mut Frame<'f>, theme: &'a Theme) -> Pen<'a, 'f> {
        Pen { frame, theme }
    }

    /// One line of text, sanitized and cut.
    pub(super) fn text(&mut self, area: Rect, text: &str, style: Style) {
        let span = Span::styled(self.fit(text, area.width), style);
        self.line(area, &Line::from(span));
    }

    /// One line at the area's top.
    pub(super) fn line(&mut self, area: Rect, line: &Line<'_>) {
        let area = area.intersection(self.frame.area());
        if !area.is_empty() {
            self.frame.buffer_mut().set_line(area.x, area.y, line, area.width);
        }
    }

    /// Lines from the area's top, as many as fit.
    pub(super) fn lines<'l>(&mut self, area: Rect, lines: impl IntoIterator<Item = &'l Line<'l>>) {
        for (row, line) in (0..area.height).zip(lines) {
            self.line(row_of(area, row), line);
        }
    }

    pub(super) fn style(&mut self, area: Rect, style: Style) {
        let area = area.intersection(self.frame.area());
        self.frame.buffer_mut().set_style(area, style);
    }

    /// An empty box with a title.
    pub(super) fn boxed(&mut self, area: Rect, title: &str, style: Style) -> Rect {
        let area = area.intersection(self.frame.area());
        let title = self.fit(&format!(" {title} "), area.width.saturating_sub(2));
        let border = match std::ptr::eq(self.theme.glyphs, &raw const crate::theme::ASCII) {
            true => ASCII_BORDER,
            false => ratatui::symbols::border::PLAIN,
        };
        let block = Block::bordered()
            .border_set(border)
            .border_style(style)
            .title(Span::styled(title, style));
        let inner = block.inner(area);
        self.frame.render_widget(Clear, area);
        self.frame.render_widget(block, area);
        inner
    }

    pub(super) fn cursor(&mut self, x: u16, y: u16) {
        let position = Position::new(x, y);
        if self.frame.area().contains(position) {
            self.frame.set_cursor_position(position);
        }
    }

    /// Text as one sanitized line of at most this width.
    pub(super) fn fit(&self, text: &str, width: u16) -> String {
        truncate(
            &sanitize_line(text),
            usize::from(width),
            self.theme.glyphs.ellipsis,
        )
    }

    /// Text on the left and a word on the right; the text gives way.
    pub(super) fn pair(
        &self,
        left: &str,
        left_style: Style,
        right: &str,
        right_style: Style,
        width: u16,
    ) -> Line<'static> {
        let right = self.fit(right, width);
        let right_width = u16::try_from(text_width(&right)).unwrap_or(width);
        let left = self.fit(left, width.saturating_sub(right_width + 1));
        let left_width = u16::try_from(text_width(&left)).unwrap_or(width);
        let gap = usize::from(width.saturating_sub(left_width + right_width));
        Line::from(vec![
            Span::styled(left, left_style),
            Span::raw(" ".repeat(gap)),
            Span::styled(right, right_style),
        ])
    }
}

pub(super) fn row_of(area: Rect, row: u16) -> Rect {
    let row = row.min(area.height);
    Rect {
        y: area.y + row,
        height: (area.height - row).min(1),
        ..area
    }
}

const ASCII_BORDER: ratatui::symbols::border::Set<'static> = ratatui::symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// A duration for people, in whole seconds: it must not change more often than the screen is drawn.
pub(super) fn seconds(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

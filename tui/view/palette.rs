//! Help and the palette.

use ratatui::{layout::Rect, style::Style};

use super::{
    layout::centered,
    write::{Pen, row_of},
};
use crate::{
    app::{App, palette::Scope},
    text::wrap::text_width,
};

const WIDTH_MAX: u16 = 90;
const HEIGHT_MAX: u16 = 30;
const KEYS_WIDTH: usize = 26;
/// In a narrower list what a key does needs the room more than where it does so.
const PLACE_WIDTH_MIN: u16 = 56;

pub(super) fn draw(app: &App, pen: &mut Pen<'_, '_>, area: Rect) {
    let Some(palette) = &app.palette else { return };
    let lines = palette.lines();
    let title = match palette.scope {
        Scope::Help(context) => format!("Help: {}", context.label()),
        Scope::All(_) => "All commands".to_owned(),
    };
    let wanted = u16::try_from(lines.len())
        .unwrap_or(HEIGHT_MAX)
        .saturating_add(3)
        .min(HEIGHT_MAX);
    let outer = centered(area, WIDTH_MAX, wanted.max(8));
    let inner = pen.boxed(outer, &title, pen.theme.accent);
    let filter = palette.filter.text();
    let first_line = match filter.is_empty() {
        true => "type to filter".to_owned(),
        false => filter.to_owned(),
    };
    let style = if filter.is_empty() {
        pen.theme.dim
    } else {
        Style::new()
    };
    pen.text(row_of(inner, 0), &first_line, style);
    let column = u16::try_from(text_width(&filter[..palette.filter.cursor()])).unwrap_or(0);
    pen.cursor(inner.x + column.min(inner.width.saturating_sub(1)), inner.y);
    let list = Rect {
        y: inner.y + 1.min(inner.height),
        height: inner.height.saturating_sub(1),
        ..inner
    };
    let height = usize::from(list.height);
    let selected = palette.selected.min(lines.len().saturating_sub(1));
    let first = (selected + 1).saturating_sub(height);
    for (index, line) in lines.iter().enumerate().skip(first).take(height) {
        let at = row_of(list, u16::try_from(index - first).unwrap_or(u16::MAX));
        let is_narrow = list.width < PLACE_WIDTH_MIN;
        let keys_share = if is_narrow { 3 } else { 2 };
        let keys_width = KEYS_WIDTH.min(usize::from(list.width) / keys_share);
        let keys = pen.fit(&line.keys, u16::try_from(keys_width).unwrap_or(0));
        let pad = " ".repeat(keys_width.saturating_sub(text_width(&keys)));
        let place = if is_narrow { "" } else { line.place };
        let left = format!("{keys}{pad} {}", line.about);
        let text = pen.pair(&left, Style::new(), place, pen.theme.dim, list.width);
        pen.line(at, &text);
        if index == selected {
            pen.style(at, pen.theme.selection);
        }
    }
}

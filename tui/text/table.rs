//! Tables: aligned columns where they fit, one line per cell where they do not.

use pulldown_cmark::Alignment;
use ratatui::{
    style::Modifier,
    text::{Line, Span},
};

use super::wrap::{Breaks, Wrap, spans_width};
use crate::theme::Theme;

/// The narrowest that a column is squeezed to. Below it a table is no longer read faster than a list.
const COLUMN_WIDTH_MIN: usize = 6;

/// Columns between two columns: a bar with a space on each side.
const SEPARATOR_WIDTH: usize = 3;

type Cell = Vec<Span<'static>>;

/// A table as it is read: the first row is the head.
pub(super) struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<Cell>>,
    row: Vec<Cell>,
}

impl Table {
    pub(super) fn new(alignments: Vec<Alignment>) -> Self {
        Self {
            alignments,
            rows: Vec::new(),
            row: Vec::new(),
        }
    }

    pub(super) fn push_cell(&mut self, cell: Cell) {
        self.row.push(cell);
    }

    pub(super) fn end_row(&mut self) {
        self.rows.push(std::mem::take(&mut self.row));
    }

    /// Draws the table in at most `room` columns.
    pub(super) fn draw(&self, room: usize, theme: &Theme) -> Vec<Line<'static>> {
        match self.widths(room) {
            Some(widths) => self.draw_columns(&widths, theme),
            None => self.draw_list(room, theme),
        }
    }

    /// The width of each column; `None` when they do not fit side by side.
    fn widths(&self, room: usize) -> Option<Vec<usize>> {
        let columns = self.alignments.len();
        let room = room.checked_sub(columns.checked_sub(1)? * SEPARATOR_WIDTH)?;
        let natural = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| spans_width(cell))
                .max()
                .unwrap_or(0)
                .clamp(1, room.max(1))
        };
        let mut widths: Vec<usize> = (0..columns).map(natural).collect();
        let mut excess = widths.iter().sum::<usize>().saturating_sub(room);
        while excess > 0 {
            // The widest gives way: it has the most to wrap.
            let widest = widths.iter_mut().max()?;
            if *widest <= COLUMN_WIDTH_MIN {
                return None;
            }
            *widest -= 1;
            excess -= 1;
        }
        Some(widths)
    }

    fn draw_columns(&self, widths: &[usize], theme: &Theme) -> Vec<Line<'static>> {
        let glyphs = theme.glyphs;
        let mut lines = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<Vec<Line<'static>>> = widths
                .iter()
                .enumerate()
                .map(|(column, &width)| {
                    let mut wrapped = Vec::new();
                    let cell = row.get(column).map(Vec::as_slice).unwrap_or_default();
                    Wrap::words(u16::try_from(width).unwrap_or(u16::MAX)).push(cell, &mut wrapped);
                    wrapped
                })
                .collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(1);
            for part in 0..height {
                let mut spans = Vec::new();
                for (column, (&width, cell)) in widths.iter().zip(&cells).enumerate() {
                    if column > 0 {
                        spans.push(Span::styled(format!(" {} ", glyphs.column), theme.dim));
                    }
                    let text = cell.get(part).map(|line| line.spans.clone()).unwrap_or_default();
                    let is_last = column + 1 == widths.len();
                    self.align(column, text, width, is_last, &mut spans);
                }
                lines.push(Line::from(spans));
            }
            if index == 0 {
                let cross = format!("{}{}{}", glyphs.rule, glyphs.cross, glyphs.rule);
                let rules: Vec<String> = widths.iter().map(|&width| glyphs.rule.repeat(width)).collect();
                lines.push(Line::from(Span::styled(rules.join(&cross), theme.dim)));
            }
        }
        lines
    }

    fn align(&self, column: usize, text: Cell, width: usize, is_last: bool, spans: &mut Cell) {
        let space = width.saturating_sub(spans_width(&text));
        let left = match self.alignments.get(column) {
            Some(Alignment::Right) => space,
            Some(Alignment::Center) => space / 2,
            _ => 0,
        };
        if left > 0 {
            spans.push(Span::raw(" ".repeat(left)));
        }
        spans.extend(text);
        if space > left && !is_last {
            spans.push(Span::raw(" ".repeat(space - left)));
        }
    }

    /// Each cell behind the name of its column.
    fn draw_list(&self, room: usize, theme: &Theme) -> Vec<Line<'static>> {
        let width = u16::try_from(room).unwrap_or(u16::MAX);
        let indent = [Span::raw("  ")];
        let wrap = Wrap {
            width,
            breaks: Breaks::Words,
            first: &[],
            rest: &indent,
        };
        let head = self.rows.first().map(Vec::as_slice).unwrap_or_default();
        let mut lines = Vec::new();
        if self.rows.len() < 2 {
            head.iter().for_each(|name| wrap.push(name, &mut lines));
        }
        for (index, row) in self.rows.iter().skip(1).enumerate() {
            if index > 0 {
                lines.push(Line::default());
            }
            for (column, cell) in row.iter().enumerate() {
                let mut spans = head.get(column).cloned().unwrap_or_default();
                if !spans.is_empty() {
                    spans.push(Span::styled(": ", theme.agent.add_modifier(Modifier::BOLD)));
                }
                spans.extend(cell.iter().cloned());
                wrap.push(&spans, &mut lines);
            }
        }
        lines
    }
}

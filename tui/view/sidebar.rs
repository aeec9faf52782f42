//! The list of hosts and their threads.

use std::time::Instant;

use codex_hosts::Status;
use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::write::{Pen, row_of, seconds};
use crate::{
    app::{
        App, Focus, Mood,
        host::{HostEntry, ListState, status_word},
        sidebar::Row,
    },
    text::wrap::text_width,
    theme::Theme,
};

pub(super) fn draw(app: &App, now: Instant, pen: &mut Pen<'_, '_>, area: Rect) {
    let rows = app.rows();
    let selected = app.selected_row(&rows);
    let filter = app.sidebar.filter.text();
    let list = if app.sidebar.is_filtering || !filter.is_empty() {
        let text = format!("/{filter}");
        pen.text(row_of(area, 0), &text, pen.theme.accent);
        if app.sidebar.is_filtering {
            let column = 1 + text_width(&filter[..app.sidebar.filter.cursor()]);
            pen.cursor(
                area.x + u16::try_from(column).unwrap_or(u16::MAX).min(area.width),
                area.y,
            );
        }
        Rect {
            y: area.y + 1,
            height: area.height - 1,
            ..area
        }
    } else {
        area
    };
    let height = usize::from(list.height);
    let first = selected.saturating_sub(height.saturating_sub(1)).max(
        // A few rows below the selection stay in sight.
        (selected + 3).min(rows.len()).saturating_sub(height),
    );
    let mut slot = rows
        .iter()
        .take(first)
        .filter(|it| matches!(it, Row::Pane(_)))
        .count();
    for (index, row) in rows.iter().enumerate().skip(first).take(height) {
        let row_area = row_of(list, u16::try_from(index - first).unwrap_or(u16::MAX));
        let line = match row {
            Row::Host(id) => match app.hosts.get(id) {
                Some(host) => host_line(host, now, pen, area.width),
                None => Line::default(),
            },
            Row::Pane(id) => {
                slot += 1;
                pane_line(app, *id, slot, pen, area.width)
            }
            Row::More(_) => Line::from(Span::styled("    more…", pen.theme.dim)),
        };
        pen.line(row_area, &line);
        if index == selected && (app.focus == Focus::Threads) {
            pen.style(row_area, pen.theme.selection);
        }
    }
}

fn host_line(host: &HostEntry, now: Instant, pen: &Pen<'_, '_>, width: u16) -> Line<'static> {
    let theme = pen.theme;
    let word = match (&host.status, &host.list) {
        (Status::Ready { .. }, ListState::Loading) => "listing…".to_owned(),
        (status, _) => status_text(status, now),
    };
    let (glyph, style) = status_look(&host.status, theme);
    let name = format!("{glyph} {}", host.id);
    // A row that does not say which host it is says nothing: times give way to the name.
    let has_room = text_width(&name) + 1 + text_width(&word) <= usize::from(width);
    let word = if has_room {
        word
    } else {
        status_word(&host.status).to_owned()
    };
    let mut line = pen.pair(
        &name,
        theme.accent.add_modifier(Modifier::BOLD),
        &word,
        style,
        width,
    );
    if let Some(first) = line.spans.first_mut() {
        first.style = first.style.add_modifier(Modifier::BOLD);
    }
    line
}

/// The status with what runs: elapsed time, time until the next attempt.
pub(super) fn status_text(status: &Status, now: Instant) -> String {
    match status {
        Status::Working { since, retry, .. } => {
            let elapsed = seconds(now.saturating_duration_since(*since));
            let retry = match retry {
                0 => String::new(),
                n => format!(", try {}", n + 1),
            };
            format!("{} {elapsed}{retry}", status_word(status))
        }
        Status::Waiting { until, .. } => {
            let rest = seconds(until.saturating_duration_since(now));
            format!("{}, again in {rest}", status_word(status))
        }
        Status::Offline | Status::Ready { .. } | Status::Failed(_) => status_word(status).to_owned(),
    }
}

pub(super) fn status_look(status: &Status, theme: &Theme) -> (&'static str, Style) {
    match status {
        Status::Offline => (" ", theme.dim),
        Status::Working { asking: true, .. } => (theme.glyphs.warning, theme.needs_you),
        Status::Working { .. } => (theme.glyphs.working, theme.working),
        Status::Ready { .. } => (theme.glyphs.done, theme.done),
        Status::Waiting { .. } => (theme.glyphs.working, theme.unreachable),
        Status::Failed(_) => (theme.glyphs.failed, theme.failed),
    }
}

fn pane_line(app: &App, id: crate::app::PaneId, slot: usize, pen: &Pen<'_, '_>, width: u16) -> Line<'static> {
    let theme = pen.theme;
    let Some(pane) = app.panes.get(&id) else {
        return Line::default();
    };
    let mood = app.mood(id);
    let style = mood_style(mood, theme);
    let number = match slot {
        1..=9 => slot.to_string(),
        _ => " ".to_owned(),
    };
    let is_current = app.current == Some(id);
    let mark = if is_current { theme.glyphs.prompt } else { " " };
    let title_style = if is_current {
        Style::new().add_modifier(Modifier::BOLD)
    } else {
        Style::new()
    };
    let word = match mood {
        // The host's own line says it.
        Mood::Unreachable => "",
        mood => mood.word(),
    };
    let depth = if pane.is_sub_agent { "  " } else { "" };
    let left = format!("{mark}{number} {depth}{}", pane.title());
    pen.pair(&left, title_style, word, style, width)
}

pub(super) fn mood_style(mood: Mood, theme: &Theme) -> Style {
    match mood {
        Mood::NeedsYou => theme.needs_you,
        Mood::Working => theme.working,
        Mood::Done => theme.done,
        Mood::Idle => theme.idle,
        Mood::Unreachable => theme.unreachable,
    }
}

//! Draws an [`App`]; reads it, never changes it.

mod cache;
mod chrome;
mod connections;
mod dialog;
pub mod layout;
mod palette;
mod sidebar;
#[cfg(test)]
mod tests;
mod thread;
mod window;
mod write;

use std::time::Instant;

use ratatui::{Frame, layout::Rect};

use crate::app::{App, Focus, Seen};
pub use cache::Cache;
use layout::{HEIGHT_MIN, TWO_PANES_WIDTH_MIN, WIDTH_MIN};
use write::Pen;

/// Draws one frame. The cache keeps what is costly, and what the frame showed.
pub fn view(app: &App, cache: &mut Cache, now: Instant, frame: &mut Frame<'_>) {
    let area = frame.area();
    cache.begin_frame();
    let mut pen = Pen::new(frame, &app.theme);
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        pen.text(area, "too small", app.theme.warning);
        return;
    }
    let (screen, bottom) = layout::split_bottom(area);
    if app.picker.is_open {
        connections::draw(app, now, &mut pen, screen);
    } else {
        draw_main(app, cache, now, &mut pen, screen);
    }
    chrome::draw_bottom(app, &mut pen, bottom);
    if app.open_ask().is_some() {
        dialog::draw(app, &mut pen, screen);
    }
    if app.palette.is_some() {
        palette::draw(app, &mut pen, screen);
    }
}

fn draw_main(app: &App, cache: &mut Cache, now: Instant, pen: &mut Pen<'_, '_>, area: Rect) {
    if area.width < TWO_PANES_WIDTH_MIN {
        match app.focus {
            Focus::Threads => sidebar::draw(app, now, pen, area),
            Focus::Transcript | Focus::Composer => thread::draw(app, cache, now, pen, area),
        }
        return;
    }
    let (left, line, right) = layout::split_main(area);
    sidebar::draw(app, now, pen, left);
    for y in line.top()..line.bottom() {
        pen.text(
            Rect { y, height: 1, ..line },
            app.theme.glyphs.column,
            app.theme.dim,
        );
    }
    thread::draw(app, cache, now, pen, right);
}

impl Cache {
    /// What the last frame showed.
    pub fn seen(&self) -> Seen {
        Seen {
            transcript: self.transcript,
        }
    }
}

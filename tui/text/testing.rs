//! What tests of text share: lines as text, with and without their styles.

use std::{
    num::NonZero,
    sync::{Arc, Mutex},
};

use ratatui::{style::Modifier, text::Line};
use unicode_width::UnicodeWidthStr;

/// Widths at which everything must hold.
pub(crate) const WIDTHS: [u16; 4] = [80, 40, 20, 1];

/// The lines' text, one line each; trailing spaces show as `·`.
pub(crate) fn plain(lines: &[Line<'_>]) -> String {
    let mut out = String::new();
    for line in lines {
        let text = content(line);
        let trimmed = text.trim_end_matches(' ');
        out.push_str(trimmed);
        out.push_str(&"·".repeat(text.len() - trimmed.len()));
        out.push('\n');
    }
    out
}

/// The lines with each span's style in front of it, e.g. `{green bold}text`; unstyled text has no braces.
pub(crate) fn styled(lines: &[Line<'_>]) -> String {
    let mut out = String::new();
    for line in lines {
        for span in line.spans.iter().filter(|span| !span.content.is_empty()) {
            let mut words = Vec::new();
            words.extend(span.style.fg.map(|color| color.to_string().to_lowercase()));
            let modifiers = span.style.add_modifier;
            words.extend((modifiers != Modifier::empty()).then(|| format!("{modifiers:?}").to_lowercase()));
            let style = if words.is_empty() && line.spans.len() == 1 {
                String::new()
            } else {
                words.join(" ")
            };
            if style.is_empty() && line.spans.len() == 1 {
                out.push_str(&span.content);
            } else {
                out.push_str(&format!("{{{style}}}{}", span.content));
            }
        }
        out.push('\n');
    }
    out
}

/// One line's text.
pub(crate) fn content(line: &Line<'_>) -> String {
    line.spans.iter().map(|span| span.content.as_ref()).collect()
}

const ROWS: NonZero<u16> = NonZero::new(2).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(1000).unwrap();

/// What a terminal does besides printing when it is fed these lines, each on a line of its own.
pub(crate) fn besides_printing<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let seen = Seen::default();
    let mut parser = vt100::Parser::new_with_callbacks(ROWS, COLUMNS, 0, seen.clone());
    let modes = parser.screen().input_mode_formatted();
    let attributes = parser.screen().attributes_formatted();
    for line in lines {
        parser.process(b"\x1b[H\x1b[2K");
        parser.process(line.as_bytes());
        let screen = parser.screen();
        let (row, column) = screen.cursor_position();
        if row != 0 || (usize::from(column) != line.width() && line.is_ascii()) {
            seen.note(&format!("cursor at {row}, {column}"));
        }
        if screen.hide_cursor() || screen.alternate_screen() || screen.input_mode_formatted() != modes {
            seen.note("mode");
        }
        if screen.attributes_formatted() != attributes {
            seen.note("style");
        }
    }
    seen.take()
}

/// Everything that a terminal did besides printing.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl vt100::Callbacks for Seen {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.note("bell");
    }
    fn visual_bell(&mut self, _: &mut vt100::Screen) {
        self.note("visual bell");
    }
    fn resize(&mut self, _: &mut vt100::Screen, _: (u16, u16)) {
        self.note("resize");
    }
    fn set_window_title(&mut self, _: &mut vt100::Screen, _: &[u8]) {
        self.note("title");
    }
    fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], _: &[u8]) {
        self.note("clipboard");
    }
    fn unhandled_control(&mut self, _: &mut vt100::Screen, _: u8) {
        self.note("control");
    }
    fn unhandled_escape(&mut self, _: &mut vt100::Screen, _: Option<u8>, _: Option<u8>, _: u8) {
        self.note("escape");
    }
    fn unhandled_csi(&mut self, _: &mut vt100::Screen, _: Option<u8>, _: Option<u8>, _: &[&[u16]], _: char) {
        self.note("csi");
    }
    fn unhandled_osc(&mut self, _: &mut vt100::Screen, _: &[&[u8]]) {
        self.note("osc");
    }
}

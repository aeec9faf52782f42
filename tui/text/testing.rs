//! What tests of text share: lines as text, with and without their styles.

use ratatui::{style::Modifier, text::Line};

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

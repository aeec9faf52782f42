//! A selection in a list that changes under it.

use crate::keymap::Command;

/// Lines that a page moves. The window's real height is the view's business; a page that is somewhat
/// shorter keeps the context.
pub const PAGE: usize = 10;

/// Where a movement leads in a list of `count` entries; `None` when the command is none.
pub fn moved(command: Command, selected: usize, count: usize) -> Option<usize> {
    let last = count.saturating_sub(1);
    let to = match command {
        Command::Up => selected.saturating_sub(1),
        Command::Down => selected.saturating_add(1),
        Command::PageUp => selected.saturating_sub(PAGE),
        Command::PageDown => selected.saturating_add(PAGE),
        Command::Top => 0,
        Command::Bottom => last,
        _ => return None,
    };
    Some(to.min(last))
}

/// Whether a text contains all words of a filter, in any case and order.
pub fn matches(filter: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    filter
        .to_lowercase()
        .split_whitespace()
        .all(|word| text.contains(word))
}

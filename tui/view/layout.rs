//! Who gets which part of the screen. Also asked by the model, which has to know how wide a draft is.

use ratatui::layout::Rect;

/// Below this nothing useful fits.
pub const WIDTH_MIN: u16 = 20;
pub const HEIGHT_MIN: u16 = 5;
/// Below this there is room for the list or the thread, and for no hints.
pub const TWO_PANES_WIDTH_MIN: u16 = 60;
const SIDEBAR_WIDTH_MIN: u16 = 22;
const SIDEBAR_WIDTH_MAX: u16 = 36;
/// Columns before the draft: the prompt's mark.
pub const PROMPT_WIDTH: u16 = 2;

/// The screen and its bottom line.
pub fn split_bottom(area: Rect) -> (Rect, Rect) {
    let height = area.height.saturating_sub(1);
    let screen = Rect { height, ..area };
    let bottom = Rect {
        y: area.y + height,
        height: area.height - height,
        ..area
    };
    (screen, bottom)
}

/// The list, the line beside it, the thread.
pub fn split_main(area: Rect) -> (Rect, Rect, Rect) {
    let width = (area.width / 4)
        .clamp(SIDEBAR_WIDTH_MIN, SIDEBAR_WIDTH_MAX)
        .min(area.width);
    let line = (area.width - width).min(1);
    let left = Rect { width, ..area };
    let between = Rect {
        x: area.x + width,
        width: line,
        ..area
    };
    let right = Rect {
        x: area.x + width + line,
        width: area.width - width - line,
        ..area
    };
    (left, between, right)
}

/// How wide the draft's rows are on a screen of this size.
pub fn composer_width(size: (u16, u16)) -> u16 {
    let area = Rect::new(0, 0, size.0, size.1);
    let thread = match size.0 < TWO_PANES_WIDTH_MIN {
        true => area,
        false => split_main(area).2,
    };
    thread.width.saturating_sub(PROMPT_WIDTH).max(1)
}

/// A box in the middle that is as large as its content needs and the screen allows.
pub fn centered(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}

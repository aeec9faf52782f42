//! The bottom line: the keys that matter here, or a passing remark.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{layout::TWO_PANES_WIDTH_MIN, write::Pen};
use crate::{
    app::{App, pane::Turn},
    keymap::{Binding, Command, Context, bindings},
    text::wrap::spans_width,
};

/// More keys than these nobody reads.
const HINTS_MAX: usize = 7;

pub(super) fn draw_bottom(app: &App, pen: &mut Pen<'_, '_>, area: Rect) {
    if let Some(toast) = &app.toast {
        pen.text(area, &toast.text, pen.theme.warning);
        return;
    }
    if area.width < TWO_PANES_WIDTH_MIN {
        return;
    }
    let context = app.context();
    let mut spans: Vec<Span<'static>> = Vec::new();
    let hints = bindings(context).filter(|it| is_relevant(app, context, it));
    for binding in hints.filter(|it| it.hint.is_some()).take(HINTS_MAX) {
        let next = [
            Span::styled(binding.chord.label(), pen.theme.accent),
            Span::styled(format!(" {}  ", word(app, binding)), pen.theme.dim),
        ];
        if usize::from(area.width) < spans_width(&spans) + spans_width(&next) {
            break;
        }
        spans.extend(next);
    }
    pen.line(area, &Line::from(spans));
}

/// What the key does here: a login cannot be put off.
fn word(app: &App, binding: &Binding) -> &'static str {
    let is_login = app.open_ask().is_some_and(|it| it.pane.is_none());
    match (binding.command, binding.hint) {
        (Command::Later, Some(_)) if is_login => "give up",
        (_, hint) => hint.unwrap_or_default(),
    }
}

/// Whether a key would do something.
fn is_relevant(app: &App, context: Context, binding: &Binding) -> bool {
    let is_working = app.current_pane().is_some_and(|it| it.turn != Turn::Idle);
    match binding.command {
        Command::LookAtRequest => !app.asks.is_empty(),
        Command::Interrupt => is_working,
        Command::Accept | Command::AcceptForSession | Command::CancelTurn => app
            .open_ask()
            .is_some_and(|ask| ask.choices.iter().any(|it| it.key() == binding.command)),
        Command::NextFocus | Command::NextAttention | Command::NewThread
            if binding.context == Context::Global =>
        {
            matches!(
                context,
                Context::Composer | Context::Transcript | Context::Threads
            )
        }
        _ => true,
    }
}

//! Keys: what has them, what they mean there, and the text that they type.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    App, Focus,
    ask::{Choice, GRACE},
    form::Input,
    list::PAGE,
    palette::{Palette, Scope},
    picker::Typing,
    scroll::Scroll,
    slash,
    text_field::TextField,
};
use crate::{
    effect::Effect,
    keymap::{Command, Context, lookup, text_command},
    view::layout,
};

impl App {
    pub(super) fn handle_key(&mut self, key: KeyEvent, effects: &mut Vec<Effect>) {
        if self.is_in_grace() {
            return;
        }
        let context = self.context();
        self.typed_at = Some(self.now);
        if let Some(command) = lookup(context, &key) {
            self.run(context, command, effects);
        } else if let Some(command) = text_command(&key).filter(|_| context.takes_text()) {
            self.edit_text(context, command);
        } else if let KeyCode::Char(it) = key.code
            && context.takes_text()
            && !it.is_control()
            && !key
                .modifiers
                .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
        {
            self.type_text(context, it.encode_utf8(&mut [0; 4]));
        }
    }

    pub(super) fn handle_paste(&mut self, text: &str) {
        if self.is_in_grace() {
            return;
        }
        let context = self.context();
        match context {
            Context::Composer | Context::Completion => {
                if let Some(pane) = self.current_pane_mut() {
                    pane.composer.paste(text);
                }
            }
            Context::Input | Context::Palette => {
                self.type_text(context, &text.replace(char::is_control, " "))
            }
            Context::Form => self.type_text(context, text),
            Context::Global
            | Context::Transcript
            | Context::Threads
            | Context::Connections
            | Context::Approval
            | Context::HostKey => (),
        }
        self.typed_at = Some(self.now);
    }

    /// A key that was meant for what a dialog covers prolongs the time in which keys are ignored.
    fn is_in_grace(&mut self) -> bool {
        let now = self.now;
        match self.dialog.as_mut().and_then(|it| it.ready_at.as_mut()) {
            Some(ready_at) if now < *ready_at && self.palette.is_none() => {
                *ready_at = now + GRACE;
                true
            }
            _ => false,
        }
    }

    /// Performs a command in a context.
    pub(super) fn run(&mut self, context: Context, command: Command, effects: &mut Vec<Effect>) {
        if self.run_global(context, command, effects) {
            return;
        }
        match context {
            Context::Palette => self.run_in_palette(command, effects),
            Context::Approval | Context::HostKey | Context::Form => {
                self.run_in_dialog(context, command, effects)
            }
            Context::Connections => self.run_in_connections(command, effects),
            Context::Input => self.run_in_input(command, effects),
            Context::Threads => self.run_in_threads(command, effects),
            Context::Transcript => self.run_in_transcript(command, effects),
            Context::Completion => self.run_in_completion(command, effects),
            Context::Composer | Context::Global => self.run_in_composer(command, effects),
        }
    }

    /// What means the same everywhere.
    fn run_global(&mut self, context: Context, command: Command, effects: &mut Vec<Effect>) -> bool {
        match command {
            Command::Help => self.palette = Some(Palette::new(Scope::Help(context))),
            Command::Palette => self.palette = Some(Palette::new(Scope::All(context))),
            Command::QuitOrInterrupt => self.quit_or_interrupt(effects),
            Command::Suspend => effects.push(Effect::Suspend),
            Command::NextFocus => self.next_focus(),
            Command::NextAttention => self.next_attention(effects),
            Command::LookAtRequest => self.look_at_request(effects),
            Command::NewThread => self.new_thread(None, effects),
            Command::Connections => self.open_connections(),
            Command::Slot(slot) => self.choose_slot(slot, effects),
            Command::Redraw => effects.push(Effect::Redraw),
            _ => return false,
        }
        true
    }

    /// Clears the draft, else interrupts the turn; twice within a second quits.
    fn quit_or_interrupt(&mut self, effects: &mut Vec<Effect>) {
        if self.quit_armed.is_some() {
            effects.push(Effect::Quit);
            return;
        }
        if self.palette.take().is_some() {
            return;
        }
        let is_writing = self.dialog.is_none() && !self.picker.is_open && self.focus == Focus::Composer;
        let Some(pane) = self.current_pane_mut().filter(|_| is_writing) else {
            self.arm_quit();
            return;
        };
        if !pane.composer.is_empty() {
            let (text, host) = (pane.composer.expanded(), pane.host.clone());
            pane.composer.clear();
            if let Some(host) = self.hosts.get_mut(&host) {
                host.history.push(&text);
            }
            self.toast("cleared; ↑ brings it back");
            return;
        }
        let (id, is_working) = (pane.id, pane.turn != super::pane::Turn::Idle);
        self.arm_quit();
        if is_working {
            self.interrupt(id, effects);
        }
    }

    fn next_focus(&mut self) {
        self.picker.is_open = self.picker.is_open && self.order.is_empty();
        self.sidebar.is_filtering = false;
        self.focus = match self.focus {
            Focus::Composer => Focus::Threads,
            Focus::Threads => Focus::Transcript,
            Focus::Transcript => Focus::Composer,
        };
    }

    fn run_in_dialog(&mut self, context: Context, command: Command, effects: &mut Vec<Effect>) {
        let choice = match command {
            Command::Accept => Some(Choice::Accept),
            Command::AcceptForSession => Some(Choice::AcceptForSession),
            Command::AcceptRule => Some(Choice::AcceptRule),
            Command::Decline if context != Context::Form => Some(Choice::Decline),
            Command::CancelTurn => Some(Choice::CancelTurn),
            Command::Choose => self
                .open_ask()
                .and_then(|it| it.choices.get(it.selected).copied()),
            _ => None,
        };
        if let Some(choice) = choice {
            self.decide(choice, effects);
            return;
        }
        match command {
            Command::Choose => self.submit_form(effects),
            Command::Decline => self.refuse_form(effects),
            Command::Later => {
                // A login that waits for nobody would hold its connection open until it is given up.
                let is_login = self.open_ask().is_some_and(|it| it.pane.is_none());
                if is_login {
                    self.refuse_form(effects);
                } else {
                    self.look_later();
                }
            }
            Command::NextField => self.select(1),
            Command::PreviousField => self.select(-1),
            Command::Up | Command::Down if context == Context::Form => {
                if let Some(ask) = self.open_ask_mut() {
                    ask.form.handle(command);
                }
            }
            Command::Up => self.scroll_dialog(-1),
            Command::Down => self.scroll_dialog(1),
            Command::PageUp => self.scroll_dialog(-(PAGE as i16)),
            Command::PageDown => self.scroll_dialog(PAGE as i16),
            _ => (),
        }
    }

    fn select(&mut self, by: isize) {
        let Some(ask) = self.open_ask_mut() else { return };
        if ask.choices.is_empty() {
            ask.form.step(by);
        } else {
            let last = ask.choices.len() - 1;
            ask.selected = ask.selected.saturating_add_signed(by).min(last);
        }
    }

    fn scroll_dialog(&mut self, by: i16) {
        if let Some(dialog) = &mut self.dialog {
            dialog.scroll = dialog.scroll.saturating_add_signed(by);
        }
    }

    fn run_in_transcript(&mut self, command: Command, effects: &mut Vec<Effect>) {
        match command {
            Command::Up => self.scroll(-1),
            Command::Down => self.scroll(1),
            Command::PageUp => self.scroll_page(-1),
            Command::PageDown => self.scroll_page(1),
            Command::Top => {
                // Beyond the first line; the frame puts it right.
                if let Some(pane) = self.current_pane_mut()
                    && let Some(first) = pane.transcript.entries().first()
                {
                    pane.scroll = Scroll::At {
                        entry: first.id,
                        line: 0,
                    };
                }
            }
            Command::Bottom => self.follow(),
            Command::ToggleExpanded => self.toggle_expanded(),
            Command::CopyLastAnswer => self.copy_last_answer(effects),
            Command::Back => self.focus = Focus::Composer,
            _ => (),
        }
    }

    fn scroll(&mut self, lines: isize) {
        if let Some(pane) = self.current_pane_mut() {
            let top = pane.seen.and_then(|it| it.top);
            pane.scroll.by(lines, top);
        }
    }

    fn scroll_page(&mut self, pages: isize) {
        let height = self
            .current_pane()
            .and_then(|it| it.seen)
            .map_or(1, |it| it.height);
        // Two lines stay in sight, for the eye to find its place.
        self.scroll(pages * isize::try_from(height.saturating_sub(2).max(1)).unwrap_or(1));
    }

    fn follow(&mut self) {
        if let Some(pane) = self.current_pane_mut() {
            pane.scroll = Scroll::Follow;
            pane.unseen = 0;
        }
    }

    fn toggle_expanded(&mut self) {
        if let Some(pane) = self.current_pane_mut() {
            pane.is_expanded = !pane.is_expanded;
        }
    }

    fn run_in_composer(&mut self, command: Command, effects: &mut Vec<Effect>) {
        match command {
            Command::Send => self.send(effects),
            Command::Newline => self.type_text(Context::Composer, "\n"),
            Command::QuestionMark => match self.current_pane().is_none_or(|it| it.composer.is_empty()) {
                true => self.palette = Some(Palette::new(Scope::Help(Context::Composer))),
                false => self.type_text(Context::Composer, "?"),
            },
            Command::Interrupt => {
                let is_working = self
                    .current_pane()
                    .is_some_and(|it| it.turn != super::pane::Turn::Idle);
                if is_working {
                    self.interrupt_current(effects);
                } else {
                    self.follow();
                }
            }
            Command::EndOfFile => match self.current_pane().is_none_or(|it| it.composer.is_empty()) {
                true => self.quit_or_warn(effects),
                false => self.edit_text(Context::Composer, Command::DeleteForward),
            },
            Command::Up | Command::Down => self.move_in_draft(command),
            Command::PageUp => self.scroll_page(-1),
            Command::PageDown => self.scroll_page(1),
            Command::Bottom => self.follow(),
            Command::Editor if self.editor.is_none() => self.toast("no editor: set VISUAL or EDITOR"),
            Command::Editor => {
                let text = self.current_pane().map(|it| it.composer.expanded());
                effects.push(Effect::Edit(text.unwrap_or_default()));
            }
            Command::ExpandPaste => {
                if let Some(pane) = self.current_pane_mut() {
                    pane.composer.expand_paste();
                }
            }
            Command::SendAgain => self.send_again(effects),
            Command::TakeBack => self.take_back(),
            Command::ToggleExpanded => self.toggle_expanded(),
            _ => (),
        }
    }

    fn move_in_draft(&mut self, command: Command) {
        let width = layout::composer_width(self.size);
        let Some(pane) = self.current.and_then(|it| self.panes.get_mut(&it)) else {
            return;
        };
        let Some(host) = self.hosts.get(&pane.host) else {
            return;
        };
        match command {
            Command::Up => pane.composer.up(width, &host.history),
            _ => pane.composer.down(width, &host.history),
        }
    }

    fn run_in_completion(&mut self, command: Command, effects: &mut Vec<Effect>) {
        let Some(pane) = self.current_pane() else { return };
        let found = slash::completions(pane.composer.text());
        let selected = self.completion.unwrap_or(0).min(found.len().saturating_sub(1));
        let Some(chosen) = found.get(selected) else { return };
        let (id, slash, needs_argument) = (pane.id, chosen.slash, chosen.argument == Some("NAME"));
        let completed = match chosen.argument {
            Some(_) => format!("/{} ", chosen.name),
            None => format!("/{}", chosen.name),
        };
        match command {
            Command::Up => self.completion = Some(selected.saturating_sub(1)),
            Command::Down => self.completion = Some((selected + 1).min(found.len().saturating_sub(1))),
            Command::Back => self.completion = None,
            Command::Open if !needs_argument => {
                if let Some(pane) = self.panes.get_mut(&id) {
                    pane.composer.clear();
                }
                self.run_slash(slash, "", effects);
            }
            Command::Open | Command::Complete => {
                if let Some(pane) = self.panes.get_mut(&id) {
                    pane.composer.set(&completed);
                }
            }
            _ => self.run_in_composer(command, effects),
        }
    }

    /// Types text into what has the keys.
    fn type_text(&mut self, context: Context, text: &str) {
        match context {
            Context::Composer | Context::Completion => {
                if let Some(pane) = self.current_pane_mut() {
                    pane.composer.insert(text);
                }
                self.completion = Some(0);
            }
            Context::Form => {
                if let Some(ask) = self.open_ask_mut() {
                    ask.form.insert(text);
                }
            }
            _ => {
                if let Some(field) = self.field(context) {
                    field.insert(text);
                }
            }
        }
    }

    fn edit_text(&mut self, context: Context, command: Command) {
        match context {
            Context::Composer | Context::Completion => {
                if let Some(pane) = self.current_pane_mut() {
                    pane.composer.handle(command);
                }
                self.completion = Some(0);
            }
            Context::Form => {
                if let Some(ask) = self.open_ask_mut() {
                    let is_options = matches!(
                        ask.form.current().map(|it| &it.input),
                        Some(Input::Options { .. })
                    );
                    match (is_options, command) {
                        (true, Command::CursorLeft) => ask.form.handle(Command::Up),
                        (true, Command::CursorRight) => ask.form.handle(Command::Down),
                        _ => ask.form.handle(command),
                    }
                }
            }
            _ => {
                if let Some(field) = self.field(context) {
                    field.handle(command);
                }
            }
        }
    }

    /// The one line of text that is being typed; its list begins at the top again.
    fn field(&mut self, context: Context) -> Option<&mut TextField> {
        if context == Context::Palette {
            let palette = self.palette.as_mut()?;
            palette.selected = 0;
            return Some(&mut palette.filter);
        }
        if self.picker.is_open {
            self.picker.problem = None;
            return match &mut self.picker.typing {
                Typing::Nothing => None,
                Typing::Filter => {
                    self.picker.selected = 0;
                    Some(&mut self.picker.filter)
                }
                Typing::Address(field) => Some(field),
            };
        }
        self.sidebar.selected = None;
        Some(&mut self.sidebar.filter)
    }
}

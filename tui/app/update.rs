//! Sorts events to those who understand them.

use std::time::Instant;

use codex_hosts::HostEvent;
use crossterm::event::{Event as TerminalEvent, KeyEventKind};

use super::{App, QUIT_TIME};
use crate::{effect::Effect, event::Event};

impl App {
    /// Takes one event. Never waits, never fails.
    pub fn update(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        self.now = now;
        self.expire();
        match event {
            Event::Terminal(event) => self.handle_terminal(event, effects),
            Event::Tick => (),
            Event::Host(host, HostEvent::StatusChanged(status)) => self.handle_status(&host, status, effects),
            Event::Notice(host, text) => self.handle_notice(&host, text),
            Event::Initialized(host, server) => self.handle_initialized(&host, server),
            Event::Notification(host, notification) => self.handle_notification(&host, notification, effects),
            Event::Request(host, id, request) => self.handle_request(&host, id, request, effects),
            Event::Answered(host, ticket, outcome) => self.handle_answer(&host, ticket, outcome, effects),
            Event::Asked(host, id, question) => self.handle_question(&host, id, question, effects),
            Event::Forwards(host, forwards) => self.handle_forwards(&host, forwards),
            Event::Withdrawn(host, id) => self.handle_withdrawal(&host, id),
            Event::Installing(host, event) => self.handle_installing(&host, event),
            Event::Edited(text) => self.handle_edited(text),
        }
    }

    fn expire(&mut self) {
        if self.toast.as_ref().is_some_and(|it| it.until <= self.now) {
            self.toast = None;
        }
        if self.quit_armed.is_some_and(|it| it + QUIT_TIME <= self.now) {
            self.quit_armed = None;
        }
    }

    fn handle_terminal(&mut self, event: TerminalEvent, effects: &mut Vec<Effect>) {
        match event {
            TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => self.handle_key(key, effects),
            TerminalEvent::Paste(text) => self.handle_paste(&text),
            TerminalEvent::Resize(columns, rows) => self.size = (columns, rows),
            TerminalEvent::FocusGained => self.has_terminal_focus = true,
            TerminalEvent::FocusLost => self.has_terminal_focus = false,
            TerminalEvent::Key(_) | TerminalEvent::Mouse(_) => (),
        }
    }

    fn handle_edited(&mut self, text: Option<String>) {
        match (text, self.current_pane_mut()) {
            (Some(text), Some(pane)) => pane.composer.set(&text),
            (None, _) => self.toast("the editor changed nothing"),
            (Some(_), None) => (),
        }
    }

    /// Rings when the user is elsewhere.
    pub(super) fn ring(&self, effects: &mut Vec<Effect>) {
        if !self.has_terminal_focus && !effects.contains(&Effect::Bell) {
            effects.push(Effect::Bell);
        }
    }
}

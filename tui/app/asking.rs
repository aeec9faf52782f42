//! How questions come, are looked at, answered and withdrawn.

use codex_hosts::{HostId, Question, QuestionId};
use codex_protocol::{Id, ServerRequest};

use super::{
    App, Mood,
    ask::{ASKS_PER_HOST_MAX, Ask, AskId, AskKind, Choice, Dialog, GRACE, TYPING},
    picker::Typing,
};
use crate::effect::Effect;

impl App {
    pub(super) fn handle_question(
        &mut self,
        host: &HostId,
        id: QuestionId,
        question: Question,
        effects: &mut Vec<Effect>,
    ) {
        self.want_host(host);
        let ask = Ask::login(AskId(self.next_number()), host.clone(), id, question);
        if !ask.choices.is_empty() || !ask.form.fields.is_empty() {
            self.take_ask(ask, effects);
            return;
        }
        // A keyboard-interactive round without prompts only says something (RFC 4256, 3.2): it wants an
        // empty answer.
        let mut ask = ask;
        if let AskKind::Login(_, Question::KeyboardInteractive { instructions, .. }) = &ask.kind
            && !instructions.trim().is_empty()
        {
            let text = instructions.clone();
            self.handle_notice(host, text);
        }
        effects.extend(ask.submit());
    }

    pub(super) fn handle_withdrawal(&mut self, host: &HostId, id: QuestionId) {
        let of_login = |ask: &Ask| matches!(&ask.kind, AskKind::Login(it, _) if *it == id);
        if self.asks.iter().any(of_login) {
            self.asks.retain(|it| !of_login(it));
            self.toast(format!("{host}: the login ended, its question is void"));
            self.close_orphaned_dialog();
        }
    }

    pub(super) fn handle_request(
        &mut self,
        host: &HostId,
        id: Id,
        request: ServerRequest,
        effects: &mut Vec<Effect>,
    ) {
        let waiting = self.asks.iter().filter(|it| it.host == *host).count();
        let Some(thread) = request
            .thread_id()
            .cloned()
            .filter(|_| waiting < ASKS_PER_HOST_MAX)
        else {
            effects.push(Effect::Refuse(host.clone(), id));
            return;
        };
        let is_known =
            |it: &Ask| it.host == *host && matches!(&it.kind, AskKind::Server(known, _) if *known == id);
        if self.asks.iter().any(is_known) {
            return;
        }
        self.want_host(host);
        let pane = self.pane_for(host, &thread);
        let ask_id = AskId(self.next_number());
        match Ask::server(ask_id, host.clone(), pane, id.clone(), request) {
            Some(ask) => self.take_ask(ask, effects),
            None => effects.push(Effect::Refuse(host.clone(), id)),
        }
    }

    /// Somebody answered: we, which closed it already, or another client.
    pub(super) fn handle_resolved(&mut self, host: &HostId, id: &Id) {
        let is_it =
            |it: &Ask| it.host == *host && matches!(&it.kind, AskKind::Server(known, _) if known == id);
        if self.asks.iter().any(is_it) {
            self.asks.retain(|it| !is_it(it));
            self.toast(format!(
                "{host}: the question was answered elsewhere, or its turn ended"
            ));
            self.close_orphaned_dialog();
        }
    }

    /// A connection ended: its server's questions are void. They come again with the thread.
    pub(super) fn drop_server_asks(&mut self, host: &HostId) {
        self.asks
            .retain(|it| it.host != *host || matches!(it.kind, AskKind::Login(..)));
        self.close_orphaned_dialog();
    }

    pub(super) fn close_orphaned_dialog(&mut self) {
        if self.dialog.is_some() && self.open_ask().is_none() {
            self.dialog = None;
        }
    }

    fn take_ask(&mut self, ask: Ask, effects: &mut Vec<Effect>) {
        let id = ask.id;
        let opens = self.may_open(&ask);
        self.asks.push(ask);
        self.ring(effects);
        if opens {
            self.open_dialog(id, Opened::ByItself);
        }
    }

    /// Nothing opens over what the user is doing: another dialog, a draft, keys pressed a moment ago. Then
    /// the banner says that something waits.
    fn may_open(&self, ask: &Ask) -> bool {
        let is_typing = self
            .typed_at
            .is_some_and(|it| self.now.saturating_duration_since(it) < TYPING);
        let has_draft = self.current_pane().is_some_and(|it| !it.composer.is_empty());
        let is_busy = self.dialog.is_some()
            || self.palette.is_some()
            || self.picker.typing != Typing::Nothing
            || self.sidebar.is_filtering
            || has_draft
            || is_typing;
        !is_busy && self.concerns_the_screen(ask)
    }

    /// A login concerns whatever is shown: the user just asked for it. A thread's question concerns that
    /// thread.
    fn concerns_the_screen(&self, ask: &Ask) -> bool {
        match ask.pane {
            None => true,
            Some(pane) => self.current == Some(pane) && !self.picker.is_open,
        }
    }

    fn open_dialog(&mut self, ask: AskId, opened: Opened) {
        let ready_at = match opened {
            Opened::ByItself => Some(self.now + GRACE),
            Opened::ByUser => None,
        };
        self.dialog = Some(Dialog {
            ask,
            ready_at,
            scroll: 0,
        });
    }

    /// Opens the question that waits longest, and shows its thread.
    pub(super) fn look_at_request(&mut self, effects: &mut Vec<Effect>) {
        let Some(ask) = self.asks.first() else {
            self.toast("nothing waits for you");
            return;
        };
        let (id, pane) = (ask.id, ask.pane);
        if let Some(pane) = pane {
            self.picker.is_open = false;
            self.show(pane, effects);
        }
        self.open_dialog(id, Opened::ByUser);
    }

    /// Goes to the next thread that needs the user, then to one that is done; opens what waits there.
    pub(super) fn next_attention(&mut self, effects: &mut Vec<Effect>) {
        if self.asks.iter().any(|it| it.pane.is_none()) {
            let login = self.asks.iter().find(|it| it.pane.is_none()).map(|it| it.id);
            if let Some(id) = login {
                self.open_dialog(id, Opened::ByUser);
            }
            return;
        }
        let all: Vec<_> = self.order.iter().flat_map(|it| self.panes_of(it)).collect();
        let after = self
            .current
            .and_then(|it| all.iter().position(|pane| *pane == it));
        let start = after.map_or(0, |it| it + 1);
        let in_turn = || (0..all.len()).map(|it| all[(start + it) % all.len()]);
        let wanted = [Mood::NeedsYou, Mood::Done]
            .into_iter()
            .find_map(|mood| in_turn().find(|it| self.mood(*it) == mood));
        let Some(pane) = wanted else {
            self.toast("no thread needs you");
            return;
        };
        self.picker.is_open = false;
        self.show(pane, effects);
        if let Some(id) = self.asks.iter().find(|it| it.pane == Some(pane)).map(|it| it.id) {
            self.open_dialog(id, Opened::ByUser);
        }
    }

    pub(super) fn decide(&mut self, choice: Choice, effects: &mut Vec<Effect>) {
        let Some(ask) = self.open_ask() else { return };
        match ask.decide(choice) {
            Some(effect) => self.finish(effect, effects),
            None => self.toast(format!("`{}` is not offered here", choice.label())),
        }
    }

    pub(super) fn submit_form(&mut self, effects: &mut Vec<Effect>) {
        let Some(ask) = self.open_ask_mut() else { return };
        if ask.form.advance() {
            return;
        }
        if let Some(effect) = ask.submit() {
            self.finish(effect, effects);
        }
    }

    pub(super) fn refuse_form(&mut self, effects: &mut Vec<Effect>) {
        if let Some(effect) = self.open_ask().map(Ask::refuse) {
            self.finish(effect, effects);
        }
    }

    /// Closes the dialog; what it asked goes on waiting.
    pub(super) fn look_later(&mut self) {
        self.dialog = None;
        self.toast("it keeps waiting: Ctrl+Y opens it again");
    }

    pub(super) fn open_ask_mut(&mut self) -> Option<&mut Ask> {
        let dialog = self.dialog?;
        self.asks.iter_mut().find(|it| it.id == dialog.ask)
    }

    fn finish(&mut self, effect: Effect, effects: &mut Vec<Effect>) {
        effects.push(effect);
        let Some(dialog) = self.dialog.take() else { return };
        self.asks.retain(|it| it.id != dialog.ask);
        // The keys of an answer were meant for its dialog: the next step of a login may open at once.
        self.typed_at = None;
        let next = self
            .asks
            .iter()
            .find(|it| self.concerns_the_screen(it))
            .map(|it| it.id);
        if let Some(next) = next {
            self.open_dialog(next, Opened::ByItself);
        }
    }
}

#[derive(Clone, Copy)]
enum Opened {
    ByItself,
    ByUser,
}

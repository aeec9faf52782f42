//! What became of our calls.

use codex_hosts::{CallFailure, HostId, Ticket};
use codex_protocol::{ClientRequest, ClientResponse, v2};

use super::{
    App,
    host::ListState,
    pane::{Delivery, Interrupt, Link, Older, PaneId, Turn},
};
use crate::{cells::Level, effect::Effect};

/// What a call was for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    List,
    Account,
    /// The directory of a draft; the prompt follows when it is there.
    CheckDirectory(PaneId, AfterCheck),
    StartThread(PaneId),
    Resume(PaneId),
    Turns(PaneId, Page),
    /// A prompt, by the identity of its [`Outgoing`](super::pane::Outgoing).
    StartTurn(PaneId, String),
    Steer(PaneId, String),
    Interrupt(PaneId),
    Shell(PaneId),
    /// A call whose failure is all there is to say; what was wanted, for people.
    Other(PaneId, &'static str),
    Fork(PaneId),
    Archive(PaneId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Newest,
    Older,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterCheck {
    /// Only tell when something is wrong.
    Nothing,
    /// A prompt waits for it.
    StartThread,
}

impl App {
    pub(super) fn handle_answer(
        &mut self,
        host: &HostId,
        ticket: Ticket,
        outcome: Result<ClientResponse, CallFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some((_, call)) = self.calls.remove(&ticket).filter(|(of, _)| of == host) else {
            return;
        };
        match outcome {
            Ok(response) => self.handle_response(host, call, response, effects),
            Err(failure) => self.handle_failure(host, call, failure, effects),
        }
    }

    fn handle_response(
        &mut self,
        host: &HostId,
        call: Call,
        response: ClientResponse,
        effects: &mut Vec<Effect>,
    ) {
        use ClientResponse as R;
        match (call, response) {
            (Call::List, R::ThreadList(page)) => self.take_list(host, page),
            (Call::Account, R::AccountRead(answer)) => {
                if let Some(entry) = self.hosts.get_mut(host) {
                    entry.needs_login = answer.requires_openai_auth && answer.account.is_none();
                }
            }
            (Call::CheckDirectory(pane, after), R::FsGetMetadata(metadata)) => {
                if !metadata.is_directory {
                    self.directory_refused(pane, after, "it is not a directory");
                } else if after == AfterCheck::StartThread {
                    self.start_thread(pane, effects);
                }
            }
            (Call::StartThread(pane), R::ThreadStart(opened)) => self.thread_opened(pane, opened, effects),
            (Call::Resume(pane), R::ThreadResume(opened)) => {
                if let Some(pane) = self.panes.get_mut(&pane) {
                    pane.apply_settings(opened);
                }
                self.load_newest(pane, effects);
            }
            (Call::Turns(pane, page), R::ThreadTurnsList(answer)) => self.take_turns(pane, page, answer),
            (Call::StartTurn(pane, prompt), R::TurnStart(answer)) => {
                if let Some(pane) = self.panes.get_mut(&pane) {
                    pane.turn_accepted(answer.turn.id);
                    accept(pane, &prompt);
                }
            }
            (Call::Steer(pane, prompt), R::TurnSteer(_)) => {
                if let Some(pane) = self.panes.get_mut(&pane) {
                    accept(pane, &prompt);
                }
            }
            (Call::Fork(_), R::ThreadFork(opened)) => {
                let id = self.pane_for(host, &opened.thread.id);
                if let Some(pane) = self.panes.get_mut(&id) {
                    pane.apply_settings(opened);
                    pane.link = Link::Resuming;
                }
                self.load_newest(id, effects);
                self.show(id, effects);
            }
            (Call::Archive(pane), R::ThreadArchive(_)) => self.leave_and_forget(pane),
            // The notifications that follow say the rest; and an answer that is not the call's own is the
            // wiring's mistake, of which nothing depends.
            _ => (),
        }
    }

    fn handle_failure(&mut self, host: &HostId, call: Call, failure: CallFailure, effects: &mut Vec<Effect>) {
        let text = failure.message.clone();
        match call {
            // A lost one is asked again by the next connection, which may have begun already.
            Call::List if failure.lost => (),
            Call::List => {
                if let Some(entry) = self.hosts.get_mut(host) {
                    entry.list = ListState::Unknown;
                }
                let text = format!("{host}: the threads could not be listed: {text}");
                self.remark_on_host(host, Level::Error, &text);
            }
            // Servers that do not know the method need no login that we could tell of.
            Call::Account => (),
            Call::CheckDirectory(pane, after) => self.directory_refused(pane, after, &text),
            Call::StartThread(pane) => {
                self.return_prompts(pane, &format!("the thread could not be started: {text}"));
            }
            Call::Resume(pane) => self.resume_failed(pane, &failure),
            Call::Turns(pane, page) => self.turns_failed(pane, page, &failure),
            Call::StartTurn(pane, prompt) => self.prompt_failed(pane, &prompt, &failure),
            Call::Steer(pane, prompt) => self.steer_failed(pane, &prompt, &failure, effects),
            Call::Interrupt(pane) => {
                if let Some(pane) = self.panes.get_mut(&pane)
                    && pane.interrupt == Interrupt::Sent
                {
                    pane.interrupt = Interrupt::No;
                }
                self.toast(format!("{host}: not interrupted: {text}"));
            }
            Call::Shell(pane) => self.tell(pane, Level::Error, format!("the command was not run: {text}")),
            Call::Other(pane, what) => self.tell(pane, Level::Error, format!("{what} failed: {text}")),
            Call::Fork(pane) => self.tell(pane, Level::Error, format!("the thread was not forked: {text}")),
            Call::Archive(pane) => {
                self.tell(pane, Level::Error, format!("the thread was not archived: {text}"))
            }
        }
    }

    fn take_list(&mut self, host: &HostId, page: v2::ThreadListResponse) {
        for thread in page.data.into_iter().filter(|it| !it.ephemeral) {
            let id = self.pane_for(host, &thread.id);
            if let Some(pane) = self.panes.get_mut(&id) {
                pane.apply_head(thread);
            }
        }
        if let Some(entry) = self.hosts.get_mut(host) {
            entry.list = match page.next_cursor {
                Some(cursor) => ListState::More { cursor },
                None => ListState::Complete,
            };
        }
    }

    /// Whether a thread of ours is on its way on this host.
    pub(super) fn is_starting_thread(&self, host: &HostId) -> bool {
        self.calls
            .values()
            .any(|(of, call)| of == host && matches!(call, Call::StartThread(_) | Call::Fork(_)))
    }

    fn thread_opened(&mut self, id: PaneId, opened: v2::ThreadOpened, effects: &mut Vec<Effect>) {
        let thread = opened.thread.id.clone();
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        let host = pane.host.clone();
        pane.apply_settings(opened);
        pane.link = Link::Open;
        let announced = self.by_thread.insert((host, thread), id).filter(|it| *it != id);
        // The announcement came first and made a pane of its own: the draft is the one that is looked at.
        if let Some(announced) = announced {
            self.panes.remove(&announced);
            for ask in self.asks.iter_mut().filter(|it| it.pane == Some(announced)) {
                ask.pane = Some(id);
            }
            if self.current == Some(announced) {
                self.current = Some(id);
            }
        }
        self.send_waiting(id, effects);
    }

    fn take_turns(&mut self, id: PaneId, page: Page, answer: v2::ThreadTurnsListResponse) {
        let now = self.now;
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        let older = match answer.next_cursor {
            Some(cursor) => Older::At {
                cursor,
                loading: false,
            },
            None => Older::None,
        };
        for turn in &answer.data {
            for item in &turn.items {
                // What was known before the prompt was sent cannot be it.
                if let v2::ThreadItem::UserMessage(message) = item
                    && (message.client_id.is_some() || pane.transcript.item(&turn.id, &message.id).is_none())
                {
                    pane.settle_outgoing(message);
                }
            }
        }
        match page {
            Page::Older => {
                pane.transcript.prepend(&answer.data);
                pane.older = older;
            }
            Page::Newest => {
                pane.link = Link::Open;
                let keeps_older = pane.transcript.converge(&answer.data);
                if !keeps_older || pane.older == Older::None {
                    pane.older = older;
                }
                let running = answer
                    .data
                    .iter()
                    .find(|it| it.status == v2::TurnStatus::InProgress);
                if let (Some(turn), Turn::Idle) = (running, &pane.turn)
                    && matches!(pane.status, v2::ThreadStatus::Active(_))
                {
                    pane.turn_started(now, turn.id.clone());
                }
                for outgoing in &mut pane.outgoing {
                    if outgoing.state == Delivery::Unknown {
                        outgoing.state = Delivery::NotSent;
                    }
                }
            }
        }
    }

    fn turns_failed(&mut self, id: PaneId, page: Page, failure: &CallFailure) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        match page {
            Page::Older => {
                if let Older::At { loading, .. } = &mut pane.older {
                    *loading = false;
                }
                if !failure.lost {
                    pane.older = Older::None;
                    let text = format!("older turns could not be read: {}", failure.message);
                    self.tell(id, Level::Error, text);
                }
            }
            Page::Newest if failure.lost => pane.link = Link::Stale,
            Page::Newest => {
                // A thread without a turn has no list of turns on the official server.
                pane.link = Link::Open;
                for outgoing in &mut pane.outgoing {
                    if outgoing.state == Delivery::Unknown {
                        outgoing.state = Delivery::NotSent;
                    }
                }
                if pane.transcript.has_items() {
                    let text = format!("the history could not be read: {}", failure.message);
                    self.tell(id, Level::Error, text);
                }
            }
        }
    }

    /// A thread that never ran a turn is not on the host's disk: after a reconnection it is a draft again.
    fn resume_failed(&mut self, id: PaneId, failure: &CallFailure) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        if failure.lost {
            pane.link = Link::Stale;
            return;
        }
        let was_ours = pane.link == Link::Resuming && !pane.transcript.has_items() && pane.preview.is_empty();
        if was_ours && failure.message.contains("no rollout found") {
            let thread = pane.thread.take();
            pane.link = Link::Draft;
            pane.settings = None;
            for outgoing in &mut pane.outgoing {
                outgoing.state = Delivery::NotSent;
            }
            if let Some(thread) = thread {
                let host = pane.host.clone();
                self.by_thread.remove(&(host, thread));
            }
            return;
        }
        pane.link = Link::Failed(failure.message.clone());
        for outgoing in &mut pane.outgoing {
            outgoing.state = Delivery::NotSent;
        }
        let text = format!("the thread could not be opened: {}", failure.message);
        self.tell(id, Level::Error, text);
    }

    fn prompt_failed(&mut self, id: PaneId, prompt: &str, failure: &CallFailure) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        if failure.lost {
            for outgoing in pane.outgoing.iter_mut().filter(|it| it.id == prompt) {
                if outgoing.state != Delivery::NotSent {
                    outgoing.state = Delivery::Unknown;
                }
            }
            return;
        }
        if let Turn::Starting { id: None, .. } = pane.turn {
            pane.turn = Turn::Idle;
            pane.interrupt = Interrupt::No;
        }
        self.give_back(id, prompt);
        self.tell(
            id,
            Level::Error,
            format!("the prompt was not taken: {}", failure.message),
        );
    }

    /// The turn ended while the prompt was on its way: then it begins the next one.
    fn steer_failed(&mut self, id: PaneId, prompt: &str, failure: &CallFailure, effects: &mut Vec<Effect>) {
        let is_over =
            failure.message.contains("no active turn") || failure.message.contains("expected active turn");
        if !failure.lost && is_over {
            self.start_turn(id, prompt, effects);
        } else {
            self.prompt_failed(id, prompt, failure);
        }
    }

    pub(super) fn tell(&mut self, id: PaneId, level: Level, text: String) {
        if let Some(pane) = self.panes.get_mut(&id) {
            pane.transcript.remark(level, text);
            pane.note_new(1);
        }
    }

    /// Asks for a thing that has no answer but its failure.
    pub(super) fn ask_for(
        &mut self,
        id: PaneId,
        what: &'static str,
        request: ClientRequest,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(host) = self.panes.get(&id).map(|it| it.host.clone()) {
            self.call(&host, Call::Other(id, what), request, effects);
        }
    }
}

fn accept(pane: &mut super::Pane, prompt: &str) {
    for outgoing in pane.outgoing.iter_mut().filter(|it| it.id == prompt) {
        outgoing.state = Delivery::Accepted;
    }
}

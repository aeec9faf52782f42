//! What happens to connections, and what is asked of a host when it is ready.

use codex_hosts::{Forwarded, HostId, Status};
use codex_protocol::{ClientRequest, v2};

use super::{
    App,
    answers::{Call, Page},
    host::ListState,
    pane::{Delivery, Interrupt, Link, Older, PaneId, Turn},
};
use crate::{cells::Level, effect::Effect};

/// Threads of one page of the list.
const LIST_LIMIT: u32 = 50;
/// Turns of one page of a transcript.
const TURNS_LIMIT: u32 = 20;

impl App {
    pub(super) fn handle_status(&mut self, id: &HostId, status: Status, effects: &mut Vec<Effect>) {
        self.want_host(id);
        let Some(host) = self.hosts.get_mut(id) else {
            return;
        };
        let (was, is) = (host.is_ready(), matches!(status, Status::Ready { .. }));
        if !matches!(status, Status::Working { .. }) {
            host.upload = None;
        }
        host.set_status(status);
        match (was, is) {
            (_, true) => self.host_ready(id, effects),
            (true, false) => self.host_lost(id),
            (false, false) => {
                if matches!(self.hosts.get(id).map(|it| &it.status), Some(Status::Failed(_))) {
                    self.ring(effects);
                }
            }
        }
    }

    pub(super) fn handle_notice(&mut self, id: &HostId, text: String) {
        self.want_host(id);
        let shown = text.lines().next().unwrap_or_default().to_owned();
        if let Some(host) = self.hosts.get_mut(id) {
            host.notice(text.clone());
        }
        self.toast(format!("{id}: {shown}"));
        self.remark_on_host(id, Level::Info, &text);
    }

    pub(super) fn handle_forwards(&mut self, id: &HostId, forwards: Vec<Forwarded>) {
        if let Some(host) = self.hosts.get_mut(id) {
            host.forwards = forwards;
        }
    }

    /// Puts a remark where the user sees it: into the open thread of this host.
    pub(super) fn remark_on_host(&mut self, id: &HostId, level: Level, text: &str) {
        let current = self
            .current
            .filter(|it| self.panes.get(it).is_some_and(|it| it.host == *id));
        let pane = current.or_else(|| self.panes_of(id).first().copied());
        if let Some(pane) = pane.and_then(|it| self.panes.get_mut(&it)) {
            pane.transcript.remark(level, text);
            pane.note_new(1);
        }
    }

    pub(super) fn report_problems(&mut self, problems: Vec<String>) {
        let (count, first) = (problems.len(), problems[0].clone());
        match self.current_pane_mut() {
            Some(pane) => {
                for problem in problems {
                    pane.transcript.remark(Level::Warning, problem);
                }
            }
            None if count == 1 => self.toast(first),
            None => self.toast(format!("{first} (and {} more)", count - 1)),
        }
    }

    /// A new server process: what the old one asked or had under way is over.
    pub(super) fn handle_initialized(&mut self, id: &HostId, server: v2::InitializeResponse) {
        self.want_host(id);
        self.host_lost(id);
        if let Some(host) = self.hosts.get_mut(id) {
            host.server = Some(server);
            host.forwards.clear();
        }
        for pane in self.panes.values_mut().filter(|it| it.host == *id) {
            pane.transcript.begin_epoch();
        }
    }

    /// Nothing of the old connection can be relied on. Drafts, positions and what was read stay.
    fn host_lost(&mut self, id: &HostId) {
        self.drop_server_asks(id);
        for pane in self.panes.values_mut().filter(|it| it.host == *id) {
            if matches!(pane.link, Link::Open | Link::Resuming) {
                pane.link = Link::Stale;
            }
            pane.turn = Turn::Idle;
            pane.interrupt = Interrupt::No;
            pane.passing = None;
            pane.status = v2::ThreadStatus::default();
            if let Older::At { loading, .. } = &mut pane.older {
                *loading = false;
            }
            for outgoing in &mut pane.outgoing {
                if outgoing.state != Delivery::NotSent {
                    outgoing.state = Delivery::Unknown;
                }
            }
        }
        if let Some(host) = self.hosts.get_mut(id) {
            host.list = ListState::Unknown;
        }
    }

    fn host_ready(&mut self, id: &HostId, effects: &mut Vec<Effect>) {
        let Some(host) = self.hosts.get_mut(id) else {
            return;
        };
        let is_first = !std::mem::replace(&mut host.was_ready, true);
        self.list_threads(id, None, effects);
        self.call(
            id,
            Call::Account,
            ClientRequest::AccountRead(v2::AccountReadParams::default()),
            effects,
        );
        let panes = self.panes_of(id);
        let has_draft = panes
            .iter()
            .any(|it| self.panes.get(it).is_some_and(|it| it.is_draft()));
        // A host that comes back has its threads: nobody asked for another one.
        if is_first && !has_draft {
            let draft = self.new_draft(id);
            self.current = self.current.or(Some(draft));
        }
        let open: Vec<PaneId> = panes
            .into_iter()
            .filter(|it| self.panes.get(it).is_some_and(|it| it.link == Link::Stale))
            .collect();
        for pane in open {
            self.resume(pane, effects);
        }
        // A listed thread that the user is looking at was waiting for this connection.
        if let Some(current) = self.current {
            self.open(current, effects);
        }
        let drafts: Vec<PaneId> = self.panes_of(id);
        for pane in drafts {
            self.check_directory_early(pane, effects);
        }
    }

    pub(super) fn list_threads(&mut self, id: &HostId, cursor: Option<String>, effects: &mut Vec<Effect>) {
        let Some(host) = self.hosts.get_mut(id) else {
            return;
        };
        host.list = ListState::Loading;
        let params = v2::ThreadListParams {
            cursor,
            limit: Some(LIST_LIMIT),
            ..v2::ThreadListParams::default()
        };
        self.call(id, Call::List, ClientRequest::ThreadList(params), effects);
    }

    /// Opens a thread that only its head is known of, if its host is ready.
    pub(super) fn open(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        if let Some(pane) = self.panes.get(&id)
            && matches!(pane.link, Link::Listed | Link::Failed(_) | Link::Stale)
        {
            self.resume(id, effects);
        }
    }

    pub(super) fn resume(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        let is_ready = self.hosts.get(&pane.host).is_some_and(|it| it.is_ready());
        let Some(thread_id) = pane.thread.clone().filter(|_| is_ready) else {
            return;
        };
        pane.link = Link::Resuming;
        let host = pane.host.clone();
        let params = v2::ThreadResumeParams {
            thread_id,
            exclude_turns: Some(true),
            cwd: None,
        };
        self.call(
            &host,
            Call::Resume(id),
            ClientRequest::ThreadResume(params),
            effects,
        );
    }

    pub(super) fn load_newest(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        self.load_turns(id, Page::Newest, None, effects);
    }

    /// Asks for what precedes the oldest turn, if there is more and nobody asked yet.
    pub(super) fn load_older(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        if pane.link != Link::Open {
            return;
        }
        let Older::At { cursor, loading } = &mut pane.older else {
            return;
        };
        if std::mem::replace(loading, true) {
            return;
        }
        let cursor = cursor.clone();
        self.load_turns(id, Page::Older, Some(cursor), effects);
    }

    fn load_turns(&mut self, id: PaneId, page: Page, cursor: Option<String>, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get(&id) else { return };
        let (Some(thread_id), host) = (pane.thread.clone(), pane.host.clone()) else {
            return;
        };
        let params = v2::ThreadTurnsListParams {
            thread_id,
            limit: Some(TURNS_LIMIT),
            cursor,
            sort_direction: None,
            items_view: Some(v2::TurnItemsView::Full),
        };
        self.call(
            &host,
            Call::Turns(id, page),
            ClientRequest::ThreadTurnsList(params),
            effects,
        );
    }
}

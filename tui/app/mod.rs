//! The whole state of the interface, and what each event makes of it.
//!
//! [`App`] is plain data: no handles, no futures. `update` is total: each event has a defined result in each
//! state. What is wanted from the world goes into a list of effects; the answer to a call comes back as an
//! event with the ticket that was chosen here.

mod answers;
pub mod ask;
mod asking;
mod choose;
pub mod composer;
pub mod form;
pub mod host;
mod hosts;
pub mod install;
mod keys;
pub mod list;
pub mod palette;
pub mod pane;
pub mod picker;
mod prompts;
mod said;
pub mod scroll;
pub mod sidebar;
pub mod slash;
#[cfg(test)]
mod tests;
pub mod text_field;
pub mod transcript;
mod update;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use codex_hosts::{Command as HostCommand, Host, HostId, Status, Ticket};
use codex_protocol::{ClientRequest, ThreadId};

use crate::{effect::Effect, keymap::Context, text::sanitize::sanitize_line, theme::Theme};
use answers::Call;
use ask::{Ask, Dialog};
use host::HostEntry;
use install::Offer;
use palette::Palette;
pub use pane::{Mood, Pane, PaneId};
use picker::{Picker, Typing};
pub use scroll::{Seen, SeenTranscript};
use sidebar::Sidebar;

/// How long a passing remark stays.
const TOAST_TIME: Duration = Duration::from_secs(6);
/// Two Ctrl+C within this time quit.
const QUIT_TIME: Duration = Duration::from_secs(1);
/// What runs by the clock on the screen shows whole seconds.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// Characters of a window title that anybody reads.
const TITLE_CHARS_MAX: usize = 80;
/// Threads that are kept for one host. Older ones stay on the host, unlisted here.
const PANES_PER_HOST_MAX: usize = 2_000;

/// All that the interface is told at the beginning.
#[derive(Clone, Debug)]
pub struct Start {
    /// What can be picked: the concrete aliases of the configuration, without its patterns.
    pub hosts: Vec<Host>,
    /// Connected at once, in the order of the list.
    pub connect: Vec<HostId>,
    /// The directory for new threads, by host; a path on that host, as the user gave it.
    pub cwd: BTreeMap<HostId, String>,
    /// Shows the connections first. They are also shown when there is nothing to connect.
    pub open_picker: bool,
    /// What is not right with the configuration; shown, and no obstacle.
    pub problems: Vec<String>,
    /// Our own server, for hosts that have none.
    pub offer: Option<Offer>,
    pub theme: Theme,
    pub client_version: String,
    /// Differs from that of every earlier run: the identities of our prompts begin with it.
    pub run_id: String,
    /// `$VISUAL` or else `$EDITOR`: a command line for `sh`.
    pub editor: Option<String>,
    /// `$TMUX` is set: what is meant for the terminal itself has to be wrapped.
    pub in_tmux: bool,
}

/// The interface's state.
pub struct App {
    pub theme: Theme,
    pub client_version: String,
    run_id: String,
    editor: Option<String>,
    connect_first: Vec<HostId>,
    offer: Option<Offer>,
    /// Columns and rows.
    pub size: (u16, u16),
    pub has_terminal_focus: bool,
    now: Instant,
    pub hosts: BTreeMap<HostId, HostEntry>,
    /// The hosts in the order of the list.
    pub order: Vec<HostId>,
    pub panes: BTreeMap<PaneId, Pane>,
    by_thread: BTreeMap<(HostId, ThreadId), PaneId>,
    pub current: Option<PaneId>,
    pub focus: Focus,
    pub sidebar: Sidebar,
    pub picker: Picker,
    pub palette: Option<Palette>,
    /// The slash command that is selected in the list above the composer; `None` when it was closed.
    pub completion: Option<usize>,
    pub asks: Vec<Ask>,
    pub dialog: Option<Dialog>,
    pub toast: Option<Toast>,
    quit_armed: Option<Instant>,
    /// When a key was last pressed.
    typed_at: Option<Instant>,
    calls: BTreeMap<Ticket, (HostId, Call)>,
    /// Counts panes, tickets, questions and prompts: nothing of them is ever reused.
    counter: u64,
}

/// The part of the main screen that has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    Threads,
    Transcript,
    Composer,
}

/// A remark that goes away by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Toast {
    pub text: String,
    until: Instant,
}

impl App {
    pub fn new(start: Start, now: Instant) -> App {
        let mut app = App {
            theme: start.theme,
            client_version: start.client_version,
            run_id: start.run_id,
            editor: start.editor.filter(|it| !it.trim().is_empty()),
            connect_first: start.connect.clone(),
            offer: start.offer,
            size: (80, 24),
            has_terminal_focus: true,
            now,
            hosts: BTreeMap::new(),
            order: Vec::new(),
            panes: BTreeMap::new(),
            by_thread: BTreeMap::new(),
            current: None,
            focus: Focus::Composer,
            sidebar: Sidebar::default(),
            picker: Picker {
                is_open: start.open_picker || start.connect.is_empty(),
                hosts: start.hosts,
                ..Picker::default()
            },
            palette: None,
            completion: Some(0),
            asks: Vec::new(),
            dialog: None,
            toast: None,
            quit_armed: None,
            typed_at: None,
            calls: BTreeMap::new(),
            counter: 0,
        };
        for id in &start.connect {
            app.want_host(id);
        }
        for (id, cwd) in start.cwd {
            if let Some(host) = app.hosts.get_mut(&id) {
                host.cwd = Some(cwd);
            }
        }
        for id in &start.connect {
            let draft = app.new_draft(id);
            app.current = app.current.or(Some(draft));
        }
        if !start.problems.is_empty() {
            app.report_problems(start.problems);
        }
        app
    }

    /// What there is to do before anything happens.
    pub fn begin(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.now = now;
        for id in std::mem::take(&mut self.connect_first) {
            effects.push(Effect::Host(id, HostCommand::Connect));
        }
    }

    /// When a [`Tick`](crate::event::Event::Tick) is needed; `None` while nothing depends on time.
    pub fn deadline(&self) -> Option<Instant> {
        let toast = self.toast.as_ref().map(|it| it.until);
        let armed = self.quit_armed.map(|it| it + QUIT_TIME);
        let clock = self.shows_a_clock().then(|| self.now + CLOCK_STEP);
        [toast, armed, clock].into_iter().flatten().min()
    }

    /// The window's title. Nothing in it can end the sequence that sets it.
    pub fn title(&self) -> String {
        let mut title = String::from("codex");
        let waiting = self.asks.len();
        if 0 < waiting {
            title.push_str(&format!(" · {waiting} waiting for you"));
        }
        if let Some(pane) = self.current.and_then(|it| self.panes.get(&it)) {
            title.push_str(&format!(" · {}: {}", pane.host, pane.title()));
        }
        sanitize_line(&title).chars().take(TITLE_CHARS_MAX).collect()
    }

    /// Takes what a frame showed: where the transcript's window really was, which only the view knows.
    pub fn saw(&mut self, seen: Seen, effects: &mut Vec<Effect>) {
        let Some(seen) = seen.transcript else { return };
        let Some(pane) = self.panes.get_mut(&seen.pane) else {
            return;
        };
        pane.scroll.settle(&seen);
        pane.seen = Some(seen);
        if pane.scroll == scroll::Scroll::Follow {
            pane.unseen = 0;
        }
        if seen.near_start {
            self.load_older(seen.pane, effects);
        }
    }

    /// The editor's command line.
    pub fn editor(&self) -> Option<&str> {
        self.editor.as_deref()
    }

    /// What the user should know after quitting.
    pub fn farewell(&self) -> Option<String> {
        let stop = match self.turns_that_stop() {
            0 => None,
            n => Some(format!(
                "threads that were working and stop with their servers: {n}"
            )),
        };
        let go_on = match self.turns_that_go_on() {
            0 => None,
            n => Some(format!("threads that go on working on their hosts: {n}")),
        };
        let lines: Vec<String> = stop.into_iter().chain(go_on).collect();
        Some(lines.join("\n")).filter(|it| !it.is_empty())
    }

    /// What has the keys.
    pub fn context(&self) -> Context {
        if self.palette.is_some() {
            return Context::Palette;
        }
        if let Some(ask) = self.open_ask() {
            return ask.context();
        }
        if self.picker.is_open {
            return match self.picker.typing {
                Typing::Nothing => Context::Connections,
                Typing::Filter | Typing::Address(_) => Context::Input,
            };
        }
        match self.focus {
            Focus::Threads if self.sidebar.is_filtering => Context::Input,
            Focus::Threads => Context::Threads,
            Focus::Transcript => Context::Transcript,
            Focus::Composer if self.shows_completion() => Context::Completion,
            Focus::Composer => Context::Composer,
        }
    }

    pub fn open_ask(&self) -> Option<&Ask> {
        let dialog = self.dialog?;
        self.asks.iter().find(|it| it.id == dialog.ask)
    }

    pub fn current_pane(&self) -> Option<&Pane> {
        self.panes.get(&self.current?)
    }

    fn current_pane_mut(&mut self) -> Option<&mut Pane> {
        self.panes.get_mut(&self.current?)
    }

    pub fn shows_completion(&self) -> bool {
        self.completion.is_some()
            && self
                .current_pane()
                .is_some_and(|it| !slash::completions(it.composer.text()).is_empty())
    }

    /// Turns whose server ends with its connection, when this program ends.
    fn turns_that_stop(&self) -> usize {
        let stops = |it: &&Pane| it.is_working() && !it.host.is_address();
        self.panes.values().filter(stops).count()
    }

    /// Turns that do not need this program.
    fn turns_that_go_on(&self) -> usize {
        let goes_on = |it: &&Pane| it.is_working() && it.host.is_address();
        self.panes.values().filter(goes_on).count()
    }

    fn shows_a_clock(&self) -> bool {
        let is_moving = |status: &Status| matches!(status, Status::Working { .. } | Status::Waiting { .. });
        self.hosts.values().any(|it| is_moving(&it.status))
            || self.current_pane().is_some_and(|it| it.turn != pane::Turn::Idle)
    }

    fn toast(&mut self, text: impl Into<String>) {
        self.toast = Some(Toast {
            text: text.into(),
            until: self.now + TOAST_TIME,
        });
    }

    fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn call(&mut self, host: &HostId, call: Call, request: ClientRequest, effects: &mut Vec<Effect>) {
        let ticket = Ticket(self.next_number());
        self.calls.insert(ticket, (host.clone(), call));
        effects.push(Effect::Call(host.clone(), ticket, request));
    }

    /// Puts a host into the list, if it is not there.
    fn want_host(&mut self, id: &HostId) {
        if self.hosts.contains_key(id) {
            return;
        }
        let mut entry = HostEntry::new(id.clone());
        let known = self.picker.hosts.iter().find(|it| it.id == *id);
        entry.address = known.and_then(|it| it.address.clone());
        self.hosts.insert(id.clone(), entry);
        self.order.push(id.clone());
        if known.is_none() {
            self.picker.add(id.clone());
            self.picker.selected = 0;
        }
    }

    fn new_draft(&mut self, host: &HostId) -> PaneId {
        let id = PaneId(self.next_number());
        let mut pane = Pane::new(id, host.clone(), None);
        pane.cwd = self.hosts.get(host).and_then(|it| it.cwd.clone());
        self.panes.insert(id, pane);
        id
    }

    fn pane_of(&self, host: &HostId, thread: &ThreadId) -> Option<PaneId> {
        self.by_thread.get(&(host.clone(), thread.clone())).copied()
    }

    /// The pane of a thread, which is made when it is not known: sub-agents are never announced.
    fn pane_for(&mut self, host: &HostId, thread: &ThreadId) -> PaneId {
        if let Some(id) = self.pane_of(host, thread) {
            return id;
        }
        let id = PaneId(self.next_number());
        let pane = Pane::new(id, host.clone(), Some(thread.clone()));
        self.panes.insert(id, pane);
        self.by_thread.insert((host.clone(), thread.clone()), id);
        self.forget_surplus(host);
        id
    }

    /// Threads beyond the limit go, the oldest first; what is open, drafted or waiting stays.
    fn forget_surplus(&mut self, host: &HostId) {
        let panes = self.panes_of(host);
        let surplus = panes.len().saturating_sub(PANES_PER_HOST_MAX);
        if surplus == 0 {
            return;
        }
        let may_go = |it: &&PaneId| {
            self.panes
                .get(it)
                .is_some_and(|it| it.link == pane::Link::Listed && it.composer.is_empty())
                && self.current != Some(**it)
        };
        let gone: Vec<PaneId> = panes.iter().rev().filter(may_go).take(surplus).copied().collect();
        for id in gone {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: PaneId) {
        if let Some(pane) = self.panes.remove(&id)
            && let Some(thread) = pane.thread
        {
            self.by_thread.remove(&(pane.host, thread));
        }
        self.asks.retain(|it| it.pane != Some(id));
        self.close_orphaned_dialog();
        if self.current == Some(id) {
            self.current = None;
        }
    }
}

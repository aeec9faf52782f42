//! One thread as the interface knows it: from a line in a list to a conversation with a draft.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use codex_hosts::HostId;
use codex_protocol::{ThreadId, TurnId, v2};

use super::{
    composer::Composer,
    scroll::{Scroll, SeenTranscript},
    transcript::Transcript,
};

/// Turns whose end is remembered, for answers that come after it.
const ENDED_TURNS_MAX: usize = 32;

/// Names a pane; a thread that was never started has no other name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaneId(pub u64);

pub struct Pane {
    pub id: PaneId,
    pub host: HostId,
    /// `None` until `thread/start` was answered.
    pub thread: Option<ThreadId>,
    pub name: Option<String>,
    /// The beginning of the first prompt.
    pub preview: String,
    /// Where it runs on the host, if that is known or was asked for.
    pub cwd: Option<String>,
    pub settings: Option<Settings>,
    /// Unix seconds; sorts the list.
    pub recency: i64,
    /// A sub-agent's thread: it takes no prompts.
    pub is_sub_agent: bool,
    pub status: v2::ThreadStatus,
    pub link: Link,
    pub turn: Turn,
    pub interrupt: Interrupt,
    ended: VecDeque<TurnId>,
    pub outgoing: Vec<Outgoing>,
    pub transcript: Transcript,
    pub older: Older,
    pub scroll: Scroll,
    /// Where the last frame was.
    pub seen: Option<SeenTranscript>,
    /// Entries that came while the window was elsewhere.
    pub unseen: usize,
    pub composer: Composer,
    pub usage: Option<v2::ThreadTokenUsage>,
    /// A line of passing interest: the server tries again.
    pub passing: Option<String>,
    /// Something ended here while the user was elsewhere.
    pub is_unread: bool,
    pub is_expanded: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub model: String,
    pub approval: String,
    pub sandbox: String,
}

/// How far the thread is open in this connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Link {
    /// Not started on the host.
    Draft,
    /// The directory is being looked for, or the thread started; the prompt that follows.
    Starting,
    /// Only its head is known.
    Listed,
    /// `thread/resume` or the first page is on its way.
    Resuming,
    Open,
    /// Was open in a connection that ended.
    Stale,
    /// Could not be opened; why.
    Failed(String),
}

/// The turn that is under way.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    Idle,
    /// `turn/start` was sent, or answered; `turn/started` has not come. It cannot be interrupted yet.
    Starting {
        id: Option<TurnId>,
        since: Instant,
    },
    Running {
        id: TurnId,
        since: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    No,
    /// Asked for before the turn could be interrupted.
    Wanted,
    Sent,
}

/// A prompt on its way. It is in the transcript once the server says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// `clientUserMessageId`.
    pub id: String,
    pub text: String,
    pub state: Delivery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Sending,
    Steering,
    /// Taken by the server; its item has not come.
    Accepted,
    /// The connection ended before an answer.
    Unknown,
    /// It is in no snapshot: it was not taken. The user may send it again.
    NotSent,
}

/// What precedes the oldest turn that is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Older {
    /// Nothing.
    None,
    At {
        cursor: String,
        loading: bool,
    },
}

/// The words of a thread's state, the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mood {
    NeedsYou,
    Working,
    Done,
    Idle,
    Unreachable,
}

impl Mood {
    pub fn word(self) -> &'static str {
        match self {
            Mood::NeedsYou => "needs you",
            Mood::Working => "working",
            Mood::Done => "done",
            Mood::Idle => "idle",
            Mood::Unreachable => "not connected",
        }
    }
}

impl Pane {
    pub fn new(id: PaneId, host: HostId, thread: Option<ThreadId>) -> Pane {
        let link = if thread.is_some() {
            Link::Listed
        } else {
            Link::Draft
        };
        Pane {
            id,
            host,
            thread,
            name: None,
            preview: String::new(),
            cwd: None,
            settings: None,
            recency: 0,
            is_sub_agent: false,
            status: v2::ThreadStatus::default(),
            link,
            turn: Turn::Idle,
            interrupt: Interrupt::No,
            ended: VecDeque::new(),
            outgoing: Vec::new(),
            transcript: Transcript::default(),
            older: Older::None,
            scroll: Scroll::Follow,
            seen: None,
            unseen: 0,
            composer: Composer::default(),
            usage: None,
            passing: None,
            is_unread: false,
            is_expanded: false,
        }
    }

    /// A name for people. Not sanitized.
    pub fn title(&self) -> String {
        let name = self.name.as_deref().filter(|it| !it.trim().is_empty());
        let preview = Some(self.preview.trim()).filter(|it| !it.is_empty());
        match (name.or(preview), &self.thread) {
            (Some(title), _) => title.lines().next().unwrap_or_default().to_owned(),
            (None, None) => "new thread".to_owned(),
            (None, Some(_)) if self.is_sub_agent => "sub-agent".to_owned(),
            (None, Some(_)) => "untitled".to_owned(),
        }
    }

    pub fn is_draft(&self) -> bool {
        self.thread.is_none()
    }

    /// A draft that nothing was typed or sent in.
    pub fn is_blank(&self) -> bool {
        self.is_draft() && self.composer.is_empty() && self.outgoing.is_empty() && self.link != Link::Starting
    }

    pub fn is_working(&self) -> bool {
        self.turn != Turn::Idle
            || (self.link == Link::Listed && matches!(self.status, v2::ThreadStatus::Active(_)))
    }

    /// Whether the host says that the thread waits for a person.
    pub fn says_it_waits(&self) -> bool {
        matches!(&self.status, v2::ThreadStatus::Active(active) if !active.active_flags.is_empty())
    }

    pub fn apply_head(&mut self, thread: v2::Thread) {
        self.name = thread.name.or(self.name.take());
        if !thread.preview.is_empty() {
            self.preview = thread.preview;
        }
        if !thread.cwd.is_empty() {
            self.cwd = Some(thread.cwd);
        }
        self.is_sub_agent = thread.parent_thread_id.is_some();
        self.recency = self.recency.max(thread.recency_at.unwrap_or(thread.updated_at));
        self.status = thread.status;
        self.thread.get_or_insert(thread.id);
    }

    pub fn apply_settings(&mut self, opened: v2::ThreadOpened) {
        let or_head = |text: String, head: Option<&String>| match text.is_empty() {
            true => head.cloned().unwrap_or_default(),
            false => text,
        };
        self.settings = Some(Settings {
            model: or_head(opened.model, opened.thread.model.as_ref()),
            approval: opened.approval_policy.label().to_owned(),
            sandbox: opened.sandbox.label().to_owned(),
        });
        self.apply_head(opened.thread);
        if !opened.cwd.is_empty() {
            self.cwd = Some(opened.cwd);
        }
    }

    /// The answer to `turn/start`: comes before or after `turn/started`, or even after the turn's end.
    pub fn turn_accepted(&mut self, turn: TurnId) {
        if let Turn::Starting { id, .. } = &mut self.turn {
            if self.ended.contains(&turn) {
                self.turn = Turn::Idle;
            } else {
                *id = Some(turn);
            }
        }
    }

    pub fn turn_started(&mut self, now: Instant, turn: TurnId) {
        if self.ended.contains(&turn) {
            return;
        }
        let since = match &self.turn {
            Turn::Starting { since, .. } => *since,
            Turn::Running { id, since } if *id == turn => *since,
            Turn::Running { .. } | Turn::Idle => now,
        };
        self.turn = Turn::Running { id: turn, since };
        self.passing = None;
    }

    /// Ends a turn. A prompt that was sent meanwhile keeps its own turn starting.
    pub fn turn_ended(&mut self, turn: &TurnId) {
        self.ended.push_back(turn.clone());
        if ENDED_TURNS_MAX < self.ended.len() {
            self.ended.pop_front();
        }
        let is_this = match &self.turn {
            Turn::Running { id, .. } => id == turn,
            Turn::Starting { id, .. } => id.as_ref() == Some(turn),
            Turn::Idle => false,
        };
        if is_this {
            self.turn = Turn::Idle;
            self.interrupt = Interrupt::No;
            self.passing = None;
        }
    }

    pub fn working_for(&self, now: Instant) -> Option<Duration> {
        match &self.turn {
            Turn::Idle => None,
            Turn::Starting { since, .. } | Turn::Running { since, .. } => {
                Some(now.saturating_duration_since(*since))
            }
        }
    }

    /// Notes that something new is below the window.
    pub fn note_new(&mut self, entries: usize) {
        if self.scroll != Scroll::Follow {
            self.unseen = self.unseen.saturating_add(entries);
        }
    }

    /// The prompt that may be sent again.
    pub fn unsent(&self) -> Option<&Outgoing> {
        self.outgoing.iter().find(|it| it.state == Delivery::NotSent)
    }

    /// Takes a user's message of the server's as the fate of a prompt of ours.
    pub fn settle_outgoing(&mut self, message: &v2::UserMessage) {
        let index = match &message.client_id {
            Some(id) => self.outgoing.iter().position(|it| it.id == *id),
            // Not every version repeats our identity: then the words decide.
            None => {
                let text = message.content.iter().find_map(|it| match it {
                    v2::UserInput::Text(text) => Some(text.text.as_str()),
                    _ => None,
                });
                let is_under_way = |it: &&Outgoing| it.state != Delivery::NotSent;
                let mut under_way = self.outgoing.iter().filter(is_under_way);
                under_way
                    .find(|it| Some(it.text.as_str()) == text)
                    .and_then(|found| self.outgoing.iter().position(|it| it.id == found.id))
            }
        };
        if let Some(index) = index {
            self.outgoing.remove(index);
        }
    }
}

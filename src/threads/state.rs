//! What a thread's log amounts to: a fold over its lines. Pure.

use codex_protocol::{
    ItemId, TurnId,
    v2::{ThreadItem, ThreadTokenUsage, TurnStatus, UserInput},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::{Entry, Header, Metadata, PendingApproval, Settings};

/// How much of the first user message a preview holds, in characters: two lines of a wide terminal.
const PREVIEW_CHARS: usize = 300;
/// How many items may be under way at once. Beyond it the oldest is taken for abandoned.
const MAX_IN_FLIGHT: usize = 256;
/// How many items that end after their turn are found again by their place. Beyond it the oldest is shown as
/// it was at its turn's end.
const MAX_LATE: usize = 512;
/// How many compactions are known by their place. Beyond it the oldest is found by reading.
const MAX_COMPACTIONS: usize = 64;
/// For how many user messages the client's id is known, so that a repeated `turn/start` is recognized.
const MAX_CLIENT_IDS: usize = 64;

/// A turn and where in the log its parts are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TurnLink {
    pub(crate) id: TurnId,
    pub(crate) start: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<u64>,
    /// The first user message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u64>,
    /// The last message of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<TurnStatus>,
}

/// An item that was started and not completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InFlight {
    pub(crate) turn: TurnId,
    pub(crate) item: ItemId,
    pub(crate) start: u64,
}

/// The completion of an item that came after its turn's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Late {
    pub(crate) turn: TurnId,
    pub(crate) at: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClientMessage {
    pub(crate) client_id: String,
    pub(crate) turn: TurnId,
    pub(crate) at: u64,
}

/// Everything about a thread but its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub settings: Settings,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub archived: bool,
    /// The beginning of the first user message; empty before it.
    #[serde(default)]
    pub preview: String,
    /// When something was last said or done, in Unix seconds. Names, archiving and settings do not count.
    #[serde(default)]
    pub updated_at: i64,
    /// When a turn last began or ended, in Unix seconds.
    #[serde(default)]
    pub recency_at: i64,
    #[serde(default)]
    pub goal: Option<Value>,
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    pub usage: Option<ThreadTokenUsage>,
    /// Open questions, oldest first.
    #[serde(default)]
    pub pending_approvals: Vec<PendingApproval>,
    #[serde(default)]
    pub(crate) last_turn: Option<TurnLink>,
    #[serde(default)]
    pub(crate) in_flight: Vec<InFlight>,
    #[serde(default)]
    pub(crate) late: Vec<Late>,
    #[serde(default)]
    pub(crate) compactions: Vec<u64>,
    #[serde(default)]
    pub(crate) client_messages: Vec<ClientMessage>,
}

/// Appends within a limit; the oldest goes.
fn push_bounded<T>(list: &mut Vec<T>, limit: usize, value: T) {
    if list.len() >= limit {
        list.remove(0);
    }
    list.push(value);
}

fn preview_of(content: &[UserInput]) -> String {
    let texts = content.iter().filter_map(|part| match part {
        UserInput::Text(text) => Some(text.text.as_str()),
        _ => None,
    });
    texts
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .chars()
        .take(PREVIEW_CHARS)
        .collect()
}

impl State {
    pub(crate) fn new(header: &Header) -> State {
        State {
            settings: header.settings.clone(),
            name: None,
            archived: false,
            preview: String::new(),
            updated_at: header.created_at,
            recency_at: header.created_at,
            goal: None,
            metadata: header.metadata.clone(),
            usage: None,
            pending_approvals: Vec::new(),
            last_turn: None,
            in_flight: Vec::new(),
            late: Vec::new(),
            compactions: Vec::new(),
            client_messages: Vec::new(),
        }
    }

    /// The turn that was begun and not ended. After a restart nobody works on it.
    pub fn active_turn(&self) -> Option<&TurnId> {
        self.last_turn
            .as_ref()
            .filter(|turn| turn.end.is_none())
            .map(|turn| &turn.id)
    }

    /// The last turn's id and how it ended; no status while it runs.
    pub fn last_turn(&self) -> Option<(&TurnId, Option<&TurnStatus>)> {
        self.last_turn
            .as_ref()
            .map(|turn| (&turn.id, turn.status.as_ref()))
    }

    /// The turn that a user message with this `clientUserMessageId` is in, among the last 64 messages.
    pub fn turn_of_client_message(&self, client_id: &str) -> Option<&TurnId> {
        let known = self
            .client_messages
            .iter()
            .rev()
            .find(|message| message.client_id == client_id);
        known.map(|message| &message.turn)
    }

    pub(crate) fn start_of(&self, turn: &TurnId, item: &ItemId) -> Option<u64> {
        let open = self
            .in_flight
            .iter()
            .rev()
            .find(|open| open.item == *item && open.turn == *turn);
        open.map(|open| open.start)
    }

    /// Takes in the line at `offset`.
    pub(crate) fn apply(&mut self, offset: u64, entry: &Entry) {
        match entry {
            Entry::TurnStarted { at, turn, .. } => {
                self.last_turn = Some(TurnLink {
                    id: turn.clone(),
                    start: offset,
                    end: None,
                    user: None,
                    answer: None,
                    status: None,
                });
                self.recency_at = self.recency_at.max(at / 1000);
                self.touch(*at);
            }
            Entry::TurnCompleted { at, turn, status, .. } => {
                if let Some(last) = self.last_turn.as_mut().filter(|last| last.id == *turn) {
                    last.end.get_or_insert(offset);
                    last.status = Some(status.clone());
                }
                self.recency_at = self.recency_at.max(at / 1000);
                self.touch(*at);
            }
            Entry::ItemStarted { at, turn, item } => {
                if let Some(id) = item.id() {
                    let open = InFlight {
                        turn: turn.clone(),
                        item: id,
                        start: offset,
                    };
                    push_bounded(&mut self.in_flight, MAX_IN_FLIGHT, open);
                }
                self.touch(*at);
            }
            Entry::ItemCompleted {
                at,
                turn,
                item,
                start,
            } => {
                self.item_completed(offset, turn, item, *start);
                self.touch(*at);
            }
            Entry::ModelItem { at, .. } => self.touch(*at),
            Entry::Compacted { at, .. } => {
                push_bounded(&mut self.compactions, MAX_COMPACTIONS, offset);
                self.touch(*at);
            }
            Entry::NameSet { name, .. } => self.name.clone_from(name),
            Entry::Archived { archived, .. } => self.archived = *archived,
            Entry::SettingsChanged { settings, .. } => self.settings = settings.clone(),
            Entry::TokenUsage { usage, .. } => self.usage = Some(usage.clone()),
            Entry::ApprovalAsked { approval, .. } => {
                self.pending_approvals
                    .retain(|open| open.request_id != approval.request_id);
                self.pending_approvals.push(approval.clone());
            }
            Entry::ApprovalResolved { request_id, .. } => {
                self.pending_approvals
                    .retain(|open| open.request_id != *request_id);
            }
            Entry::GoalSet { goal, .. } => self.goal.clone_from(goal),
            Entry::MetadataSet { metadata, .. } => self.metadata = metadata.clone(),
            Entry::Reverted { at, start, last, .. } => {
                self.revert(*start, last.clone());
                self.touch(*at);
            }
            Entry::Checkpoint { state, .. } => *self = (**state).clone(),
        }
    }

    fn touch(&mut self, at: i64) {
        self.updated_at = self.updated_at.max(at / 1000);
    }

    fn item_completed(&mut self, offset: u64, turn: &TurnId, item: &ThreadItem, start: Option<u64>) {
        if let Some(start) = start {
            self.in_flight.retain(|open| open.start != start);
        }
        let Some(last) = self
            .last_turn
            .as_mut()
            .filter(|last| last.id == *turn && last.end.is_none())
        else {
            push_bounded(
                &mut self.late,
                MAX_LATE,
                Late {
                    turn: turn.clone(),
                    at: offset,
                },
            );
            return;
        };
        match item {
            ThreadItem::UserMessage(message) => {
                last.user.get_or_insert(offset);
                if self.preview.is_empty() {
                    self.preview = preview_of(&message.content);
                }
                if let Some(client_id) = &message.client_id {
                    let sent = ClientMessage {
                        client_id: client_id.clone(),
                        turn: turn.clone(),
                        at: offset,
                    };
                    push_bounded(&mut self.client_messages, MAX_CLIENT_IDS, sent);
                }
            }
            ThreadItem::AgentMessage(_) => last.answer = Some(offset),
            _ => {}
        }
    }

    /// Forgets what began at `start` or later.
    fn revert(&mut self, start: u64, last: Option<TurnLink>) {
        if last.is_none() {
            self.preview.clear();
        }
        self.last_turn = last;
        self.in_flight.retain(|open| open.start < start);
        self.compactions.retain(|at| *at < start);
        self.client_messages.retain(|message| message.at < start);
        // A question of a turn that is gone has nobody left who waits for its answer.
        let kept = self.last_turn.as_ref().map(|turn| turn.id.clone());
        self.pending_approvals
            .retain(|open| Some(&open.turn_id) == kept.as_ref());
    }
}

//! What a log holds. The only place that knows how items look on disk.
//!
//! [`Record`] is what the server says; [`Entry`] is the line it becomes, which adds when it was said and
//! where in the file related lines are. Positions are byte offsets: the file only grows, so they stay true.

use codex_protocol::{
    ItemId, ThreadId, TurnId,
    v2::{AskForApproval, GitInfo, SandboxPolicy, ThreadItem, ThreadTokenUsage, TurnError, TurnStatus},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::state::{State, TurnLink};

/// The format that is written. Every older one stays readable; see `fixtures/rollouts`.
pub const FORMAT_VERSION: u32 = 1;

/// Under what a thread's turns run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub cwd: String,
    pub model: String,
    pub model_provider: String,
    pub sandbox: SandboxPolicy,
    pub approval_policy: AskForApproval,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<String>,
    /// What the server keeps beyond these; never looked into here.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// What clients may set about a thread without touching its conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_info: Option<GitInfo>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// The first line of a log: what never changes, and the settings to begin with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub id: ThreadId,
    /// Unix seconds.
    pub created_at: i64,
    pub settings: Settings,
    pub cli_version: String,
    /// The kind of client, as in `Thread.source`: `vscode`, `exec`, `appServer`, …
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub originator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_source: Option<String>,
    /// The thread that started this one as a sub-agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_thread_id: Option<ThreadId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from_id: Option<ThreadId>,
    #[serde(default)]
    pub metadata: Metadata,
    /// What the server keeps beyond these (base instructions, dynamic tools); never looked into here.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// The thread lives in memory and ends with its writer: it is in no list, and nobody can open it again. No log
    /// on disk says so.
    #[serde(skip)]
    pub ephemeral: bool,
}

/// A question to the user that is open until it is resolved, also over a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingApproval {
    /// The request's id on the wire: a number or a string. Unique among the thread's open questions.
    pub request_id: Value,
    pub turn_id: TurnId,
    #[serde(default)]
    pub item_id: Option<ItemId>,
    pub method: String,
    pub params: Value,
}

/// One thing that happened in a thread.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    TurnStarted {
        turn: TurnId,
        /// Unix seconds.
        started_at: Option<i64>,
    },
    /// The end of the last turn. A turn must be ended before the next one begins, else it stays interrupted.
    TurnCompleted {
        turn: TurnId,
        status: TurnStatus,
        error: Option<TurnError>,
        /// Unix seconds.
        completed_at: Option<i64>,
        duration_ms: Option<i64>,
    },
    ItemStarted {
        turn: TurnId,
        item: ThreadItem,
    },
    /// Without a start before it, it begins where it completes. One that comes after its turn's end is found
    /// again only if it was started.
    ItemCompleted {
        turn: TurnId,
        item: ThreadItem,
    },
    /// An item of the model's API, opaque, in the order of the prompt.
    ModelItem {
        turn: Option<TurnId>,
        item: Value,
    },
    /// From here on the prompt begins with these model items instead of all earlier ones.
    Compacted {
        turn: Option<TurnId>,
        replacement: Vec<Value>,
    },
    NameSet {
        name: Option<String>,
    },
    Archived(bool),
    SettingsChanged(Settings),
    TokenUsage(ThreadTokenUsage),
    ApprovalAsked(PendingApproval),
    ApprovalResolved {
        request_id: Value,
    },
    /// The goal as the server knows it, opaque; `None` clears it.
    GoalSet(Option<Value>),
    MetadataSet(Metadata),
}

/// One line of a log but the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Entry {
    TurnStarted {
        at: i64,
        turn: TurnId,
        started_at: Option<i64>,
        /// The turn before this one, so that turns are found from the end without reading what is between.
        prev: Option<TurnLink>,
    },
    TurnCompleted {
        at: i64,
        turn: TurnId,
        status: TurnStatus,
        error: Option<TurnError>,
        completed_at: Option<i64>,
        duration_ms: Option<i64>,
    },
    ItemStarted {
        at: i64,
        turn: TurnId,
        item: ThreadItem,
    },
    ItemCompleted {
        at: i64,
        turn: TurnId,
        /// Where the item's start is.
        start: Option<u64>,
        item: ThreadItem,
    },
    ModelItem {
        at: i64,
        turn: Option<TurnId>,
        item: Value,
    },
    Compacted {
        at: i64,
        turn: Option<TurnId>,
        replacement: Vec<Value>,
    },
    NameSet {
        at: i64,
        name: Option<String>,
    },
    Archived {
        at: i64,
        archived: bool,
    },
    SettingsChanged {
        at: i64,
        settings: Settings,
    },
    TokenUsage {
        at: i64,
        usage: ThreadTokenUsage,
    },
    ApprovalAsked {
        at: i64,
        approval: PendingApproval,
    },
    ApprovalResolved {
        at: i64,
        request_id: Value,
    },
    GoalSet {
        at: i64,
        goal: Option<Value>,
    },
    MetadataSet {
        at: i64,
        metadata: Metadata,
    },
    /// The turns from the one that begins at `start` on are no part of the thread any more.
    Reverted {
        at: i64,
        before: TurnId,
        start: u64,
        /// The turn that is the last one now.
        last: Option<TurnLink>,
    },
    /// All that the lines before it amount to, so that opening reads the end of the file only.
    Checkpoint {
        at: i64,
        state: Box<State>,
    },
}

/// What the beginning of every line of a kind looks like; lines are passed over by it without being parsed.
pub(crate) mod prefix {
    pub(crate) const TURN_STARTED: &[u8] = br#"{"type":"turn_started""#;
    pub(crate) const ITEM: &[u8] = br#"{"type":"item_"#;
    pub(crate) const MODEL_ITEM: &[u8] = br#"{"type":"model_item""#;
    pub(crate) const COMPACTED: &[u8] = br#"{"type":"compacted""#;
    pub(crate) const REVERTED: &[u8] = br#"{"type":"reverted""#;
    pub(crate) const CHECKPOINT: &[u8] = br#"{"type":"checkpoint""#;
}

/// Whether a line that is passed over is one of ours, as far as that is seen without parsing it.
pub(crate) fn looks_like_entry(line: &[u8]) -> bool {
    line.starts_with(br#"{"type":""#) && line.ends_with(b"}")
}

/// What a line turned out to be.
#[derive(Debug)]
pub(crate) enum Decoded {
    Entry(Box<Entry>),
    /// Of a newer version: kept, and otherwise passed over.
    Unknown,
    Garbage,
}

impl Entry {
    /// The line that a record becomes in a thread that is in this state.
    pub(crate) fn new(at: i64, record: Record, state: &State) -> Entry {
        match record {
            Record::TurnStarted { turn, started_at } => Entry::TurnStarted {
                at,
                turn,
                started_at,
                prev: state.last_turn.clone(),
            },
            Record::TurnCompleted {
                turn,
                status,
                error,
                completed_at,
                duration_ms,
            } => Entry::TurnCompleted {
                at,
                turn,
                status,
                error,
                completed_at,
                duration_ms,
            },
            Record::ItemStarted { turn, item } => Entry::ItemStarted { at, turn, item },
            Record::ItemCompleted { turn, item } => {
                let start = item.id().and_then(|id| state.start_of(&turn, &id));
                Entry::ItemCompleted {
                    at,
                    turn,
                    start,
                    item,
                }
            }
            Record::ModelItem { turn, item } => Entry::ModelItem { at, turn, item },
            Record::Compacted { turn, replacement } => Entry::Compacted {
                at,
                turn,
                replacement,
            },
            Record::NameSet { name } => Entry::NameSet { at, name },
            Record::Archived(archived) => Entry::Archived { at, archived },
            Record::SettingsChanged(settings) => Entry::SettingsChanged { at, settings },
            Record::TokenUsage(usage) => Entry::TokenUsage { at, usage },
            Record::ApprovalAsked(approval) => Entry::ApprovalAsked { at, approval },
            Record::ApprovalResolved { request_id } => Entry::ApprovalResolved { at, request_id },
            Record::GoalSet(goal) => Entry::GoalSet { at, goal },
            Record::MetadataSet(metadata) => Entry::MetadataSet { at, metadata },
        }
    }

    /// Appends the line with its end.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut *buffer, self)?;
        buffer.push(b'\n');
        Ok(())
    }

    pub(crate) fn decode(line: &[u8]) -> Decoded {
        if let Ok(entry) = serde_json::from_slice(line) {
            return Decoded::Entry(Box::new(entry));
        }
        match serde_json::from_slice::<Tagged>(line) {
            Ok(_) => Decoded::Unknown,
            Err(_) => Decoded::Garbage,
        }
    }
}

/// Any line that is one of ours, of whatever version.
#[derive(Deserialize)]
struct Tagged {
    #[serde(rename = "type")]
    _kind: String,
}

/// The head as it is on disk.
#[derive(Serialize, Deserialize)]
struct Head<H> {
    #[serde(rename = "type")]
    kind: String,
    version: u32,
    #[serde(flatten)]
    header: H,
}

const HEAD_KIND: &str = "thread";

/// What a first line turned out to be.
#[derive(Debug)]
pub(crate) enum DecodedHead {
    Header(Box<Header>),
    Newer(u32),
    Garbage,
}

pub(crate) fn encode_head(header: &Header) -> Result<Vec<u8>, serde_json::Error> {
    let head = Head {
        kind: HEAD_KIND.to_owned(),
        version: FORMAT_VERSION,
        header,
    };
    let mut line = serde_json::to_vec(&head)?;
    line.push(b'\n');
    Ok(line)
}

pub(crate) fn decode_head(line: &[u8]) -> DecodedHead {
    match serde_json::from_slice::<Head<Map<String, Value>>>(line) {
        Ok(head) if head.kind != HEAD_KIND => DecodedHead::Garbage,
        Ok(head) if head.version > FORMAT_VERSION => DecodedHead::Newer(head.version),
        Ok(head) => match serde_json::from_value(Value::Object(head.header)) {
            Ok(header) => DecodedHead::Header(Box::new(header)),
            Err(_) => DecodedHead::Garbage,
        },
        Err(_) => DecodedHead::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_the_prefix_by_which_it_is_found() {
        let mut line = Vec::new();
        let entry = Entry::TurnStarted {
            at: 1,
            turn: "t".into(),
            started_at: None,
            prev: None,
        };
        entry.encode(&mut line).unwrap();
        assert!(
            line.starts_with(prefix::TURN_STARTED),
            "{}",
            String::from_utf8_lossy(&line)
        );
        line.clear();
        Entry::ModelItem {
            at: 1,
            turn: None,
            item: Value::Null,
        }
        .encode(&mut line)
        .unwrap();
        assert!(line.starts_with(prefix::MODEL_ITEM));
        line.clear();
        Entry::Compacted {
            at: 1,
            turn: None,
            replacement: vec![],
        }
        .encode(&mut line)
        .unwrap();
        assert!(line.starts_with(prefix::COMPACTED));
        line.clear();
        Entry::Reverted {
            at: 1,
            before: "t".into(),
            start: 0,
            last: None,
        }
        .encode(&mut line)
        .unwrap();
        assert!(line.starts_with(prefix::REVERTED));
        line.clear();
        let item = ThreadItem::Unknown(serde_json::json!({"type": "x", "id": "i"}));
        Entry::ItemStarted {
            at: 1,
            turn: "t".into(),
            item,
        }
        .encode(&mut line)
        .unwrap();
        assert!(line.starts_with(prefix::ITEM));
    }

    #[test]
    fn a_line_of_a_newer_version_is_no_garbage() {
        assert!(matches!(
            Entry::decode(br#"{"type":"hologram","at":1}"#),
            Decoded::Unknown
        ));
        assert!(matches!(Entry::decode(b"{\"type\":\"turn_st"), Decoded::Garbage));
        assert!(matches!(Entry::decode(b"[1]"), Decoded::Garbage));
        assert!(matches!(Entry::decode(b""), Decoded::Garbage));
        assert!(matches!(
            decode_head(br#"{"type":"thread","version":2}"#),
            DecodedHead::Newer(2)
        ));
    }
}

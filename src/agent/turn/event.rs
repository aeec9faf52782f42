//! What a turn tells, asks and keeps.

use codex_protocol::ItemId;
use codex_protocol::v2::{ThreadItem, ThreadTokenUsage, TurnError, TurnPlanStep, TurnStatus};
use serde_json::Value;

use crate::RawItem;
use crate::approval::Grant;
use crate::ports::UnixMillis;

/// What the clients are told. Each variant is one notification of the protocol; the ids of thread and turn are added
/// by whoever sends it.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnEvent {
    /// `turn/started`
    Started { at: UnixMillis },
    /// `item/started`
    ItemStarted { item: ThreadItem, at: UnixMillis },
    /// `item/completed`
    ItemCompleted {
        item: ThreadItem,
        started_at: UnixMillis,
        at: UnixMillis,
    },
    /// `item/agentMessage/delta`
    TextDelta { item_id: ItemId, delta: String },
    /// `item/reasoning/summaryPartAdded`
    SummaryPart { item_id: ItemId, index: usize },
    /// `item/reasoning/summaryTextDelta`
    SummaryDelta {
        item_id: ItemId,
        index: usize,
        delta: String,
    },
    /// `item/reasoning/textDelta`
    ReasoningDelta {
        item_id: ItemId,
        index: usize,
        delta: String,
    },
    /// `item/commandExecution/outputDelta`
    OutputDelta { item_id: ItemId, delta: String },
    /// `item/commandExecution/terminalInteraction`
    TerminalInteraction {
        item_id: ItemId,
        process_id: String,
        stdin: String,
    },
    /// `turn/plan/updated`
    PlanUpdated {
        explanation: Option<String>,
        plan: Vec<TurnPlanStep>,
    },
    /// `turn/diff/updated`
    DiffUpdated { diff: String },
    /// `thread/tokenUsage/updated`
    TokenUsage { usage: ThreadTokenUsage },
    /// `error`
    Error { error: TurnError, will_retry: bool },
    /// `turn/completed`; the last message only for a turn that was not cut short.
    Completed {
        status: TurnStatus,
        error: Option<TurnError>,
        last_message: Option<Box<ThreadItem>>,
        started_at: UnixMillis,
        at: UnixMillis,
    },
}

impl TurnEvent {
    /// Whether it is only told: a completed item repeats what its deltas said.
    pub fn is_delta(&self) -> bool {
        matches!(
            self,
            TurnEvent::TextDelta { .. }
                | TurnEvent::SummaryPart { .. }
                | TurnEvent::SummaryDelta { .. }
                | TurnEvent::ReasoningDelta { .. }
                | TurnEvent::OutputDelta { .. }
                | TurnEvent::TerminalInteraction { .. }
        )
    }
}

/// What has to be on disk, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The next item of the conversation as the model sees it.
    Raw(RawItem),
    /// The conversation as the model sees it is this from here on.
    Compacted(Vec<RawItem>),
    /// Something the clients are told right after.
    Event(TurnEvent),
    /// The user allowed something beyond this call; a prefix belongs into the host's rules.
    Grant(Grant),
}

/// What the user is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// `item/commandExecution/requestApproval`
    Command {
        item_id: ItemId,
        /// As people read it.
        command: String,
        cwd: String,
        reason: Option<String>,
        actions: Vec<Value>,
        /// The words of the rule that `acceptWithExecpolicyAmendment` would make.
        amendment: Vec<String>,
        started_at: UnixMillis,
    },
    /// `item/fileChange/requestApproval`
    Patch {
        item_id: ItemId,
        reason: Option<String>,
        started_at: UnixMillis,
    },
}

//! Notifications with all that our server says; [`crate::notice`] has what our client wants to know.

use serde::Serialize;

use super::threads::ThreadGoal;
use crate::{
    ids::{ItemId, ThreadId, TurnId},
    v2::{AskForApproval, SandboxPolicy, ThreadItem, ThreadTokenUsage},
};

/// An item with its times, in Unix milliseconds. The official server has them beside the item alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct TimedItem {
    #[serde(flatten)]
    pub item: ThreadItem,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ItemStarted {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item: TimedItem,
    /// Unix milliseconds.
    pub started_at_ms: i64,
}

/// The item as it stays.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ItemCompleted {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item: TimedItem,
    /// Unix milliseconds.
    pub completed_at_ms: i64,
}

/// More of a summary of the model's reasoning.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ReasoningSummaryTextDelta {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item_id: ItemId,
    pub delta: String,
    /// The part that it belongs to.
    pub summary_index: i64,
}

/// Another part of a summary begins.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ReasoningSummaryPartAdded {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item_id: ItemId,
    pub summary_index: i64,
}

/// More of the model's reasoning itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ReasoningTextDelta {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item_id: ItemId,
    pub delta: String,
    /// The part that it belongs to.
    pub content_index: i64,
}

/// The model typed into a command that runs, or looked at it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TerminalInteraction {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item_id: ItemId,
    pub process_id: String,
    pub stdin: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadTokenUsageUpdated {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub token_usage: ThreadTokenUsage,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadGoalUpdated {
    pub thread_id: ThreadId,
    /// The turn that runs.
    pub turn_id: Option<TurnId>,
    pub goal: ThreadGoal,
}

/// The settings that hold from the next turn on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadSettings {
    pub cwd: String,
    pub model: String,
    pub model_provider: String,
    pub approval_policy: AskForApproval,
    /// `user`
    pub approvals_reviewer: String,
    pub sandbox_policy: SandboxPolicy,
    pub effort: Option<String>,
    pub collaboration_mode: ActiveCollaborationMode,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ActiveCollaborationMode {
    /// `default`
    pub mode: String,
    pub settings: CollaborationModeSettings,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct CollaborationModeSettings {
    pub model: String,
    pub reasoning_effort: Option<String>,
    pub developer_instructions: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadSettingsUpdated {
    pub thread_id: ThreadId,
    pub thread_settings: ThreadSettings,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatusUpdated {
    pub name: String,
    /// `starting`, `ready`, `failed` or `cancelled`.
    pub status: String,
    pub error: Option<String>,
    /// `reauthenticationRequired`
    pub failure_reason: Option<String>,
}

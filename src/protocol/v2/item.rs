//! Items: what a turn consists of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{dynamic::DynamicToolCallOutputContentItem, turn::UserInput};
use crate::{
    ids::ItemId,
    macros::{string_enum, tagged_union},
};

/// What the user said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct UserMessage {
    pub id: ItemId,
    /// The `clientUserMessageId` under which it was sent.
    #[serde(default)]
    pub client_id: Option<String>,
    #[serde(default)]
    pub content: Vec<UserInput>,
}

/// What the model said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct AgentMessage {
    pub id: ItemId,
    #[serde(default)]
    pub text: String,
    /// `commentary`, `partial_answer` or `final_answer`.
    #[serde(default)]
    pub phase: Option<String>,
}

/// What the model thought, as far as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Reasoning {
    pub id: ItemId,
    #[serde(default)]
    pub summary: Vec<String>,
    #[serde(default)]
    pub content: Vec<String>,
}

string_enum!(
    CommandExecutionStatus {
        InProgress = "inProgress",
        /// Exit status 0.
        Completed = "completed",
        /// Another exit status, or it could not be run or approved.
        Failed = "failed",
        Declined = "declined",
    }
);

/// A command on the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct CommandExecution {
    pub id: ItemId,
    /// Quoted for a shell, e.g. `/bin/bash -lc 'make test'`.
    pub command: String,
    #[serde(default)]
    pub cwd: String,
    /// The process on the host, as soon as it runs.
    #[serde(default)]
    pub process_id: Option<String>,
    /// What the command does, one entry for each of its parts: objects tagged `read`, `listFiles`, `search`
    /// or `unknown`.
    #[serde(default)]
    pub command_actions: Vec<Value>,
    /// `agent`, `userShell`, …
    #[serde(default)]
    pub source: Option<String>,
    pub status: CommandExecutionStatus,
    /// The truth about the output once the item is completed: deltas are not a complete stream.
    #[serde(default)]
    pub aggregated_output: Option<String>,
    #[serde(default)]
    pub exit_code: Option<i32>,
    #[serde(default)]
    pub duration_ms: Option<i64>,
}

string_enum!(
    PatchApplyStatus {
        InProgress = "inProgress",
        Completed = "completed",
        Failed = "failed",
        Declined = "declined",
    }
);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct WholeFile {}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct FileUpdate {
    /// The new path of a moved file.
    #[serde(default)]
    pub move_path: Option<String>,
}

tagged_union!(
    PatchChangeKind {
        Add(WholeFile) = "add",
        Delete(WholeFile) = "delete",
        Update(FileUpdate) = "update",
    }
);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct FileUpdateChange {
    pub path: String,
    pub kind: PatchChangeKind,
    /// For add and delete the file's content, for update hunks without a file header.
    #[serde(default)]
    pub diff: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct FileChange {
    pub id: ItemId,
    #[serde(default)]
    pub changes: Vec<FileUpdateChange>,
    pub status: PatchApplyStatus,
}

string_enum!(
    ToolCallStatus {
        InProgress = "inProgress",
        Completed = "completed",
        Failed = "failed",
    }
);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct McpToolCall {
    pub id: ItemId,
    pub server: String,
    pub tool: String,
    pub status: ToolCallStatus,
    #[serde(default)]
    pub arguments: Value,
    #[serde(default)]
    pub result: Option<Value>,
    #[serde(default)]
    pub error: Option<Value>,
    #[serde(default)]
    pub duration_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct DynamicToolCall {
    pub id: ItemId,
    #[serde(default)]
    pub namespace: Option<String>,
    pub tool: String,
    pub status: ToolCallStatus,
    #[serde(default)]
    pub arguments: Value,
    /// What the client answered, or why it did not; nothing while the call is under way.
    #[serde(default)]
    pub content_items: Option<Vec<DynamicToolCallOutputContentItem>>,
    /// In the client's own words.
    #[serde(default)]
    pub success: Option<bool>,
    #[serde(default)]
    pub duration_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct CollabAgentToolCall {
    pub id: ItemId,
    pub tool: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub prompt: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct WebSearch {
    pub id: ItemId,
    /// Empty when the search has just started.
    #[serde(default)]
    pub query: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct PlanItem {
    pub id: ItemId,
    #[serde(default)]
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ImageView {
    pub id: ItemId,
    #[serde(default)]
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ReviewMode {
    pub id: ItemId,
    #[serde(default)]
    pub review: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Marker {
    pub id: ItemId,
}

tagged_union!(
    /// One item of a turn.
    ThreadItem {
        UserMessage(UserMessage) = "userMessage",
        AgentMessage(AgentMessage) = "agentMessage",
        Reasoning(Reasoning) = "reasoning",
        CommandExecution(CommandExecution) = "commandExecution",
        FileChange(FileChange) = "fileChange",
        McpToolCall(McpToolCall) = "mcpToolCall",
        DynamicToolCall(DynamicToolCall) = "dynamicToolCall",
        CollabAgentToolCall(CollabAgentToolCall) = "collabAgentToolCall",
        WebSearch(WebSearch) = "webSearch",
        Plan(PlanItem) = "plan",
        ImageView(ImageView) = "imageView",
        EnteredReviewMode(ReviewMode) = "enteredReviewMode",
        ExitedReviewMode(ReviewMode) = "exitedReviewMode",
        ContextCompaction(Marker) = "contextCompaction",
    }
);

impl ThreadItem {
    /// The item's id; `None` for an unknown item without one.
    pub fn id(&self) -> Option<ItemId> {
        let id = match self {
            ThreadItem::UserMessage(it) => &it.id,
            ThreadItem::AgentMessage(it) => &it.id,
            ThreadItem::Reasoning(it) => &it.id,
            ThreadItem::CommandExecution(it) => &it.id,
            ThreadItem::FileChange(it) => &it.id,
            ThreadItem::McpToolCall(it) => &it.id,
            ThreadItem::DynamicToolCall(it) => &it.id,
            ThreadItem::CollabAgentToolCall(it) => &it.id,
            ThreadItem::WebSearch(it) => &it.id,
            ThreadItem::Plan(it) => &it.id,
            ThreadItem::ImageView(it) => &it.id,
            ThreadItem::EnteredReviewMode(it) | ThreadItem::ExitedReviewMode(it) => &it.id,
            ThreadItem::ContextCompaction(it) => &it.id,
            ThreadItem::Unknown(value) => return value.get("id").and_then(Value::as_str).map(ItemId::from),
        };
        Some(id.clone())
    }
}

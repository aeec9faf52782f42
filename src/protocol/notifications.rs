//! What a server tells its clients: one line a notification.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ItemId, ThreadId, TurnId},
    message::{Id, Params},
    v2,
};

/// `thread/started`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ThreadStarted {
    pub thread: v2::Thread,
}

/// `thread/status/changed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadStatusChanged {
    pub thread_id: ThreadId,
    pub status: v2::ThreadStatus,
}

/// `thread/name/updated`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadNameUpdated {
    pub thread_id: ThreadId,
    #[serde(default)]
    pub thread_name: Option<String>,
}

/// `thread/tokenUsage/updated`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadTokenUsageUpdated {
    pub thread_id: ThreadId,
    pub token_usage: v2::ThreadTokenUsage,
}

/// The notifications that only name a thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadNamed {
    pub thread_id: ThreadId,
}

/// `turn/started` and `turn/completed`. A completed turn holds at most its last agent message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnChanged {
    pub thread_id: ThreadId,
    pub turn: v2::Turn,
}

/// `turn/plan/updated`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnPlanUpdated {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    #[serde(default)]
    pub explanation: Option<String>,
    #[serde(default)]
    pub plan: Vec<v2::TurnPlanStep>,
}

/// `turn/diff/updated`: all changes of the turn so far, as one unified diff.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnDiffUpdated {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    #[serde(default)]
    pub diff: String,
}

/// `item/started` and `item/completed`. An item may complete after its turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ItemChanged {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item: v2::ThreadItem,
}

/// Text that is appended to an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ItemDelta {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item_id: ItemId,
    pub delta: String,
}

/// Text that is appended to one part of a reasoning item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ReasoningDelta {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item_id: ItemId,
    pub delta: String,
    /// The part's index; `contentIndex` for raw text.
    #[serde(default, alias = "contentIndex")]
    pub summary_index: usize,
}

/// `item/fileChange/patchUpdated`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct PatchUpdated {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item_id: ItemId,
    #[serde(default)]
    pub changes: Vec<v2::FileUpdateChange>,
}

/// `item/mcpToolCall/progress`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct McpToolCallProgress {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item_id: ItemId,
    #[serde(default)]
    pub message: String,
}

/// `item/commandExecution/terminalInteraction`: the model typed into a running command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TerminalInteraction {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub item_id: ItemId,
    #[serde(default)]
    pub stdin: String,
}

/// `error`: the turn met an error; with `will_retry` the server tries again by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnErrored {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub error: v2::TurnError,
    #[serde(default)]
    pub will_retry: bool,
}

/// `serverRequest/resolved`: somebody answered, perhaps another client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ServerRequestResolved {
    pub thread_id: ThreadId,
    pub request_id: Id,
}

/// `configWarning` and `deprecationNotice`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Notice {
    pub summary: String,
    #[serde(default)]
    pub details: Option<String>,
}

/// `warning`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    #[serde(default)]
    pub thread_id: Option<ThreadId>,
    pub message: String,
}

/// `model/rerouted`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ModelRerouted {
    pub thread_id: ThreadId,
    pub from_model: String,
    pub to_model: String,
}

/// `mcpServer/startupStatus/updated`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct McpServerStartupStatus {
    pub name: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub error: Option<String>,
}

macro_rules! notifications {
    ($($variant:ident($params:ty) = $name:literal,)+) => {
        /// A notification of the server.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(clippy::large_enum_variant, reason = "a new thread is rare, and what is common is not worth an allocation")]
        pub enum ServerNotification {
            $(#[doc = concat!("`", $name, "`")] $variant($params),)+
            /// Of another version, of no interest to us, or with parameters that do not fit.
            Unknown { method: String },
        }

        impl ServerNotification {
            pub fn parse(method: &str, params: Option<&Params>) -> ServerNotification {
                let params = params.map_or("null", |it| it.get());
                let known = match method {
                    $($name => serde_json::from_str(params).ok().map(ServerNotification::$variant),)+
                    _ => None,
                };
                known.unwrap_or_else(|| ServerNotification::Unknown { method: method.to_owned() })
            }

            pub fn method(&self) -> &str {
                match self {
                    $(ServerNotification::$variant(_) => $name,)+
                    ServerNotification::Unknown { method } => method,
                }
            }

            /// The parameters as JSON; `null` for an unknown notification.
            pub fn params(&self) -> serde_json::Result<serde_json::Value> {
                match self {
                    $(ServerNotification::$variant(params) => serde_json::to_value(params),)+
                    ServerNotification::Unknown { .. } => Ok(serde_json::Value::Null),
                }
            }
        }
    };
}

notifications! {
    ThreadStarted(ThreadStarted) = "thread/started",
    ThreadStatusChanged(ThreadStatusChanged) = "thread/status/changed",
    ThreadNameUpdated(ThreadNameUpdated) = "thread/name/updated",
    ThreadTokenUsageUpdated(ThreadTokenUsageUpdated) = "thread/tokenUsage/updated",
    ThreadArchived(ThreadNamed) = "thread/archived",
    ThreadUnarchived(ThreadNamed) = "thread/unarchived",
    ThreadDeleted(ThreadNamed) = "thread/deleted",
    ThreadClosed(ThreadNamed) = "thread/closed",
    ThreadCompacted(ThreadNamed) = "thread/compacted",
    TurnStarted(TurnChanged) = "turn/started",
    TurnCompleted(TurnChanged) = "turn/completed",
    TurnPlanUpdated(TurnPlanUpdated) = "turn/plan/updated",
    TurnDiffUpdated(TurnDiffUpdated) = "turn/diff/updated",
    ItemStarted(ItemChanged) = "item/started",
    ItemCompleted(ItemChanged) = "item/completed",
    AgentMessageDelta(ItemDelta) = "item/agentMessage/delta",
    PlanDelta(ItemDelta) = "item/plan/delta",
    CommandOutputDelta(ItemDelta) = "item/commandExecution/outputDelta",
    TerminalInteraction(TerminalInteraction) = "item/commandExecution/terminalInteraction",
    FileChangeOutputDelta(ItemDelta) = "item/fileChange/outputDelta",
    PatchUpdated(PatchUpdated) = "item/fileChange/patchUpdated",
    ReasoningSummaryDelta(ReasoningDelta) = "item/reasoning/summaryTextDelta",
    ReasoningTextDelta(ReasoningDelta) = "item/reasoning/textDelta",
    McpToolCallProgress(McpToolCallProgress) = "item/mcpToolCall/progress",
    ServerRequestResolved(ServerRequestResolved) = "serverRequest/resolved",
    Error(TurnErrored) = "error",
    Warning(Warning) = "warning",
    ConfigWarning(Notice) = "configWarning",
    DeprecationNotice(Notice) = "deprecationNotice",
    ModelRerouted(ModelRerouted) = "model/rerouted",
    McpServerStartupStatus(McpServerStartupStatus) = "mcpServer/startupStatus/updated",
}

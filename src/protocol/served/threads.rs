//! Threads: parameters as the server reads them, and answers that only it gives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::{ItemId, ThreadId, TurnId},
    v2::{AskForApproval, SortDirection, Thread},
};

/// What a client sets otherwise than the configuration, for a thread from now on: shared by `thread/start`,
/// `thread/resume`, `thread/fork`, `turn/start` and `thread/settings/update`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase", default)]
pub struct Overrides {
    /// Relative ones are those of the server's own directory.
    pub cwd: Option<String>,
    pub model: Option<String>,
    pub model_provider: Option<String>,
    pub approval_policy: Option<AskForApproval>,
    /// A mode. The spellings of the whole policy are taken as well.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::v2::SandboxMode>"),
        ts(as = "Option<crate::v2::SandboxMode>")
    )]
    pub sandbox: Option<String>,
    /// The whole policy. The spellings of the modes are taken as well.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::v2::SandboxPolicy>"),
        ts(as = "Option<crate::v2::SandboxPolicy>")
    )]
    pub sandbox_policy: Option<Value>,
    /// A permission profile: a mode with a colon before it, or `:workspace`. Not together with a sandbox.
    pub permissions: Option<String>,
    /// How hard the model thinks.
    pub effort: Option<String>,
    /// Keys of the configuration, by dotted path.
    pub config: Option<BTreeMap<String, Value>>,
}

/// `thread/start`; `thread/fork` has them too.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadStartParams {
    /// The thread lives in memory: it is in no list, cannot be resumed, and ends when it is unloaded.
    pub ephemeral: Option<bool>,
    /// In place of the server's own instructions for the model.
    pub base_instructions: Option<String>,
    /// What the model is told in addition.
    pub developer_instructions: Option<String>,
    /// What the thread is for, in the client's own words.
    pub thread_source: Option<String>,
    /// Tools that the clients of the thread run (`item/tool/call`); kept with the thread. Only with the capability
    /// `experimentalApi`. A fork has those of its source unless it brings others.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<Vec<crate::v2::DynamicToolSpec>>"),
        ts(as = "Option<Vec<crate::v2::DynamicToolSpec>>")
    )]
    pub dynamic_tools: Option<Value>,
    #[serde(flatten)]
    pub overrides: Overrides,
}

/// `thread/resume`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadResumeParams {
    pub thread_id: ThreadId,
    /// Leaves the turns out of the answer.
    pub exclude_turns: Option<bool>,
    #[serde(flatten)]
    pub overrides: Overrides,
}

/// `thread/fork`: a new thread with the turns of another one, up to a place in it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadForkParams {
    pub thread_id: ThreadId,
    /// Leaves the turns out of the answer.
    pub exclude_turns: Option<bool>,
    /// The last turn that is taken over. Not together with `beforeTurnId`.
    pub last_turn_id: Option<TurnId>,
    /// The first turn that is not taken over.
    pub before_turn_id: Option<TurnId>,
    #[serde(flatten)]
    pub start: ThreadStartParams,
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(untagged)]
pub enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Vec<String> {
    fn from(texts: OneOrMore) -> Self {
        match texts {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        }
    }
}

/// `thread/list`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadListParams {
    /// From an earlier answer.
    pub cursor: Option<String>,
    pub limit: Option<u32>,
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::v2::ThreadSortKey>"),
        ts(as = "Option<crate::v2::ThreadSortKey>")
    )]
    pub sort_key: Option<String>,
    pub sort_direction: Option<SortDirection>,
    /// The archived threads instead of the others.
    pub archived: Option<bool>,
    /// A part of the name or of the first words.
    pub search_term: Option<String>,
    pub cwd: Option<OneOrMore>,
    pub model_providers: Option<Vec<String>>,
    pub source_kinds: Option<Vec<String>>,
    pub parent_thread_id: Option<ThreadId>,
    /// Nothing is in a section or in a project on this server.
    pub section_id: Option<Value>,
    pub project_id: Option<Value>,
}

/// `thread/search`: a list with what to look for, which must be there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadSearchParams {
    /// A part of the name or of the first words.
    pub search_term: String,
    pub cursor: Option<String>,
    pub limit: Option<u32>,
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::v2::ThreadSortKey>"),
        ts(as = "Option<crate::v2::ThreadSortKey>")
    )]
    pub sort_key: Option<String>,
    pub sort_direction: Option<SortDirection>,
    /// The archived threads instead of the others.
    pub archived: Option<bool>,
    pub source_kinds: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadSearchResult {
    pub snippet: String,
    pub thread: Thread,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadSearchResponse {
    pub data: Vec<ThreadSearchResult>,
    pub next_cursor: Option<String>,
    pub backwards_cursor: Option<String>,
}

/// `thread/loaded/list`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadLoadedListParams {
    /// The last thread of the page before.
    pub cursor: Option<String>,
    pub limit: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadLoadedListResponse {
    pub data: Vec<ThreadId>,
    pub next_cursor: Option<ThreadId>,
}

/// `thread/items/list`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadItemsListParams {
    pub thread_id: ThreadId,
    pub cursor: Option<String>,
    pub limit: Option<u32>,
    /// Ascending, unless said otherwise.
    pub sort_direction: Option<SortDirection>,
    /// Only the items of this turn.
    pub turn_id: Option<TurnId>,
}

/// An item with its turn and its times, in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadItemEntry {
    pub turn_id: TurnId,
    pub item: super::TimedItem,
    pub started_at_ms: Option<i64>,
    pub completed_at_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadItemsListResponse {
    pub data: Vec<ThreadItemEntry>,
    pub next_cursor: Option<String>,
    pub backwards_cursor: Option<String>,
}

/// Answers with a thread and nothing else: `thread/unarchive`, `thread/metadata/update`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadAnswer {
    pub thread: Thread,
}

/// `thread/inject_items`: puts items into the conversation as the model sees it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadInjectItemsParams {
    pub thread_id: ThreadId,
    /// Items of the Responses API.
    pub items: Vec<Value>,
}

/// `thread/revert`: forgets a turn and what came after it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadRevertParams {
    pub thread_id: ThreadId,
    pub before_turn_id: TurnId,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadRevertResponse {
    pub thread: Thread,
    pub turns_backwards_cursor: Option<String>,
    pub items_backwards_cursor: Option<String>,
}

/// `thread/shellCommand`: the user's own command, without a sandbox.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadShellCommandParams {
    pub thread_id: ThreadId,
    pub command: String,
    pub timeout_ms: Option<u64>,
}

/// `thread/metadata/update`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadMetadataUpdateParams {
    pub thread_id: ThreadId,
    /// `branch`, `sha` and `originUrl`; what is missing stays, `null` removes.
    pub git_info: Option<Value>,
}

/// `thread/settings/update`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadSettingsUpdateParams {
    pub thread_id: ThreadId,
    #[serde(flatten)]
    pub overrides: Overrides,
}

/// What a thread works towards by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadGoal {
    pub thread_id: ThreadId,
    pub objective: String,
    /// `active`, `paused`, `blocked`, `usageLimited`, `budgetLimited` or `complete`.
    pub status: String,
    pub token_budget: Option<i64>,
    pub tokens_used: i64,
    pub time_used_seconds: i64,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

/// `thread/goal/set`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadGoalSetParams {
    pub thread_id: ThreadId,
    /// Begins a new goal.
    pub objective: Option<String>,
    /// As in [`ThreadGoal::status`].
    pub status: Option<String>,
    pub token_budget: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadGoalSetResponse {
    pub goal: ThreadGoal,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadGoalGetResponse {
    pub goal: Option<ThreadGoal>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadGoalClearResponse {
    /// Whether there was one.
    pub cleared: bool,
}

/// A command that goes on while the model does something else.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadBackgroundTerminal {
    /// For `thread/backgroundTerminals/terminate`.
    pub process_id: String,
    pub item_id: ItemId,
    pub command: String,
    pub cwd: String,
    pub os_pid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadBackgroundTerminalsListResponse {
    pub data: Vec<ThreadBackgroundTerminal>,
    pub next_cursor: Option<String>,
}

/// `thread/backgroundTerminals/terminate`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ThreadBackgroundTerminalsTerminateParams {
    pub thread_id: ThreadId,
    pub process_id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ThreadBackgroundTerminalsTerminateResponse {
    /// Whether it ran.
    pub terminated: bool,
}

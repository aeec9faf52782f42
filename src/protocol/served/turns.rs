//! Turns and reviews: parameters as the server reads them, and answers that only it gives.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::threads::Overrides;
use crate::{
    ids::{ThreadId, TurnId},
    v2::{Turn, UserInput},
};

/// What `turn/start` has besides the thread.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct TurnInput {
    pub input: Vec<UserInput>,
    /// Chosen by the client; a turn with one that is known is not begun again.
    pub client_user_message_id: Option<String>,
    /// A JSON Schema that the answer must follow.
    pub output_schema: Option<Value>,
    /// How much of its reasoning the model sums up.
    pub summary: Option<String>,
    #[serde(flatten)]
    pub overrides: Overrides,
}

/// `turn/start`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct TurnStartParams {
    pub thread_id: ThreadId,
    #[serde(flatten)]
    pub start: TurnInput,
}

/// `turn/steer`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct TurnSteerParams {
    pub thread_id: ThreadId,
    /// Refused when another turn is active.
    pub expected_turn_id: TurnId,
    pub input: Vec<UserInput>,
    /// Chosen by the client; comes back as `clientId` of the user message.
    pub client_user_message_id: Option<String>,
}

/// What is reviewed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ReviewTarget {
    UncommittedChanges,
    /// What a merge into the branch would change.
    BaseBranch {
        branch: String,
    },
    Commit {
        sha: String,
        title: Option<String>,
    },
    /// Whatever these words say.
    Custom {
        instructions: String,
    },
}

/// `review/start`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ReviewStartParams {
    pub thread_id: ThreadId,
    pub target: ReviewTarget,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ReviewStartResponse {
    pub turn: Turn,
    /// The thread that the review runs in.
    pub review_thread_id: ThreadId,
}

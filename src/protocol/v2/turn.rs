//! Turns: one request of the user and all that follows from it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{item::ThreadItem, thread::TurnItemsView};
use crate::{
    ids::{ThreadId, TurnId},
    macros::{string_enum, tagged_union},
};

string_enum!(
    TurnStatus {
        InProgress = "inProgress",
        Completed = "completed",
        Interrupted = "interrupted",
        Failed = "failed",
    }
);

string_enum!(
    /// The sandbox of a new thread, in the spelling of `thread/start`.
    SandboxMode {
        ReadOnly = "read-only",
        WorkspaceWrite = "workspace-write",
        DangerFullAccess = "danger-full-access",
    }
);

/// When the user is asked. A string on the wire, or an object for the granular form, which is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AskForApproval(pub Value);

#[cfg(feature = "schema")]
const _: () = {
    #[derive(schemars::JsonSchema, ts_rs::TS)]
    #[schemars(rename_all = "kebab-case")]
    #[ts(rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only its shape is of interest")]
    /// When the user is asked.
    enum Known {
        /// Before every command that is not known to be safe.
        Untrusted,
        /// When the model wants to leave the sandbox.
        OnRequest,
        Never,
        /// Case by case.
        Granular(std::collections::BTreeMap<String, bool>),
    }
    crate::macros::described_as!(AskForApproval, Known);
};

impl AskForApproval {
    pub fn untrusted() -> Self {
        AskForApproval("untrusted".into())
    }
    pub fn on_request() -> Self {
        AskForApproval("on-request".into())
    }
    pub fn never() -> Self {
        AskForApproval("never".into())
    }

    /// One word for people.
    pub fn label(&self) -> &str {
        self.0.as_str().unwrap_or("granular")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DangerFullAccess {}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct NetworkSandbox {
    /// A flag, or a word for an external sandbox.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub network_access: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceWrite {
    #[serde(default)]
    pub writable_roots: Vec<String>,
    #[serde(default)]
    pub network_access: bool,
    #[serde(default)]
    pub exclude_tmpdir_env_var: bool,
    #[serde(default)]
    pub exclude_slash_tmp: bool,
}

tagged_union!(
    /// The sandbox in the object form of answers and of `turn/start`.
    SandboxPolicy {
        DangerFullAccess(DangerFullAccess) = "dangerFullAccess",
        ReadOnly(NetworkSandbox) = "readOnly",
        ExternalSandbox(NetworkSandbox) = "externalSandbox",
        WorkspaceWrite(WorkspaceWrite) = "workspaceWrite",
    }
);

impl SandboxPolicy {
    /// The mode's name for people, in the spelling of [`SandboxMode`].
    pub fn label(&self) -> &str {
        match self {
            SandboxPolicy::DangerFullAccess(_) => "danger-full-access",
            SandboxPolicy::ReadOnly(_) => "read-only",
            SandboxPolicy::ExternalSandbox(_) => "external sandbox",
            SandboxPolicy::WorkspaceWrite(_) => "workspace-write",
            SandboxPolicy::Unknown(_) => self.tag(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct TextInput {
    pub text: String,
    /// Parts of the text that stand for something else; kept for whoever wrote them.
    #[serde(default)]
    pub text_elements: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct LocalImageInput {
    /// On the host.
    pub path: String,
}

tagged_union!(
    /// One part of a user's message.
    UserInput {
        Text(TextInput) = "text",
        LocalImage(LocalImageInput) = "localImage",
    }
);

impl UserInput {
    pub fn text(text: impl Into<String>) -> Self {
        UserInput::Text(TextInput {
            text: text.into(),
            text_elements: Vec::new(),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnError {
    pub message: String,
    /// A word, or an object with one key; see [`TurnError::class`].
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub codex_error_info: Value,
    #[serde(default)]
    pub additional_details: Option<String>,
}

impl TurnError {
    /// The error's class, e.g. `contextWindowExceeded` or `httpConnectionFailed`.
    pub fn class(&self) -> Option<&str> {
        match &self.codex_error_info {
            Value::String(text) => Some(text),
            Value::Object(object) => object.keys().next().map(String::as_str),
            _ => None,
        }
    }
}

/// A turn. Times are Unix seconds, the duration is in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    pub id: TurnId,
    /// The turn that began the work; itself, unless an agent of an agent works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_turn_id: Option<TurnId>,
    #[serde(default)]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Vec<crate::served::TimedItem>"),
        ts(as = "Vec<crate::served::TimedItem>")
    )]
    pub items: Vec<ThreadItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items_view: Option<TurnItemsView>,
    pub status: TurnStatus,
    #[serde(default)]
    pub error: Option<TurnError>,
    #[serde(default)]
    pub started_at: Option<i64>,
    #[serde(default)]
    pub completed_at: Option<i64>,
    #[serde(default)]
    pub duration_ms: Option<i64>,
}

impl Turn {
    /// A turn without items and times.
    pub fn new(id: TurnId, status: TurnStatus) -> Self {
        Turn {
            id,
            root_turn_id: None,
            items: Vec::new(),
            items_view: None,
            status,
            error: None,
            started_at: None,
            completed_at: None,
            duration_ms: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct TurnStartParams {
    pub thread_id: ThreadId,
    pub input: Vec<UserInput>,
    /// Chosen by the client; comes back as `clientId` of the user message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_user_message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_policy: Option<AskForApproval>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_policy: Option<SandboxPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct TurnStartResponse {
    pub turn: Turn,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct TurnSteerParams {
    pub thread_id: ThreadId,
    /// Refused when another turn is active.
    pub expected_turn_id: TurnId,
    pub input: Vec<UserInput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_user_message_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnSteerResponse {
    pub turn_id: TurnId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct TurnInterruptParams {
    pub thread_id: ThreadId,
    /// Empty: whatever is active. Refused between the answer to `turn/start` and `turn/started`.
    pub turn_id: TurnId,
}

string_enum!(
    TurnPlanStepStatus {
        Pending = "pending",
        InProgress = "inProgress",
        Completed = "completed",
    }
);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct TurnPlanStep {
    pub step: String,
    pub status: TurnPlanStepStatus,
}

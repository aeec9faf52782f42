//! A thread's head data, as lists show it and as the index holds it.

use codex_protocol::{
    ThreadId,
    v2::{GitInfo, Thread, TurnStatus},
};
use serde::{Deserialize, Serialize};

use crate::{record::Header, state::State};

/// What a list knows about a thread without reading its history. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub id: ThreadId,
    /// How long the log was: the summary is true as long as it still is.
    #[serde(rename = "len")]
    pub log_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub preview: String,
    #[serde(default, skip_serializing_if = "is_false")]
    pub archived: bool,
    pub created_at: i64,
    pub updated_at: i64,
    pub recency_at: i64,
    pub cwd: String,
    pub model: String,
    pub model_provider: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<String>,
    pub cli_version: String,
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub originator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_thread_id: Option<ThreadId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from_id: Option<ThreadId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_info: Option<GitInfo>,
    /// How the last turn ended; none before the first turn's end and while a turn runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_turn_status: Option<TurnStatus>,
    /// As [`Header::ephemeral`]; never in the index.
    #[serde(skip)]
    pub ephemeral: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Summary {
    pub(crate) fn new(header: &Header, state: &State, log_bytes: u64) -> Summary {
        Summary {
            id: header.id.clone(),
            log_bytes,
            name: state.name.clone(),
            preview: state.preview.clone(),
            archived: state.archived,
            created_at: header.created_at,
            updated_at: state.updated_at,
            recency_at: state.recency_at,
            cwd: state.settings.cwd.clone(),
            model: state.settings.model.clone(),
            model_provider: state.settings.model_provider.clone(),
            reasoning_effort: state.settings.reasoning_effort.clone(),
            cli_version: header.cli_version.clone(),
            source: header.source.clone(),
            originator: header.originator.clone(),
            thread_source: header.thread_source.clone(),
            parent_thread_id: header.parent_thread_id.clone(),
            forked_from_id: header.forked_from_id.clone(),
            git_info: state.metadata.git_info.clone(),
            last_turn_status: state.last_turn.as_ref().and_then(|turn| turn.status.clone()),
            ephemeral: header.ephemeral,
        }
    }

    /// The thread for the wire, not loaded and without turns. What the type has beyond this is the server's.
    pub fn to_thread(&self) -> Thread {
        let mut thread = Thread::new(self.id.clone());
        thread.preview.clone_from(&self.preview);
        thread.name.clone_from(&self.name);
        thread.cwd.clone_from(&self.cwd);
        thread.model = Some(self.model.clone());
        thread.model_provider.clone_from(&self.model_provider);
        thread.created_at = self.created_at;
        thread.updated_at = self.updated_at;
        thread.recency_at = Some(self.recency_at);
        thread.cli_version.clone_from(&self.cli_version);
        thread.git_info.clone_from(&self.git_info);
        thread.parent_thread_id.clone_from(&self.parent_thread_id);
        thread.ephemeral = self.ephemeral;
        thread
    }
}

//! Threads, turns and items as clients see them, with the fields that the typed forms leave out.

use codex_protocol::{
    ThreadId, TurnId,
    v2::{ThreadItem, ThreadStatus, Turn, TurnItemsView, TurnStatus},
};
use codex_threads::{ItemTimes, Settings, StoreError, Summary, ThreadLog, ThreadReader};
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// The answer to what opens a thread.
pub(crate) fn opened(log: &ThreadLog, status: &ThreadStatus, turns: &[Value]) -> Value {
    let settings = &log.state().settings;
    json!({
        "thread": thread(&log.summary(), status, turns),
        "model": settings.model,
        "modelProvider": settings.model_provider,
        "serviceTier": null,
        "cwd": settings.cwd,
        "runtimeWorkspaceRoots": [settings.cwd],
        "instructionSources": [],
        "disabledPluginIds": [],
        "multiAgentMode": "explicitRequestOnly",
        "approvalPolicy": settings.approval_policy,
        "approvalsReviewer": "user",
        "sandbox": settings.sandbox,
        "reasoningEffort": settings.reasoning_effort,
    })
}

/// From where the history is paged.
pub(crate) fn add_cursors(answer: &mut Value, reader: &ThreadReader) {
    answer["turnsBackwardsCursor"] = json!(reader.turns_cursor_at_end());
    answer["itemsBackwardsCursor"] = json!(reader.items_cursor_at_end());
}

/// A thread with its status as its owner knows it.
pub(crate) fn thread(summary: &Summary, status: &ThreadStatus, turns: &[Value]) -> Value {
    let mut thread = summary.to_thread();
    thread.status = status.clone();
    let mut value = json!(thread);
    value["turns"] = turns.into();
    value["environments"] = json!([{
        "environmentId": "local", "cwd": summary.cwd, "runtimeWorkspaceRoots": [summary.cwd],
    }]);
    value["sessionId"] = json!(summary.id);
    value["source"] = json!(summary.source);
    value["projectId"] = Value::Null;
    value["forkedFromId"] = json!(summary.forked_from_id);
    value["originator"] = json!(summary.originator);
    value["reasoningEffort"] = json!(summary.reasoning_effort);
    value["historyMode"] = json!("paginated");
    value["canAcceptDirectInput"] = json!(true);
    value["threadSource"] = json!(summary.thread_source);
    value
}

/// A turn. A turn belongs to the turn that began the work: here that is always itself.
pub(crate) fn turn(turn: &Turn) -> Value {
    let mut value = json!(turn);
    value["rootTurnId"] = json!(turn.id);
    if turn.items_view.is_none() {
        value["itemsView"] = json!(TurnItemsView::NotLoaded);
    }
    value
}

/// A turn whose items say when they began and ended.
pub(crate) fn turn_with_times(turn: &Turn, times: &[ItemTimes]) -> Value {
    let mut value = self::turn(turn);
    if let Some(items) = value["items"].as_array_mut() {
        for (item, times) in items.iter_mut().zip(times) {
            item["startedAtMs"] = json!(times.started_at.or(times.completed_at));
            item["completedAtMs"] = json!(times.completed_at);
        }
    }
    value
}

/// The one mode that there is.
pub(crate) fn collaboration_mode(settings: &Settings) -> Value {
    json!({
        "mode": "default",
        "settings": {
            "model": settings.model,
            "reasoning_effort": settings.reasoning_effort,
            "developer_instructions": null,
        },
    })
}

/// A turn that has just begun, or is about to.
pub(crate) fn new_turn(id: &TurnId, started_at: Option<i64>) -> Value {
    let mut new = Turn::new(id.clone(), TurnStatus::InProgress);
    new.started_at = started_at;
    turn(&new)
}

/// An item with its times, in Unix milliseconds.
pub(crate) fn item(item: &ThreadItem, started_at: i64, completed_at: Option<i64>) -> Value {
    let mut value = json!(item);
    value["startedAtMs"] = json!(started_at);
    value["completedAtMs"] = json!(completed_at);
    value
}

/// Parameters of `thread/settings/updated`.
pub(crate) fn settings(id: &ThreadId, settings: &Settings) -> Value {
    json!({
        "threadId": id,
        "threadSettings": {
            "cwd": settings.cwd,
            "model": settings.model,
            "modelProvider": settings.model_provider,
            "approvalPolicy": settings.approval_policy,
            "approvalsReviewer": "user",
            "sandboxPolicy": settings.sandbox,
            "effort": settings.reasoning_effort,
            "collaborationMode": collaboration_mode(settings),
        },
    })
}

/// Parameters that name a thread and nothing else.
pub(crate) fn named(id: &ThreadId) -> Value {
    json!({ "threadId": id })
}

/// An error of the store about a thread that may not exist.
pub(crate) fn refuse_missing(error: &StoreError, missing: &str) -> Refusal {
    match error {
        StoreError::NotFound(id) => Refusal::invalid(format!("{missing}{id}")),
        StoreError::TurnNotFound { turn, .. } => Refusal::invalid(format!("turn not found: {turn}")),
        _ => refuse(error),
    }
}

/// An error of the store for a client.
pub(crate) fn refuse(error: &StoreError) -> Refusal {
    let text = match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    };
    match error {
        StoreError::Io { .. } | StoreError::Broken(_) | StoreError::Encode(_) => Refusal::failed(text),
        _ => Refusal::invalid(text),
    }
}

//! Threads and records to test with.

use std::path::Path;

use codex_protocol::{
    ThreadId, TurnId,
    v2::{
        AgentMessage, AskForApproval, CommandExecution, CommandExecutionStatus, NetworkSandbox,
        SandboxPolicy, ThreadItem, TurnStatus, UserInput, UserMessage,
    },
};
use codex_threads::{Durability, Header, Metadata, Record, Settings, ThreadLog, ThreadStore, thread_id};
use serde_json::json;

/// The wall clock of the tests, in Unix milliseconds.
pub(crate) const NOW: i64 = 1_795_345_003_000;

/// A directory in memory where the system has one: these tests sync thousands of times.
pub(crate) fn quick_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

pub(crate) fn id(number: u32) -> ThreadId {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&number.to_be_bytes());
    thread_id(NOW as u64, random)
}

pub(crate) fn header(id: ThreadId) -> Header {
    Header {
        ephemeral: false,
        id,
        created_at: NOW / 1000,
        settings: Settings {
            cwd: "/srv/work".to_owned(),
            model: "model-1".to_owned(),
            model_provider: "provider-1".to_owned(),
            sandbox: SandboxPolicy::ReadOnly(NetworkSandbox::default()),
            approval_policy: AskForApproval::on_request(),
            reasoning_effort: None,
            extra: Default::default(),
        },
        cli_version: "0.1.0".to_owned(),
        source: "vscode".to_owned(),
        originator: None,
        thread_source: None,
        parent_thread_id: None,
        forked_from_id: None,
        metadata: Metadata::default(),
        extra: Default::default(),
    }
}

pub(crate) fn create(root: &Path, number: u32) -> (ThreadStore, ThreadLog) {
    let store = ThreadStore::open(root).unwrap();
    let log = store.create(header(id(number))).unwrap();
    (store, log)
}

pub(crate) fn user(item: &str, text: &str) -> ThreadItem {
    let client_id = Some(format!("client-{item}"));
    ThreadItem::UserMessage(UserMessage {
        id: item.into(),
        client_id,
        content: vec![UserInput::text(text)],
    })
}

pub(crate) fn agent(item: &str, text: &str) -> ThreadItem {
    ThreadItem::AgentMessage(AgentMessage {
        id: item.into(),
        text: text.to_owned(),
        phase: None,
    })
}

pub(crate) fn command(item: &str, output: Option<&str>) -> ThreadItem {
    let status = if output.is_some() {
        CommandExecutionStatus::Completed
    } else {
        CommandExecutionStatus::InProgress
    };
    let value = json!({"id": item, "command": "make", "cwd": "/srv/work", "status": status.as_str(), "aggregatedOutput": output});
    ThreadItem::CommandExecution(serde_json::from_value::<CommandExecution>(value).unwrap())
}

pub(crate) fn turn_started(turn: &str) -> Record {
    Record::TurnStarted {
        turn: turn.into(),
        started_at: Some(NOW / 1000),
    }
}

pub(crate) fn turn_completed(turn: &str) -> Record {
    let status = TurnStatus::Completed;
    Record::TurnCompleted {
        turn: turn.into(),
        status,
        error: None,
        completed_at: Some(NOW / 1000 + 1),
        duration_ms: Some(900),
    }
}

pub(crate) fn started(turn: &str, item: ThreadItem) -> Record {
    Record::ItemStarted {
        turn: turn.into(),
        item,
    }
}

pub(crate) fn completed(turn: &str, item: ThreadItem) -> Record {
    Record::ItemCompleted {
        turn: turn.into(),
        item,
    }
}

/// A whole turn: a message, a command, an answer, and what the model saw of it.
pub(crate) fn turn(name: &str, output: &str) -> Vec<Record> {
    let (question, run, answer) = (format!("{name}-u"), format!("{name}-c"), format!("{name}-a"));
    vec![
        turn_started(name),
        started(name, user(&question, &format!("ask {name}"))),
        completed(name, user(&question, &format!("ask {name}"))),
        Record::ModelItem {
            turn: Some(TurnId::from(name)),
            item: json!({"role": "user", "turn": name}),
        },
        started(name, command(&run, None)),
        started(name, agent(&answer, "")),
        completed(name, command(&run, Some(output))),
        completed(name, agent(&answer, &format!("answer {name}"))),
        Record::ModelItem {
            turn: Some(TurnId::from(name)),
            item: json!({"role": "assistant", "turn": name}),
        },
        turn_completed(name),
    ]
}

pub(crate) fn append(log: &mut ThreadLog, records: Vec<Record>) {
    log.append_all(NOW, records, Durability::Written).unwrap();
}

pub(crate) fn ids(items: &[ThreadItem]) -> Vec<String> {
    items.iter().map(|item| item.id().unwrap().0).collect()
}

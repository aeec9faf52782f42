//! Writes the log of `fixtures/rollouts` that holds every kind of record in the present format.
//!
//! `cargo run -p codex-threads --example write_fixture -- DIR` puts it into `DIR/threads`. Only for a new
//! format version: fixtures of versions that were shipped are never written again.

use std::{error::Error, path::Path};

use codex_protocol::{
    TurnId,
    v2::{GitInfo, TurnStatus},
};
use codex_threads::{Durability, Header, Metadata, PendingApproval, Record, ThreadStore, thread_id};
use serde_json::{Value, json};

const NOW: i64 = 1_795_345_003_000;

fn item(value: Value) -> Result<codex_protocol::v2::ThreadItem, serde_json::Error> {
    serde_json::from_value(value)
}

fn turn(name: &str) -> Result<Vec<Record>, serde_json::Error> {
    let turn = TurnId::from(name);
    let user = json!({"type": "userMessage", "id": format!("{name}-u"), "clientId": "c1", "content": [{"type": "text", "text": "ask"}]});
    let command = |status: &str| json!({"type": "commandExecution", "id": format!("{name}-c"), "command": "make", "cwd": "/srv/work", "status": status});
    let answer = json!({"type": "agentMessage", "id": format!("{name}-a"), "text": "done"});
    Ok(vec![
        Record::TurnStarted {
            turn: turn.clone(),
            started_at: Some(NOW / 1000),
        },
        Record::ItemStarted {
            turn: turn.clone(),
            item: item(user.clone())?,
        },
        Record::ItemCompleted {
            turn: turn.clone(),
            item: item(user)?,
        },
        Record::ModelItem {
            turn: Some(turn.clone()),
            item: json!({"role": "user"}),
        },
        Record::ItemStarted {
            turn: turn.clone(),
            item: item(command("inProgress"))?,
        },
        Record::ItemCompleted {
            turn: turn.clone(),
            item: item(command("completed"))?,
        },
        Record::ItemCompleted {
            turn: turn.clone(),
            item: item(answer)?,
        },
        Record::ModelItem {
            turn: Some(turn.clone()),
            item: json!({"role": "assistant"}),
        },
        Record::TurnCompleted {
            turn,
            status: TurnStatus::Completed,
            error: None,
            completed_at: Some(NOW / 1000),
            duration_ms: Some(5),
        },
    ])
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1).ok_or("a directory is needed")?;
    let store = ThreadStore::open(Path::new(&root))?;
    let settings = json!({"cwd": "/srv/work", "model": "model-1", "model_provider": "provider", "sandbox": {"type": "readOnly"}, "approval_policy": "on-request"});
    let header: Header = serde_json::from_value(json!({
        "id": thread_id(NOW as u64, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), "created_at": NOW / 1000, "settings": settings,
        "cli_version": "0.1.0", "source": "vscode",
    }))?;
    let mut changed = header.settings.clone();
    changed.model = "model-2".to_owned();
    let mut log = store.create(header)?;
    log.append_all(NOW, turn("t1")?, Durability::Written)?;
    log.append_all(NOW, turn("t2")?, Durability::Written)?;
    log.revert_before(NOW, &"t2".into())?;
    let git_info = Some(GitInfo {
        branch: Some("main".to_owned()),
        sha: None,
        origin_url: None,
    });
    let mut records = vec![
        Record::NameSet {
            name: Some("everything".to_owned()),
        },
        Record::Archived(true),
        Record::Archived(false),
        Record::SettingsChanged(changed),
        Record::GoalSet(Some(json!({"objective": "ship it"}))),
        Record::MetadataSet(Metadata {
            git_info,
            extra: Default::default(),
        }),
        Record::TokenUsage(serde_json::from_value(json!({"total": {"totalTokens": 120}}))?),
        Record::Compacted {
            turn: None,
            replacement: vec![json!({"role": "summary"})],
        },
    ];
    records.extend(turn("t3")?);
    records.extend(
        turn("t4")?
            .into_iter()
            .take(5)
            .filter(|record| !matches!(record, Record::ModelItem { .. })),
    );
    let asked = |id: &str| PendingApproval {
        request_id: json!(id),
        turn_id: "t4".into(),
        item_id: Some("t4-c".into()),
        method: "item/commandExecution/requestApproval".to_owned(),
        params: json!({"command": "make"}),
    };
    records.extend([
        Record::ApprovalAsked(asked("a")),
        Record::ApprovalAsked(asked("b")),
    ]);
    records.push(Record::ApprovalResolved {
        request_id: json!("a"),
    });
    log.append_all(NOW, records, Durability::Synced)?;
    Ok(())
}

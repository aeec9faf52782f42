//! Logs of every version of the format, readable for ever. See `fixtures/rollouts`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use codex_protocol::{
    ThreadId,
    v2::{TurnItemsView, TurnStatus},
};
use codex_threads::{FORMAT_VERSION, Problem, ThreadStore, TurnsQuery};

use crate::build::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rollouts")
}

/// A store with a copy of one version's logs.
fn store_of(version: &Path, root: &Path) -> ThreadStore {
    let store = ThreadStore::open(root).unwrap();
    for file in fs::read_dir(version).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            fs::copy(&path, root.join("threads").join(path.file_name().unwrap())).unwrap();
        }
    }
    store
}

#[test]
fn there_are_logs_of_every_version_and_all_are_read_and_go_on() {
    for version in 1..=FORMAT_VERSION {
        let dir = quick_dir();
        let folder = fixtures().join(format!("v{version}"));
        let store = store_of(&folder, dir.path());
        let mut listed = store.list(&Default::default()).unwrap().threads;
        listed.extend(
            store
                .list(&codex_threads::ListQuery {
                    archived: true,
                    ..Default::default()
                })
                .unwrap()
                .threads,
        );
        let logs = fs::read_dir(dir.path().join("threads")).unwrap().count();
        assert!(
            logs > 0 && listed.len() == logs,
            "version {version}: {} of {logs}",
            listed.len()
        );
        for thread in listed {
            let mut log = store.open_writer(&thread.id, NOW).unwrap();
            append(&mut log, turn("new", ""));
            let turns = log.reader().unwrap().turns(&TurnsQuery::default()).unwrap();
            assert_eq!(turns.turns[0].id.0, "new");
        }
    }
}

#[test]
fn version_1_says_what_it_said() {
    let dir = quick_dir();
    let store = store_of(&fixtures().join("v1"), dir.path());
    let id = ThreadId::from("01a202e6-b1f8-7000-8001-000000000000");
    let reader = store.reader(&id).unwrap();
    let state = reader.state();
    assert_eq!(state.name.as_deref(), Some("everything"));
    assert_eq!(
        state.pending_approvals[0].method,
        "item/commandExecution/requestApproval"
    );
    assert_eq!(state.goal, Some(serde_json::json!({"objective": "ship it"})));
    assert_eq!(state.usage.as_ref().unwrap().total.total_tokens, 120);
    assert_eq!(state.settings.model, "model-2");
    assert_eq!(
        state.metadata.git_info.as_ref().unwrap().branch.as_deref(),
        Some("main")
    );
    let query = TurnsQuery {
        view: Some(TurnItemsView::Full),
        ..Default::default()
    };
    let page = reader.turns(&query).unwrap();
    let turns: Vec<_> = page
        .turns
        .iter()
        .map(|turn| (turn.id.0.as_str(), turn.status.clone(), ids(&turn.items)))
        .collect();
    let items = |name: &str| vec![format!("{name}-u"), format!("{name}-c"), format!("{name}-a")];
    assert_eq!(
        turns,
        [
            (
                "t4",
                TurnStatus::InProgress,
                vec!["t4-u".to_owned(), "t4-c".to_owned()]
            ),
            ("t3", TurnStatus::Completed, items("t3")),
            ("t1", TurnStatus::Completed, items("t1")),
        ]
    );
    let (prompt, _) = reader.prompt().unwrap();
    let prompt: Vec<_> = prompt
        .iter()
        .map(|item| item.item["role"].as_str().unwrap())
        .collect();
    assert_eq!(prompt, ["summary", "user", "assistant"]);

    let torn = ThreadId::from("01a202e6-b1f8-7000-8002-000000000000");
    let problems = store.open_writer(&torn, NOW).unwrap().take_problems();
    assert!(
        matches!(problems[..], [Problem::TornTail { .. }, Problem::Garbage { .. }]),
        "{problems:?}"
    );
}

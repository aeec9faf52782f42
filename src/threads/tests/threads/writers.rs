//! One writer, durable questions, limits, modes.

use std::os::unix::fs::PermissionsExt;

use codex_threads::{Durability, MAX_RECORD_BYTES, PendingApproval, Record, StoreError, ThreadStore};
use serde_json::json;

use crate::build::*;

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone_and_readers_are_not() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    append(&mut log, turn("t1", ""));
    let other = ThreadStore::open(dir.path()).unwrap();
    let error = other.open_writer(&id(1), NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("thread {} already has an active writer", id(1))
    );
    assert!(matches!(
        other.delete(&id(1), NOW),
        Err(StoreError::ActiveWriter(_))
    ));
    assert_eq!(other.reader(&id(1)).unwrap().state().preview, "ask t1");
    drop(log);
    other.open_writer(&id(1), NOW).unwrap();
    assert!(matches!(
        store.create(header(id(1))),
        Err(StoreError::AlreadyExists(_))
    ));
}

#[test]
fn a_process_that_was_being_started_meanwhile_does_not_keep_the_lock() {
    let dir = quick_dir();
    let (store, log) = create(dir.path(), 1);
    drop(log);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        });
        let results: Vec<_> = (0..2000)
            .map(|_| store.open_writer(&id(1), NOW).map(drop))
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for result in results {
            result.unwrap();
        }
    });
}

#[test]
fn an_open_question_survives_a_restart_until_it_is_resolved() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    let question = |number: i64| PendingApproval {
        request_id: json!(number),
        turn_id: "t1".into(),
        item_id: Some("c".into()),
        method: "item/commandExecution/requestApproval".to_owned(),
        params: json!({"command": "rm x", "number": number}),
    };
    append(
        &mut log,
        vec![turn_started("t1"), started("t1", command("c", None))],
    );
    for number in [0, 1] {
        log.append(NOW, Record::ApprovalAsked(question(number)), Durability::Synced)
            .unwrap();
    }
    drop(log);
    let mut log = store.open_writer(&id(1), NOW).unwrap();
    assert_eq!(log.state().pending_approvals, [question(0), question(1)]);
    assert_eq!(log.state().active_turn(), Some(&"t1".into()));
    log.append(
        NOW,
        Record::ApprovalResolved { request_id: json!(0) },
        Durability::Synced,
    )
    .unwrap();
    drop(log);
    assert_eq!(
        store.reader(&id(1)).unwrap().state().pending_approvals,
        [question(1)]
    );
}

#[test]
fn a_record_beyond_the_limit_is_refused_and_the_log_goes_on() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    let huge = Record::ModelItem {
        turn: None,
        item: json!("x".repeat(MAX_RECORD_BYTES)),
    };
    let error = log
        .append_all(NOW, [turn_started("t0"), huge], Durability::Written)
        .unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    append(&mut log, turn("t1", ""));
    let reader = store.reader(&id(1)).unwrap();
    assert_eq!(reader.turns(&Default::default()).unwrap().turns.len(), 1);
}

#[test]
fn nobody_else_can_read_what_is_written() {
    let dir = quick_dir();
    let root = dir.path().join("a/b");
    let (store, mut log) = create(&root, 1);
    append(&mut log, turn("t1", ""));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(&root.join("threads")), 0o700);
    assert_eq!(mode(&store.path_of(&id(1)).unwrap()), 0o600);
    assert_eq!(mode(&root.join("index.jsonl")), 0o600);
}

#[test]
fn a_deleted_thread_is_gone_and_one_left_half_created_is_swept() {
    let dir = quick_dir();
    let (store, log) = create(dir.path(), 1);
    drop(log);
    store.delete(&id(1), NOW).unwrap();
    assert!(matches!(
        store.open_writer(&id(1), NOW),
        Err(StoreError::NotFound(_))
    ));
    assert_eq!(store.list(&Default::default()).unwrap().threads, []);
    let left = dir.path().join("threads").join(format!("{}.new", id(2)));
    std::fs::write(&left, b"{").unwrap();
    let written = std::fs::metadata(&left).unwrap().modified().unwrap();
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    store.sweep(written + 1000).unwrap();
    assert!(left.exists());
    store.sweep(written + 2 * 3_600_000).unwrap();
    assert!(!left.exists());
}

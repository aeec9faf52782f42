//! Threads that live in memory.

use std::fs;

use codex_threads::{
    Durability, ForkPoint, Header, ListQuery, MAX_EPHEMERAL_BYTES, Record, StoreError, TurnsQuery,
};
use serde_json::json;

use crate::build::*;

fn ephemeral(number: u32) -> Header {
    Header {
        ephemeral: true,
        ..header(id(number))
    }
}

#[test]
fn an_ephemeral_thread_is_written_and_read_like_any_other_and_is_nowhere_on_disk() {
    let dir = quick_dir();
    let (store, kept) = create(dir.path(), 1);
    let mut log = store.create(ephemeral(2)).unwrap();
    append(&mut log, turn("t1", "output"));
    append(&mut log, turn("t2", ""));
    let reader = log.reader().unwrap();
    assert_eq!(reader.state().preview, "ask t1");
    assert_eq!(reader.turns(&TurnsQuery::default()).unwrap().turns.len(), 2);
    assert!(log.summary().to_thread().ephemeral && !kept.summary().to_thread().ephemeral);
    log.revert_before(NOW, &"t2".into()).unwrap();
    append(&mut log, turn("t3", ""));
    assert_eq!(
        log.reader()
            .unwrap()
            .turns(&TurnsQuery::default())
            .unwrap()
            .turns
            .len(),
        2
    );
    let listed = store.list(&ListQuery::default()).unwrap().threads;
    assert_eq!(listed.iter().map(|it| &it.id).collect::<Vec<_>>(), [&id(1)]);
    let files: Vec<_> = fs::read_dir(dir.path().join("threads")).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let index = fs::read_to_string(dir.path().join("index.jsonl")).unwrap_or_default();
    assert!(!index.contains(&id(2).0), "{index}");
    assert!(matches!(store.reader(&id(2)), Err(StoreError::NotFound(_))));
}

#[test]
fn an_ephemeral_fork_has_the_history_of_its_source_and_leaves_it_alone() {
    let dir = quick_dir();
    let (store, mut source) = create(dir.path(), 1);
    append(&mut source, turn("t1", "output"));
    let before = source.len();
    let mut fork = store.fork(&id(1), &ForkPoint::End, ephemeral(2), NOW).unwrap();
    append(&mut fork, turn("t2", ""));
    assert_eq!(
        fork.reader()
            .unwrap()
            .turns(&TurnsQuery::default())
            .unwrap()
            .turns
            .len(),
        2
    );
    assert_eq!(store.reader(&id(1)).unwrap().summary().log_bytes, before);
    assert_eq!(fs::read_dir(dir.path().join("threads")).unwrap().count(), 1);
}

#[test]
fn an_ephemeral_thread_does_not_fill_the_memory() {
    let dir = quick_dir();
    let (store, _) = create(dir.path(), 1);
    let mut log = store.create(ephemeral(2)).unwrap();
    let item = json!({ "text": "x".repeat(4 << 20) });
    let record = || Record::ModelItem {
        turn: None,
        item: item.clone(),
    };
    let refused =
        (0..=MAX_EPHEMERAL_BYTES >> 22).find_map(|_| log.append(NOW, record(), Durability::Written).err());
    assert!(
        matches!(refused, Some(StoreError::MemoryFull { .. })),
        "{refused:?}"
    );
    assert!(log.len() <= MAX_EPHEMERAL_BYTES);
    append(&mut log, turn("t1", ""));
}

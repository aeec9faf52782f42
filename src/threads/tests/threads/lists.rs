//! Lists: order, pages, filters, and an index that may be lost.

use std::fs;

use codex_protocol::v2::{SortDirection, ThreadSortKey};
use codex_threads::{Durability, ListQuery, Record, StoreError, ThreadStore};

use crate::build::*;

/// Threads 1 to 5; the later ones are older in `updated_at`.
fn five(store: &ThreadStore) {
    for number in 1..=5 {
        let mut head = header(id(number));
        head.created_at = NOW / 1000 + i64::from(number);
        head.settings.cwd = format!("/srv/{}", if number % 2 == 0 { "even" } else { "odd" });
        let mut log = store.create(head).unwrap();
        let at = NOW + i64::from(100 - number) * 1000;
        log.append_all(at, turn(&format!("t{number}"), ""), Durability::Written)
            .unwrap();
    }
}

fn found(store: &ThreadStore, query: &ListQuery) -> Vec<u32> {
    let page = store.list(query).unwrap();
    assert_eq!(page.problems, []);
    page.threads
        .iter()
        .map(|thread| (1..=9).find(|number| id(*number) == thread.id).unwrap())
        .collect()
}

#[test]
fn lists_are_ordered() {
    let dir = quick_dir();
    let store = ThreadStore::open(dir.path()).unwrap();
    five(&store);
    let by = |sort_key| ListQuery {
        sort_key,
        ..Default::default()
    };
    assert_eq!(found(&store, &by(None)), [5, 4, 3, 2, 1]);
    assert_eq!(
        found(&store, &by(Some(ThreadSortKey::UpdatedAt))),
        [1, 2, 3, 4, 5]
    );
    assert_eq!(
        found(&store, &by(Some(ThreadSortKey::RecencyAt))),
        [1, 2, 3, 4, 5]
    );
    let up = ListQuery {
        direction: Some(SortDirection::Ascending),
        ..Default::default()
    };
    assert_eq!(found(&store, &up), [1, 2, 3, 4, 5]);
    assert_eq!(
        found(
            &store,
            &ListQuery {
                limit: Some(0),
                ..Default::default()
            }
        ),
        [0; 0]
    );
}

#[test]
fn lists_are_filtered() {
    let dir = quick_dir();
    let store = ThreadStore::open(dir.path()).unwrap();
    five(&store);
    let any = ListQuery::default();
    let odd = ListQuery {
        cwds: vec!["/srv/odd".to_owned()],
        ..Default::default()
    };
    assert_eq!(found(&store, &odd), [5, 3, 1]);
    let search = |term: &str| ListQuery {
        search_term: Some(term.to_owned()),
        ..Default::default()
    };
    assert_eq!(found(&store, &search("ASK T3")), [3]);
    store
        .change(
            &id(2),
            Record::NameSet {
                name: Some("Größe".to_owned()),
            },
            NOW,
        )
        .unwrap();
    assert_eq!(found(&store, &search("GRÖSSE")), [0; 0]);
    assert_eq!(found(&store, &search("GRÖßE")), [2]);
    let summary = store.set_archived(&id(4), true, NOW).unwrap();
    assert!(summary.archived);
    assert_eq!(found(&store, &any), [5, 3, 2, 1]);
    assert_eq!(
        found(
            &store,
            &ListQuery {
                archived: true,
                ..Default::default()
            }
        ),
        [4]
    );
    let excluded = ListQuery {
        excluded: vec![id(1)],
        source_kinds: vec!["vscode".to_owned()],
        ..Default::default()
    };
    assert_eq!(found(&store, &excluded), [5, 3, 2]);
}

#[test]
fn pages_join_without_gaps_in_both_directions() {
    let dir = quick_dir();
    let store = ThreadStore::open(dir.path()).unwrap();
    five(&store);
    let mut query = ListQuery {
        limit: Some(2),
        sort_key: Some(ThreadSortKey::UpdatedAt),
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page = store.list(&query).unwrap();
        all.extend(page.threads.iter().map(|thread| thread.id.clone()));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            let up = Some(SortDirection::Ascending);
            let back = ListQuery {
                cursor: page.backwards_cursor,
                direction: up,
                limit: None,
                ..query
            };
            assert_eq!(found(&store, &back), [5, 4, 3, 2, 1]);
            break;
        }
    }
    assert_eq!(all, [id(1), id(2), id(3), id(4), id(5)]);
    for bad in ["zzz", "", "c.at.1.x", "u.at.x.y", "u.between.1.y"] {
        let sort_key = Some(ThreadSortKey::UpdatedAt);
        let error = store
            .list(&ListQuery {
                cursor: Some(bad.to_owned()),
                sort_key,
                ..Default::default()
            })
            .unwrap_err();
        assert!(matches!(error, StoreError::InvalidCursor(_)), "{bad}");
        assert_eq!(error.to_string(), format!("invalid cursor: {bad}"));
    }
}

#[test]
fn an_index_that_is_lost_torn_stale_or_nonsense_heals() {
    let dir = quick_dir();
    let index = dir.path().join("index.jsonl");
    five(&ThreadStore::open(dir.path()).unwrap());
    let truth = ThreadStore::open(dir.path())
        .unwrap()
        .list(&Default::default())
        .unwrap()
        .threads;
    let whole = fs::read(&index).unwrap();
    let half: Vec<u8> = whole.iter().take(whole.len() / 2).copied().collect();
    let garbage: Vec<u8> = whole
        .iter()
        .map(|byte| if *byte == b'"' { 0xff } else { *byte })
        .collect();
    let stale = String::from_utf8(whole.clone())
        .unwrap()
        .replace("ask t", "other t")
        .replace("\"len\":", "\"len\":1");
    for bytes in [
        Vec::new(),
        half,
        garbage,
        stale.into_bytes(),
        b"nonsense".to_vec(),
    ] {
        fs::write(&index, &bytes).unwrap();
        assert_eq!(
            ThreadStore::open(dir.path())
                .unwrap()
                .list(&Default::default())
                .unwrap()
                .threads,
            truth
        );
        // What was healed is in the index after two lists, so that the next process need not do it.
        let again = || {
            ThreadStore::open(dir.path())
                .unwrap()
                .list(&Default::default())
                .unwrap()
                .threads
        };
        assert_eq!(again(), truth);
        let healed = fs::read_to_string(&index).unwrap();
        assert_eq!(again(), truth);
        assert_eq!(fs::read_to_string(&index).unwrap(), healed);
    }
    fs::remove_file(&index).unwrap();
    assert_eq!(
        ThreadStore::open(dir.path())
            .unwrap()
            .list(&Default::default())
            .unwrap()
            .threads,
        truth
    );
}

#[test]
fn a_log_whose_index_line_was_never_written_is_listed_as_it_is() {
    let dir = quick_dir();
    let store = ThreadStore::open(dir.path()).unwrap();
    five(&store);
    store.list(&Default::default()).unwrap();
    // A kill between the log and the index: the index is as it was before.
    let before = fs::read(dir.path().join("index.jsonl")).unwrap();
    store
        .change(
            &id(3),
            Record::NameSet {
                name: Some("new".to_owned()),
            },
            NOW,
        )
        .unwrap();
    fs::write(dir.path().join("index.jsonl"), before).unwrap();
    for store in [store, ThreadStore::open(dir.path()).unwrap()] {
        let page = store.list(&Default::default()).unwrap();
        assert_eq!(page.threads[2].name.as_deref(), Some("new"));
    }
}

#[test]
fn the_index_is_rewritten_when_most_of_it_is_outdated() {
    let dir = quick_dir();
    let store = ThreadStore::open(dir.path()).unwrap();
    five(&store);
    let mut log = store.open_writer(&id(1), NOW).unwrap();
    for number in 0..1100 {
        append(
            &mut log,
            vec![Record::NameSet {
                name: Some(format!("name {number}")),
            }],
        );
    }
    let lines = || {
        fs::read_to_string(dir.path().join("index.jsonl"))
            .unwrap()
            .lines()
            .count()
    };
    assert!(lines() > 1100);
    let truth = store.list(&Default::default()).unwrap().threads;
    assert_eq!(lines(), 6);
    append(
        &mut log,
        vec![Record::NameSet {
            name: Some("after".to_owned()),
        }],
    );
    for store in [store, ThreadStore::open(dir.path()).unwrap()] {
        let threads = store.list(&Default::default()).unwrap().threads;
        assert_eq!(threads.len(), truth.len());
        assert_eq!(threads[4].name.as_deref(), Some("after"));
    }
}

//! Torn ends, garbage, lost links: what was acknowledged is there, once, in order.

use std::{fs, io::Write, path::Path};

use codex_protocol::v2::TurnItemsView;
use codex_threads::{Durability, Problem, Record, ThreadStore, TurnsQuery};
use proptest::prelude::*;
use serde_json::json;

use crate::build::*;

/// The numbers of the numbered model items.
fn numbers(store: &ThreadStore) -> Vec<u64> {
    let (items, _) = store.reader(&id(1)).unwrap().prompt().unwrap();
    items
        .iter()
        .map(|item| item.item["number"].as_u64().unwrap())
        .collect()
}

fn numbered(number: u64, size: usize) -> Record {
    Record::ModelItem {
        turn: None,
        item: json!({"number": number, "filling": "ü\"\n".repeat(size)}),
    }
}

/// A thread in another directory with these bytes as its log.
fn thread_of(root: &Path, bytes: &[u8]) -> ThreadStore {
    let store = ThreadStore::open(root).unwrap();
    fs::write(store.path_of(&id(1)).unwrap(), bytes).unwrap();
    store
}

#[test]
fn a_log_cut_at_any_byte_holds_every_record_before_the_cut_and_takes_new_ones() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    let head = log.len() as usize;
    let mut ends = Vec::new();
    for number in 0..3 {
        append(&mut log, vec![numbered(number, number as usize)]);
        ends.push(log.len() as usize);
    }
    let bytes = fs::read(store.path_of(&id(1)).unwrap()).unwrap();
    for cut in head..=bytes.len() {
        let copy = quick_dir();
        let store = thread_of(copy.path(), &bytes[..cut]);
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
        assert_eq!(
            numbers(&store),
            (0..whole).collect::<Vec<_>>(),
            "reading, cut at {cut}"
        );
        let mut log = store.open_writer(&id(1), NOW).unwrap();
        let problems = log.take_problems();
        // The record is whole where only the line's end is cut off: it is not thrown away.
        let kept = ends.iter().filter(|end| **end - 1 <= cut).count() as u64;
        let torn = cut != head && !ends.contains(&cut);
        assert_eq!(problems.len(), usize::from(torn), "cut at {cut}: {problems:?}");
        append(&mut log, vec![numbered(99, 0)]);
        assert_eq!(
            numbers(&store),
            (0..kept).chain([99]).collect::<Vec<_>>(),
            "writing, cut at {cut}"
        );
        if let Some(Problem::TornTail {
            offset,
            bytes: length,
            note,
        }) = problems.first()
        {
            let note: serde_json::Value = serde_json::from_slice(&fs::read(note).unwrap()).unwrap();
            let mut kept = note["text"].as_str().unwrap().as_bytes().to_vec();
            let rest = note["rest"].as_str().unwrap_or_default();
            kept.extend(
                (0..rest.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&rest[at..at + 2], 16).unwrap()),
            );
            assert_eq!(
                kept,
                &bytes[*offset as usize..cut],
                "nothing of the torn line is lost"
            );
            assert_eq!(
                (note["offset"].as_u64(), note["bytes"].as_u64()),
                (Some(*offset), Some(*length))
            );
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    /// The beginning of a record, or rubbish, without a line end: what a killed write leaves.
    Tear(Vec<u8>),
    /// A line of rubbish between the records, as a bad disk or an editor leaves it.
    Garbage(Vec<u8>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop::collection::vec(any::<u8>().prop_filter("one line", |byte| *byte != b'\n'), 1..200);
    prop_oneof![
        4 => prop::collection::vec(prop_oneof![0..50usize, Just(30_000)], 1..5).prop_map(Step::Append),
        2 => bytes.clone().prop_map(Step::Tear),
        1 => bytes.prop_map(Step::Garbage),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn what_was_acknowledged_is_there_once_and_in_order_whatever_happens(steps in prop::collection::vec(step(), 1..25)) {
        let dir = quick_dir();
        let (store, log) = create(dir.path(), 1);
        let path = store.path_of(&id(1)).unwrap();
        let mut log = Some(log);
        let mut acknowledged = 0;
        for step in steps {
            match step {
                Step::Append(sizes) => {
                    let log = log.get_or_insert_with(|| store.open_writer(&id(1), NOW).unwrap());
                    let records: Vec<_> = sizes.iter().enumerate().map(|(at, size)| numbered(acknowledged + at as u64, *size)).collect();
                    acknowledged += records.len() as u64;
                    log.append_all(NOW, records, Durability::Written).unwrap();
                }
                Step::Tear(bytes) => {
                    log = None;
                    let mut line = serde_json::to_vec(&json!({"type": "model_item", "at": 1, "item": {}})).unwrap();
                    line.truncate(bytes.len().min(line.len() - 1));
                    let torn = if bytes[0] & 1 == 0 { line } else { bytes };
                    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&torn).unwrap();
                }
                Step::Garbage(mut bytes) => {
                    // Opening repairs a torn end, so that the rubbish is a line of its own.
                    drop(log.take().unwrap_or_else(|| store.open_writer(&id(1), NOW).unwrap()));
                    bytes.push(b'\n');
                    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&bytes).unwrap();
                }
                Step::Reopen => {
                    drop(log.take());
                    log = Some(store.open_writer(&id(1), NOW).unwrap());
                }
            }
            prop_assert_eq!(numbers(&store), (0..acknowledged).collect::<Vec<_>>());
        }
    }
}

#[test]
fn garbage_in_the_middle_is_skipped_and_reported() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    append(&mut log, turn("t1", ""));
    append(&mut log, turn("t2", ""));
    append(&mut log, turn("t3", ""));
    drop(log);
    let path = store.path_of(&id(1)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let damaged: Vec<String> = text
        .lines()
        .map(
            |line| match line.starts_with(r#"{"type":"turn_started""#) && line.contains(r#""turn":"t2""#) {
                true => "\0".repeat(line.len()),
                false => line.to_owned(),
            },
        )
        .collect();
    fs::write(&path, damaged.join("\n") + "\n").unwrap();
    let query = TurnsQuery {
        view: Some(TurnItemsView::Full),
        ..Default::default()
    };
    let page = store.reader(&id(1)).unwrap().turns(&query).unwrap();
    let names: Vec<_> = page.turns.iter().map(|turn| turn.id.0.as_str()).collect();
    assert_eq!(names, ["t3", "t2", "t1"], "the turns before the damage are found");
    assert_eq!(ids(&page.turns[2].items), ["t1-u", "t1-c", "t1-a"]);
    assert!(
        matches!(
            page.problems[..],
            [Problem::BrokenLink { .. }, Problem::Garbage { .. }]
        ),
        "{:?}",
        page.problems
    );
    let mut log = store.open_writer(&id(1), NOW).unwrap();
    assert!(matches!(log.take_problems()[..], [Problem::Garbage { .. }]));
}

#[test]
fn a_damaged_checkpoint_is_no_loss() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    for number in 0..60 {
        append(&mut log, turn(&format!("t{number}"), &"x".repeat(10_000)));
    }
    let state = log.state().clone();
    drop(log);
    let path = store.path_of(&id(1)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(r#"{"type":"checkpoint""#));
    fs::write(
        &path,
        text.replace(r#"{"type":"checkpoint""#, r#"{"type"~"checkpoint""#),
    )
    .unwrap();
    assert_eq!(store.reader(&id(1)).unwrap().state(), &state);
}

#[test]
fn a_log_that_is_not_understood_is_left_as_it_is() {
    let dir = quick_dir();
    let newer = format!(
        "{{\"type\":\"thread\",\"version\":2,\"id\":\"{}\"}}\n{{\"half\":",
        id(1)
    );
    let store = thread_of(dir.path(), newer.as_bytes());
    let error = store.open_writer(&id(1), NOW).unwrap_err();
    assert!(error.to_string().contains("format 2, newer than 1"), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(
        fs::read(store.path_of(&id(1)).unwrap()).unwrap(),
        newer.as_bytes()
    );
    let page = store.list(&Default::default()).unwrap();
    assert!(
        matches!(page.problems[..], [Problem::Unlisted { .. }]),
        "{:?}",
        page.problems
    );
}

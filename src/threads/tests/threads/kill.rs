//! Real processes, really killed. A child is this test binary again, running one ignored test.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use codex_threads::{Durability, ListQuery, Record, StoreError, ThreadStore};
use serde_json::json;

use crate::build::*;

const ROOT: &str = "CODEX_THREADS_TEST_ROOT";
const FIRST: &str = "CODEX_THREADS_TEST_FIRST";
const KILLS: u64 = 200;
/// How many threads each of two processes creates.
const EACH: u32 = 60;

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(test: &str, root: &Path, first: u64) -> Process {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(ROOT, root)
            .env(FIRST, first.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, lines }
    }

    /// The next number that the child acknowledged; none when it has ended.
    fn acknowledged(&mut self) -> Option<u64> {
        loop {
            let line = self.lines.next()?.unwrap();
            if let Some(number) = line.strip_prefix("ack ") {
                return Some(number.parse().unwrap());
            }
        }
    }
}

fn given() -> (ThreadStore, u64) {
    let root = env::var_os(ROOT).expect("started by another test");
    let first = env::var(FIRST).unwrap().parse().unwrap();
    (ThreadStore::open(Path::new(&root)).unwrap(), first)
}

fn acknowledge(number: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ack {number}").and_then(|()| out.flush()).unwrap();
}

/// Random enough to kill at ever other moments, and the same each time (Marsaglia's xorshift).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
#[ignore = "a child of the kill test: appends until it is killed"]
fn child_appends() {
    let (store, first) = given();
    let mut log = store.open_writer(&id(1), NOW).unwrap();
    for number in first.. {
        let size = if number % 5 == 0 { 400_000 } else { 300 };
        let item = json!({"number": number, "filling": "x".repeat(size)});
        let durability = if number % 8 == 0 {
            Durability::Synced
        } else {
            Durability::Written
        };
        log.append(NOW, Record::ModelItem { turn: None, item }, durability)
            .unwrap();
        // Often enough to be killed between the log and the index.
        if number % 3 == 0 {
            log.append(
                NOW,
                Record::NameSet {
                    name: Some(format!("name {number}")),
                },
                Durability::Written,
            )
            .unwrap();
        }
        acknowledge(number);
        if number % 25 == 0 {
            // Keeps the log small enough to be read two hundred times.
            let replacement = vec![json!({"number": number})];
            log.append(
                NOW,
                Record::Compacted {
                    turn: None,
                    replacement,
                },
                Durability::Written,
            )
            .unwrap();
        }
    }
}

#[test]
fn after_two_hundred_kills_nothing_acknowledged_is_lost_and_nothing_is_there_twice() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path(), 1));
    let store = ThreadStore::open(dir.path()).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let (mut next, mut torn) = (1, 0);
    for round in 0..KILLS {
        let mut child = Process::start("kill::child_appends", dir.path(), next);
        let mut last = next - 1;
        for _ in 0..random(&mut seed) % 20 {
            last = child.acknowledged().expect("the child lives");
        }
        // The child goes on while this turns, so that the kill comes at any place of its work.
        for _ in 0..random(&mut seed) % 2_000_000 {
            std::hint::spin_loop();
        }
        child.child.kill().unwrap();
        child.child.wait().unwrap();
        while let Some(number) = child.acknowledged() {
            last = number;
        }
        let mut log = store.open_writer(&id(1), NOW).unwrap();
        torn += log.take_problems().len();
        let (items, problems) = log.reader().unwrap().prompt().unwrap();
        assert_eq!(problems, [], "round {round}");
        let numbers: Vec<u64> = items
            .iter()
            .map(|item| item.item["number"].as_u64().unwrap())
            .collect();
        let there = numbers.last().copied().unwrap_or(0);
        assert!(
            there >= last,
            "round {round}: {last} was acknowledged, {there} is the last one there"
        );
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "round {round}: {numbers:?}"
        );
        let listed = ThreadStore::open(dir.path())
            .unwrap()
            .list(&ListQuery::default())
            .unwrap()
            .threads;
        assert_eq!(
            listed[0].name,
            log.state().name,
            "round {round}: the index is behind"
        );
        next = there + 1;
    }
    println!("{KILLS} kills, {torn} torn lines, {} records", next - 1);
}

#[test]
#[ignore = "a child of the index test: creates threads"]
fn child_creates() {
    let (store, first) = given();
    for number in first..first + u64::from(EACH) {
        let mut log = store.create(header(id(number as u32))).unwrap();
        append(&mut log, turn("t", ""));
        for name in 0..20 {
            append(
                &mut log,
                vec![Record::NameSet {
                    name: Some(format!("{number} {name}")),
                }],
            );
        }
        acknowledge(number);
    }
}

#[test]
fn two_processes_write_the_index_at_once_and_a_third_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut children = [1, 1001].map(|first| Process::start("kill::child_creates", dir.path(), first));
    let mut acknowledged = BTreeSet::new();
    let query = ListQuery {
        limit: Some(1000),
        ..Default::default()
    };
    let warm = ThreadStore::open(dir.path()).unwrap();
    for _ in 0..EACH {
        acknowledged.extend(children.iter_mut().map(|child| child.acknowledged().unwrap()));
        for store in [&warm, &ThreadStore::open(dir.path()).unwrap()] {
            let listed: BTreeSet<_> = store
                .list(&query)
                .unwrap()
                .threads
                .into_iter()
                .map(|thread| thread.id)
                .collect();
            for number in &acknowledged {
                assert!(listed.contains(&id(*number as u32)), "{number} is missing");
            }
        }
    }
    for child in &mut children {
        assert!(child.child.wait().unwrap().success());
    }
    let cold = ThreadStore::open(dir.path())
        .unwrap()
        .list(&query)
        .unwrap()
        .threads;
    assert_eq!(cold.len(), 2 * EACH as usize);
    for thread in &cold {
        assert!(
            thread.name.as_deref().unwrap_or_default().ends_with(" 19"),
            "{:?}",
            thread.name
        );
    }
    assert_eq!(warm.list(&query).unwrap().threads, cold);
}

#[test]
#[ignore = "a child of the full disk test: its files may not grow beyond a megabyte or so"]
fn child_meets_a_limit() {
    let (store, _) = given();
    let mut log = store.open_writer(&id(1), NOW).unwrap();
    let numbered = |number: u64, size| Record::ModelItem {
        turn: None,
        item: json!({"number": number, "filling": "x".repeat(size)}),
    };
    let mut number = 1;
    let error = loop {
        match log.append(NOW, numbered(number, 100_000), Durability::Synced) {
            Ok(()) => acknowledge(number),
            Err(error) => break error,
        }
        number += 1;
    };
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    // What was half written is taken back, so that a small one still fits.
    log.append(NOW, numbered(number, 1), Durability::Synced).unwrap();
    acknowledge(number);
}

#[test]
fn a_write_that_the_disk_has_no_room_for_leaves_nothing_behind_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path(), 1));
    // With the signal ignored a write beyond the limit is cut short and then fails (setrlimit(2)).
    let script =
        "trap '' XFSZ; ulimit -f 1100; exec \"$0\" --exact kill::child_meets_a_limit --ignored --nocapture";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(env::current_exe().unwrap())
        .env(ROOT, dir.path())
        .env(FIRST, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let acknowledged: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("ack ")?.parse().ok())
        .collect();
    assert!(acknowledged.len() > 3, "{text}");
    let store = ThreadStore::open(dir.path()).unwrap();
    let mut log = store.open_writer(&id(1), NOW).unwrap();
    assert_eq!(log.take_problems(), []);
    let (items, _) = log.reader().unwrap().prompt().unwrap();
    let there: Vec<u64> = items
        .iter()
        .map(|item| item.item["number"].as_u64().unwrap())
        .collect();
    assert_eq!(there, acknowledged);
}

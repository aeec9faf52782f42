//! Measures what a user waits for: a list of 5,000 threads by a process that has just started, and the last
//! page of a thread of 500 MB.
//!
//! `cargo run --release -p codex-threads --example figures`. The program runs itself again for each figure,
//! so that every one is that of a cold process (the file system's cache is warm).
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use codex_protocol::{
    ThreadId, TurnId,
    v2::{SortDirection, ThreadSortKey, TurnItemsView, TurnStatus},
};
use codex_threads::{Durability, Header, ItemsQuery, ListQuery, Record, ThreadStore, TurnsQuery, thread_id};
use serde_json::{Value, json};

const THREADS: u32 = 5000;
const BIG_BYTES: u64 = 500_000_000;
const RUNS: usize = 10;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn id(number: u32) -> ThreadId {
    let [a, b, c, d] = number.to_be_bytes();
    thread_id(1_795_345_003_000, [0, 0, 0, 0, 0, 0, a, b, c, d])
}

fn header(number: u32) -> Outcome<Header> {
    let settings = json!({"cwd": format!("/srv/project-{}", number % 40), "model": "model-1", "model_provider": "provider", "sandbox": {"type": "readOnly"}, "approval_policy": "on-request"});
    let header = json!({"id": id(number), "created_at": 1_795_345_003 + number, "settings": settings, "cli_version": "0.1.0", "source": "vscode"});
    Ok(serde_json::from_value(header)?)
}

fn turn(name: &str, text: &str, output: usize) -> Outcome<Vec<Record>> {
    let turn = TurnId::from(name);
    let item = |value: Value| -> Outcome<_> { Ok(serde_json::from_value(value)?) };
    let user = json!({"type": "userMessage", "id": format!("{name}-u"), "content": [{"type": "text", "text": text}]});
    let output = "a line of output\n".repeat(output / 17);
    let command = json!({"type": "commandExecution", "id": format!("{name}-c"), "command": "make", "cwd": "/", "status": "completed", "aggregatedOutput": output});
    let answer = json!({"type": "agentMessage", "id": format!("{name}-a"), "text": "It is done."});
    Ok(vec![
        Record::TurnStarted {
            turn: turn.clone(),
            started_at: Some(1),
        },
        Record::ItemStarted {
            turn: turn.clone(),
            item: item(user.clone())?,
        },
        Record::ItemCompleted {
            turn: turn.clone(),
            item: item(user)?,
        },
        Record::ItemCompleted {
            turn: turn.clone(),
            item: item(command)?,
        },
        Record::ModelItem {
            turn: Some(turn.clone()),
            item: json!({"role": "tool", "output": output}),
        },
        Record::ItemCompleted {
            turn: turn.clone(),
            item: item(answer)?,
        },
        Record::TurnCompleted {
            turn,
            status: TurnStatus::Completed,
            error: None,
            completed_at: Some(2),
            duration_ms: Some(3),
        },
    ])
}

/// The most memory that this process has held, in kilobytes; 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// Runs one measurement in this process and prints its milliseconds.
fn measure(what: &str, root: &Path) -> Outcome {
    let begun = Instant::now();
    let store = ThreadStore::open(root)?;
    let big = id(THREADS + 1);
    let found = match what {
        "list" => {
            let query = ListQuery {
                limit: Some(100),
                sort_key: Some(ThreadSortKey::UpdatedAt),
                ..Default::default()
            };
            store.list(&query)?.threads.len()
        }
        "search" => {
            let query = ListQuery {
                search_term: Some("number 49".to_owned()),
                ..Default::default()
            };
            store.list(&query)?.threads.len()
        }
        "open writer" => usize::from(!store.open_writer(&big, 0)?.is_empty()),
        "last turns" => store.reader(&big)?.turns(&TurnsQuery::default())?.turns.len(),
        "last turns, full" => {
            let query = TurnsQuery {
                view: Some(TurnItemsView::Full),
                ..Default::default()
            };
            store.reader(&big)?.turns(&query)?.turns.len()
        }
        "last items" => {
            let direction = Some(SortDirection::Descending);
            store
                .reader(&big)?
                .items(&ItemsQuery {
                    direction,
                    ..Default::default()
                })?
                .items
                .len()
        }
        "first turns" => {
            let direction = Some(SortDirection::Ascending);
            store
                .reader(&big)?
                .turns(&TurnsQuery {
                    direction,
                    ..Default::default()
                })?
                .turns
                .len()
        }
        "prompt" => store.reader(&big)?.prompt()?.0.len(),
        _ => return Err("no such measurement".into()),
    };
    println!("{} {found} {}", begun.elapsed().as_micros(), peak_memory());
    Ok(())
}

fn report(what: &str, root: &Path) -> Outcome {
    let mut times = Vec::new();
    let mut rest = String::new();
    for _ in 0..RUNS {
        let output = Command::new(env::current_exe()?).arg(what).arg(root).output()?;
        let text = String::from_utf8(output.stdout)?;
        let (time, tail) = text.trim().split_once(' ').ok_or("the measurement failed")?;
        times.push(time.parse::<u64>()?);
        rest = tail.to_owned();
    }
    times.sort_unstable();
    let (found, memory) = rest.split_once(' ').ok_or("the measurement failed")?;
    let (median, worst) = (times[RUNS / 2] as f64 / 1000.0, times[RUNS - 1] as f64 / 1000.0);
    println!("{what:<20} median {median:8.2} ms  worst {worst:8.2} ms  {found:>6} found  peak {memory} kB");
    Ok(())
}

fn main() -> Outcome {
    let arguments: Vec<_> = env::args().collect();
    if let [_, what, root] = &arguments[..] {
        return measure(what, Path::new(root));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let root = env::temp_dir().join(format!("codex-threads-figures-{now}"));
    let store = ThreadStore::open(&root)?;
    for number in 1..=THREADS {
        let mut log = store.create(header(number)?)?;
        log.append_all(
            0,
            turn("t", &format!("please do the work of number {number}"), 100)?,
            Durability::Written,
        )?;
    }
    store.list(&ListQuery::default())?;
    let index = root.join("index.jsonl");
    println!(
        "{THREADS} threads, index {} kB",
        fs::metadata(&index)?.len() / 1000
    );
    report("list", &root)?;
    report("search", &root)?;
    fs::remove_file(&index)?;
    let begun = Instant::now();
    ThreadStore::open(&root)?.list(&ListQuery::default())?;
    println!(
        "index rebuilt from the logs in {:.0} ms",
        begun.elapsed().as_secs_f64() * 1000.0
    );

    let mut log = store.create(header(THREADS + 1)?)?;
    let mut turns = 0;
    while log.len() < BIG_BYTES {
        turns += 1;
        log.append_all(
            0,
            turn(&format!("t{turns}"), "again", 100_000)?,
            Durability::Written,
        )?;
    }
    println!("a thread of {} MB with {turns} turns", log.len() / 1_000_000);
    drop(log);
    for what in [
        "open writer",
        "last turns",
        "last turns, full",
        "last items",
        "first turns",
        "prompt",
    ] {
        report(what, &root)?;
    }
    fs::remove_dir_all(&root)?;
    Ok(())
}

//! A list of 5,000 threads, and the last page of a thread of 500 MB, by a server that has just started.

use std::time::Instant;

use codex_protocol::{ThreadId, TurnId, v2::TurnStatus};
use codex_threads::{Durability, Header, Record, ThreadStore, thread_id};
use serde_json::{Value, json};

use crate::{
    Outcome,
    report::Report,
    server::{Home, Program, Side},
    wire::Client,
};

const THREADS: u32 = 5000;
/// Bytes of the big thread's log.
const BIG: u64 = 500_000_000;
/// Bytes of what the command of each of its turns put out.
const OUTPUT: usize = 100_000;

pub(crate) fn measure(programs: &[Program], runs: usize, report: &mut Report) -> Outcome {
    for program in programs {
        match program.side {
            Side::Ours => measure_ours(program, runs, report)?,
            Side::Official => {
                let reason = "it alone writes its formats, and 5,000 threads of its own take it too long";
                eprintln!("app_server: threads: the official server is left out: {reason}");
            }
        }
    }
    Ok(())
}

fn measure_ours(program: &Program, runs: usize, report: &mut Report) -> Outcome {
    let home = Home::new()?;
    let store = ThreadStore::open(&home.codex_home().join("codex-server"))?;
    for number in 1..=THREADS {
        let records = turn("t", &format!("please do the work of number {number}"), 100)?;
        let mut log = store.create(header(number, &home)?)?;
        log.append_all(0, records, Durability::Written)?;
    }
    // The first list makes the index.
    list(program, &home)?;
    for _ in 0..runs {
        let [first, second] = list(program, &home)?;
        report.record("list", Side::Ours, first);
        report.record("list again", Side::Ours, second);
    }
    let mut log = store.create(header(THREADS + 1, &home)?)?;
    let mut turns = 0;
    while log.len() < BIG {
        turns += 1;
        log.append_all(
            0,
            turn(&format!("t{turns}"), "again", OUTPUT)?,
            Durability::Written,
        )?;
    }
    drop(log);
    for _ in 0..runs {
        let mut client = Client::stdio(program, &home, None)?;
        client.initialize()?;
        let begun = Instant::now();
        let (at, resumed) = client.call("thread/resume", &json!({"threadId": id(THREADS + 1)}))?;
        if resumed["thread"]["turns"].as_array().is_none_or(Vec::is_empty) {
            return Err("the big thread was resumed without its last turns".into());
        }
        report.record("resume", Side::Ours, (at - begun).as_secs_f64() * 1e3);
        report.record("resume memory", Side::Ours, client.memory()?.peak);
    }
    Ok(())
}

/// The milliseconds of the first two lists of a new process.
fn list(program: &Program, home: &Home) -> Outcome<[f64; 2]> {
    let mut client = Client::stdio(program, home, None)?;
    client.initialize()?;
    let mut times = [0.0; 2];
    for time in &mut times {
        let begun = Instant::now();
        let (at, listed) = client.call("thread/list", &json!({"limit": 100}))?;
        if listed["data"].as_array().map(Vec::len) != Some(100) {
            return Err(format!("`thread/list` has not 100 threads: {listed:.300}").into());
        }
        *time = (at - begun).as_secs_f64() * 1e3;
    }
    Ok(times)
}

fn id(number: u32) -> ThreadId {
    let [a, b, c, d] = number.to_be_bytes();
    thread_id(1_795_345_003_000, [0, 0, 0, 0, 0, 0, a, b, c, d])
}

fn header(number: u32, home: &Home) -> Outcome<Header> {
    let settings = json!({"cwd": home.work(), "model": "gpt-5.5", "model_provider": "mock",
        "sandbox": {"type": "readOnly"}, "approval_policy": "on-request"});
    let header = json!({"id": id(number), "created_at": 1_795_345_003 + number, "settings": settings,
        "cli_version": "0.1.0", "source": "vscode"});
    Ok(serde_json::from_value(header)?)
}

/// A turn in which a command puts out so many bytes.
fn turn(name: &str, text: &str, bytes: usize) -> Outcome<Vec<Record>> {
    let turn = TurnId::from(name);
    let completed = |item: Value| -> Outcome<Record> {
        Ok(Record::ItemCompleted {
            turn: turn.clone(),
            item: serde_json::from_value(item)?,
        })
    };
    let output = "a line of output\n".repeat(bytes / 17);
    let user = json!({"type": "userMessage", "id": format!("{name}-u"),
        "content": [{"type": "text", "text": text}]});
    let command = json!({"type": "commandExecution", "id": format!("{name}-c"), "command": "make", "cwd": "/",
        "status": "completed", "aggregatedOutput": output});
    let answer = json!({"type": "agentMessage", "id": format!("{name}-a"), "text": "It is done."});
    Ok(vec![
        Record::TurnStarted {
            turn: turn.clone(),
            started_at: Some(1),
        },
        completed(user)?,
        completed(command)?,
        Record::ModelItem {
            turn: Some(turn.clone()),
            item: json!({"role": "tool", "output": output}),
        },
        completed(answer)?,
        Record::TurnCompleted {
            turn,
            status: TurnStatus::Completed,
            error: None,
            completed_at: Some(2),
            duration_ms: Some(3),
        },
    ])
}

//! Memory, and what a turn costs beside the model's time.

use std::{thread, time::Duration};

use crate::{
    Outcome,
    report::{Report, median},
    server::{Home, Program},
    wire::Client,
};

/// What a server still does by itself after the handshake is over by then.
const SETTLING: Duration = Duration::from_millis(500);
/// Turns before memory is looked at again; they warm up for those that are timed.
const WARMING: usize = 10;
/// Turns that are timed in each process.
const TIMED: usize = 50;

pub(crate) fn measure(programs: &[Program], runs: usize, report: &mut Report) -> Outcome {
    let homes = programs
        .iter()
        .map(|_| Home::new())
        .collect::<Outcome<Vec<_>>>()?;
    for (program, home) in programs.iter().zip(&homes) {
        Client::stdio(program, home, None)?.initialize()?;
    }
    for _ in 0..runs {
        for (program, home) in programs.iter().zip(&homes) {
            run(program, home, report)?;
        }
    }
    Ok(())
}

/// One process: its memory, and the medians of its turns.
fn run(program: &Program, home: &Home, report: &mut Report) -> Outcome {
    let side = program.side;
    let mut client = Client::stdio(program, home, None)?;
    client.initialize()?;
    thread::sleep(SETTLING);
    let memory = client.memory()?;
    report.record("memory", side, memory.resident);
    report.record("memory anonymous", side, memory.anonymous);
    let thread = client.start_thread(home)?;
    for _ in 0..WARMING {
        client.turn(&thread, "say ok")?;
    }
    let memory = client.memory()?;
    report.record("memory turns", side, memory.resident);
    report.record("memory turns anonymous", side, memory.anonymous);
    let (mut answers, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..TIMED {
        let (answered, completed) = client.turn(&thread, "say ok")?;
        answers.push(answered.as_secs_f64() * 1e3);
        ends.push(completed.as_secs_f64() * 1e3);
    }
    report.record("turn answer", side, median(&answers));
    report.record("turn", side, median(&ends));
    Ok(())
}

//! The same long answer to readers on a line of 256 kbit/s: over a pipe, and over a WebSocket.
//!
//! The processor has little to do meanwhile, so all runs of a server are made at the same time.

use std::{thread, time::Instant};

use crate::{
    Outcome,
    flood::{answer_of, prompt, whole},
    report::Report,
    server::{Home, Program},
    wire::Client,
};

/// 256 kbit/s in bytes per second.
const RATE: u32 = 256_000 / 8;

/// What became of one answer.
struct Fate {
    /// Seconds from `turn/start` to `turn/completed`, if that came and the completed item's text was whole.
    whole: Option<f64>,
    /// Seconds after which the connection was lost, if it was.
    lost: Option<f64>,
    /// MB.
    peak: f64,
}

pub(crate) fn measure(programs: &[Program], runs: usize, report: &mut Report) -> Outcome {
    for is_socket in [false, true] {
        for program in programs {
            for fate in fates(program, runs, is_socket)? {
                note(&fate, program, is_socket, report);
            }
        }
    }
    Ok(())
}

fn note(fate: &Fate, program: &Program, is_socket: bool, report: &mut Report) {
    let [lived, time, lost, peak] = match is_socket {
        false => ["pipe lived", "pipe", "pipe lost", "pipe memory"],
        true => ["socket lived", "socket", "socket lost", "socket memory"],
    };
    let side = program.side;
    report.record(lived, side, f64::from(u8::from(fate.whole.is_some())));
    report.record(peak, side, fate.peak);
    if let Some(seconds) = fate.whole {
        report.record(time, side, seconds);
    }
    if let Some(seconds) = fate.lost {
        report.record(lost, side, seconds);
    }
}

fn fates(program: &Program, runs: usize, is_socket: bool) -> Outcome<Vec<Fate>> {
    thread::scope(|scope| {
        let running: Vec<_> = (0..runs)
            .map(|_| scope.spawn(|| run(program, is_socket)))
            .collect();
        let joined = running.into_iter().map(|it| it.join());
        joined
            .map(|it| it.map_err(|_| "a measurement panicked")?)
            .collect()
    })
}

fn run(program: &Program, is_socket: bool) -> Outcome<Fate> {
    let home = Home::new()?;
    let mut client = match is_socket {
        false => Client::stdio(program, &home, Some(RATE))?,
        true => Client::websocket(program, &home, Some(RATE))?,
    };
    client.initialize()?;
    let thread = client.start_thread(&home)?;
    let (_, sent) = client.send_turn(&thread, &prompt())?;
    let mut is_whole = false;
    loop {
        let Some(message) = client.receive() else {
            return Ok(Fate {
                whole: None,
                lost: Some(sent.elapsed().as_secs_f64()),
                peak: client.memory()?.peak,
            });
        };
        if let Some(answer) = answer_of(&message) {
            is_whole = answer == whole();
        } else if message.is("turn/completed") {
            return Ok(Fate {
                whole: is_whole.then(|| seconds(sent, message.at)),
                lost: None,
                peak: client.memory()?.peak,
            });
        }
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    (to - from).as_secs_f64()
}

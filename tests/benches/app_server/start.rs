//! From the start of the program to the answer to `initialize`, over standard streams.

use std::time::Instant;

use crate::{
    Outcome,
    report::Report,
    server::{Home, Program},
    wire::Client,
};

pub(crate) fn measure(programs: &[Program], runs: usize, report: &mut Report) -> Outcome {
    let warm = programs
        .iter()
        .map(|_| Home::new())
        .collect::<Outcome<Vec<_>>>()?;
    for (program, home) in programs.iter().zip(&warm) {
        // Fills the home, and the machine's caches with the program's file.
        start(program, home)?;
    }
    for _ in 0..runs {
        for (program, home) in programs.iter().zip(&warm) {
            report.record("start", program.side, start(program, home)?);
        }
    }
    for _ in 0..runs {
        for program in programs {
            report.record("start fresh", program.side, start(program, &Home::new()?)?);
        }
    }
    Ok(())
}

/// Milliseconds.
fn start(program: &Program, home: &Home) -> Outcome<f64> {
    let begun = Instant::now();
    let mut client = Client::stdio(program, home, None)?;
    let answered = client.initialize()?;
    Ok((answered - begun).as_secs_f64() * 1e3)
}

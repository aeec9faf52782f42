//! Many `thread/start` at once, as a client that restores its windows sends them.

use std::time::Instant;

use serde_json::json;

use crate::{
    Outcome,
    report::Report,
    server::{Home, Program},
    wire::Client,
};

const REQUESTS: usize = 60;

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
            let mut client = Client::stdio(program, home, None)?;
            client.initialize()?;
            let begun = Instant::now();
            for _ in 0..REQUESTS {
                client.request("thread/start", &json!({"cwd": home.work()}))?;
            }
            let (mut answers, mut refused, mut last) = (0, 0, begun);
            while answers < REQUESTS {
                let message = client.receive().ok_or("the connection has ended")?;
                if message.text.contains("\"result\":") || message.text.contains("\"error\":") {
                    answers += 1;
                    refused += usize::from(!message.text.contains("\"result\":"));
                    last = message.at;
                }
            }
            report.record("burst", program.side, (last - begun).as_secs_f64() * 1e3);
            report.record("burst refused", program.side, refused as f64);
        }
    }
    Ok(())
}

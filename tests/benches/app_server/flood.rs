//! One answer of very many pieces, to a reader that is fast.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use codex_testkit::Model;
use serde_json::{Value, json};

use crate::{
    Outcome,
    report::Report,
    server::{Home, Program, Side},
    wire::{Client, Message},
};

/// Pieces of the answer; each is a word.
pub(crate) const PIECES: usize = 20_000;

/// What the user says to get the answer.
pub(crate) fn prompt() -> String {
    format!("stream {PIECES}")
}

/// The answer, whole.
pub(crate) fn whole() -> String {
    (0..PIECES).map(|it| format!("word{it} ")).collect()
}

/// The text of a completed answer.
pub(crate) fn answer_of(message: &Message) -> Option<String> {
    if !message.is("item/completed") || !message.text.contains("\"agentMessage\"") {
        return None;
    }
    let message: Value = serde_json::from_str(&message.text).ok()?;
    Some(message["params"]["item"]["text"].as_str()?.to_owned())
}

pub(crate) fn measure(programs: &[Program], runs: usize, report: &mut Report) -> Outcome {
    let homes = programs
        .iter()
        .map(|_| Home::new())
        .collect::<Outcome<Vec<_>>>()?;
    for _ in 0..runs {
        report.record("flood model", Side::Ours, model_alone()?);
        for (program, home) in programs.iter().zip(&homes) {
            run(program, home, report)?;
        }
    }
    Ok(())
}

fn run(program: &Program, home: &Home, report: &mut Report) -> Outcome {
    let mut client = Client::stdio(program, home, None)?;
    client.initialize()?;
    let thread = client.start_thread(home)?;
    client.turn(&thread, "say ok")?;
    let (_, sent) = client.send_turn(&thread, &prompt())?;
    let (mut pieces, mut answer) = (Vec::new(), None);
    let completed = loop {
        let message = client.receive().ok_or("the connection has ended")?;
        if message.is("turn/completed") {
            break message.at;
        }
        if message.is("item/agentMessage/delta") {
            pieces.push(message);
        } else {
            answer = answer.or_else(|| answer_of(&message));
        }
    };
    let streamed = pieces.iter().map(piece).collect::<Outcome<String>>()?;
    let (side, whole) = (program.side, whole());
    if streamed != whole || answer.as_deref() != Some(whole.as_str()) {
        return Err(format!("{side:?}: the answer of {PIECES} pieces is not whole").into());
    }
    let seconds = (completed - sent).as_secs_f64();
    report.record("flood", side, PIECES as f64 / seconds);
    report.record("flood messages", side, pieces.len() as f64);
    report.record("flood memory", side, client.memory()?.peak);
    Ok(())
}

fn piece(message: &Message) -> Outcome<String> {
    let message: Value = serde_json::from_str(&message.text)?;
    let delta = message["params"]["delta"].as_str();
    Ok(delta.ok_or("a delta without text")?.to_owned())
}

/// Pieces per second of the model with no server in between: more than this no server can reach.
fn model_alone() -> Outcome<f64> {
    let model = Model::start();
    let mut stream = TcpStream::connect(("127.0.0.1", model.port()))?;
    let text = json!([{"type": "input_text", "text": prompt()}]);
    let body = json!({"input": [{"type": "message", "role": "user", "content": text}]}).to_string();
    let begun = Instant::now();
    write!(
        stream,
        "POST /v1/responses HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut bytes = vec![0; 64 << 10];
    let mut tail = Vec::new();
    while !tail.ends_with(b"0\r\n\r\n") {
        let read = stream.read(&mut bytes)?;
        if read == 0 {
            return Err("the model has closed the connection".into());
        }
        tail.extend_from_slice(&bytes[..read]);
        tail.drain(..tail.len().saturating_sub(8));
    }
    Ok(PIECES as f64 / begun.elapsed().as_secs_f64())
}

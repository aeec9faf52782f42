//! Measures the time from the start of the program to a server that has answered `initialize`: ours against
//! `ssh devbox codex app-server` with the same server, side by side.
//!
//! The one argument is our binary. Both sides are started in turn, on the same host, with the same key.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool for people"
)]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use codex_testkit::{Alias, Client, Host, HostOptions, Model};

const RUNS: usize = 10;
const INITIALIZE: &str = "{\"id\":0,\"method\":\"initialize\",\"params\":{\"clientInfo\":{\"name\":\"ready\",\"version\":\"1\"}}}\n";

fn main() {
    let codex = std::env::args()
        .nth(1)
        .expect("the path of our binary is missing");
    let codex = std::path::absolute(codex).unwrap();
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(HostOptions::new().authorize(client.key()).model(&model));
    client.add(&Alias::new("devbox", &host));
    let ours = || {
        let mut command = client.command(&codex);
        command.args(["exec", "--json", "--host", "devbox", "say hello"]);
        time(command, "", |line| line.contains("\"status\":\"ready\""))
    };
    let theirs = || {
        let mut command = client.ssh();
        command.args(["devbox", "codex", "app-server"]);
        time(command, INITIALIZE, |line| line.contains("\"userAgent\""))
    };
    // The first runs fill caches of the machine and of the server.
    ours();
    theirs();
    let (mut mine, mut others): (Vec<Duration>, Vec<Duration>) =
        (0..RUNS).map(|_| (ours(), theirs())).unzip();
    println!("| | median | fastest | slowest |\n|---|---|---|---|");
    row("`codex` (this one)", &mut mine);
    row("`ssh devbox codex app-server`", &mut others);
    println!(
        "\nratio of the medians: {:.2}",
        median(&mut mine).as_secs_f64() / median(&mut others).as_secs_f64()
    );
}

/// Runs the command until a line of its stdout fits, then ends it.
fn time(mut command: Command, stdin: &str, is_ready: impl Fn(&str) -> bool) -> Duration {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(stdin.as_bytes()).unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = lines.map_while(Result::ok).any(|line| is_ready(&line));
    let took = begun.elapsed();
    assert!(found, "it ended before it was ready");
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2
}

fn row(name: &str, times: &mut [Duration]) {
    let median = median(times);
    let [median, fastest, slowest] = [median, times[0], times[times.len() - 1]].map(|it| it.as_millis());
    println!("| {name} | {median} ms | {fastest} ms | {slowest} ms |");
}

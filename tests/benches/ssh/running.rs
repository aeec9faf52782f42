//! A client that runs: its bytes with their times, and an end in any case.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Outcome;

/// How long a client may take to end by itself after its work is done.
const PATIENCE: Duration = Duration::from_secs(20);

/// A started program. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    begun: Instant,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Outcome<Running> {
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().ok_or("no standard output")?;
        Ok(Running {
            input: child.stdin.take(),
            output: BufReader::new(output),
            child,
            begun,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line, or what there is of it. Hands back the time since the start.
    pub(crate) fn line(&mut self) -> Outcome<(Duration, String)> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            return Err(format!("the client has said nothing: {status}").into());
        }
        Ok((self.begun.elapsed(), line))
    }

    pub(crate) fn say(&mut self, line: &str) -> Outcome {
        let input = self.input.as_mut().ok_or("the input is closed")?;
        Ok(input.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Waits for the end. Hands back how long the program has lived.
    pub(crate) fn end(mut self) -> Outcome<Duration> {
        drop(self.input.take());
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if deadline < Instant::now() {
                return Err("the client does not end".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(self.begun.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The time from the start of the program to its first line.
pub(crate) fn first_line(command: Command) -> Outcome<Duration> {
    let mut running = Running::start(command)?;
    let (took, _) = running.line()?;
    // The next run is not to share the machine with the end of this one.
    running.end()?;
    Ok(took)
}

/// The time from the first byte of standard error to the end; standard output goes nowhere.
pub(crate) fn after_mark(mut command: Command) -> Outcome<Duration> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mark: Option<ChildStderr> = child.stderr.take();
    from_mark_to_end(child, mark.ok_or("no standard error")?)
}

/// The time from the first byte of standard output to the end, with this file as standard input.
pub(crate) fn after_mark_with(mut command: Command, input: File) -> Outcome<Duration> {
    let mut child = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mark = child.stdout.take();
    from_mark_to_end(child, mark.ok_or("no standard output")?)
}

fn from_mark_to_end(mut child: Child, mut mark: impl Read) -> Outcome<Duration> {
    let began = mark.read_exact(&mut [0]);
    let begun = Instant::now();
    let status = child.wait()?;
    let took = begun.elapsed();
    began?;
    match status.success() {
        true => Ok(took),
        false => Err(format!("a transfer failed: {status}").into()),
    }
}

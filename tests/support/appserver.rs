//! A conversation with an app-server, message by message: over a child process's standard streams or a WebSocket.
//!
//! The far end may be the official program itself, or `ssh HOST codex app-server`, or a server that listens.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, protocol::Role};

use crate::wait;

/// How many messages wait for the test before the program is held up.
const WAITING: usize = 10_000;

/// How long a dropped app-server may take to end by itself after its input was closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running app-server; dropping it ends it.
pub struct AppServer {
    child: Option<Child>,
    input: Option<Input>,
    incoming: Receiver<(String, Value)>,
    stderr: Option<std::thread::JoinHandle<String>>,
    next: i64,
    transcript: Vec<(Direction, Value)>,
    lines: Vec<(Direction, String)>,
}

/// What carries messages to the app-server.
enum Input {
    Lines(ChildStdin),
    WebSocket(Box<WebSocket<TcpStream>>),
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the test to the app-server.
    Sent,
    /// From the app-server to the test.
    Received,
}

impl AppServer {
    /// Starts `command`, whose standard streams carry the conversation. Lines that are not JSON are skipped.
    pub fn spawn(mut command: Command) -> AppServer {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, incoming) = sync_channel(WAITING);
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines {
                let Ok(message) = serde_json::from_str(&line) else {
                    continue;
                };
                if sender.send((line, message)).is_err() {
                    return;
                }
            }
        });
        let mut pipe = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let input = child.stdin.take().map(Input::Lines);
        AppServer::with(Some(child), input, incoming, Some(stderr))
    }

    /// Connects to the server that listens at `ws://ADDRESS`. Dropping it ends the connection, not the server.
    ///
    /// # Panics
    ///
    /// When nobody answers there.
    pub fn connect(url: &str) -> AppServer {
        let address = url.trim_start_matches("ws://").trim_end_matches('/');
        let stream = TcpStream::connect(address).unwrap();
        let writing = stream.try_clone().unwrap();
        let (mut reading, _) = tungstenite::client(url, stream).unwrap();
        let (sender, incoming) = sync_channel(WAITING);
        std::thread::spawn(move || {
            while let Ok(message) = reading.read() {
                let Message::Text(text) = message else { continue };
                let Ok(message) = serde_json::from_str(&text) else {
                    continue;
                };
                if sender.send((text.to_string(), message)).is_err() {
                    return;
                }
            }
        });
        let writing = WebSocket::from_raw_socket(writing, Role::Client, None);
        AppServer::with(None, Some(Input::WebSocket(Box::new(writing))), incoming, None)
    }

    fn with(
        child: Option<Child>,
        input: Option<Input>,
        incoming: Receiver<(String, Value)>,
        stderr: Option<std::thread::JoinHandle<String>>,
    ) -> AppServer {
        AppServer {
            child,
            input,
            incoming,
            stderr,
            next: 1,
            transcript: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Sends one message.
    pub fn send(&mut self, message: Value) {
        let line = message.to_string();
        match self.input.as_mut().unwrap() {
            Input::Lines(stdin) => stdin.write_all(format!("{line}\n").as_bytes()).unwrap(),
            Input::WebSocket(socket) => socket.send(Message::text(line.clone())).unwrap(),
        }
        self.lines.push((Direction::Sent, line));
        self.transcript.push((Direction::Sent, message));
    }

    /// Sends a request and hands back its id.
    pub fn request(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next;
        self.next += 1;
        self.send(json!({"id": id, "method": method, "params": params}));
        id
    }

    /// The next message that fits; those before it are left in the transcript only.
    ///
    /// # Panics
    ///
    /// When none comes within [`wait::DEADLINE`], or the program ended; the text holds what came instead.
    pub fn expect(&mut self, name: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + wait::DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.incoming.recv_timeout(left) {
                Ok((line, message)) => {
                    self.lines.push((Direction::Received, line));
                    self.transcript.push((Direction::Received, message.clone()));
                    if fits(&message) {
                        return message;
                    }
                }
                Err(reason) => self.give_up(name, reason),
            }
        }
    }

    fn give_up(&mut self, name: &str, reason: RecvTimeoutError) -> ! {
        // npm's launcher has the real program below it, which keeps standard error open until its input ends.
        drop(self.input.take());
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
        let stderr = self
            .stderr
            .take()
            .map(|thread| thread.join().unwrap())
            .unwrap_or_default();
        let tail = self.transcript.iter().rev().take(8).rev();
        let tail: Vec<_> = tail
            .map(|(direction, message)| format!("{direction:?} {message:.400}"))
            .collect();
        panic!(
            "waited for: {name} ({reason})\n{}\nstderr: {stderr}",
            tail.join("\n")
        );
    }

    /// Sends a request and waits for its result.
    ///
    /// # Panics
    ///
    /// When the answer is an error or does not come.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends a request and waits for its answer, a result or an error.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        self.expect(method, |message| {
            message["id"] == id && message["method"].is_null()
        })
    }

    /// The next notification or request of this method.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn expect_method(&mut self, method: &str) -> Value {
        self.expect(method, |message| message["method"] == method)
    }

    /// The handshake: `initialize` and `initialized`. Hands back the result.
    pub fn initialize(&mut self) -> Value {
        let params = json!({
            "clientInfo": {"name": "codex-testkit", "title": null, "version": "0.1.0"},
            "capabilities": {"experimentalApi": true},
        });
        let result = self.call("initialize", params);
        self.send(json!({"method": "initialized"}));
        result
    }

    /// A new thread in this folder of the far end. Hands back its id, once the app-server has said that it is there.
    pub fn start_thread(&mut self, cwd: &str) -> String {
        let started = self.call_until("thread/start", json!({"cwd": cwd}), "thread/started");
        started["params"]["thread"]["id"].as_str().unwrap().to_owned()
    }

    /// Starts a turn with this text. Hands back its id, once the app-server has said that it runs.
    pub fn start_turn(&mut self, thread: &str, text: &str) -> String {
        let input = json!([{"type": "text", "text": text}]);
        let params = json!({"threadId": thread, "input": input});
        let started = self.call_until("turn/start", params, "turn/started");
        started["params"]["turn"]["id"].as_str().unwrap().to_owned()
    }

    /// Calls and waits for this notification too, which the official program sends before its answer or after it,
    /// and even after the answers to later calls. Hands it back.
    ///
    /// # Panics
    ///
    /// When the answer is an error, or one of the two does not come.
    pub fn call_until(&mut self, method: &str, params: Value, notification: &str) -> Value {
        let before = self.transcript.len();
        self.call(method, params);
        let mut since = self.transcript[before..].iter().map(|(_, message)| message);
        match since.find(|message| message["method"] == notification) {
            Some(found) => found.clone(),
            None => self.expect_method(notification),
        }
    }

    /// Waits for the end of the turn that runs. Hands back `turn/completed`'s parameters.
    pub fn finish_turn(&mut self) -> Value {
        self.expect_method("turn/completed")["params"].clone()
    }

    /// Everything that was said so far.
    pub fn transcript(&self) -> &[(Direction, Value)] {
        &self.transcript
    }

    /// Everything that was said so far, as it was written on the wire, without the line ends.
    pub fn lines(&self) -> &[(Direction, String)] {
        &self.lines
    }

    /// Closes the program's input and waits for its end. Hands back its exit code and its standard error.
    ///
    /// # Panics
    ///
    /// When it does not end within [`wait::DEADLINE`], or is not a program of the test's.
    pub fn close(mut self) -> (Option<i32>, String) {
        self.end()
    }

    /// As [`AppServer::close`]; what was said stays.
    ///
    /// # Panics
    ///
    /// When it does not end within [`wait::DEADLINE`], or is not a program of the test's.
    pub fn end(&mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let child = self.child.as_mut().unwrap();
        let status = wait::until("the app-server's end", wait::DEADLINE, || {
            child.try_wait().unwrap()
        });
        let stderr = self
            .stderr
            .take()
            .map(|thread| thread.join().unwrap())
            .unwrap_or_default();
        (status.code(), stderr)
    }
}

/// Removes what the server left behind, after its end.
struct Sweep;

impl Drop for Sweep {
    fn drop(&mut self) {
        crate::official::sweep();
    }
}

impl Drop for AppServer {
    fn drop(&mut self) {
        let _sweep = Sweep;
        if let Some(Input::WebSocket(socket)) = self.input.take() {
            // The reading half has the same socket.
            let _ = socket.get_ref().shutdown(std::net::Shutdown::Both);
        }
        let Some(child) = &mut self.child else { return };
        // npm's launcher has the real program below it, which goes on writing files when only the launcher is
        // killed.
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

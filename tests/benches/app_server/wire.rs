//! A conversation with an app-server in which every message has the time at which it was whole.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{ChildStdin, Stdio},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketType, sockopt};
use serde_json::{Value, json};
use tungstenite::{Message as Frame, WebSocket, protocol::Role};

use crate::{
    Outcome,
    server::{Home, Memory, Process, Program},
};

/// How long any single message is waited for: longer than the slowest reader needs for the longest answer.
const PATIENCE: Duration = Duration::from_secs(400);
/// Messages that wait for the benchmark before the server is held up; more than the longest answer has.
const WAITING: usize = 100_000;
/// The receive buffer of a throttled socket, in bytes: as much as a pipe holds, so that both are as slow.
const SOCKET_BYTES: usize = 64 << 10;
/// How long a throttled reader sleeps at a time.
const TICK: Duration = Duration::from_millis(20);

/// What the server said, and when it was whole.
pub(crate) struct Message {
    pub(crate) at: Instant,
    pub(crate) text: String,
}

impl Message {
    /// Whether it is a notification or a request of this method. Both servers write no spaces between tokens,
    /// and parsing twenty thousand messages would slow the reader.
    pub(crate) fn is(&self, method: &str) -> bool {
        self.text.contains(&format!("\"method\":\"{method}\""))
    }

    /// The answer to this request, an error included.
    fn answers(&self, id: i64) -> Option<Value> {
        if self.text.contains("\"method\":") && !self.text.contains("\"result\":") {
            return None;
        }
        let message: Value = serde_json::from_str(&self.text).ok()?;
        (message["id"] == id && message["method"].is_null()).then_some(message)
    }
}

enum Input {
    Pipe(ChildStdin),
    Socket(Box<WebSocket<TcpStream>>),
}

/// A server that was started, and one connection to it.
pub(crate) struct Client {
    // Before the process: closing it asks the process to end.
    input: Option<Input>,
    process: Process,
    incoming: Receiver<Message>,
    next: i64,
    over_socket: bool,
}

impl Client {
    /// Over standard streams, which are read at this many bytes per second, or as fast as possible.
    pub(crate) fn stdio(program: &Program, home: &Home, rate: Option<u32>) -> Outcome<Client> {
        let mut child = home
            .app_server(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = Throttled::new(child.stdout.take().ok_or("no standard output")?, rate);
        let (sender, incoming) = sync_channel(WAITING);
        thread::spawn(move || read_lines(output, &sender));
        Ok(Client {
            input: Some(Input::Pipe(input)),
            process: Process::new(child),
            incoming,
            next: 1,
            over_socket: false,
        })
    }

    /// Over a WebSocket on loopback, whose TCP stream is read at this many bytes per second, or as fast as
    /// possible.
    pub(crate) fn websocket(program: &Program, home: &Home, rate: Option<u32>) -> Outcome<Client> {
        let mut child = home
            .app_server(program)
            .args(["--listen", "ws://127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().ok_or("no standard error")?;
        let process = Process::new(child);
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let url = lines.find_map(|line| Some(line.split_once("listening on: ")?.1.trim().to_owned()));
        let url = url.ok_or("the server has not said where it listens")?;
        // The pipe must not fill.
        thread::spawn(move || lines.for_each(drop));
        let address = url.trim_start_matches("ws://").trim_end_matches('/');
        let stream = connect(address.parse()?, rate.is_some())?;
        let writing = stream.try_clone()?;
        let handshaken = tungstenite::client(&url, Throttled::new(stream, rate));
        let (reading, _) = handshaken.map_err(|it| format!("the handshake with {url}: {it}"))?;
        let (sender, incoming) = sync_channel(WAITING);
        thread::spawn(move || read_frames(reading, &sender));
        let writing = WebSocket::from_raw_socket(writing, Role::Client, None);
        Ok(Client {
            input: Some(Input::Socket(Box::new(writing))),
            process,
            incoming,
            next: 1,
            over_socket: true,
        })
    }

    /// Sends a request. Hands back its id.
    pub(crate) fn request(&mut self, method: &str, params: &Value) -> Outcome<i64> {
        let id = self.next;
        self.next += 1;
        self.send(&json!({"id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    fn send(&mut self, message: &Value) -> Outcome {
        match self.input.as_mut().ok_or("the input is closed")? {
            Input::Pipe(pipe) => pipe.write_all(format!("{message}\n").as_bytes())?,
            Input::Socket(socket) => socket.send(Frame::text(message.to_string()))?,
        }
        Ok(())
    }

    /// The next message, or nothing when the server has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        self.incoming.recv_timeout(PATIENCE).ok()
    }

    /// The answer to the request, an error included, and when it came; what comes before it is passed over.
    pub(crate) fn answer(&mut self, id: i64) -> Outcome<(Instant, Value)> {
        loop {
            let message = self.receive().ok_or("the connection has ended")?;
            if let Some(answer) = message.answers(id) {
                return Ok((message.at, answer));
            }
        }
    }

    /// Sends a request and waits for its result. Hands back when it came and what it is.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Outcome<(Instant, Value)> {
        let id = self.request(method, params)?;
        let (at, mut answer) = self.answer(id)?;
        match answer["error"].is_null() {
            true => Ok((at, answer["result"].take())),
            false => Err(format!("{method}: {}", answer["error"]).into()),
        }
    }

    /// The handshake. Hands back when `initialize` was answered.
    pub(crate) fn initialize(&mut self) -> Outcome<Instant> {
        let params = json!({
            "clientInfo": {"name": "codex-bench", "title": null, "version": "0.1.0"},
            "capabilities": {"experimentalApi": true},
        });
        let (at, _) = self.call("initialize", &params)?;
        self.send(&json!({"method": "initialized"}))?;
        Ok(at)
    }

    /// A new thread in the home's working folder. Hands back its id.
    pub(crate) fn start_thread(&mut self, home: &Home) -> Outcome<String> {
        let (_, started) = self.call("thread/start", &json!({"cwd": home.work()}))?;
        let id = started["thread"]["id"].as_str();
        Ok(id.ok_or("a thread without an id")?.to_owned())
    }

    /// Sends a turn with this text. Hands back the request's id and the time at which it was sent.
    pub(crate) fn send_turn(&mut self, thread: &str, text: &str) -> Outcome<(i64, Instant)> {
        let input = json!([{"type": "text", "text": text}]);
        let sent = Instant::now();
        let id = self.request("turn/start", &json!({"threadId": thread, "input": input}))?;
        Ok((id, sent))
    }

    /// Runs a turn with this text to its end. Hands back how long the answer and the end took.
    pub(crate) fn turn(&mut self, thread: &str, text: &str) -> Outcome<(Duration, Duration)> {
        let (id, sent) = self.send_turn(thread, text)?;
        let (mut answered, mut completed) = (None, None);
        loop {
            if let (Some(answered), Some(completed)) = (answered, completed) {
                return Ok((answered, completed));
            }
            let message = self.receive().ok_or("the connection has ended")?;
            if message.is("turn/completed") {
                if !message.text.contains("\"status\":\"completed\"") {
                    return Err(format!("a turn failed: {}", message.text).into());
                }
                completed = Some(message.at - sent);
            } else if let Some(answer) = message.answers(id) {
                if !answer["error"].is_null() {
                    return Err(format!("turn/start: {}", answer["error"]).into());
                }
                answered = Some(message.at - sent);
            }
        }
    }

    /// What the server has in memory.
    pub(crate) fn memory(&self) -> Outcome<Memory> {
        self.process.memory()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.input.take());
        if self.over_socket {
            // A server that listens does not end with a connection.
            self.process.kill();
        }
    }
}

fn read_lines(output: impl Read, sender: &SyncSender<Message>) {
    let lines = BufReader::with_capacity(256 << 10, output).lines();
    for text in lines.map_while(Result::ok) {
        let at = Instant::now();
        if sender.send(Message { at, text }).is_err() {
            return;
        }
    }
}

fn read_frames(mut socket: WebSocket<Throttled<TcpStream>>, sender: &SyncSender<Message>) {
    while let Ok(frame) = socket.read() {
        let Frame::Text(text) = frame else { continue };
        let (at, text) = (Instant::now(), text.as_str().to_owned());
        if sender.send(Message { at, text }).is_err() {
            return;
        }
    }
}

/// A connection whose receive buffer is small where `is_small`: it has to be so before connecting, see tcp(7).
fn connect(address: SocketAddr, is_small: bool) -> Outcome<TcpStream> {
    if !is_small {
        return Ok(TcpStream::connect(address)?);
    }
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BYTES)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket.into())
}

/// Reads so many bytes per second on average, never more at once than fall due in a few moments.
struct Throttled<R> {
    inner: R,
    rate: Option<u32>,
    due: f64,
    filled: Instant,
}

impl<R> Throttled<R> {
    fn new(inner: R, rate: Option<u32>) -> Throttled<R> {
        Throttled {
            inner,
            rate,
            due: 0.0,
            filled: Instant::now(),
        }
    }
}

impl<R: Read> Read for Throttled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(rate) = self.rate else {
            return self.inner.read(buffer);
        };
        let burst = f64::from(rate) * TICK.as_secs_f64() * 4.0;
        loop {
            let now = Instant::now();
            self.due += f64::from(rate) * (now - self.filled).as_secs_f64();
            self.due = self.due.min(burst);
            self.filled = now;
            if 1.0 <= self.due {
                break;
            }
            thread::sleep(TICK);
        }
        let most = buffer.len().min(self.due as usize);
        let read = self.inner.read(&mut buffer[..most])?;
        self.due -= read as f64;
        Ok(read)
    }
}

impl Write for Throttled<TcpStream> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

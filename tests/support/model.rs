//! A scripted model: the Responses API over SSE on a loopback port, answering as the script decides.
//!
//! The official program finds it through [`Model::config_toml`]. Without a script of its own a test steers it by
//! what the user writes; [`crate::Model::start`] lists the directives.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::{Gate, script, sse};

/// The longest request body that is read, in bytes: well above any conversation a test holds.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// A model that is listening. Dropping it opens its gates and closes the port.
pub struct Model {
    address: SocketAddr,
    shared: Arc<Shared>,
}

type Script = Box<dyn Fn(&Request, &Gates) -> Reply + Send + Sync>;

struct Shared {
    script: Script,
    requests: Mutex<Vec<Request>>,
    gates: Gates,
    responses: AtomicUsize,
    ended: AtomicBool,
}

/// The gates of a model by name; a gate exists as soon as somebody names it.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Gate>>);

impl Gates {
    /// The gate of this name.
    pub(crate) fn named(&self, name: &str) -> Gate {
        self.0.lock().unwrap().entry(name.to_owned()).or_default().clone()
    }

    fn open_all(&self) {
        self.0.lock().unwrap().values().for_each(Gate::open);
    }
}

/// What the model is asked: the body of one `POST /v1/responses`.
#[derive(Debug, Clone)]
pub struct Request {
    /// The whole body.
    pub body: Value,
}

impl Request {
    /// The items of the conversation so far, oldest first.
    pub fn input(&self) -> &[Value] {
        self.body["input"].as_array().map_or(&[], Vec::as_slice)
    }

    /// What the user wrote last; texts that the program adds by itself (`<environment_context>…`) do not count.
    pub fn user_text(&self) -> String {
        self.last_user().map(|(_, text)| text).unwrap_or_default()
    }

    /// What came out of the calls made since the user wrote last, oldest first.
    pub fn outputs(&self) -> Vec<String> {
        let start = self.last_user().map_or(0, |(index, _)| index + 1);
        let is_output = |item: &&Value| {
            item["type"]
                .as_str()
                .is_some_and(|kind| kind.ends_with("_call_output"))
        };
        self.input()[start..]
            .iter()
            .filter(is_output)
            .map(output_text)
            .collect()
    }

    fn last_user(&self) -> Option<(usize, String)> {
        self.input().iter().enumerate().rev().find_map(|(index, item)| {
            if item["type"] != "message" || item["role"] != "user" {
                return None;
            }
            let parts = item["content"].as_array()?;
            let text: Vec<_> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            let text = text.join("\n");
            (!text.starts_with('<')).then_some((index, text))
        })
    }
}

fn output_text(item: &Value) -> String {
    let output = &item["output"];
    output.as_str().map_or_else(|| output.to_string(), str::to_owned)
}

/// How the model answers one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A stream of these steps. It ends by itself after the last one, except after [`Step::Cut`].
    Stream(Vec<Step>),
    /// A failure before any stream: an HTTP status and a body.
    Status(u16, String),
}

/// One step of a streamed answer.
#[derive(Debug, Clone)]
pub enum Step {
    /// One message, streamed in these pieces with this pause after each.
    Say { deltas: Vec<String>, pause: Duration },
    /// One message whose stream waits at the gate after `before` and ends with `after`.
    Held {
        before: Vec<String>,
        gate: Gate,
        after: Vec<String>,
    },
    /// One reasoning item with these parts of a summary.
    Reason(Vec<String>),
    /// A call of a function tool, for instance `exec_command`; before a point stands the tool's namespace.
    Call { name: String, arguments: Value },
    /// A call of a freeform tool, for instance `apply_patch`.
    Custom { name: String, input: String },
    /// Waits, with the stream open.
    Pause(Duration),
    /// Waits at the gate, with the stream open.
    Hold(Gate),
    /// Ends the stream with `response.failed` of this code and message.
    Fail { code: String, message: String },
    /// Closes the connection in the middle of the stream.
    Cut,
}

impl Step {
    /// One message, in one piece per word, as fast as possible.
    pub fn say(text: &str) -> Step {
        let deltas = text.split_inclusive(' ').map(str::to_owned).collect();
        Step::Say {
            deltas,
            pause: Duration::ZERO,
        }
    }

    /// A shell command in the default sandbox.
    pub fn run(command: &str) -> Step {
        Step::Call {
            name: "exec_command".into(),
            arguments: serde_json::json!({ "cmd": command }),
        }
    }

    /// A shell command outside the sandbox, which the user has to allow.
    pub fn escalate(command: &str) -> Step {
        let arguments = serde_json::json!({
            "cmd": command,
            "sandbox_permissions": "require_escalated",
            "justification": script::JUSTIFICATION,
        });
        Step::Call {
            name: "exec_command".into(),
            arguments,
        }
    }

    /// A patch in the format of the `apply_patch` tool: `*** Begin Patch` … `*** End Patch`.
    pub fn patch(patch: &str) -> Step {
        Step::Custom {
            name: "apply_patch".into(),
            input: patch.into(),
        }
    }
}

impl Model {
    /// A model that does what the user's text says, one directive a line. After a call (`run`, `escalate`, `call`,
    /// the patches, `plan`) the following lines wait for its output.
    ///
    /// | line | effect |
    /// |---|---|
    /// | `say TEXT` | a message, streamed word by word |
    /// | `stream N [MSms]` | a message `word0 word1 …` of N pieces, with a pause after each |
    /// | `reason TEXT \| TEXT` | a reasoning item; `\|` separates the parts of its summary |
    /// | `run COMMAND` | `exec_command` in the sandbox |
    /// | `escalate COMMAND` | `exec_command` that asks to leave the sandbox |
    /// | `patch PATH TEXT` | `apply_patch` that adds a file with this line |
    /// | `replace PATH OLD => NEW` | `apply_patch` that changes one line |
    /// | `delete PATH` | `apply_patch` that deletes a file |
    /// | `call NAME JSON` | a function of this name, or `NAMESPACE.NAME`, with these arguments |
    /// | `plan STEP \| STEP` | `update_plan`; the first step is done, the second in progress |
    /// | `hold NAME` | a message `holding NAME`, its stream stays open until the gate NAME is opened |
    /// | `wait NAME` | nothing until the gate NAME is opened |
    /// | `sleep MS` | waits, with the stream open |
    /// | `status CODE [BODY]` | fails with this HTTP status |
    /// | `fail CODE [MESSAGE]` | ends the stream with `response.failed` |
    /// | `cut` | closes the connection in the middle of the stream |
    /// | `outputs` | a message with what came out of the calls so far |
    /// | anything else | a message `you said: …` with the whole text |
    ///
    /// A program whose last line is a call is answered `done` after it.
    pub fn start() -> Model {
        Model::listen(Box::new(script::follow))
    }

    /// A model that answers each request as `script` decides.
    pub fn with_script(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Model {
        Model::listen(Box::new(move |request, _| script(request)))
    }

    fn listen(script: Script) -> Model {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            requests: Mutex::default(),
            gates: Gates::default(),
            responses: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // A client that goes away in the middle is part of the game.
                std::thread::spawn(move || stream.map(|stream| shared.serve(&stream)));
            }
        });
        Model { address, shared }
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `config.toml` for the official program: this model, no login, no network, classic tools.
    pub fn config_toml(&self) -> String {
        format!(include_str!("config.toml.in"), port = self.port())
    }

    /// What was asked so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The gate that `hold NAME` and `wait NAME` wait at.
    pub fn gate(&self, name: &str) -> Gate {
        self.shared.gates.named(name)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.gates.open_all();
        // Whoever asked it is at an end, too.
        crate::official::sweep();
        // The accepting thread sees the end when it is woken by one more connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some((target, body)) = read_request(&mut reader)? {
            if !target.starts_with("POST ") || !target.contains("/responses") {
                sse::status(stream, 404, "nothing here")?;
                continue;
            }
            let request = Request {
                body: serde_json::from_slice(&body)?,
            };
            self.requests.lock().unwrap().push(request.clone());
            match (self.script)(&request, &self.gates) {
                Reply::Status(code, text) => sse::status(stream, code, &text)?,
                Reply::Stream(steps) => {
                    let number = self.responses.fetch_add(1, Ordering::SeqCst);
                    if sse::answer(stream, number, &steps)? == sse::End::Cut {
                        return stream.shutdown(std::net::Shutdown::Both);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The first line and the body of the next request, or nothing when the client has closed.
fn read_request(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut target = String::new();
    if reader.read_line(&mut target)? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(std::io::Error::other)?,
                "content-encoding" | "transfer-encoding" => {
                    return Err(std::io::Error::other(format!(
                        "a body in {value} is not understood"
                    )));
                }
                "expect" => reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
                _ => {}
            }
        }
    }
    if length > BODY_LIMIT {
        return Err(std::io::Error::other(format!("a body of {length} bytes")));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((target, body)))
}

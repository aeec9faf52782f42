//! What the agent needs from outside: a model to ask, tools to run, the time and some chance.

use std::sync::Arc;

use codex_protocol::ItemId;
use codex_protocol::v2::{FileUpdateChange, ThreadItem};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::RawItem;
use crate::approval::{CommandClass, Permission};
use crate::model::{ModelError, ModelEvent};
use crate::tools::{Invocation, ToolSpec};

/// Milliseconds since the Unix epoch.
pub type UnixMillis = i64;

/// Something that answers a prompt with a stream of events.
pub trait Model: Send + Sync {
    /// Asks once. The stream ends after [`ModelEvent::Completed`] or after an error; an end without either is a
    /// cut stream. When `cancel` is cancelled it ends soon and says nothing more.
    fn sample(
        &self,
        prompt: Prompt,
        cancel: CancellationToken,
    ) -> BoxStream<'static, Result<ModelEvent, ModelError>>;
}

/// The hands of the agent. The server implements it over its sandbox, its MCP clients and its file system.
pub trait Tools: Send + Sync {
    /// Looks at a call without any effect: what it is to people, how dangerous it is, what a patch would change.
    fn prepare(&self, call: ToolCall, cancel: CancellationToken) -> BoxFuture<'_, Prepared>;

    /// Runs a call that was prepared and permitted. It must end soon after `cancel` is cancelled, and tell what came
    /// out until then. A command may go on in the background after this has ended ([`CommandResult::running`]):
    /// then it keeps `output`, and ends it with [`OutputSink::ended`].
    fn run(
        &self,
        call: ToolCall,
        permission: Permission,
        output: OutputSink,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, ToolOutcome>;
}

/// One question to the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// The model's name at its provider.
    pub model: String,
    /// The system prompt.
    pub instructions: Arc<str>,
    /// The conversation, oldest first; calls and outputs are paired.
    pub input: Vec<RawItem>,
    /// What is offered; none while a conversation is summarised.
    pub tools: Arc<[ToolSpec]>,
    /// Groups requests that share a prefix, so that the provider's cache is found: the thread's id.
    pub cache_key: String,
    /// `minimal`, `low`, `medium`, `high` …; nothing leaves it to the provider.
    pub effort: Option<String>,
    /// `auto`, `concise`, `detailed`; nothing or `none` asks for no summary.
    pub summary: Option<String>,
    /// A JSON Schema that the answer must follow.
    pub output_schema: Option<Value>,
}

/// What connects a call, its item, its approval and its output. The model chooses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub String);

/// One call of a tool by the model, its arguments already understood.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    pub id: CallId,
    pub invocation: Invocation,
}

/// What a call is, before anything happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepared {
    Command(PreparedCommand),
    Patch(PreparedPatch),
    /// Writing to, or waiting for, a command that runs. An empty `stdin` only waits and is not shown.
    Interaction {
        /// The command's own item, perhaps of an earlier turn.
        item_id: ItemId,
        process_id: String,
        stdin: String,
    },
    /// Shown as this item, which must be in progress or without a status, with an id of its own: image views, calls of MCP and dynamic tools.
    Item(ThreadItem),
    /// Nothing will happen and the model is told why: a patch that does not apply, an unknown session.
    Refused(String),
}

/// A command that could be run.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedCommand {
    /// As people read it: quoted for a shell.
    pub command: String,
    /// What rules and grants are compared with: the words of a plain command, else the whole argument vector with
    /// its shell.
    pub words: Vec<String>,
    pub cwd: String,
    /// The protocol's `commandActions`.
    pub actions: Vec<Value>,
    pub class: CommandClass,
}

/// A patch that would apply.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedPatch {
    /// With absolute paths.
    pub changes: Vec<FileUpdateChange>,
    /// Whether the sandbox's policy allows every file of it to be written.
    pub writable: bool,
}

/// What came out of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOutcome {
    /// For the model.
    pub output: ToolOutput,
    /// For the item.
    pub result: ToolResult,
}

/// What the model is told.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolOutput {
    Text(String),
    /// Content parts of the API, for instance `input_image`.
    Parts(Vec<Value>),
}

/// What the item is told.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolResult {
    Command(CommandResult),
    Patch(PatchResult),
    /// The item as it ends. Its id must be that of the item which was prepared.
    Item(ThreadItem),
    /// The item ends as it began.
    Nothing,
}

/// How a command stands when its call ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandResult {
    /// The process goes on in the background.
    pub running: bool,
    pub process_id: Option<String>,
    /// `None` for a running process, and for one that was killed or never started.
    pub exit_code: Option<i32>,
    /// All output so far, bounded and marked where it was cut.
    pub output: Option<String>,
    pub duration_ms: i64,
}

/// How a patch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchResult {
    /// Written. Contents before and after, for the diff of the whole turn; `None`: the file does not exist.
    Applied(Vec<FileContent>),
    /// Not written, or rolled back.
    Failed,
}

/// One file before and after a patch, by absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileContent {
    pub path: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Where a running call tells what comes out of it. Clones tell about the same call.
#[derive(Clone, Debug)]
pub struct OutputSink {
    call: CallId,
    updates: tokio::sync::mpsc::Sender<(CallId, ToolUpdate)>,
}

/// News of a call that runs.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolUpdate {
    /// Text to be appended to the item's output.
    Output(String),
    /// The process that runs the command.
    Process(String),
    /// A background command has ended.
    Ended(CommandResult),
}

impl OutputSink {
    pub(crate) fn new(call: CallId, updates: tokio::sync::mpsc::Sender<(CallId, ToolUpdate)>) -> OutputSink {
        OutputSink { call, updates }
    }

    /// Appends to the item's output; waits while the listeners are behind. Whoever listened may be gone.
    pub async fn text(&self, text: impl Into<String>) {
        self.tell(ToolUpdate::Output(text.into())).await;
    }

    /// Tells which process runs the command.
    pub async fn process(&self, id: impl Into<String>) {
        self.tell(ToolUpdate::Process(id.into())).await;
    }

    /// Tells that a background command has ended.
    pub async fn ended(&self, result: CommandResult) {
        self.tell(ToolUpdate::Ended(result)).await;
    }

    async fn tell(&self, update: ToolUpdate) {
        // The turn may rightly be over for good, for instance when the server goes down.
        let _ = self.updates.send((self.call.clone(), update)).await;
    }
}

/// Time and chance, which are inputs.
#[derive(Clone, Copy, Debug)]
pub struct Outside {
    pub now: fn() -> UnixMillis,
    /// Evenly between 0 and 1, for pauses between attempts.
    pub jitter: fn() -> f64,
}

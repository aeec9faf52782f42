//! A turn that runs: its ports, what it told, and what it is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use codex_agent::approval::{ApprovalPolicy, CommandClass, Containment, Grants, Permission};
use codex_agent::model::{Provider, ProviderConfig, Responses, wire};
use codex_agent::ports::{
    CommandResult, FileContent, Model, OutputSink, Outside, PatchResult, Prepared, PreparedCommand,
    PreparedPatch, ToolCall, ToolOutcome, ToolOutput, ToolResult, Tools,
};
use codex_agent::run::{COMMANDS_MAX, Command, OUTPUTS_MAX, Ports, TurnOutput, run};
use codex_agent::tools::patch::{self, Disk};
use codex_agent::tools::{Invocation, PatchTool, built_in};
use codex_agent::turn::{ModelSettings, NotSteerable, Record, Said, Setup, Turn, TurnEvent, TurnKind};
use codex_protocol::v2::{ThreadItem, ThreadTokenUsage, TurnError, TurnStatus, UserInput, UserMessage};
use futures_util::future::BoxFuture;
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Everything here takes milliseconds; a busy machine takes seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// Tools with real patches in a folder of their own, and commands that are only words:
/// `meet` waits for another `meet`, `stay` until it is stopped, `deaf` for ever, `panic` breaks down.
pub(crate) struct Workshop {
    pub(crate) folder: PathBuf,
    meeting: Barrier,
}

impl Workshop {
    pub(crate) fn new(folder: PathBuf) -> Arc<Workshop> {
        Arc::new(Workshop {
            folder,
            meeting: Barrier::new(2),
        })
    }

    fn prepare_now(&self, call: &ToolCall) -> Prepared {
        match &call.invocation {
            Invocation::Exec(exec) => Prepared::Command(PreparedCommand {
                command: exec.cmd.clone(),
                words: exec.cmd.split(' ').map(str::to_owned).collect(),
                cwd: self.folder.to_string_lossy().into_owned(),
                actions: Vec::new(),
                class: CommandClass::Unknown,
            }),
            Invocation::Patch(text) => match patch::plan(text, &self.folder, &mut Disk::default()) {
                Ok(plan) => Prepared::Patch(PreparedPatch {
                    changes: plan.changes,
                    writable: true,
                }),
                Err(error) => Prepared::Refused(error.to_string()),
            },
            other => Prepared::Refused(format!("no {other:?} here")),
        }
    }

    async fn run_command(
        &self,
        command: &str,
        output: &OutputSink,
        cancel: &CancellationToken,
    ) -> CommandResult {
        match command {
            "meet" => {
                self.meeting.wait().await;
            }
            "stay" => {
                output.text("staying").await;
                cancel.cancelled().await;
                return CommandResult {
                    output: Some("stayed".into()),
                    ..CommandResult::default()
                };
            }
            "deaf" => std::future::pending().await,
            "panic" => panic!("a defect of the tool"),
            other => output.text(format!("ran {other}")).await,
        }
        CommandResult {
            exit_code: Some(0),
            output: Some(format!("ran {command}")),
            ..CommandResult::default()
        }
    }

    fn apply(&self, text: &str) -> Result<Vec<FileContent>, patch::PatchError> {
        let plan = patch::plan(text, &self.folder, &mut Disk::default())?;
        patch::apply(&plan, &mut Disk::default())?;
        Ok(plan.files)
    }
}

impl Tools for Workshop {
    fn prepare(&self, call: ToolCall, _cancel: CancellationToken) -> BoxFuture<'_, Prepared> {
        Box::pin(async move { self.prepare_now(&call) })
    }

    fn run(
        &self,
        call: ToolCall,
        _permission: Permission,
        output: OutputSink,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, ToolOutcome> {
        Box::pin(async move {
            let (text, result) = match &call.invocation {
                Invocation::Exec(exec) => {
                    let result = self.run_command(&exec.cmd, &output, &cancel).await;
                    (
                        result.output.clone().unwrap_or_default(),
                        ToolResult::Command(result),
                    )
                }
                Invocation::Patch(text) => match self.apply(text) {
                    Ok(files) => ("done".to_owned(), ToolResult::Patch(PatchResult::Applied(files))),
                    Err(error) => (error.to_string(), ToolResult::Patch(PatchResult::Failed)),
                },
                _ => (String::new(), ToolResult::Nothing),
            };
            ToolOutcome {
                output: ToolOutput::Text(text),
                result,
            }
        })
    }
}

pub(crate) fn outside() -> Outside {
    let now = || {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        i64::try_from(since.as_millis()).unwrap()
    };
    Outside { now, jitter: || 0.5 }
}

/// One retry of each kind and a short idle time, at this port.
pub(crate) fn provider(port: u16) -> Provider {
    let config = ProviderConfig {
        base_url: Some(format!("http://127.0.0.1:{port}/v1")),
        request_max_retries: Some(1),
        stream_max_retries: Some(1),
        stream_idle_timeout_ms: Some(10_000),
        ..ProviderConfig::default()
    };
    config.resolve("test", |_| None, None).unwrap()
}

pub(crate) fn setup() -> Setup {
    Setup {
        thread_id: "thread-1".into(),
        turn_id: "turn-1".into(),
        kind: TurnKind::Regular,
        model: ModelSettings {
            name: "scripted".into(),
            effort: Some("low".into()),
            summary: Some("auto".into()),
            output_schema: None,
            context_window: None,
            compact_at: None,
        },
        instructions: "be good".into(),
        tools: built_in(PatchTool::Freeform).into(),
        history: Vec::new(),
        policy: ApprovalPolicy::OnRequest,
        containment: Containment::Sandboxed,
        grants: Grants::default(),
        usage: ThreadTokenUsage::default(),
        stream_max_retries: 1,
        reopened: Vec::new(),
    }
}

pub(crate) fn said(text: &str) -> Said {
    let content = vec![UserInput::text(text)];
    let raw = wire::user_message(&content, |_| Err(std::io::ErrorKind::NotFound.into()));
    Said {
        message: UserMessage {
            id: format!("user-{text}").as_str().into(),
            client_id: None,
            content,
        },
        raw,
    }
}

/// A turn on its way.
pub(crate) struct Stage {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) cancel: CancellationToken,
    outputs: mpsc::Receiver<TurnOutput>,
    pub(crate) told: Vec<TurnEvent>,
    pub(crate) records: Vec<Record>,
    /// Which words were taken, and how much was told before.
    pub(crate) steered: Vec<(u64, Result<(), NotSteerable>, usize)>,
    _turn: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn start(model: Arc<dyn Model>, setup: Setup, text: &str) -> Stage {
        Stage::begin(model, setup, vec![said(text)])
    }

    /// Goes on with a turn of an earlier process.
    pub(crate) fn reopened(provider: Provider, setup: Setup) -> Stage {
        Stage::begin(
            Arc::new(Responses::new(provider, outside()).unwrap()),
            setup,
            Vec::new(),
        )
    }

    fn begin(model: Arc<dyn Model>, setup: Setup, said: Vec<Said>) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let tools = Workshop::new(folder.path().to_owned());
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let (outputs_in, outputs) = mpsc::channel(OUTPUTS_MAX);
        let ports = Ports {
            model,
            tools,
            outside: outside(),
        };
        let cancel = CancellationToken::new();
        let mut turn = JoinSet::new();
        turn.spawn(run(
            Turn::new(setup),
            said,
            ports,
            commands_out,
            outputs_in,
            cancel.clone(),
        ));
        Stage {
            commands,
            cancel,
            outputs,
            told: Vec::new(),
            records: Vec::new(),
            steered: Vec::new(),
            _turn: turn,
            _folder: folder,
        }
    }

    /// At the model that listens on this port.
    pub(crate) fn at(port: u16, text: &str) -> Stage {
        Stage::with(provider(port), setup(), text)
    }

    pub(crate) fn with(provider: Provider, setup: Setup, text: &str) -> Stage {
        let setup = Setup {
            stream_max_retries: provider.stream_max_retries,
            ..setup
        };
        Stage::start(
            Arc::new(Responses::new(provider, outside()).unwrap()),
            setup,
            text,
        )
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self._folder.path()
    }

    /// Takes what is told until this condition holds; false when the turn is over before.
    pub(crate) async fn until(&mut self, name: &str, mut holds: impl FnMut(&TurnOutput) -> bool) -> bool {
        let wait = async {
            while let Some(output) = self.outputs.recv().await {
                let found = holds(&output);
                match output {
                    TurnOutput::Emit(event) => self.told.push(event),
                    TurnOutput::Record(record) => self.records.push(record),
                    TurnOutput::Flush(done) => done.send(()).unwrap(),
                    TurnOutput::Steered { number, taken } => {
                        self.steered.push((number, taken, self.told.len()));
                    }
                    TurnOutput::Ask(..) | TurnOutput::Withdraw(_) | TurnOutput::Over(_) => {}
                }
                if found {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(DEADLINE, wait).await {
            Ok(found) => found,
            Err(_) => panic!("waited for: {name}; told so far: {:#?}", self.told),
        }
    }

    pub(crate) async fn until_told(&mut self, name: &str, mut holds: impl FnMut(&TurnEvent) -> bool) {
        let found = self
            .until(
                name,
                |output| matches!(output, TurnOutput::Emit(event) if holds(event)),
            )
            .await;
        assert!(found, "never came: {name}; told: {:#?}", self.told);
    }

    /// Waits for the end of everything and returns how the turn ended.
    pub(crate) async fn end(&mut self) -> (TurnStatus, Option<TurnError>) {
        self.until("the end of the turn", |_| false).await;
        let end = self.told.iter().find_map(|event| match event {
            TurnEvent::Completed { status, error, .. } => Some((status.clone(), error.clone())),
            _ => None,
        });
        end.expect("the turn was never completed")
    }

    /// The texts of all completed messages of the model.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.items()
            .filter_map(|item| match item {
                ThreadItem::AgentMessage(message) => Some(message.text.clone()),
                _ => None,
            })
            .collect()
    }

    /// All completed items.
    pub(crate) fn items(&self) -> impl Iterator<Item = &ThreadItem> {
        self.told.iter().filter_map(|event| match event {
            TurnEvent::ItemCompleted { item, .. } => Some(item),
            _ => None,
        })
    }

    /// The retries that were told, as their messages.
    pub(crate) fn retries(&self) -> Vec<String> {
        self.told
            .iter()
            .filter_map(|event| match event {
                TurnEvent::Error {
                    error,
                    will_retry: true,
                } => Some(error.message.clone()),
                _ => None,
            })
            .collect()
    }
}

//! The hands of the agent on this host: commands, patches, images.

mod actions;
mod commands;
mod dynamic;
mod environment;
mod mcp;
mod patches;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use codex_agent::{
    approval::{ApprovalPolicy, Permission},
    model::wire,
    ports::{OutputSink, Prepared, ToolCall, ToolOutcome, ToolOutput, ToolResult, Tools},
    tools::Invocation,
};
use codex_exec::sandbox::{Confinement, Place};
use codex_protocol::{
    ItemId, ThreadId, TurnId,
    v2::{DangerFullAccess, ImageView, SandboxPolicy, ThreadItem},
};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{ask::Wish, dynamic::DynamicTools};
use crate::server::Server;

pub(crate) use commands::reason;
pub(super) use commands::{Sessions, shown};
pub(super) use environment::{environment, shell, shell_name};

/// The largest image that the model is shown, in bytes: providers refuse larger ones.
const IMAGE_BYTES_MAX: u64 = 20 << 20;

/// What one turn may do, and where.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) server: Server,
    /// Absolute.
    pub(super) cwd: PathBuf,
    pub(super) sandbox: SandboxPolicy,
    pub(super) environment: Arc<BTreeMap<String, String>>,
    /// Those that a confined command may connect to.
    pub(super) unix_sockets: Vec<PathBuf>,
    /// The path of the user's shell.
    pub(super) shell: String,
    /// The thread's commands that go on in the background.
    pub(super) sessions: Arc<Sessions>,
    pub(super) thread: ThreadId,
    pub(super) turn: TurnId,
    /// When the user is asked about calls of MCP servers.
    pub(super) policy_of_questions: ApprovalPolicy,
    /// Takes questions of MCP servers to the user, and calls to the clients that run them.
    pub(super) questions: mpsc::Sender<Wish>,
    /// The tools of the thread's clients.
    pub(super) dynamic: Arc<DynamicTools>,
}

impl Hands {
    fn policy(&self, permission: Permission) -> SandboxPolicy {
        match permission {
            Permission::Sandboxed => self.sandbox.clone(),
            Permission::Unsandboxed => SandboxPolicy::DangerFullAccess(DangerFullAccess {}),
        }
    }

    /// Whether the sandbox's policy lets this file be written.
    fn may_write(&self, path: &Path, hidden: &[PathBuf]) -> bool {
        let place = Place {
            cwd: &self.cwd,
            tmpdir: self.environment.get("TMPDIR").map(Path::new),
            hidden,
        };
        match Confinement::resolve(&self.sandbox, place) {
            Ok(Confinement::None) => true,
            Ok(Confinement::Rules(rules)) => rules.may_write(path),
            Err(_) => false,
        }
    }
}

impl Tools for Hands {
    fn prepare(&self, call: ToolCall, _cancel: CancellationToken) -> BoxFuture<'_, Prepared> {
        Box::pin(async move {
            match &call.invocation {
                Invocation::Exec(exec) => self.prepare_command(exec),
                Invocation::WriteStdin(write) => self.sessions.prepare(write),
                Invocation::Patch(text) => self.prepare_patch(text.clone()).await,
                Invocation::ViewImage(view) => {
                    let path = self.cwd.join(&view.path).display().to_string();
                    let id = ItemId(call.id.0.clone());
                    Prepared::Item(ThreadItem::ImageView(ImageView { id, path }))
                }
                Invocation::Plan(_) => Prepared::Refused("A plan is not run.".to_owned()),
                Invocation::Other {
                    namespace,
                    name,
                    arguments,
                } => self
                    .prepare_dynamic(&call.id, namespace.as_deref(), name, arguments)
                    .unwrap_or_else(|| self.prepare_other(&call.id, name, arguments)),
            }
        })
    }

    fn run(
        &self,
        call: ToolCall,
        permission: Permission,
        output: OutputSink,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, ToolOutcome> {
        Box::pin(async move {
            match call.invocation {
                Invocation::Exec(exec) => self.run_command(&call.id, exec, permission, output, cancel).await,
                Invocation::WriteStdin(write) => self.sessions.write(write, cancel).await,
                Invocation::Patch(text) => self.run_patch(text, permission).await,
                Invocation::ViewImage(view) => self.view(self.cwd.join(view.path)).await,
                Invocation::Other {
                    namespace,
                    name,
                    arguments,
                } => match self.dynamic.find(namespace.as_deref(), &name) {
                    Some(known) => self.run_dynamic(call.id, known, arguments, cancel).await,
                    None => self.run_other(call.id, &name, arguments, output, cancel).await,
                },
                Invocation::Plan(_) => nothing("A plan is not run."),
            }
        })
    }
}

impl Hands {
    async fn view(&self, path: PathBuf) -> ToolOutcome {
        let read = tokio::task::spawn_blocking(move || image(&path)).await;
        match read {
            Ok(Ok(part)) => ToolOutcome {
                output: ToolOutput::Parts(vec![part]),
                result: ToolResult::Nothing,
            },
            Ok(Err(why)) => nothing(&why),
            Err(_) => nothing("The image could not be read because of a defect in the tool."),
        }
    }
}

/// An image as a part of the output. The error is what the model is told.
fn image(path: &Path) -> Result<serde_json::Value, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("The image {shown} could not be read: {error}");
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file."));
    }
    if IMAGE_BYTES_MAX < metadata.len() {
        return Err(format!(
            "The image {shown} is larger than {IMAGE_BYTES_MAX} bytes."
        ));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    wire::image_part(&bytes).ok_or_else(|| format!("{shown} is no PNG, JPEG, GIF or WebP image."))
}

/// The model is told this, and nothing else happened.
fn nothing(text: &str) -> ToolOutcome {
    ToolOutcome {
        output: ToolOutput::Text(text.to_owned()),
        result: ToolResult::Nothing,
    }
}

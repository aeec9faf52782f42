//! The server on the host: starting it, the handshake, and how it ended.

use bytes::BytesMut;
use codex_hosts::{Failure, FailureKind, HostId, Phase};
use codex_protocol::{Method, method, v2};
use codex_rpc::{self as rpc, End};
use codex_ssh::{Exit, ExitWatch, Process, Session, Stderr};
use tokio::{io::AsyncReadExt, sync::mpsc, time::timeout};

use crate::{
    launch::{self, Found, Outcome},
    limits,
};

/// Starts the server: the process, what the host said of itself, the server's path, and what was read
/// beyond the mark.
pub(crate) async fn launch(
    id: &HostId,
    session: &Session,
) -> Result<(Process, Found, String, BytesMut), Failure> {
    let nonce: String = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
    let mut process = session
        .exec(&launch::command_line(&nonce))
        .await
        .map_err(|error| {
            not_launched(
                FailureKind::Forbidden,
                format!("starting a command: {}", chain(&error)),
            )
        })?;
    let mut printed = BytesMut::new();
    let marked = timeout(
        limits::LAUNCH_PATIENCE,
        read_mark(&nonce, &mut process, &mut printed),
    );
    let why = match marked.await {
        Ok(Some(found)) => match found.outcome.clone() {
            Outcome::Codex { path } => return Ok((process, found, path, printed)),
            Outcome::Missing { searched, asked } => return Err(not_installed(id, &searched, asked)),
        },
        Ok(None) => match timeout(limits::LAST_WORDS_PATIENCE, process.exit().wait()).await {
            Ok(Exit::Lost(closed)) => {
                return Err(not_launched(FailureKind::Unreachable, closed.to_string()));
            }
            Ok(exit) => format!(": {exit}"),
            Err(_) => format!(": it printed over {} bytes", launch::NOISE_BYTES_MAX),
        },
        Err(_) => format!(" within {:?}", limits::LAUNCH_PATIENCE),
    };
    let message = format!("the login shell did not start codex{why}");
    Err(Failure {
        hint: Some(format!("look at what `ssh {id} true` prints and whether it ends")),
        stderr: said(&printed, &process.stderr()),
        ..not_launched(FailureKind::LaunchFailed, message)
    })
}

/// Reads up to the mark; `None` when the output ends before it, or is too much.
async fn read_mark(nonce: &str, process: &mut Process, printed: &mut BytesMut) -> Option<Found> {
    loop {
        if let Some((found, _noise)) = launch::take_mark(nonce, printed) {
            return Some(found);
        }
        let is_full = launch::NOISE_BYTES_MAX < printed.len();
        if is_full || !matches!(process.read_buf(printed).await, Ok(1..)) {
            return None;
        }
    }
}

fn not_launched(kind: FailureKind, message: String) -> Failure {
    Failure {
        kind,
        phase: Some(Phase::Launching),
        message,
        hint: None,
        stderr: None,
    }
}

fn not_installed(id: &HostId, searched: &str, asked: bool) -> Failure {
    let silent = if asked {
        String::new()
    } else {
        let seconds = launch::SHELL_PATIENCE_S;
        format!("; the login shell did not tell its own PATH within {seconds} s")
    };
    let message = format!(
        "there is no codex on {id}: looked in the login shell's PATH ({searched}) and in the usual folders{silent}"
    );
    let hint = "install it there, e.g. with `npm install -g @openai/codex@0.169.0`, and connect again";
    Failure {
        hint: Some(hint.to_owned()),
        ..not_launched(FailureKind::NotInstalled, message)
    }
}

/// What the remote printed, for a failure: its noise on stdout and its stderr.
fn said(printed: &[u8], stderr: &Stderr) -> Option<String> {
    let printed = String::from_utf8_lossy(printed);
    let text = format!("{}\n{}", printed.trim(), stderr.tail(limits::STDERR_LINES));
    Some(text.trim().to_owned()).filter(|it| !it.is_empty())
}

pub(crate) async fn initialize(
    client: &rpc::Client,
    client_info: &v2::ClientInfo,
) -> Result<v2::InitializeResponse, rpc::CallError> {
    let capabilities = v2::InitializeCapabilities {
        experimental_api: false,
        // Of no use here, and not small: the whole diff of a turn comes with each patch.
        opt_out_notification_methods: [
            "turn/diff/updated",
            "account/rateLimits/updated",
            "skills/changed",
        ]
        .map(str::to_owned)
        .to_vec(),
    };
    let params = v2::InitializeParams {
        client_info: client_info.clone(),
        capabilities: Some(capabilities),
    };
    let name = method::Initialize::NAME;
    let params = serde_json::value::to_raw_value(&params).ok();
    let answer = client
        .call(name, params, Some(limits::INITIALIZE_PATIENCE))
        .await?;
    client.notify("initialized", None).await;
    // A server that answers in another shape is still a server: nothing in the answer is needed.
    let unknown = || v2::InitializeResponse {
        user_agent: String::new(),
        codex_home: String::new(),
        platform_family: String::new(),
        platform_os: String::new(),
    };
    Ok(serde_json::from_str(answer.get()).unwrap_or_else(|_| unknown()))
}

/// The server is there and does not speak the protocol.
pub(crate) fn no_handshake(
    error: &rpc::CallError,
    events: &mut mpsc::Receiver<rpc::Event>,
    stderr: &Stderr,
    path: &str,
) -> Failure {
    let mut garbage = None;
    while let Ok(event) = events.try_recv() {
        if let rpc::Event::Malformed(why) = event {
            garbage.get_or_insert(why);
        }
    }
    let message = match garbage {
        Some(garbage) => format!("{path} does not speak the app-server protocol: {garbage}"),
        None => format!("{path} refused the handshake: {error}"),
    };
    let kind = match error {
        rpc::CallError::Closed { .. } => FailureKind::Unreachable,
        rpc::CallError::Refused(_)
        | rpc::CallError::TimedOut { .. }
        | rpc::CallError::TooLong { .. }
        | rpc::CallError::Busy(_) => FailureKind::Incompatible,
    };
    let hint = Some(format!(
        "run `{path} --version` on the host; 0.169.0 is known to work"
    ));
    Failure {
        kind,
        phase: Some(Phase::Initializing),
        message,
        hint,
        stderr: said(&[], stderr),
    }
}

/// Why the conversation ended.
pub(crate) async fn ended(
    end: End,
    exit: &ExitWatch,
    stderr: &Stderr,
    phase: Option<Phase>,
    path: &str,
) -> Failure {
    // The end of the stream comes before the reason for it.
    let exit = timeout(limits::LAST_WORDS_PATIENCE, exit.wait())
        .await
        .unwrap_or(Exit::Unknown);
    let (kind, message) = match (exit, end) {
        (Exit::Lost(closed), _) => (FailureKind::Unreachable, closed.to_string()),
        (Exit::Unknown, End::Broken(error)) => (FailureKind::Unreachable, chain(&error)),
        (exit, _) => {
            let kind = if phase.is_some() {
                FailureKind::LaunchFailed
            } else {
                FailureKind::ServerExited
            };
            (kind, format!("{path} app-server ended: {exit}"))
        }
    };
    let hint = (kind == FailureKind::LaunchFailed)
        .then(|| format!("run `{path} app-server` on the host and see what it says"));
    let stderr = if kind == FailureKind::Unreachable {
        None
    } else {
        said(&[], stderr)
    };
    Failure {
        kind,
        phase,
        message,
        hint,
        stderr,
    }
}

/// An error with all its causes, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

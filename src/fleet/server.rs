//! The server on the host: starting it, the handshake, and how it ended.

use bytes::BytesMut;
use codex_hosts::{Failure, FailureKind, HostId, Phase};
use codex_protocol::{Method, method, v2};
use codex_rpc::{self as rpc, End};
use codex_ssh::{ExecError, Process, Session};
use tokio::{io::AsyncRead, sync::mpsc, time::timeout};

use crate::{
    around::{Detour, How, Script, begin},
    install,
    launch::{self, Found, Outcome, Server, command_line, command_line_with_input},
    limits,
    shell::SHELL_PATIENCE_S,
    witness::{Ended, Witness},
};

/// A server that has said where it is.
pub(crate) struct Started {
    pub(crate) found: Found,
    /// The server's path.
    pub(crate) path: String,
    /// What was read beyond the mark: the server's own.
    pub(crate) rest: BytesMut,
    /// What start-up files printed before the mark.
    pub(crate) noise: String,
    /// What else they did.
    pub(crate) detour: Option<Detour>,
}

/// Starts the server over SSH.
pub(crate) async fn launch(
    id: &HostId,
    session: &Session,
    server: &Server,
) -> Result<(Process, Started), Failure> {
    let nonce = nonce();
    let script = Script {
        nonce: &nonce,
        plain: &command_line(&nonce, server),
        around: &command_line_with_input(&nonce, server),
        ends: false,
        patience: limits::LAUNCH_PATIENCE,
    };
    let begun = begin(session, &script).await;
    let begun = begun.map_err(|error| not_started(&error))?;
    let (process, printed) = (begun.process, begun.printed);
    let witness = Witness::Ssh(process.exit(), process.stderr());
    not_begun(id, begun.how, &printed, &witness)?;
    let (process, mut started) = launched(id, &nonce, process, printed, &witness, server).await?;
    if begun.around {
        let shell = launch::shell_of(&nonce, &mut started.noise);
        started.detour = Some(shell.map_or(Detour::Input, Detour::Shell));
    }
    Ok((process, started))
}

/// The failure of a script that has not said its first word, as far as it needs no look at how it ended.
pub(crate) fn not_begun(id: &HostId, how: How, printed: &[u8], witness: &Witness) -> Result<(), Failure> {
    Err(match how {
        How::Runs | How::Ended => return Ok(()),
        How::TooMuch => unsaid(id, &launch::too_much(), printed, witness),
        How::Late => {
            let why = format!(" within {:?}", limits::LAUNCH_PATIENCE);
            unsaid(id, &why, printed, witness)
        }
        How::Astray => astray(id, printed, witness),
    })
}

fn unsaid(id: &HostId, why: &str, printed: &[u8], witness: &Witness) -> Failure {
    let said = said(printed, witness);
    let (message, hint) = never_ran(id, why, said.as_deref().unwrap_or_default());
    Failure {
        hint: Some(hint),
        stderr: said,
        ..not_launched(FailureKind::LaunchFailed, message)
    }
}

/// A script whose output leads elsewhere.
pub(crate) fn astray(id: &HostId, printed: &[u8], witness: &Witness) -> Failure {
    Failure {
        hint: Some(format!(
            "let the start-up files of {id} (such as .bashrc, .zshenv, config.fish) redirect the output of their shell only for terminals (`case $- in *i*) exec >…;; esac`): see whether `ssh {id} echo hello` prints"
        )),
        stderr: said(printed, witness),
        ..not_launched(FailureKind::LaunchFailed, ASTRAY.to_owned())
    }
}

/// What is said of a script whose output leads elsewhere.
pub(crate) const ASTRAY: &str =
    "a start-up file of the login shell takes the standard output of every command away (`exec >…`)";

/// A command that the host did not start.
pub(crate) fn not_started(error: &ExecError) -> Failure {
    let (kind, hint) = match error {
        ExecError::ChannelRefused { .. } => (
            FailureKind::Forbidden,
            "the sshd of the host opens no session for commands: see MaxSessions in its sshd_config",
        ),
        ExecError::CommandRefused => (
            FailureKind::Forbidden,
            "this account may not run commands there: ask the host's administrator",
        ),
        ExecError::TimedOut { .. } => (
            FailureKind::TimedOut,
            "the host is overloaded, or its sshd waits for something: look at it with `ssh`",
        ),
        // Also where the server runs nothing for this account: a folder that is missing ends its part for it.
        _ => (
            FailureKind::Unreachable,
            "it is tried again; if it goes on so, the log of the host's sshd says why it ends (ChrootDirectory, a session that PAM refuses)",
        ),
    };
    let message = match error {
        // It says so itself.
        ExecError::Closed(_) => chain(error),
        _ => format!("starting a command: {}", chain(error)),
    };
    Failure {
        hint: Some(hint.to_owned()),
        ..not_launched(kind, message)
    }
}

/// Waits until the host has said what it starts. `printed` was read already.
pub(crate) async fn launched<S: AsyncRead + Unpin>(
    id: &HostId,
    nonce: &str,
    mut process: S,
    mut printed: BytesMut,
    witness: &Witness,
    server: &Server,
) -> Result<(S, Started), Failure> {
    let why = match marked(nonce, &mut process, &mut printed).await {
        Ok(found) => return Ok((process, started(id, found, printed, server)?)),
        Err(NoMark::Late) => format!(" within {:?}", limits::LAUNCH_PATIENCE),
        Err(NoMark::Ended) => match witness.ended().await {
            Some(Ended::Lost(why)) => return Err(not_launched(FailureKind::Unreachable, why)),
            Some(Ended::Exited(exit)) => format!(": {exit}"),
            Some(Ended::Closed) => ": its channel was closed".to_owned(),
            None => launch::too_much(),
        },
    };
    let (message, hint) = match launch::runs(nonce, &printed) {
        true => (
            format!("the shell on {id} did not start codex{why}"),
            format!("look at what `ssh {id} true` prints and whether it ends"),
        ),
        false => never_ran(id, &why, &said(&printed, witness).unwrap_or_default()),
    };
    Err(Failure {
        hint: Some(hint),
        stderr: said(&printed, witness),
        ..not_launched(FailureKind::LaunchFailed, message)
    })
}

/// What OpenSSH's internal-sftp says to any other request.
pub(crate) const SFTP_ONLY: &str = "sftp connections only";

/// What shells say to a quoted script of which somebody has made words.
const UNQUOTED: [&str; 4] = [
    "nterminated quoted string",
    "looking for matching",
    "Unmatched",
    "Unknown command: exec",
];

/// What stands in the way when not even the first word of the script came, and what can be done. `why` goes on from
/// there: how it ended, or how long it was waited for.
pub(crate) fn never_ran(id: &HostId, why: &str, said: &str) -> (String, String) {
    let message = format!("the login shell did not run the command that starts codex{why}");
    (message, why_never_ran(id, why, said))
}

/// What can be done about a shell that ran nothing of a script.
pub(crate) fn why_never_ran(id: &HostId, why: &str, said: &str) -> String {
    if said.contains("restricted") {
        format!("the login shell on {id} is a restricted one: codex needs an account with a full shell")
    } else if said.contains(SFTP_ONLY) {
        format!(
            "the sshd of {id} runs only its sftp for this account (ForceCommand internal-sftp in its sshd_config): codex needs an account that runs commands"
        )
    } else if UNQUOTED.iter().any(|it| said.contains(it)) {
        format!(
            "something on {id} takes the quotes of commands apart: let a ForceCommand of its sshd_config, or `command=` of its authorized_keys, run `sh -c \"$SSH_ORIGINAL_COMMAND\"`, and see what `ssh {id} \"sh -c 'echo hello'\"` prints"
        )
    } else if why == launch::too_much() {
        format!(
            "a start-up file of the login shell (such as .bashrc or .zshenv) prints without end, or the server runs another command that does (ForceCommand in sshd_config, command= in authorized_keys): see what `ssh {id} true` prints"
        )
    } else if why.starts_with(" within") {
        format!(
            "a start-up file of the login shell (such as .bashrc, .zshenv, .cshrc, config.fish, ~/.ssh/rc) waits for something, or takes the output away, or the server runs another command that does not end (ForceCommand in sshd_config, command= in authorized_keys): see whether `ssh {id} true` ends and `ssh {id} echo hello` prints"
        )
    } else {
        format!(
            "either a start-up file of the login shell (such as .bashrc or .zshenv) ends it, or the account has a shell that runs nothing (nologin, false) or is shut into a folder without its shell (ChrootDirectory), or the server runs another command (ForceCommand in sshd_config, command= in authorized_keys): see what `ssh {id} echo hello` prints"
        )
    }
}

pub(crate) fn nonce() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(16).collect()
}

pub(crate) fn started(
    id: &HostId,
    (found, noise): (Found, String),
    rest: BytesMut,
    server: &Server,
) -> Result<Started, Failure> {
    match found.outcome.clone() {
        Outcome::Codex { path } => Ok(Started {
            found,
            path,
            rest,
            noise,
            detour: None,
        }),
        Outcome::Missing { searched, asked } => {
            Err(not_installed(id, server, &found.system, &searched, asked))
        }
    }
}

/// Why there was no mark.
pub(crate) enum NoMark {
    Late,
    /// The output ended, or was too much.
    Ended,
}

/// Waits until the host has said what it starts, and takes that out of what it printed.
pub(crate) async fn marked(
    nonce: &str,
    stream: &mut (impl AsyncRead + Unpin),
    printed: &mut BytesMut,
) -> Result<(Found, String), NoMark> {
    match timeout(limits::LAUNCH_PATIENCE, read_mark(nonce, stream, printed)).await {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(NoMark::Ended),
        Err(_) => Err(NoMark::Late),
    }
}

/// Reads up to the mark; `None` when the output ends before it, or is too much.
async fn read_mark(
    nonce: &str,
    stream: &mut (impl AsyncRead + Unpin),
    printed: &mut BytesMut,
) -> Option<(Found, String)> {
    let mut noise = launch::Noise::default();
    loop {
        if let Some(marked) = launch::take_mark(nonce, printed) {
            return Some(marked);
        }
        if !noise.read(stream, printed).await {
            return None;
        }
    }
}

pub(crate) fn not_launched(kind: FailureKind, message: String) -> Failure {
    Failure {
        kind,
        phase: Some(Phase::Launching),
        message,
        hint: None,
        stderr: None,
    }
}

fn not_installed(id: &HostId, server: &Server, system: &str, searched: &str, asked: bool) -> Failure {
    let silent = if asked {
        String::new()
    } else {
        let seconds = SHELL_PATIENCE_S;
        format!("; the login shell did not tell its own PATH: it ended before, or took over {seconds} s")
    };
    let wanted = server.wanted();
    if matches!(server, Server::At(_)) {
        let message = format!("there is no {wanted} on {id}");
        return Failure {
            hint: Some("correct `server` in the settings of the host".to_owned()),
            ..not_launched(FailureKind::NotInstalled, message)
        };
    }
    let message = format!(
        "there is no {wanted} on {id}: looked in the login shell's PATH ({searched}) and in the usual folders{silent}"
    );
    let official = "`npm install -g @openai/codex@0.169.0` on the host installs the official one";
    let hint = match server.may_be_installed() {
        true if system.is_empty() || install::is_like_this_machine(system) => {
            format!("run `codex install {id}` to put this program's own server there; {official}")
        }
        true if !install::is_supported(system) => official.to_owned(),
        true => format!(
            "this program's own server can be put there from a build for {system}: `codex install {id} --binary FILE`; {official}"
        ),
        false => official.to_owned(),
    };
    Failure {
        hint: Some(hint),
        ..not_launched(FailureKind::NotInstalled, message)
    }
}

/// What the remote printed, for a failure: its noise on stdout and its stderr.
pub(crate) fn said(printed: &[u8], witness: &Witness) -> Option<String> {
    let printed = String::from_utf8_lossy(printed);
    let text = format!("{}\n{}", last_words(&printed), last_words(&witness.stderr()));
    Some(shortened(text.trim())).filter(|it| !it.is_empty())
}

/// The last lines without marks and scripts of ours: they are no words of the host, also where it says them back.
fn last_words(text: &str) -> String {
    let own = without_ours(text);
    let lines: Vec<&str> = own.lines().collect();
    let last = lines.len().saturating_sub(limits::STDERR_LINES);
    lines[last..].join("\n").trim().to_owned()
}

/// The lines of a host that are not empty, without what is ours in them: marks, scripts that it says back, and what an
/// `alias` or `set -x` makes of them.
pub(crate) fn without_ours(text: &str) -> String {
    let ours = |line: &str| {
        let begins = [
            "\u{1e}codex-",
            launch::OPENING,
            // As fish quotes it.
            "exec\\ /bin/sh\\ -c",
            "sh -c 'printf \"\\036codex-",
            "; printf \"\\036codex-",
            "printf \"\\036codex-",
        ];
        begins.iter().filter_map(|it| line.find(it)).min()
    };
    let lines = text.lines().filter(|it| !it.trim().is_empty());
    let own = lines.filter_map(|line| match ours(line) {
        None => Some(line.to_owned()),
        Some(0) => None,
        Some(at) if line[at..].starts_with('\u{1e}') => Some(line[..at].to_owned()),
        Some(at) => Some(format!("{}…", &line[..at])),
    });
    own.collect::<Vec<_>>().join("\n")
}

/// The end of a text, which says most.
fn shortened(text: &str) -> String {
    let excess = text.len().saturating_sub(limits::SAID_BYTES_MAX);
    let end = &text[text.ceil_char_boundary(excess)..];
    match excess {
        0 => text.to_owned(),
        _ => format!("… {end}"),
    }
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
    witness: &Witness,
    path: &str,
) -> Failure {
    let mut garbage = None;
    while let Ok(event) = events.try_recv() {
        if let rpc::Event::Malformed(why) = event {
            garbage.get_or_insert(why);
        }
    }
    let is_garbage = garbage.is_some();
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
    let hint = Some(match witness {
        Witness::Socket => "make sure that a Codex app-server listens there, and nothing else".to_owned(),
        _ if is_garbage => format!(
            "see whether a start-up file of the login shell leaves something behind that goes on printing (`… &`), or leads the output through another program; else run `{path} --version` on the host: 0.169.0 is known to work"
        ),
        _ => format!("run `{path} --version` on the host; 0.169.0 is known to work"),
    });
    Failure {
        kind,
        phase: Some(Phase::Initializing),
        message,
        hint,
        stderr: said(&[], witness),
    }
}

/// Why the conversation ended.
pub(crate) async fn ended(end: End, witness: &Witness, phase: Option<Phase>, path: &str) -> Failure {
    let exit = witness.ended().await;
    let by_itself = match phase {
        Some(_) => FailureKind::LaunchFailed,
        None => FailureKind::ServerExited,
    };
    let is_closed = matches!(exit, Some(Ended::Closed));
    let (kind, message) = match (exit, end) {
        (Some(Ended::Closed), _) => (
            by_itself,
            format!("the host closed the channel of {path} app-server and told no exit status"),
        ),
        (Some(Ended::Lost(why)), _) => (FailureKind::Unreachable, why),
        (Some(Ended::Exited(exit)), _) => (by_itself, format!("{path} app-server ended: {exit}")),
        (None, End::Broken(error)) => (FailureKind::Unreachable, chain(&error)),
        (None, _) => match witness {
            // Whether the server ended or its network, nobody can tell from here.
            Witness::Socket => (FailureKind::Unreachable, format!("{path} closed the connection")),
            _ => (by_itself, format!("{path} app-server ended")),
        },
    };
    let hint = match kind {
        FailureKind::Unreachable => {
            "see whether the host is up and the network carries; it is tried again".to_owned()
        }
        _ if is_closed => {
            "let ChannelTimeout in the host's sshd_config spare sessions: it closes them where nothing is said for so long"
                .to_owned()
        }
        // A server ends like this at the end of its input.
        _ if message.ends_with("exit status 0") || message.ends_with("exit status: 0") => format!(
            "see whether a start-up file of the login shell closes the input of its commands (`exec <…`); else run `{path} app-server` on the host and see what it says"
        ),
        _ => format!("run `{path} app-server` on the host and see what it says"),
    };
    let stderr = match kind {
        FailureKind::Unreachable => None,
        _ => said(&[], witness),
    };
    Failure {
        kind,
        phase,
        message,
        hint: Some(hint),
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

#[cfg(test)]
mod tests;

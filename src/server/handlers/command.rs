//! `command/exec`: one command outside of any thread, answered when it ends. It ends with its connection.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use codex_exec::{
    CaptureLimits, Captured, Cause, Chunk, Chunks, Command, Exit, Process, ProcessError, SpawnError, Stdin,
    Stream, TerminalSize,
};
use codex_protocol::v2::{
    CommandExecOutputDelta, CommandExecParams, CommandExecResizeParams, CommandExecResponse,
    CommandExecTerminalSize, CommandExecTerminateParams, CommandExecWriteParams, Empty,
};

use crate::{
    connection::Connection,
    notice::Notice,
    refusal::Refusal,
    router::{Call, Router, Stability::*},
    scope::Scope,
    threads::reason,
};

/// Bytes of each stream that an answer holds, or that are sent while it runs, unless asked otherwise.
const OUTPUT_BYTES: usize = 1 << 20;
/// What *no cap* means: an answer is one message, and it is kept in memory.
const OUTPUT_BYTES_MAX: usize = 64 << 20;
/// The exit code of a command that ran out of time, as timeout(1) says it.
const CODE_TIMED_OUT: i32 = 124;
/// The size of a terminal that nobody has named: the oldest convention there is.
const USUAL_SIZE: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

pub(super) fn routes(router: &mut Router) {
    let scope = |p: &CommandExecParams| p.process_id.as_ref().map_or_else(Scope::free, Scope::process);
    router.answer("command/exec", Stable, scope, exec);
    router.answer(
        "command/exec/write",
        Stable,
        |p: &CommandExecWriteParams| Scope::process(&p.process_id),
        write,
    );
    router.answer(
        "command/exec/resize",
        Stable,
        |p: &CommandExecResizeParams| Scope::process(&p.process_id),
        resize,
    );
    let ended = |p: &CommandExecTerminateParams| Scope::process(&p.process_id);
    router.answer("command/exec/terminate", Stable, ended, terminate);
}

/// The commands of one connection that have a name; dropped, they are killed.
pub(crate) type Processes = BTreeMap<String, Arc<Process>>;

async fn exec(call: Call, params: CommandExecParams) -> Result<CommandExecResponse, Refusal> {
    check(&call, &params)?;
    let server = call.server.clone();
    let config = super::blocking(move || Ok(server.config())).await?;
    let cap = match (params.disable_output_cap, params.output_bytes_cap) {
        (true, _) => OUTPUT_BYTES_MAX,
        (false, cap) => cap.unwrap_or(OUTPUT_BYTES).min(OUTPUT_BYTES_MAX),
    };
    let command = Command {
        cwd: directory(&call, params.cwd.as_deref()),
        environment: environment(&call, params.env),
        stdin: if params.stream_stdin {
            Stdin::Piped
        } else {
            Stdin::Null
        },
        terminal: params.tty.then(|| params.size.map_or(USUAL_SIZE, size)),
        time_out: match params.disable_timeout {
            true => None,
            false => params
                .timeout_ms
                .map(|it| Duration::from_millis(it.unsigned_abs())),
        },
        // What is streamed is not kept as well.
        capture: CaptureLimits::of(if params.stream_stdout_stderr { 0 } else { cap }),
        sandbox: params
            .sandbox_policy
            .unwrap_or_else(|| config.sandbox.policy(None)),
        unix_sockets: config.sandbox.unix_sockets.clone(),
        hidden: call.server.setup().hidden(),
        argv: params.command,
    };
    let (process, chunks) = call
        .server
        .runner()
        .spawn(command)
        .await
        .map_err(|it| refuse(&it))?;
    let process = Arc::new(process);
    let _named = match params.process_id.clone() {
        Some(id) => Some(Named::new(&call.connection, id, &process)?),
        None => None,
    };
    call.release();
    let stream = params.process_id.filter(|_| params.stream_stdout_stderr);
    let reading = read(
        chunks,
        stream.map(|id| Streaming::new(call.connection.clone(), id, cap)),
    );
    let exit = tokio::select! {
        ((), exit) = async { tokio::join!(reading, process.wait()) } => exit,
        () = call.connection.leaving().cancelled() => {
            process.kill();
            return Err(Refusal::failed("the connection ended before the command"));
        }
    };
    Ok(response(&process, &exit))
}

fn check(call: &Call, params: &CommandExecParams) -> Result<(), Refusal> {
    if params.command.is_empty() {
        return Err(Refusal::invalid("command must not be empty"));
    }
    if params.disable_output_cap && params.output_bytes_cap.is_some() {
        return Err(Refusal::params(
            "command/exec cannot set both outputBytesCap and disableOutputCap",
        ));
    }
    if params.disable_timeout && params.timeout_ms.is_some() {
        return Err(Refusal::params(
            "command/exec cannot set both timeoutMs and disableTimeout",
        ));
    }
    if params.timeout_ms.is_some_and(i64::is_negative) {
        return Err(Refusal::params("command/exec timeoutMs must not be negative"));
    }
    let streams = params.tty || params.stream_stdin || params.stream_stdout_stderr;
    if streams && params.process_id.is_none() {
        return Err(Refusal::invalid(
            "command/exec tty or streaming requires a client-supplied processId",
        ));
    }
    if params.size.is_some() && !params.tty {
        return Err(Refusal::params("command/exec size requires tty: true"));
    }
    match &params.process_id {
        Some(id) if call.connection.with_processes(|it| it.contains_key(id)) => Err(duplicate(id)),
        _ => Ok(()),
    }
}

fn duplicate(id: &str) -> Refusal {
    Refusal::invalid(format!("duplicate active command/exec process id: {id:?}"))
}

fn directory(call: &Call, cwd: Option<&str>) -> PathBuf {
    call.server.setup().cwd.join(cwd.unwrap_or_default())
}

fn environment(call: &Call, changes: Option<BTreeMap<String, Option<String>>>) -> BTreeMap<String, String> {
    let mut environment = call.server.setup().environment.clone();
    for (name, value) in changes.unwrap_or_default() {
        match value {
            Some(value) => environment.insert(name, value),
            None => environment.remove(&name),
        };
    }
    environment
}

fn size(size: CommandExecTerminalSize) -> TerminalSize {
    TerminalSize {
        rows: size.rows,
        columns: size.cols,
    }
}

fn refuse(error: &SpawnError) -> Refusal {
    Refusal::failed(reason(error))
}

fn response(process: &Process, exit: &Exit) -> CommandExecResponse {
    let output = process.output();
    // With an empty capture everything counts as left out; it was streamed.
    let text = |it: &Captured| {
        if it.head.is_empty() && it.tail.is_empty() {
            String::new()
        } else {
            it.text()
        }
    };
    CommandExecResponse {
        exit_code: match exit.cause {
            Cause::TimedOut => CODE_TIMED_OUT,
            Cause::Itself | Cause::Terminated => exit.code(),
        },
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// A process's place under its name; given up when this is dropped.
struct Named {
    connection: Connection,
    id: String,
}

impl Named {
    fn new(connection: &Connection, id: String, process: &Arc<Process>) -> Result<Named, Refusal> {
        connection.with_processes(|it| match it.contains_key(&id) {
            true => Err(duplicate(&id)),
            false => {
                it.insert(id.clone(), Arc::clone(process));
                Ok(())
            }
        })?;
        Ok(Named {
            connection: connection.clone(),
            id,
        })
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let process = self.connection.with_processes(|it| it.remove(&self.id));
        drop(process);
    }
}

/// Where a command's output goes as it comes.
struct Streaming {
    connection: Connection,
    process_id: String,
    /// Bytes that may still be sent of stdout and of stderr.
    left: [usize; 2],
}

impl Streaming {
    fn new(connection: Connection, process_id: String, cap: usize) -> Streaming {
        Streaming {
            connection,
            process_id,
            left: [cap, cap],
        }
    }

    async fn send(&mut self, chunk: Chunk) {
        let (name, left) = match chunk.stream {
            Stream::Stdout => ("stdout", &mut self.left[0]),
            Stream::Stderr => ("stderr", &mut self.left[1]),
        };
        if *left == 0 {
            return;
        }
        let length = chunk.bytes.len().min(*left);
        *left -= length;
        let delta = CommandExecOutputDelta {
            process_id: self.process_id.clone(),
            stream: name.to_owned(),
            delta_base64: BASE64_STANDARD.encode(&chunk.bytes[..length]),
            cap_reached: *left == 0,
        };
        // A client that reads slowly slows the command; nothing is lost.
        self.connection.room().await;
        self.connection
            .tell(&Notice::new("command/exec/outputDelta", &delta));
    }
}

async fn read(mut chunks: Chunks, mut streaming: Option<Streaming>) {
    while let Some(chunk) = chunks.next().await {
        if let Some(streaming) = &mut streaming {
            streaming.send(chunk).await;
        }
    }
}

fn process(call: &Call, id: &str) -> Result<Arc<Process>, Refusal> {
    let process = call.connection.with_processes(|it| it.get(id).cloned());
    process.ok_or_else(|| Refusal::invalid(format!("no active command/exec for process id {id:?}")))
}

async fn write(call: Call, params: CommandExecWriteParams) -> Result<Empty, Refusal> {
    let process = process(&call, &params.process_id)?;
    if let Some(delta) = &params.delta_base64 {
        let bytes = BASE64_STANDARD.decode(delta);
        let bytes = bytes.map_err(|error| Refusal::invalid(format!("deltaBase64 is not base64: {error}")))?;
        process.write(bytes.into()).await.map_err(|it| failed(&it))?;
    }
    if params.close_stdin {
        process.close_input();
    }
    Ok(Empty {})
}

async fn resize(call: Call, params: CommandExecResizeParams) -> Result<Empty, Refusal> {
    let process = process(&call, &params.process_id)?;
    process.resize(size(params.size)).map_err(|it| failed(&it))?;
    Ok(Empty {})
}

async fn terminate(call: Call, params: CommandExecTerminateParams) -> Result<Empty, Refusal> {
    let process = process(&call, &params.process_id)?;
    call.release();
    process.terminate().await;
    Ok(Empty {})
}

fn failed(error: &ProcessError) -> Refusal {
    Refusal::invalid(error.to_string())
}

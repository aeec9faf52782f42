//! Commands of the model: run, waited for a while, and left to go on in the background.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use codex_agent::{
    approval::{CommandClass, Permission},
    ports::{
        CallId, CommandResult, OutputSink, Prepared, PreparedCommand, ToolOutcome, ToolOutput, ToolResult,
    },
    tools::{ExecCommand, WriteStdin},
};
use codex_exec::{
    CaptureLimits, Chunks, Command, Exit, Process, ProcessId, Processes, SpawnError, Stdin, TerminalSize,
    TextStream, policy,
};
use codex_protocol::ItemId;
use tokio::{sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Hands, actions};

/// How long a command is waited for before it goes on in the background, unless the model says otherwise.
const YIELD: Duration = Duration::from_secs(10);
/// The bounds of what the model may ask for.
const YIELD_MIN: Duration = Duration::from_millis(250);
const YIELD_MAX: Duration = Duration::from_secs(120);
/// How long new output is waited for after something was typed, and where nothing was, unless the model says.
const TYPED_YIELD: Duration = Duration::from_millis(250);
const POLL_YIELD: Duration = Duration::from_secs(5);
/// Output of one call that the model is told, in tokens, unless it asks for more or less.
const OUTPUT_TOKENS: u64 = 10_000;
const OUTPUT_TOKENS_MAX: u64 = 50_000;
/// Bytes of a token, roughly, in English and in code.
const TOKEN_BYTES: u64 = 4;
/// Output of a command that its item keeps.
const ITEM_BYTES: usize = 1 << 20;
/// The first number of a session: large enough not to be taken for a count.
const FIRST_SESSION: u64 = 1000;
/// A terminal wide enough for most programs not to wrap.
const TERMINAL: TerminalSize = TerminalSize {
    rows: 24,
    columns: 120,
};

/// Who tells the end of a command.
const FOREGROUND: u8 = 0;
const BACKGROUND: u8 = 1;
const ENDED: u8 = 2;

/// The commands of one thread. Dropped, they are killed.
pub(crate) struct Sessions(Mutex<Open>);

struct Open {
    processes: Processes,
    items: BTreeMap<ProcessId, Told>,
    /// Tools of MCP servers that the user has allowed for this thread.
    permitted: BTreeSet<String>,
    readers: JoinSet<()>,
}

/// What is known of a command besides its process.
#[derive(Clone)]
struct Told {
    item: ItemId,
    command: String,
    cwd: PathBuf,
}

/// A command that runs, for lists.
pub(crate) struct Session {
    pub(crate) session: String,
    pub(crate) item: ItemId,
    pub(crate) command: String,
    pub(crate) cwd: PathBuf,
    pub(crate) pid: u32,
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions(Mutex::new(Open {
            processes: Processes::new(FIRST_SESSION),
            items: BTreeMap::new(),
            permitted: BTreeSet::new(),
            readers: JoinSet::new(),
        }))
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Open> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, session: &str) -> Option<(Arc<Process>, ItemId)> {
        let (open, id) = (self.lock(), ProcessId(session.to_owned()));
        Some((
            Arc::clone(open.processes.get(&id)?),
            open.items.get(&id)?.item.clone(),
        ))
    }

    fn keep(&self, process: Process, told: Told) -> Result<(ProcessId, Arc<Process>), String> {
        let mut open = self.lock();
        while open.readers.try_join_next().is_some() {}
        let (id, process) = open.processes.insert(process).map_err(|it| it.to_string())?;
        open.items.insert(id.clone(), told);
        Ok((id, process))
    }

    pub(super) fn permit(&self, tool: String) {
        self.lock().permitted.insert(tool);
    }

    pub(super) fn is_permitted(&self, tool: &str) -> bool {
        self.lock().permitted.contains(tool)
    }

    fn forget(&self, id: &ProcessId) {
        let mut open = self.lock();
        open.items.remove(id);
        // The last reference may kill what is left of it: outside of the lock.
        let process = open.processes.remove(id);
        drop(open);
        drop(process);
    }

    /// The commands that run.
    pub(crate) fn running(&self) -> Vec<Session> {
        let open = self.lock();
        let running = open.processes.iter().filter(|(_, it)| it.exit().is_none());
        let session = |(id, process): (&ProcessId, &Arc<Process>)| {
            let told = open.items.get(id)?.clone();
            Some(Session {
                session: id.0.clone(),
                item: told.item,
                command: told.command,
                cwd: told.cwd,
                pid: process.pid(),
            })
        };
        running.filter_map(session).collect()
    }

    /// Ends a command; false when there is none of this name.
    pub(crate) fn end(&self, session: &str) -> bool {
        let found = self.find(session);
        if let Some((process, _)) = &found {
            process.kill();
        }
        found.is_some()
    }

    pub(super) fn prepare(&self, write: &WriteStdin) -> Prepared {
        match self.find(&write.session_id) {
            Some((_, item_id)) => Prepared::Interaction {
                item_id,
                process_id: write.session_id.clone(),
                stdin: write.chars.clone(),
            },
            None => Prepared::Refused(format!("There is no session {}: it has ended.", write.session_id)),
        }
    }

    pub(super) async fn write(&self, write: WriteStdin, cancel: CancellationToken) -> ToolOutcome {
        let Some((process, _)) = self.find(&write.session_id) else {
            return super::nothing("The command has ended meanwhile.");
        };
        let usual = if write.chars.is_empty() {
            POLL_YIELD
        } else {
            TYPED_YIELD
        };
        if !write.chars.is_empty()
            && let Err(error) = process.write(write.chars.into_bytes().into()).await
        {
            return super::nothing(&format!("Nothing was typed: {error}."));
        }
        let patience = patience(write.yield_time_ms, usual);
        let unread = tokio::select! {
            unread = process.poll(patience) => unread,
            () = cancel.cancelled() => process.poll(Duration::ZERO).await,
        };
        let state = match &unread.exit {
            Some(exit) => {
                self.forget(&ProcessId(write.session_id.clone()));
                ended(exit)
            }
            None => running(&write.session_id),
        };
        let text = words(&state, &unread.output.text(), write.max_output_tokens);
        super::nothing(&text)
    }
}

impl Hands {
    fn argv(&self, exec: &ExecCommand) -> Vec<String> {
        let shell = exec.shell.as_deref().unwrap_or(&self.shell).to_owned();
        let flags = if exec.login == Some(false) { "-c" } else { "-lc" };
        vec![shell, flags.to_owned(), exec.cmd.clone()]
    }

    fn directory(&self, exec: &ExecCommand) -> PathBuf {
        match exec.workdir.as_deref().filter(|it| !it.is_empty()) {
            Some(directory) => self.cwd.join(directory),
            None => self.cwd.clone(),
        }
    }

    pub(super) fn prepare_command(&self, exec: &ExecCommand) -> Prepared {
        let (argv, cwd) = (self.argv(exec), self.directory(exec));
        let class = match policy::assess(&argv) {
            policy::Verdict::Safe => CommandClass::Safe,
            policy::Verdict::Unknown => CommandClass::Unknown,
            policy::Verdict::Dangerous => CommandClass::Dangerous,
        };
        let command = shown(&argv);
        let actions = actions::of(&argv, &exec.cmd, &cwd);
        let words = match policy::plain_commands(&argv).as_deref() {
            Some([words]) => words.clone(),
            _ => argv,
        };
        Prepared::Command(PreparedCommand {
            command,
            words,
            cwd: cwd.display().to_string(),
            actions,
            class,
        })
    }

    /// A command, complete.
    pub(in crate::threads) fn command(&self, exec: &ExecCommand, permission: Permission) -> Command {
        Command {
            argv: self.argv(exec),
            cwd: self.directory(exec),
            environment: BTreeMap::clone(&self.environment),
            stdin: if exec.tty { Stdin::Piped } else { Stdin::Null },
            terminal: exec.tty.then_some(TERMINAL),
            time_out: None,
            capture: CaptureLimits::of(ITEM_BYTES),
            sandbox: self.policy(permission),
            hidden: self.server.setup().hidden(),
            unix_sockets: self.unix_sockets.clone(),
        }
    }

    pub(super) async fn run_command(
        &self,
        call: &CallId,
        exec: ExecCommand,
        permission: Permission,
        output: OutputSink,
        cancel: CancellationToken,
    ) -> ToolOutcome {
        let command = self.command(&exec, permission);
        let told = Told {
            item: ItemId(call.0.clone()),
            command: shown(&command.argv),
            cwd: command.cwd.clone(),
        };
        let (process, chunks) = match self.server.runner().spawn(command).await {
            Ok(started) => started,
            Err(error) => return not_run(&reason(&error)),
        };
        let (id, process) = match self.sessions.keep(process, told) {
            Ok(kept) => kept,
            Err(why) => return not_run(&format!("{why}; end one of them first")),
        };
        output.process(id.0.clone()).await;
        let teller = Arc::new(AtomicU8::new(FOREGROUND));
        let reading = read(
            chunks,
            Arc::clone(&process),
            output,
            id.clone(),
            Arc::clone(&teller),
        );
        let (is_read, read) = oneshot::channel();
        self.sessions.lock().readers.spawn(async move {
            reading.await;
            // The command may be in the background for long.
            _ = is_read.send(());
        });
        let patience = patience(exec.yield_time_ms, YIELD);
        let unread = tokio::select! {
            unread = process.poll(patience) => unread,
            () = cancel.cancelled() => {
                process.terminate().await;
                process.poll(YIELD_MIN).await
            }
        };
        let goes_on = unread.exit.is_none()
            && teller
                .compare_exchange(FOREGROUND, BACKGROUND, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        let exit = if goes_on { None } else { process.exit() };
        if exit.is_some() {
            // Everything it printed is told before its end. An error means the same: nobody reads any more.
            _ = read.await;
        }
        let state = match &exit {
            Some(exit) => {
                self.sessions.forget(&id);
                ended(exit)
            }
            None => running(&id.0),
        };
        ToolOutcome {
            output: ToolOutput::Text(words(&state, &unread.output.text(), exec.max_output_tokens)),
            result: ToolResult::Command(result(&process, &id, exit.as_ref())),
        }
    }
}

/// Passes the output on until its end, and tells the end of a command that was left to itself.
async fn read(
    mut chunks: Chunks,
    process: Arc<Process>,
    output: OutputSink,
    id: ProcessId,
    teller: Arc<AtomicU8>,
) {
    let mut text = TextStream::default();
    while let Some(chunk) = chunks.next().await {
        let piece = text.push(&chunk.bytes);
        if !piece.is_empty() {
            output.text(piece).await;
        }
    }
    let rest = text.finish();
    if !rest.is_empty() {
        output.text(rest).await;
    }
    let exit = process.wait().await;
    if teller.swap(ENDED, Ordering::AcqRel) == BACKGROUND {
        output.ended(result(&process, &id, Some(&exit))).await;
    }
}

/// For the item.
fn result(process: &Process, id: &ProcessId, exit: Option<&Exit>) -> CommandResult {
    CommandResult {
        running: exit.is_none(),
        process_id: Some(id.0.clone()),
        exit_code: exit.map(Exit::code),
        output: Some(process.output().aggregated.text()).filter(|it| !it.is_empty()),
        duration_ms: exit.map_or(0, |it| i64::try_from(it.duration.as_millis()).unwrap_or(i64::MAX)),
    }
}

fn not_run(why: &str) -> ToolOutcome {
    let text = format!("The command was not run: {why}");
    ToolOutcome {
        result: ToolResult::Command(CommandResult {
            output: Some(text.clone()),
            ..CommandResult::default()
        }),
        output: ToolOutput::Text(text),
    }
}

/// An error of the runner with its causes and its cure.
pub(crate) fn reason(error: &SpawnError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    match error.hint() {
        Some(hint) => format!("{text} ({hint})"),
        None => text,
    }
}

/// The command as people read it.
pub(in crate::threads) fn shown(argv: &[String]) -> String {
    // Only a NUL cannot be quoted, and no command with one is started.
    shlex::try_join(argv.iter().map(String::as_str)).unwrap_or_else(|_| argv.join(" "))
}

fn patience(asked: Option<u64>, usual: Duration) -> Duration {
    asked
        .map_or(usual, Duration::from_millis)
        .clamp(YIELD_MIN, YIELD_MAX)
}

fn ended(exit: &Exit) -> String {
    let seconds = exit.duration.as_secs_f64();
    format!(
        "The command ended with exit code {} after {seconds:.1} s.",
        exit.code()
    )
}

fn running(session: &str) -> String {
    format!("The command goes on in session {session}.")
}

/// What the model is told: the state, and as much of the output as it wants.
fn words(state: &str, output: &str, tokens: Option<u64>) -> String {
    let tokens = tokens.unwrap_or(OUTPUT_TOKENS).clamp(1, OUTPUT_TOKENS_MAX);
    let bytes = usize::try_from(tokens * TOKEN_BYTES).unwrap_or(usize::MAX);
    if output.is_empty() {
        return format!("{state}\nIt printed nothing.");
    }
    format!("{state}\nOutput:\n{}", shortened(output, bytes))
}

/// The beginning and the end of a text that is too long.
fn shortened(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(bytes / 2);
    let tail = text.ceil_char_boundary(text.len() - bytes / 2);
    let omitted = tail - head;
    format!(
        "{}\n[… {omitted} bytes omitted …]\n{}",
        &text[..head],
        &text[tail..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_keeps_its_beginning_and_its_end() {
        let text = "äöü".repeat(100);
        let short = shortened(&text, 21);
        assert!(
            short.starts_with("äöüäö\n[… ") && short.ends_with("]\nöüäöü"),
            "{short}"
        );
        assert_eq!(shortened("short", 5), "short");
        assert!(words("S", &"x".repeat(100), Some(1)).contains("96 bytes omitted"));
        assert_eq!(words("S", "", None), "S\nIt printed nothing.");
    }

    #[test]
    fn the_model_waits_within_bounds() {
        assert_eq!(patience(None, YIELD), YIELD);
        assert_eq!(patience(Some(0), YIELD), YIELD_MIN);
        assert_eq!(patience(Some(u64::MAX), YIELD), YIELD_MAX);
    }
}

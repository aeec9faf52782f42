//! `codex app-server`: this machine as a host.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use codex_server::{Listen, ListenError, Server, Signals, serve};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    signal::unix::{SignalKind, signal},
};

use super::{
    generate::{JsonSchemaArgs, TypeScriptArgs, generate_json_schema, generate_typescript},
    home,
    report::{self, Code, Problem},
};

/// Threads that run tasks. The server waits more than it computes.
const WORKERS_MAX: usize = 4;
/// How long what blocks (a read of standard input, a write to a dead disk) may hold up the program's end.
const BLOCKED_PATIENCE: Duration = Duration::from_millis(200);

/// Serve threads, files and commands of this machine to clients
///
/// Speaks the Codex app-server protocol: JSON lines over standard input and output, or WebSockets over
/// loopback TCP or a Unix socket.
#[derive(Args)]
#[command(after_help = "Examples:
  codex app-server
  codex app-server --listen ws://127.0.0.1:4500
  codex app-server --listen unix:///run/user/1000/codex/server.sock")]
pub(crate) struct AppServerArgs {
    /// Where to listen: `stdio://`, `ws://127.0.0.1:PORT`, `unix://PATH` or `unix://`; may be given several
    /// times
    #[arg(long, value_name = "URL", default_value = "stdio://")]
    listen: Vec<String>,
    #[command(subcommand)]
    command: Option<AppServerCommand>,
}

#[derive(Subcommand)]
enum AppServerCommand {
    Proxy(ProxyArgs),
    GenerateJsonSchema(JsonSchemaArgs),
    GenerateTs(TypeScriptArgs),
}

/// Join standard input and output to the Unix socket of a server that runs
///
/// A pipe for bytes: the client speaks WebSocket through it.
#[derive(Args)]
struct ProxyArgs {
    /// The server's socket, instead of that of `--listen unix://`
    #[arg(long, value_name = "PATH")]
    sock: Option<PathBuf>,
}

pub(crate) fn run(args: AppServerArgs) -> Result<Code, Problem> {
    match &args.command {
        Some(AppServerCommand::GenerateJsonSchema(args)) => return generate_json_schema(args),
        Some(AppServerCommand::GenerateTs(args)) => return generate_typescript(args),
        None | Some(AppServerCommand::Proxy(_)) => (),
    }
    let failed =
        |error: std::io::Error| Problem::new(Code::TurnFailed, format!("starting the runtime: {error}"));
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(WORKERS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build();
    let runtime = runtime.map_err(failed)?;
    let code = runtime.block_on(async {
        match args.command {
            Some(AppServerCommand::Proxy(args)) => proxy(args).await,
            _ => listen(&args.listen).await,
        }
    });
    // A read of standard input cannot be taken back.
    runtime.shutdown_timeout(BLOCKED_PATIENCE);
    code
}

async fn listen(urls: &[String]) -> Result<Code, Problem> {
    log_to_stderr();
    let setup = home::setup()?;
    let signals = Signals::default();
    let mut listeners = Vec::new();
    for url in urls {
        let listener = url
            .parse::<Listen>()
            .map_err(|it| refused(&it))?
            .bind(&setup)
            .await
            .map_err(|it| refused(&it))?;
        if let Some(banner) = listener.banner() {
            report::note(&banner);
        }
        listeners.push(listener);
    }
    let stopping = stop_on_signals(signals.clone())
        .map_err(|it| Problem::new(Code::TurnFailed, format!("listening for signals: {it}")))?;
    tokio::select! {
        () = serve(Server::new(setup), listeners, signals) => (),
        () = stopping => (),
    }
    Ok(Code::Done)
}

/// The first signal drains, the second ends. Never completes: what it asks for does.
fn stop_on_signals(signals: Signals) -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
                _ = hangup.recv() => (),
            }
            match signals.drain.is_cancelled() {
                false => signals.drain.cancel(),
                true => signals.end.cancel(),
            }
        }
    })
}

fn refused(error: &ListenError) -> Problem {
    let cause = std::error::Error::source(error)
        .map(|it| format!(": {it}"))
        .unwrap_or_default();
    let code = match error {
        ListenError::Address(_) => Code::Usage,
        _ => Code::TurnFailed,
    };
    let problem = Problem::new(code, format!("{error}{cause}"));
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Standard output is a transport; what is worth knowing goes to stderr. `RUST_LOG` is `error`, `warn`,
/// `info`, `debug` or `trace`.
fn log_to_stderr() {
    let level = std::env::var("RUST_LOG").ok().and_then(|it| it.parse().ok());
    let level: tracing::Level = level.unwrap_or(tracing::Level::WARN);
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // Somebody has set another one: then that one is told.
    _ = log.try_init();
}

async fn proxy(args: ProxyArgs) -> Result<Code, Problem> {
    let setup = home::setup()?;
    let path = args.sock.unwrap_or_else(|| codex_server::default_socket(&setup));
    let socket = UnixStream::connect(&path).await.map_err(|error| {
        let text = format!("failed to connect to socket at {}: {error}", path.display());
        Problem::new(Code::TurnFailed, text)
            .hint("start a server there with `codex app-server --listen unix://PATH`")
    })?;
    let (mut from_server, mut to_server) = socket.into_split();
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    // Whoever ends first ends the pipe: a WebSocket has nothing to say after either.
    tokio::select! {
        _ = tokio::io::copy(&mut input, &mut to_server) => (),
        _ = tokio::io::copy(&mut from_server, &mut output) => (),
    }
    // What has come is still passed on, if somebody takes it.
    _ = output.flush().await;
    Ok(Code::Done)
}

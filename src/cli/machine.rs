//! This machine as a host: the app-server in this process.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, mpsc::sync_channel},
    thread,
    time::Duration,
};

use codex_fleet::{Embed, Embedded};
use codex_server::{Server, Setup, Signals, in_memory, serve};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::home;

/// The name of this machine among the hosts. No alias of SSH has a space in it, so it hides none.
pub(crate) const THIS_MACHINE: &str = "this machine";

/// Threads that run tasks. The server waits more than it computes.
const WORKERS_MAX: usize = 4;
/// Connections that wait for the server's thread; there is one at a time, and its successor.
const PEERS_MAX: usize = 4;
/// How long what blocks (a write to a dead disk) may hold up the program's end.
const BLOCKED_PATIENCE: Duration = Duration::from_millis(200);

/// The server of this machine. It starts with the first connection to it: whoever does not use it does not
/// pay for it. Clones are the same server.
#[derive(Clone, Default)]
pub(crate) struct Machine(Arc<Mutex<Option<Running>>>);

type Peer = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Running {
    server: Server,
    peers: mpsc::Sender<Peer>,
    /// Ends the server when dropped.
    end: tokio_util::sync::DropGuard,
    thread: thread::JoinHandle<()>,
}

impl Machine {
    /// Makes connections to the server.
    pub(crate) fn embed(&self) -> Embed {
        let machine = self.clone();
        Arc::new(move || machine.connect())
    }

    fn connect(&self) -> Result<Embedded, String> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_some_and(|it| it.thread.is_finished()) {
            *running = None;
        }
        let running = match running.take() {
            Some(it) => running.insert(it),
            None => running.insert(Running::start()?),
        };
        let setup = running.server.setup();
        let home = setup.variable("HOME").unwrap_or_default().to_owned();
        let program = std::env::current_exe().unwrap_or_else(|_| setup.sandbox_helper.clone());
        let program = program.display().to_string();
        let (stream, served) = in_memory(running.server.clone(), CancellationToken::new());
        running
            .peers
            .blocking_send(Box::pin(served))
            .map_err(|_| "the server of this machine has ended".to_owned())?;
        Ok(Embedded {
            stream: Box::new(stream),
            home,
            program,
        })
    }

    /// Ends the server, if it runs: turns are interrupted, what must be kept is written.
    pub(crate) fn shutdown(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { end, thread, .. }) = running {
            drop(end);
            // The server bounds its own end.
            _ = thread.join();
        }
    }
}

impl Running {
    fn start() -> Result<Running, String> {
        let setup = home::setup().map_err(|it| it.to_string())?;
        let failed = |error: std::io::Error| format!("starting the server of this machine: {error}");
        let workers = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(WORKERS_MAX);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build()
            .map_err(failed)?;
        let (peers, queue) = mpsc::channel(PEERS_MAX);
        let (started, server) = sync_channel(1);
        let signals = Signals::default();
        let end = signals.end.clone().drop_guard();
        let thread = thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || {
                runtime.block_on(run(setup, queue, signals, |server| {
                    // Whoever asked waits for it.
                    _ = started.send(server);
                }));
                runtime.shutdown_timeout(BLOCKED_PATIENCE);
            })
            .map_err(failed)?;
        let server = server
            .recv()
            .map_err(|_| "the server of this machine did not start".to_owned())?;
        Ok(Running {
            server,
            peers,
            end,
            thread,
        })
    }
}

async fn run(setup: Setup, mut peers: mpsc::Receiver<Peer>, signals: Signals, started: impl FnOnce(Server)) {
    let server = Server::new(setup);
    started(server.clone());
    let mut serving = JoinSet::new();
    let mut life = std::pin::pin!(serve(server, Vec::new(), signals));
    loop {
        tokio::select! {
            () = &mut life => return,
            Some(peer) = peers.recv() => {
                serving.spawn(peer);
            }
            Some(_) = serving.join_next() => (),
        }
    }
}

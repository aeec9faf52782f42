//! One server: its task starts it, watches it and starts it again.

use std::future::pending;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::child::Child;
use crate::config::ServerConfig;
use crate::desk::{Desk, Elicit};
use crate::error::{Error, Failure};
use crate::limits::{CLOSE_PATIENCE, EXIT_PATIENCE, REASON_PATIENCE, REFRESH_PAUSE, STEADY, restart_pause};
use crate::live::{Live, Service, connect};
use crate::secret::Environment;
use crate::tools::Tool;

/// Takes events; it must not wait. Events of one server come in their order.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// What all servers of one owner share.
#[derive(Clone)]
pub struct Setup {
    pub environment: Environment,
    /// The directory in which programs are started.
    pub cwd: PathBuf,
    /// Asks the user where a call has not brought somebody to ask; without it questions are declined.
    pub elicit: Option<Arc<dyn Elicit>>,
    pub on_event: OnEvent,
}

/// News about a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// For `mcpServer/startupStatus/updated`.
    Startup {
        server: String,
        status: Startup,
        /// With [`Startup::Failed`].
        error: Option<String>,
        /// With [`Startup::Failed`]: the server wants a credential, or another one; the protocol's
        /// `reauthenticationRequired`.
        needs_login: bool,
    },
    /// The server has said that its tools are others now, and they have been read.
    ToolsChanged { server: String },
}

/// Where a server is in its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Startup {
    Starting,
    Ready,
    /// It has not started, or has ended after it was ready.
    Failed,
    /// The owner has given it up before it was ready.
    Cancelled,
}

impl Startup {
    /// The protocol's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Startup::Starting => "starting",
            Startup::Ready => "ready",
            Startup::Failed => "failed",
            Startup::Cancelled => "cancelled",
        }
    }
}

/// Where a server is in its life.
#[derive(Clone)]
pub(crate) enum State {
    Disabled,
    Starting,
    Ready(Arc<Live>),
    Failed {
        failure: Failure,
        /// Not before this it is started again; never, if absent.
        retry_at: Option<Instant>,
    },
    Stopped,
}

/// A server, shared by its owner and its task.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) config: ServerConfig,
    setup: Arc<Setup>,
    state: watch::Sender<State>,
    /// The tools that were last offered: the model can still call them while the server is away.
    known: Mutex<Vec<Arc<Tool>>>,
    stop: CancellationToken,
}

/// Why a server fails that was ready, unless more is known.
pub(crate) const LOST: &str = "the connection has ended";

/// Why a connection is over.
enum End {
    Stopped,
    Failed(Failure),
}

impl Server {
    pub(crate) fn new(name: &str, config: ServerConfig, setup: Arc<Setup>) -> Server {
        let state = if config.enabled {
            State::Starting
        } else {
            State::Disabled
        };
        Server {
            name: name.to_owned(),
            config,
            setup,
            state: watch::Sender::new(state),
            known: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Has a server that has failed started again, if its pause is over and it has not failed too often.
    pub(crate) fn want(&self) {
        self.state.send_if_modified(|state| {
            let is_due = matches!(state, State::Failed { retry_at: Some(at), .. } if *at <= Instant::now());
            if is_due {
                *state = State::Starting;
            }
            is_due
        });
    }

    /// Waits until the server is not starting. Cancel-safe.
    pub(crate) async fn settled(&self) -> State {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|it| !matches!(it, State::Starting)).await;
        settled.map_or(State::Stopped, |it| it.clone())
    }

    /// Returns the connection, at once where the server is ready or has failed: then it is also wanted again.
    /// A start is waited for.
    pub(crate) async fn live(&self) -> Result<Arc<Live>, Error> {
        let server = self.name.clone();
        match self.settled().await {
            State::Ready(live) => Ok(live),
            State::Failed { failure, .. } => {
                self.want();
                Err(Error::NotRunning {
                    server,
                    why: failure.message,
                })
            }
            State::Disabled => Err(Error::Disabled { server }),
            State::Starting | State::Stopped => Err(Error::NotRunning {
                server,
                why: "it has been stopped".to_owned(),
            }),
        }
    }

    /// Says why a connection was lost, once that is known.
    pub(crate) async fn reason(&self, lost: &Arc<Live>) -> String {
        let mut state = self.state.subscribe();
        let is_over = |it: &State| !matches!(it, State::Ready(live) if Arc::ptr_eq(&live.desk, &lost.desk));
        let waiting = timeout(REASON_PATIENCE, state.wait_for(is_over));
        if let Ok(Ok(state)) = waiting.await
            && let State::Failed { failure, .. } = &*state
        {
            return failure.message.clone();
        }
        LOST.to_owned()
    }

    /// The tools that were last offered, whether the server runs or not.
    pub(crate) fn known_tools(&self) -> Vec<Arc<Tool>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the server; its task ends when everything of it is gone.
    pub(crate) fn stop(&self) {
        let was_starting = matches!(self.state(), State::Starting);
        if was_starting {
            self.tell(Startup::Cancelled, None);
        }
        self.stop.cancel();
        self.state.send_replace(State::Stopped);
    }

    /// The task: runs until the server is stopped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut failures = 0_u32;
        while self.config.enabled && !self.stop.is_cancelled() {
            self.tell(Startup::Starting, None);
            let began = Instant::now();
            let mut child = None;
            let end = self.serve(&mut child).await;
            if let End::Failed(failure) = end {
                let lasted = began.elapsed();
                failures = if lasted >= STEADY {
                    1
                } else {
                    failures.saturating_add(1)
                };
                // A refused credential is not shown again by a machine.
                let pause = restart_pause(failures).filter(|_| !failure.needs_login);
                self.fail(failure, pause.map(|it| Instant::now() + it));
            }
            if let Some(mut child) = child {
                child.end().await;
            }
            let mut state = self.state.subscribe();
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = state.wait_for(|it| matches!(it, State::Starting)) => {}
            }
        }
    }

    /// Starts the server once and looks after it until it ends.
    async fn serve(&self, child: &mut Option<Child>) -> End {
        let desk = Arc::new(Desk::new(&self.name, self.setup.elicit.clone()));
        let starting = timeout(self.config.startup_timeout, self.open(desk, child));
        let opened = tokio::select! {
            biased;
            () = self.stop.cancelled() => return End::Stopped,
            opened = starting => opened,
        };
        let after = self.config.startup_timeout.as_secs_f64();
        let failure = match opened {
            Ok(Ok((service, live))) => return self.watch(service, live, child).await,
            Ok(Err(failure)) => failure,
            Err(_) => Failure {
                message: format!("it did not start within {after} s (`startup_timeout_sec`)"),
                needs_login: false,
            },
        };
        let patience = EXIT_PATIENCE.min(self.config.startup_timeout);
        End::Failed(with_last_words(failure, child, patience).await)
    }

    async fn open(&self, desk: Arc<Desk>, child: &mut Option<Child>) -> Result<(Service, Live), Failure> {
        let service = connect(&self.setup, &self.config, Arc::clone(&desk), child).await?;
        let live = Live::open(&self.setup, &self.name, &self.config, &service, desk).await?;
        Ok((service, live))
    }

    /// Looks after a server that is ready. When this returns its standard input is closed.
    async fn watch(&self, service: Service, live: Live, child: &mut Option<Child>) -> End {
        let mut live = self.offer(live);
        self.tell(Startup::Ready, None);
        let close = service.cancellation_token();
        let mut over = pin!(service.waiting());
        let end = loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break End::Stopped,
                _ = &mut over => break End::Failed(lost()),
                () = ended(child) => {
                    // What it has said before its end is still to be read.
                    let _ = timeout(CLOSE_PATIENCE, &mut over).await;
                    break End::Failed(lost());
                }
                () = live.desk.tools_changed.notified() => {
                    if let Some(other) = self.refresh(&live).await {
                        live = self.offer(other);
                        (self.setup.on_event)(Event::ToolsChanged { server: self.name.clone() });
                    }
                }
            }
        };
        match end {
            End::Stopped => {
                close.cancel();
                let _ = timeout(CLOSE_PATIENCE, &mut over).await;
                End::Stopped
            }
            End::Failed(failure) => End::Failed(with_last_words(failure, child, EXIT_PATIENCE).await),
        }
    }

    /// Reads the tools again; nothing if the server does not answer, which does not end it.
    async fn refresh(&self, live: &Live) -> Option<Live> {
        let reading = timeout(self.config.startup_timeout, live.read_catalog(&self.config));
        tokio::select! {
            () = self.stop.cancelled() => None,
            read = async {
                let read = reading.await;
                sleep(REFRESH_PAUSE).await;
                read
            } => Some(live.with_catalog(read.ok()?.ok()?)),
        }
    }

    fn offer(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone_from(&live.catalog.tools);
        drop(known);
        self.set(State::Ready(Arc::clone(&live)));
        live
    }

    fn fail(&self, failure: Failure, retry_at: Option<Instant>) {
        let told = failure.clone();
        self.set(State::Failed { failure, retry_at });
        self.tell(Startup::Failed, Some(told));
    }

    /// Sets the state, unless the server has been stopped, which is final.
    fn set(&self, next: State) {
        self.state.send_if_modified(|state| {
            let is_final = matches!(state, State::Stopped);
            if !is_final {
                *state = next;
            }
            !is_final
        });
    }

    fn tell(&self, status: Startup, failure: Option<Failure>) {
        if self.stop.is_cancelled() {
            return;
        }
        let needs_login = failure.as_ref().is_some_and(|it| it.needs_login);
        (self.setup.on_event)(Event::Startup {
            server: self.name.clone(),
            status,
            error: failure.map(|it| it.message),
            needs_login,
        });
    }
}

fn lost() -> Failure {
    Failure {
        message: LOST.to_owned(),
        needs_login: false,
    }
}

async fn ended(child: &mut Option<Child>) {
    match child {
        Some(child) => {
            child.ended().await;
        }
        None => pending().await,
    }
}

/// Adds how the program has ended and what it said last.
async fn with_last_words(failure: Failure, child: &mut Option<Child>, patience: Duration) -> Failure {
    let Some(child) = child else {
        return failure;
    };
    let mut message = failure.message;
    if let Some(status) = child.ended_within(patience).await {
        message = format!("{message}: the program has ended ({status})");
    }
    let words = child.last_words().await;
    if !words.is_empty() {
        message = format!("{message}; on standard error it said: {words}");
    }
    Failure { message, ..failure }
}

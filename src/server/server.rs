//! What outlives every connection.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use codex_agent::{
    model::{ConfigError, Provider},
    ports::Model,
};
use codex_exec::Runner;

use crate::{
    config::{Config, Store},
    connection::{Connection, ConnectionId},
    life::Life,
    login::Logins,
    mcp::Mcp,
    models::Models,
    notice::Notice,
    questions::Questions,
    router::Router,
    threads::Threads,
};

/// The folder inside `$CODEX_HOME` that holds everything this server writes, but for `config.toml`: an
/// official CLI on the same machine is never disturbed.
const OWN_FOLDER: &str = "codex-server";

/// What the server is told about the world when it starts. Without `Debug`: the environment holds keys.
#[derive(Clone)]
pub struct Setup {
    /// `$CODEX_HOME`, absolute; need not exist.
    pub codex_home: PathBuf,
    /// Where threads start that name no directory; absolute.
    pub cwd: PathBuf,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
    /// The program's version.
    pub version: String,
    /// A program that calls [`codex_exec::sandbox_main`] for [`codex_exec::SANDBOX_MODE`]: our own, absolute.
    pub sandbox_helper: PathBuf,
    /// Asked in place of every configured provider; for demonstrations and tests.
    pub model: Option<Arc<dyn Model>>,
}

impl Setup {
    /// The folder of our own state.
    pub fn own_folder(&self) -> PathBuf {
        self.codex_home.join(OWN_FOLDER)
    }

    /// What a sandboxed command must not read: our state, and the official program's login.
    pub fn hidden(&self) -> Vec<PathBuf> {
        vec![self.own_folder(), self.codex_home.join("auth.json")]
    }

    /// A variable of the environment that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|it| !it.is_empty())
    }
}

/// A handle on the server. Clones are the same server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

/// A handle that does not keep the server alive.
pub(crate) struct WeakServer(Weak<Inner>);

impl WeakServer {
    pub(crate) fn upgrade(&self) -> Option<Server> {
        self.0.upgrade().map(Server)
    }
}

struct Inner {
    setup: Setup,
    router: Router,
    settings: Store,
    logins: Logins,
    runner: Runner,
    life: Life,
    questions: Questions,
    threads: Threads,
    models: Models,
    mcp: Mcp,
    next_connection: AtomicU64,
    connections: Mutex<BTreeMap<ConnectionId, Connection>>,
}

impl Server {
    /// A server that nobody is connected to.
    pub fn new(setup: Setup) -> Server {
        Server::with_router(setup, Router::with_all_methods())
    }

    pub(crate) fn with_router(setup: Setup, router: Router) -> Server {
        Server(Arc::new(Inner {
            settings: Store::new(&setup.codex_home),
            logins: Logins::of(&setup),
            runner: Runner::new(setup.sandbox_helper.clone()),
            setup,
            router,
            life: Life::default(),
            questions: Questions::default(),
            threads: Threads::default(),
            models: Models::default(),
            mcp: Mcp::default(),
            next_connection: AtomicU64::new(0),
            connections: Mutex::default(),
        }))
    }

    /// What it was told when it started.
    pub fn setup(&self) -> &Setup {
        &self.0.setup
    }

    /// The configuration as the file says it now. Blocking, and short: the file is read when it has changed.
    pub fn config(&self) -> Arc<Config> {
        self.0.settings.load().config
    }

    /// A provider that can be asked, with its credential. Blocking, as [`Server::config`]. `None`: there is no
    /// provider of this name.
    pub fn provider(&self, id: &str) -> Option<Result<Provider, ConfigError>> {
        let provider = self.config().provider(id)?;
        let variable = |name: &str| self.setup().variable(name).map(str::to_owned);
        // A keyring is asked only for a key that would be used.
        let has_variable = provider.env_key.as_deref().and_then(variable).is_some();
        let login = (provider.requires_openai_auth && !has_variable).then(|| self.logins().key());
        Some(provider.resolve(id, variable, login.flatten()))
    }

    /// Keys that users have stored.
    pub fn logins(&self) -> &Logins {
        &self.0.logins
    }

    /// Starts commands.
    pub fn runner(&self) -> &Runner {
        &self.0.runner
    }

    pub(crate) fn settings(&self) -> &Store {
        &self.0.settings
    }

    /// Where it stands on its way to the end.
    pub fn life(&self) -> &Life {
        &self.0.life
    }

    /// The questions that users have not answered.
    pub fn questions(&self) -> &Questions {
        &self.0.questions
    }

    pub(crate) fn mcp(&self) -> &Mcp {
        &self.0.mcp
    }

    /// A handle that does not keep it alive.
    pub(crate) fn downgrade(&self) -> WeakServer {
        WeakServer(Arc::downgrade(&self.0))
    }

    pub(crate) fn models(&self) -> &Models {
        &self.0.models
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.0.threads
    }

    /// Tells every initialized connection.
    pub fn broadcast(&self, notice: &Notice) {
        self.for_each(|it| it.tell(notice));
    }

    /// Does something with every connection.
    pub(crate) fn for_each(&self, act: impl FnMut(&Connection)) {
        self.connections().values().for_each(act);
    }

    /// Requests of all connections that are under way.
    pub(crate) fn requests_under_way(&self) -> usize {
        self.connections().values().map(Connection::under_way).sum()
    }

    /// How many peers are connected.
    pub(crate) fn connection_count(&self) -> usize {
        self.connections().len()
    }

    pub(crate) fn router(&self) -> &Router {
        &self.0.router
    }

    pub(crate) fn connect(&self) -> Connection {
        let id = ConnectionId(self.0.next_connection.fetch_add(1, Ordering::Relaxed));
        let connection = Connection::new(id);
        self.connections().insert(id, connection.clone());
        connection
    }

    pub(crate) fn disconnect(&self, id: ConnectionId) {
        self.connections().remove(&id);
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Connection>> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

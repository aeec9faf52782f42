//! What outlives every connection.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    connection::{Connection, ConnectionId},
    life::Life,
    notice::Notice,
    questions::Questions,
    router::Router,
};

/// The folder inside `$CODEX_HOME` that holds everything this server writes, but for `config.toml`: an
/// official CLI on the same machine is never disturbed.
const OWN_FOLDER: &str = "codex-server";

/// What the server is told about the world when it starts.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `$CODEX_HOME`, absolute; need not exist.
    pub codex_home: PathBuf,
    /// Where threads start that name no directory; absolute.
    pub cwd: PathBuf,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
    /// The program's version.
    pub version: String,
}

impl Setup {
    /// The folder of our own state.
    pub fn own_folder(&self) -> PathBuf {
        self.codex_home.join(OWN_FOLDER)
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

struct Inner {
    setup: Setup,
    router: Router,
    life: Life,
    questions: Questions,
    next_connection: AtomicU64,
    connections: Mutex<BTreeMap<ConnectionId, Connection>>,
}

impl Server {
    /// A server that nobody is connected to.
    pub fn new(setup: Setup) -> Server {
        Server(Arc::new(Inner {
            setup,
            router: Router::with_all_methods(),
            life: Life::default(),
            questions: Questions::default(),
            next_connection: AtomicU64::new(0),
            connections: Mutex::default(),
        }))
    }

    pub fn setup(&self) -> &Setup {
        &self.0.setup
    }

    pub fn life(&self) -> &Life {
        &self.0.life
    }

    /// The questions that users have not answered.
    pub fn questions(&self) -> &Questions {
        &self.0.questions
    }

    /// Tells every initialized connection.
    pub fn broadcast(&self, notice: &Notice) {
        for connection in self.connections().values() {
            connection.tell(notice);
        }
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

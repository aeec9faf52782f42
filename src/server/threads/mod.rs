//! The loaded threads: one owner each, which alone writes its log, runs its turns and knows its subscribers.
//!
//! ```text
//! handlers ── Mail ──► owner ── Begun ──► agent's run ── TurnOutput ──► owner ── notices ──► subscribers
//!                        └── log                 └── hands (commands, patches)
//! ```

mod ask;
mod calls;
mod context;
mod dynamic;
mod git;
mod goal;
mod hands;
mod history;
mod live;
mod overrides;
mod owner;
mod recovery;
mod rules;
mod shell;
mod telling;
mod turn;
mod wire;

use std::{
    collections::BTreeMap,
    io::Read,
    path::Path,
    sync::{Arc, Mutex as StdMutex, PoisonError},
};

use codex_protocol::{
    ThreadId,
    v2::{Idle, ThreadStatus},
};
use codex_threads::{Header, ThreadLog, ThreadStore, thread_id};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, OnceCell, mpsc},
    task::JoinSet,
};

use crate::{
    connection::Connection,
    notice::{Notice, unix_millis},
    refusal::Refusal,
    responder::Responder,
    server::Server,
};

pub(crate) use context::{BASE_INSTRUCTIONS, DEVELOPER_INSTRUCTIONS};
pub(crate) use dynamic::{DYNAMIC_TOOLS, read as read_dynamic_tools};
pub(crate) use git::git_info;
pub(crate) use hands::reason;
pub(crate) use live::View;
pub(crate) use overrides::{apply as apply_overrides, known as known_provider};
pub(crate) use wire::{refuse, refuse_missing, thread as on_the_wire};

pub(crate) use owner::Owner;

/// Requests that wait for one thread's owner; beyond it they are refused as *overloaded*.
const MAIL_MAX: usize = 256;

/// Looks at a thread as it is at one moment.
pub(crate) type Look = Box<dyn FnOnce(View<'_>) -> Result<Value, Refusal> + Send>;

/// Does something with a thread that is not archived.
pub(crate) type Do = Box<dyn FnOnce(&mut Owner, Connection, Responder) + Send>;

/// What a thread's owner is asked for.
pub(crate) enum Act {
    /// The owner's methods are the acts; see `owner.rs`, `turn.rs`, `history.rs`, `goal.rs` and `shell.rs`.
    Do(Do),
    Look(Look),
    Archive,
    Delete,
    Unsubscribe,
}

impl Act {
    /// An act that answers by the responder it is given.
    pub(crate) fn does(act: impl FnOnce(&mut Owner, Responder) + Send + 'static) -> Act {
        Act::Do(Box::new(|owner, _, responder| act(owner, responder)))
    }
}

pub(crate) struct Mail {
    pub(crate) act: Act,
    /// What is said where there is no such thread, before its id: clients of the official server look for it.
    pub(crate) missing: &'static str,
    pub(crate) connection: Connection,
    pub(crate) responder: Responder,
}

#[derive(Default)]
pub(crate) struct Threads {
    store: OnceCell<Arc<ThreadStore>>,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    owned: BTreeMap<ThreadId, Owned>,
    owners: JoinSet<()>,
}

struct Owned {
    mailbox: mpsc::Sender<Mail>,
    status: Status,
}

/// A thread's status as it was told last, for whoever lists threads.
#[derive(Clone)]
struct Status(Arc<StdMutex<ThreadStatus>>);

impl Status {
    fn new(status: ThreadStatus) -> Status {
        Status(Arc::new(StdMutex::new(status)))
    }

    fn get(&self) -> ThreadStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, status: ThreadStatus) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

impl Threads {
    /// The threads on disk; opened when they are first asked for.
    pub(crate) async fn store(&self, own_folder: &Path) -> Result<Arc<ThreadStore>, Refusal> {
        let open = || async {
            let folder = own_folder.to_owned();
            crate::handlers::blocking(move || {
                let store = ThreadStore::open(&folder).map_err(|it| refuse(&it))?;
                store.sweep(unix_millis()).map_err(|it| refuse(&it))?;
                Ok(Arc::new(store))
            })
            .await
        };
        self.store.get_or_try_init(open).await.cloned()
    }

    /// The loaded threads and what they are doing.
    pub(crate) async fn statuses(&self) -> BTreeMap<ThreadId, ThreadStatus> {
        let loaded = self.loaded.lock().await;
        let status = |(id, owned): (&ThreadId, &Owned)| (id.clone(), owned.status.get());
        loaded.owned.iter().map(status).collect()
    }

    /// Creates a thread, answers, and tells everybody.
    pub(crate) async fn start(
        &self,
        server: &Server,
        header: Header,
        connection: Connection,
        responder: Responder,
    ) {
        let created = async {
            let store = self.store(&server.setup().own_folder()).await?;
            crate::handlers::blocking(move || store.create(header).map_err(|it| refuse(&it))).await
        };
        match created.await {
            Err(refusal) => responder.refuse(refusal),
            Ok(log) => self.adopt(server, log, &[], connection, responder).await,
        }
    }

    /// Takes a thread on that was just made: answers, subscribes, and tells everybody.
    pub(crate) async fn adopt(
        &self,
        server: &Server,
        log: ThreadLog,
        turns: &[Value],
        connection: Connection,
        responder: Responder,
    ) {
        let mut loaded = self.loaded.lock().await;
        let status = ThreadStatus::Idle(Idle {});
        let mut answer = wire::opened(&log, &status, turns);
        if let Ok(reader) = log.reader() {
            wire::add_cursors(&mut answer, &reader);
        }
        let thread = wire::thread(&log.summary(), &status, &[]);
        let notice = Notice::new("thread/started", &json!({ "thread": thread }));
        loaded.own(server, log, vec![connection], status);
        responder.answer(&answer);
        server.broadcast(&notice);
    }

    /// Sends mail to a thread's owner; loads the thread for it where it is not.
    pub(crate) async fn send(&self, server: &Server, id: &ThreadId, mail: Mail) {
        let mut loaded = self.loaded.lock().await;
        let is_loaded = loaded.owned.contains_key(id);
        let mail = match mail {
            Mail {
                act: Act::Unsubscribe,
                responder,
                ..
            } if !is_loaded => return responder.answer(&json!({ "status": "notLoaded" })),
            // Nobody has to own a thread that is only looked at.
            Mail {
                act: Act::Look(look),
                missing,
                responder,
                ..
            } if !is_loaded => {
                drop(loaded);
                return self.look_at_rest(server, id, look, missing, responder).await;
            }
            mail => mail,
        };
        if !is_loaded {
            match self.open(server, id.clone(), mail.missing).await {
                Ok(log) if log.state().archived && matches!(mail.act, Act::Do(_)) => {
                    let text = format!(
                        "session {id} is archived. Run `codex unarchive {id}` to unarchive it first."
                    );
                    return mail.responder.refuse(Refusal::invalid(text));
                }
                Ok(log) if log.state().archived && matches!(mail.act, Act::Archive) => {
                    let text = format!("{}{id}", mail.missing);
                    return mail.responder.refuse(Refusal::invalid(text));
                }
                Ok(log) => loaded.own(server, log, Vec::new(), ThreadStatus::NotLoaded(Idle {})),
                Err(refusal) => return mail.responder.refuse(refusal),
            }
        }
        let Some(owned) = loaded.owned.get(id) else {
            return mail.responder.refuse(Refusal::unanswered());
        };
        if let Err(error) = owned.mailbox.try_send(mail) {
            error.into_inner().responder.refuse(Refusal::overloaded());
        }
    }

    async fn open(&self, server: &Server, id: ThreadId, missing: &'static str) -> Result<ThreadLog, Refusal> {
        let store = self.store(&server.setup().own_folder()).await?;
        crate::handlers::blocking(move || {
            let log = store.open_writer(&id, unix_millis());
            log.map_err(|it| wire::refuse_missing(&it, missing))
        })
        .await
    }

    async fn look_at_rest(
        &self,
        server: &Server,
        id: &ThreadId,
        look: Look,
        missing: &'static str,
        responder: Responder,
    ) {
        let looked = async {
            let store = self.store(&server.setup().own_folder()).await?;
            let id = id.clone();
            crate::handlers::blocking(move || {
                let reader = store.reader(&id);
                let reader = reader.map_err(|it| wire::refuse_missing(&it, missing))?;
                look(View::at_rest(reader))
            })
            .await
        };
        responder.conclude(looked.await);
    }

    fn opened_store(&self) -> Option<&Arc<ThreadStore>> {
        self.store.get()
    }
}

impl Loaded {
    /// `status` is what clients have been told.
    fn own(&mut self, server: &Server, log: ThreadLog, subscribers: Vec<Connection>, status: ThreadStatus) {
        while self.owners.try_join_next().is_some() {}
        let (mailbox, mail) = mpsc::channel(MAIL_MAX);
        let id = log.id().clone();
        let status = Status::new(status);
        let owned = Owned {
            mailbox,
            status: status.clone(),
        };
        self.owned.insert(id, owned);
        let (owner, heard) = Owner::new(server.clone(), log, subscribers, status);
        self.owners.spawn(owner::run(owner, mail, heard));
    }
}

/// A new id for a thread, a turn or an item: a UUIDv7.
pub(crate) fn new_id() -> Result<String, Refusal> {
    let mut random = [0; 10];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(thread_id(unix_millis().unsigned_abs(), random).0)
}

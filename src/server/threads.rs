//! The loaded threads: one owner each, which alone writes its log and knows its subscribers.

use std::{collections::BTreeMap, io::Read, path::Path, time::Duration};

use codex_protocol::{
    ThreadId,
    v2::{Idle, ThreadStatus, TurnItemsView},
};
use codex_threads::{
    Durability, Header, Record, StoreError, Summary, ThreadLog, ThreadStore, TurnsQuery, thread_id,
};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, OnceCell, mpsc},
    task::JoinSet,
    time::timeout,
};

use crate::{
    connection::Connection,
    notice::{Notice, unix_millis},
    refusal::Refusal,
    responder::Responder,
    server::Server,
};

/// Requests that wait for one thread's owner; beyond it they are refused as *overloaded*.
const MAIL_MAX: usize = 256;
/// Turns that a resume gives at once; the others are paged.
const RESUMED_TURNS_MAX: u32 = 1000;
/// How long a thread without subscribers stays loaded, unless configured: that of the official server.
const UNLOAD_DELAY: Duration = Duration::from_secs(60);

/// What a thread's owner is asked for.
pub(crate) enum Act {
    /// Answers with the thread, and subscribes in the same step.
    Resume {
        with_turns: bool,
    },
    Name(String),
    Archive,
    Delete,
    Unsubscribe,
}

pub(crate) struct Mail {
    pub(crate) act: Act,
    pub(crate) connection: Connection,
    pub(crate) responder: Responder,
}

#[derive(Default)]
pub(crate) struct Threads {
    store: OnceCell<std::sync::Arc<ThreadStore>>,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    mailboxes: BTreeMap<ThreadId, mpsc::Sender<Mail>>,
    owners: JoinSet<()>,
}

impl Threads {
    /// The threads on disk; opened when they are first asked for.
    pub(crate) async fn store(&self, own_folder: &Path) -> Result<std::sync::Arc<ThreadStore>, Refusal> {
        let open = || async {
            let folder = own_folder.to_owned();
            crate::handlers::blocking(move || {
                let store = ThreadStore::open(&folder).map_err(|it| refuse(&it))?;
                store.sweep(unix_millis()).map_err(|it| refuse(&it))?;
                Ok(std::sync::Arc::new(store))
            })
            .await
        };
        self.store.get_or_try_init(open).await.cloned()
    }

    pub(crate) async fn ids(&self) -> Vec<ThreadId> {
        self.loaded.lock().await.mailboxes.keys().cloned().collect()
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
            Ok(log) => {
                let mut loaded = self.loaded.lock().await;
                let answer = opened(&log, &[]);
                let notice = Notice::new("thread/started", &json!({ "thread": answer["thread"] }));
                loaded.own(server, log, vec![connection]);
                responder.answer(&answer);
                server.broadcast(&notice);
            }
        }
    }

    /// Sends mail to a thread's owner; loads the thread for it where it is not.
    pub(crate) async fn send(&self, server: &Server, id: &ThreadId, mail: Mail) {
        let mut loaded = self.loaded.lock().await;
        if !loaded.mailboxes.contains_key(id) {
            if matches!(mail.act, Act::Unsubscribe) {
                return mail.responder.answer(&json!({ "status": "notLoaded" }));
            }
            match self.open(server, id.clone()).await {
                Ok(log) if log.state().archived && matches!(mail.act, Act::Resume { .. }) => {
                    let text =
                        format!("session {id} is archived. Run `codex unarchive {id}` to use it again");
                    return mail.responder.refuse(Refusal::invalid(text));
                }
                Ok(log) => loaded.own(server, log, Vec::new()),
                Err(refusal) => return mail.responder.refuse(refusal),
            }
        }
        let Some(mailbox) = loaded.mailboxes.get(id) else {
            return mail.responder.refuse(Refusal::unanswered());
        };
        if let Err(error) = mailbox.try_send(mail) {
            error.into_inner().responder.refuse(Refusal::overloaded());
        }
    }

    async fn open(&self, server: &Server, id: ThreadId) -> Result<ThreadLog, Refusal> {
        let store = self.store(&server.setup().own_folder()).await?;
        crate::handlers::blocking(move || store.open_writer(&id, unix_millis()).map_err(|it| refuse(&it)))
            .await
    }
}

impl Loaded {
    fn own(&mut self, server: &Server, log: ThreadLog, subscribers: Vec<Connection>) {
        while self.owners.try_join_next().is_some() {}
        let (mailbox, mail) = mpsc::channel(MAIL_MAX);
        let id = log.id().clone();
        self.mailboxes.insert(id.clone(), mailbox);
        let owner = Owner {
            server: server.clone(),
            log,
            subscribers,
        };
        self.owners.spawn(run(id, owner, mail));
    }
}

/// What is said when a thread has lost its owner.
type Farewell = Box<dyn FnOnce() + Send>;

struct Owner {
    server: Server,
    log: ThreadLog,
    subscribers: Vec<Connection>,
}

/// Serves one thread until it is deleted, archived, or of no interest to anybody.
async fn run(id: ThreadId, owner: Owner, mut mailbox: mpsc::Receiver<Mail>) {
    let server = owner.server.clone();
    let config = server.clone();
    let configured = tokio::task::spawn_blocking(move || config.config().thread_unload_delay_secs).await;
    let delay = configured
        .ok()
        .flatten()
        .map_or(UNLOAD_DELAY, Duration::from_secs);
    let mut owned = Some(owner);
    let mut farewell = None;
    while let Some(mut owner) = owned.take() {
        let received = tokio::select! {
            received = timeout(delay, mailbox.recv()) => received,
            // Every record is on disk before it is answered: there is nothing left to write.
            () = server.life().stopping().cancelled() => break,
        };
        match received {
            Ok(None) => break,
            Ok(Some(mail)) => {
                // The log blocks; the whole owner goes along, so nothing is shared.
                let handled = tokio::task::spawn_blocking(move || owner.handle(mail)).await;
                match handled {
                    Ok(Ok(owner)) => owned = Some(owner),
                    Ok(Err(last_words)) => farewell = Some(last_words),
                    Err(error) => tracing::error!(%error, thread = %id, "a thread's owner panicked"),
                }
            }
            Err(_) => {
                owner.subscribers.retain(|it| !it.closed().is_cancelled());
                if !owner.subscribers.is_empty() {
                    owned = Some(owner);
                    continue;
                }
                // Mail is sent under this lock: none is lost between the look and the end.
                let mut loaded = server.threads().loaded.lock().await;
                if mailbox.is_empty() {
                    loaded.mailboxes.remove(&id);
                    let status = json!({ "threadId": id, "status": ThreadStatus::NotLoaded(Idle {}) });
                    server.broadcast(&Notice::new("thread/status/changed", &status));
                    server.broadcast(&Notice::new("thread/closed", &json!({ "threadId": id })));
                    return;
                }
                owned = Some(owner);
            }
        }
    }
    // Answered only now: whoever hears that it is done finds the thread without an owner.
    server.threads().loaded.lock().await.mailboxes.remove(&id);
    if let Some(farewell) = farewell {
        farewell();
    }
    while let Ok(mail) = mailbox.try_recv() {
        let text = format!("thread {id} was archived or deleted meanwhile");
        mail.responder.refuse(Refusal::invalid(text));
    }
}

impl Owner {
    /// An error: the thread is loaded no more.
    fn handle(mut self, mail: Mail) -> Result<Owner, Farewell> {
        let Mail {
            act,
            connection,
            responder,
        } = mail;
        let id = self.log.id().clone();
        let named = |method: &str| Notice::new(method, &json!({ "threadId": id }));
        match act {
            Act::Resume { with_turns } => match self.resumed(with_turns) {
                Ok(answer) => {
                    self.subscribers.retain(|it| it.id() != connection.id());
                    self.subscribers.push(connection);
                    responder.answer(&answer);
                }
                Err(error) => responder.refuse(refuse(&error)),
            },
            Act::Name(name) => match self.append(Record::NameSet {
                name: Some(name.clone()),
            }) {
                Ok(()) => {
                    responder.answer(&json!({}));
                    let params = json!({ "threadId": id, "threadName": name });
                    self.server
                        .broadcast(&Notice::new("thread/name/updated", &params));
                }
                Err(error) => responder.refuse(refuse(&error)),
            },
            Act::Archive => match self.append(Record::Archived(true)) {
                Ok(()) => {
                    let (server, notice) = (self.server.clone(), named("thread/archived"));
                    return Err(Box::new(move || {
                        responder.answer(&json!({}));
                        server.broadcast(&notice);
                    }));
                }
                Err(error) => responder.refuse(refuse(&error)),
            },
            Act::Delete => {
                let Owner { server, log, .. } = self;
                let deleted = server.threads().store.get().map(|it| it.delete_open(log));
                let notice = named("thread/deleted");
                return Err(Box::new(move || match deleted {
                    Some(Ok(())) => {
                        responder.answer(&json!({}));
                        server.broadcast(&notice);
                    }
                    Some(Err(error)) => responder.refuse(refuse(&error)),
                    None => responder.refuse(Refusal::unanswered()),
                }));
            }
            Act::Unsubscribe => {
                let before = self.subscribers.len();
                self.subscribers.retain(|it| it.id() != connection.id());
                let status = if self.subscribers.len() < before {
                    "unsubscribed"
                } else {
                    "notSubscribed"
                };
                responder.answer(&json!({ "status": status }));
            }
        }
        Ok(self)
    }

    fn append(&mut self, record: Record) -> Result<(), StoreError> {
        self.log.append(unix_millis(), record, Durability::Synced)
    }

    fn resumed(&self, with_turns: bool) -> Result<Value, StoreError> {
        if !with_turns {
            return Ok(opened(&self.log, &[]));
        }
        let query = TurnsQuery {
            limit: Some(RESUMED_TURNS_MAX),
            view: Some(TurnItemsView::Full),
            ..TurnsQuery::default()
        };
        let mut turns = self.log.reader()?.turns(&query)?.turns;
        turns.reverse();
        Ok(opened(&self.log, &turns))
    }
}

fn opened(log: &ThreadLog, turns: &[codex_protocol::v2::Turn]) -> Value {
    let settings = &log.state().settings;
    json!({
        "thread": on_the_wire(&log.summary(), true, turns),
        "model": settings.model,
        "modelProvider": settings.model_provider,
        "cwd": settings.cwd,
        "approvalPolicy": settings.approval_policy,
        "approvalsReviewer": "user",
        "sandbox": settings.sandbox,
        "reasoningEffort": settings.reasoning_effort,
    })
}

/// A thread as the protocol has it, with the fields that the typed form leaves out.
pub(crate) fn on_the_wire(summary: &Summary, is_loaded: bool, turns: &[codex_protocol::v2::Turn]) -> Value {
    let mut thread = summary.to_thread();
    if is_loaded {
        thread.status = ThreadStatus::Idle(Idle {});
    }
    thread.turns = turns.to_vec();
    let mut value = json!(thread);
    value["sessionId"] = json!(summary.id);
    value["source"] = json!(summary.source);
    value["projectId"] = Value::Null;
    value["forkedFromId"] = json!(summary.forked_from_id);
    value["originator"] = json!(summary.originator);
    value["reasoningEffort"] = json!(summary.reasoning_effort);
    value
}

/// A new thread's id.
pub(crate) fn new_id() -> Result<ThreadId, Refusal> {
    let mut random = [0; 10];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(thread_id(unix_millis().unsigned_abs(), random))
}

pub(crate) fn refuse(error: &StoreError) -> Refusal {
    let text = match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    };
    match error {
        StoreError::Io { .. } | StoreError::Broken(_) | StoreError::Encode(_) => Refusal::failed(text),
        _ => Refusal::invalid(text),
    }
}

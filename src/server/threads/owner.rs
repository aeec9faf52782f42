//! The owner of one loaded thread: its loop, and what needs no turn.

use std::{sync::Arc, task::Poll, time::Duration};

use codex_agent::{RawItem, approval::Grants, run::OUTPUTS_MAX, run::TurnOutput};
use codex_protocol::{
    ThreadId, TurnId,
    served::Overrides,
    v2::{Active as ActiveStatus, Idle, ThreadStatus},
};
use codex_threads::{Durability, ItemTimes, Record, StoreError, ThreadLog};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::{
    Act, Mail, Status, apply_overrides,
    ask::{Asked, Wish},
    hands::Sessions,
    live::{Live, View},
    rules,
    turn::{Active, Begun},
    wire,
};
use crate::{
    connection::Connection,
    notice::{Notice, unix_millis},
    questions::Answer,
    refusal::Refusal,
    responder::Responder,
    server::Server,
};

/// How long a thread without subscribers stays loaded, unless configured: that of the official server.
const UNLOAD_DELAY: Duration = Duration::from_secs(60);
/// Answers of users that wait for the owner; when it is full their connections wait.
const ANSWERS_MAX: usize = 32;
/// Names and what git knows, in the words of a refusal.
pub(super) const METADATA: &str = "metadata updates";

/// What is said when a thread has lost its owner.
type Farewell = Box<dyn FnOnce() + Send>;

/// A loaded thread. What clients ask for are its methods.
pub(crate) struct Owner {
    pub(super) server: Server,
    pub(super) id: ThreadId,
    pub(super) log: ThreadLog,
    pub(super) subscribers: Vec<Connection>,
    status: Status,
    pub(super) live: Live,
    /// The turn that runs.
    pub(super) active: Option<Active>,
    /// The last turn failed, and nothing was tried since.
    pub(super) failed: bool,
    /// The conversation as the model sees it; read when it is first needed.
    pub(super) history: Option<Vec<RawItem>>,
    /// Something was added to the log that the turn under way does not know.
    pub(super) is_outdated: bool,
    /// Turns that the goal has begun since somebody spoke.
    pub(super) goal_turns: u32,
    pub(super) grants: Grants,
    pub(super) sessions: Arc<Sessions>,
    pub(super) asked: Asked,
    pub(super) answers: mpsc::Sender<Answer>,
    pub(super) wishes: mpsc::Sender<Wish>,
    /// Turns that the loop shall run.
    pub(super) begun: Vec<Begun>,
    /// The status is shown when the next item has ended.
    pub(super) shows_status_late: bool,
    /// When the model's last message began and ended.
    pub(super) last_message: Option<ItemTimes>,
    /// The start of a command, until it is known whether it is asked about.
    pub(super) held: Option<TurnOutput>,
    farewell: Option<Farewell>,
}

/// What comes to an owner from elsewhere than its clients' requests.
pub(super) struct Channels {
    answers: mpsc::Receiver<Answer>,
    wishes: mpsc::Receiver<Wish>,
}

/// What an owner hears.
enum Heard {
    Mail(Mail),
    Told(TurnId, Vec<TurnOutput>),
    Answer(Answer),
    Wish(Wish),
    /// There is a call of a client's tool that nobody can answer any more.
    Deserted,
    /// Nothing for as long as a thread stays loaded that nobody listens to.
    Silence,
    Stopping,
}

/// The turns that tell something, by the channel of each.
#[derive(Default)]
struct Running {
    outputs: Vec<(TurnId, mpsc::Receiver<TurnOutput>)>,
    runs: JoinSet<()>,
}

impl Running {
    fn add(&mut self, begun: Begun) {
        while self.runs.try_join_next().is_some() {}
        self.outputs.push((begun.turn, begun.outputs));
        self.runs.spawn(begun.run);
    }

    /// All that one turn has to tell; waits for ever where none runs. Cancel-safe.
    async fn next(&mut self) -> (TurnId, Vec<TurnOutput>) {
        std::future::poll_fn(|context| {
            let mut batch = Vec::new();
            let mut at = 0;
            while let Some((turn, outputs)) = self.outputs.get_mut(at) {
                match outputs.poll_recv_many(context, &mut batch, OUTPUTS_MAX) {
                    Poll::Ready(0) => drop(self.outputs.remove(at)),
                    Poll::Ready(_) => return Poll::Ready((turn.clone(), batch)),
                    Poll::Pending => at += 1,
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Serves one thread until it is deleted, archived, or of no interest to anybody.
pub(super) async fn run(owner: Owner, mut mailbox: mpsc::Receiver<Mail>, mut heard: Channels) {
    let (server, id) = (owner.server.clone(), owner.id.clone());
    let config = server.clone();
    let configured = tokio::task::spawn_blocking(move || config.config().thread_unload_delay_secs).await;
    let delay = configured
        .ok()
        .flatten()
        .map_or(UNLOAD_DELAY, Duration::from_secs);
    let mut running = Running::default();
    let mut stopping = false;
    let mut owned = on_its_own_thread(owner, Owner::recover).await;
    let mut farewell = None;
    while let Some(mut owner) = owned.take() {
        owner.begun.drain(..).for_each(|begun| running.add(begun));
        if let Some(last_words) = owner.farewell.take() {
            farewell = Some(last_words);
            break;
        }
        if stopping && running.outputs.is_empty() {
            break;
        }
        let heard = tokio::select! {
            biased;
            () = server.life().stopping().cancelled(), if !stopping => Heard::Stopping,
            Some(answer) = heard.answers.recv() => Heard::Answer(answer),
            Some(wish) = heard.wishes.recv() => Heard::Wish(wish),
            () = owner.asked.deserted() => Heard::Deserted,
            (turn, batch) = running.next() => Heard::Told(turn, batch),
            received = timeout(delay, mailbox.recv()) => match received {
                Ok(Some(mail)) => Heard::Mail(mail),
                Ok(None) => break,
                Err(_) => Heard::Silence,
            },
        };
        owned = match heard {
            Heard::Told(turn, batch) if batch.iter().all(Owner::is_only_told) => {
                owner.pass_on(&turn, batch);
                Some(owner)
            }
            Heard::Told(turn, batch) => on_its_own_thread(owner, move |it| it.told(&turn, batch)).await,
            Heard::Answer(answer) => on_its_own_thread(owner, move |it| it.answered(answer)).await,
            Heard::Wish(wish) => {
                owner.fulfil(wish);
                Some(owner)
            }
            Heard::Deserted => {
                owner.end_deserted();
                Some(owner)
            }
            Heard::Mail(mail) => on_its_own_thread(owner, move |it| it.handle(mail)).await,
            Heard::Stopping => {
                stopping = true;
                owner.cancel();
                Some(owner)
            }
            Heard::Silence if !running.outputs.is_empty() || owner.is_needed() => Some(owner),
            Heard::Silence if leave(&server, &id, &mailbox).await => return,
            Heard::Silence => Some(owner),
        };
    }
    // Answered only now: whoever hears that it is done finds the thread without an owner.
    server.threads().loaded.lock().await.owned.remove(&id);
    if let Some(farewell) = farewell {
        farewell();
    }
    while let Ok(mail) = mailbox.try_recv() {
        let text = format!("thread {id} was archived or deleted meanwhile");
        mail.responder.refuse(Refusal::invalid(text));
    }
}

/// Unloads a thread that nobody listens to; false where somebody has just come.
async fn leave(server: &Server, id: &ThreadId, mailbox: &mpsc::Receiver<Mail>) -> bool {
    // Mail is sent under this lock: none is lost between the look and the end.
    let mut loaded = server.threads().loaded.lock().await;
    if !mailbox.is_empty() {
        return false;
    }
    loaded.owned.remove(id);
    server.broadcast(&gone(id));
    server.broadcast(&Notice::new("thread/closed", &wire::named(id)));
    true
}

/// Says that the thread is loaded no more.
fn gone(id: &ThreadId) -> Notice {
    let params = json!({ "threadId": id, "status": ThreadStatus::NotLoaded(Idle {}) });
    Notice::new("thread/status/changed", &params)
}

/// The log blocks; the whole owner goes along, so nothing is shared. `None`: it panicked.
async fn on_its_own_thread(mut owner: Owner, act: impl FnOnce(&mut Owner) + Send + 'static) -> Option<Owner> {
    let id = owner.id.clone();
    let done = tokio::task::spawn_blocking(move || {
        act(&mut owner);
        owner
    });
    match done.await {
        Ok(owner) => Some(owner),
        Err(error) => {
            tracing::error!(%error, thread = %id, "a thread's owner panicked");
            None
        }
    }
}

impl Owner {
    pub(super) fn new(
        server: Server,
        log: ThreadLog,
        subscribers: Vec<Connection>,
        status: Status,
    ) -> (Owner, Channels) {
        let (answers, answered) = mpsc::channel(ANSWERS_MAX);
        let (wishes, wished) = mpsc::channel(ANSWERS_MAX);
        let heard = Channels {
            answers: answered,
            wishes: wished,
        };
        let owner = Owner {
            server,
            id: log.id().clone(),
            log,
            subscribers,
            status,
            live: Live::default(),
            active: None,
            failed: false,
            history: None,
            is_outdated: false,
            goal_turns: 0,
            grants: Grants::default(),
            sessions: Arc::default(),
            asked: Asked::default(),
            answers,
            wishes,
            begun: Vec::new(),
            shows_status_late: false,
            last_message: None,
            held: None,
            farewell: None,
        };
        (owner, heard)
    }

    fn is_needed(&mut self) -> bool {
        self.subscribers.retain(|it| !it.closed().is_cancelled());
        !self.subscribers.is_empty() || self.active.is_some()
    }

    fn handle(&mut self, mail: Mail) {
        let Mail {
            act,
            connection,
            responder,
            ..
        } = mail;
        match act {
            Act::Do(act) => act(self, connection, responder),
            Act::Look(look) => responder.conclude(self.look(look)),
            Act::Archive => self.archive(responder),
            Act::Delete => self.delete(responder),
            Act::Unsubscribe => self.unsubscribe(&connection, responder),
        }
    }

    fn look(&self, look: super::Look) -> Result<Value, Refusal> {
        let reader = self.log.reader().map_err(|it| wire::refuse(&it))?;
        look(View {
            reader,
            status: self.status.get(),
            live: Some(&self.live),
        })
    }

    /// Answers with the thread, and subscribes in the same step.
    pub(crate) fn resume(
        &mut self,
        with_turns: bool,
        overrides: &Overrides,
        connection: Connection,
        responder: Responder,
    ) {
        if self.log.header().ephemeral {
            return responder.refuse(self.not_on_disk());
        }
        if self.active.is_none()
            && let Err(refusal) = self.change_settings(overrides)
        {
            return responder.refuse(refusal);
        }
        let answer = match self.resumed(with_turns) {
            Ok(answer) => answer,
            Err(error) => return responder.refuse(wire::refuse(&error)),
        };
        self.subscribers.retain(|it| it.id() != connection.id());
        self.subscribers.push(connection.clone());
        responder.answer(&answer);
        if let Some(usage) = &self.log.state().usage
            && let Some((turn, _)) = self.log.state().last_turn()
        {
            let params = json!({ "threadId": self.id, "turnId": turn, "tokenUsage": usage });
            connection.tell(&Notice::new("thread/tokenUsage/updated", &params));
        }
        if !with_turns {
            // The pages that are asked for next hold what was said until then; this is for those who do not ask.
            for live in self.live.iter() {
                connection.tell(&Notice::new(
                    "item/started",
                    &self.started_params(&live.turn, &live.item, live.started_at),
                ));
            }
        }
        self.put_again(&connection);
    }

    fn resumed(&self, with_turns: bool) -> Result<Value, StoreError> {
        let reader = self.log.reader()?;
        let view = View {
            reader,
            status: self.status.get(),
            live: Some(&self.live),
        };
        let turns = if with_turns {
            view.last_turns()?
        } else {
            Vec::new()
        };
        let mut answer = wire::opened(&self.log, &self.status.get(), &turns);
        wire::add_cursors(&mut answer, &view.reader);
        answer["collaborationMode"] = wire::collaboration_mode(&self.log.state().settings);
        Ok(answer)
    }

    /// Changes the settings from here on.
    pub(crate) fn change_settings(&mut self, overrides: &Overrides) -> Result<(), Refusal> {
        let settings = &self.log.state().settings;
        let base = std::path::PathBuf::from(&settings.cwd);
        let new = apply_overrides(overrides, settings, &self.server.config(), &base)?;
        if new == *settings {
            return Ok(());
        }
        let record = Record::SettingsChanged(new);
        self.append(record).map_err(|it| wire::refuse(&it))?;
        self.tell_settings();
        Ok(())
    }

    /// Tells those who know such things that the settings have changed.
    fn tell_settings(&self) {
        let notice = Notice::new(
            "thread/settings/updated",
            &wire::settings(&self.id, &self.log.state().settings),
        );
        let experimental = self.subscribers.iter().filter(|it| it.is_experimental());
        experimental.for_each(|it| it.tell(&notice));
    }

    /// What is said of a thread in memory where one on disk is looked for.
    fn not_on_disk(&self) -> Refusal {
        Refusal::invalid(format!("no rollout found for thread id {}", self.id))
    }

    /// Refuses what makes no sense for a thread that is not kept.
    pub(super) fn must_be_kept(&self, what: &str) -> Result<(), Refusal> {
        match self.log.header().ephemeral {
            true => Err(Refusal::invalid(format!(
                "ephemeral thread does not support {what}: {}",
                self.id
            ))),
            false => Ok(()),
        }
    }

    pub(crate) fn name(&mut self, name: String, responder: Responder) {
        if let Err(refusal) = self.must_be_kept(METADATA) {
            return responder.refuse(refusal);
        }
        let record = Record::NameSet {
            name: Some(name.clone()),
        };
        match self.append(record) {
            Ok(()) => {
                responder.answer(&json!({}));
                let params = json!({ "threadId": self.id, "threadName": name });
                self.server
                    .broadcast(&Notice::new("thread/name/updated", &params));
            }
            Err(error) => responder.refuse(wire::refuse(&error)),
        }
    }

    fn archive(&mut self, responder: Responder) {
        if self.log.header().ephemeral {
            return responder.refuse(self.not_on_disk());
        }
        self.give_up();
        match self.append(Record::Archived(true)) {
            Ok(()) => {
                let (server, notice) = (
                    self.server.clone(),
                    Notice::new("thread/archived", &wire::named(&self.id)),
                );
                let gone = gone(&self.id);
                self.farewell = Some(Box::new(move || {
                    server.broadcast(&gone);
                    responder.answer(&json!({}));
                    server.broadcast(&notice);
                }));
            }
            Err(error) => responder.refuse(wire::refuse(&error)),
        }
    }

    fn delete(&mut self, responder: Responder) {
        if self.log.header().ephemeral {
            let text = format!("thread is not persisted and cannot be deleted: {}", self.id);
            return responder.refuse(Refusal::invalid(text));
        }
        self.give_up();
        let (server, id) = (self.server.clone(), self.id.clone());
        let (gone, notice) = (gone(&id), Notice::new("thread/deleted", &wire::named(&id)));
        // The log is this owner's until it is gone; its lock goes with the owner, before the file does.
        self.farewell = Some(Box::new(move || {
            let deleted = server
                .threads()
                .opened_store()
                .map(|it| it.delete(&id, unix_millis()));
            match deleted {
                Some(Ok(())) => {
                    server.broadcast(&gone);
                    responder.answer(&json!({}));
                    server.broadcast(&notice);
                }
                Some(Err(error)) => responder.refuse(wire::refuse(&error)),
                None => responder.refuse(Refusal::unanswered()),
            }
        }));
    }

    fn unsubscribe(&mut self, connection: &Connection, responder: Responder) {
        let before = self.subscribers.len();
        self.subscribers.retain(|it| it.id() != connection.id());
        let status = if self.subscribers.len() < before {
            "unsubscribed"
        } else {
            "notSubscribed"
        };
        responder.answer(&json!({ "status": status }));
        self.left(connection.id());
    }

    pub(super) fn status(&self) -> ThreadStatus {
        self.status.get()
    }

    pub(super) fn append(&mut self, record: Record) -> Result<(), StoreError> {
        self.log.append(unix_millis(), record, Durability::Synced)
    }

    /// Tells all subscribers.
    pub(super) fn tell(&self, notice: &Notice) {
        self.subscribers.iter().for_each(|it| it.tell(notice));
    }

    /// Tells everybody what the thread is doing, where that has changed.
    pub(super) fn show_status(&mut self) {
        let status = match (&self.active, self.failed) {
            (Some(active), _) if active.is_shown() => ThreadStatus::Active(ActiveStatus {
                active_flags: self.flags(),
            }),
            (_, true) => ThreadStatus::SystemError(Idle {}),
            (_, false) => ThreadStatus::Idle(Idle {}),
        };
        if status == self.status.get() {
            return;
        }
        let params = json!({ "threadId": self.id, "status": status });
        self.status.set(status);
        self.server
            .broadcast(&Notice::new("thread/status/changed", &params));
    }

    pub(super) fn load_rules(&mut self) {
        for rule in rules::load(&self.server.setup().own_folder()) {
            self.grants.add(rule);
        }
    }
}

/// What runs a turn, to its end and that of its commands.
pub(super) type Run = BoxFuture<'static, ()>;

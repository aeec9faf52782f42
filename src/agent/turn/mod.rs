//! One turn as a machine: no I/O and no clock of its own.
//!
//! Whoever drives it calls [`Turn::handle`] and drains [`Turn::poll_action`] after each call, in order: what is
//! emitted was recorded before, and a call runs after its item was recorded. Properties that hold whatever arrives in
//! whatever order:
//!
//! - the turn is started first and completed last, once;
//! - every item is started, gets its deltas and is completed, also after an interrupt, a steer, a cancelled question
//!   or a failure. Only a command that goes on in the background is completed after its turn;
//! - every call has exactly one output before the model is asked again;
//! - after an interrupt nothing is asked and nothing is run;
//! - what the model said until it was cut short stays in the history.

mod calls;
mod compaction;
mod diff;
mod event;
mod items;
mod sampling;

pub use event::{Question, Record, TurnEvent};

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use codex_protocol::v2::{ReviewMode, ThreadItem, ThreadTokenUsage, TurnError, TurnStatus, UserMessage};
use codex_protocol::{ItemId, ThreadId, TurnId};
use serde_json::Value;

use crate::RawItem;
use crate::approval::{ApprovalPolicy, Containment, Grants, Permission};
use crate::model::{ModelError, ModelEvent, wire};
use crate::ports::{CallId, Prepared, Prompt, ToolCall, ToolOutcome, ToolUpdate, UnixMillis};
use crate::tools::ToolSpec;

use calls::Calls;
use compaction::Compacting;
use diff::TurnDiff;
use items::ModelItems;

/// What a turn begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    pub kind: TurnKind,
    pub model: ModelSettings,
    /// The system prompt.
    pub instructions: Arc<str>,
    pub tools: Arc<[ToolSpec]>,
    /// Everything before this turn, with the context that was added for it.
    pub history: Vec<RawItem>,
    pub policy: ApprovalPolicy,
    pub containment: Containment,
    pub grants: Grants,
    /// Of the thread so far.
    pub usage: ThreadTokenUsage,
    /// How often an answer that broke off is asked for again before the turn fails.
    pub stream_max_retries: u32,
    /// Calls of `history` that waited for the user when the process ended. They are prepared and asked about again,
    /// and the turn goes on from there without being started a second time.
    pub reopened: Vec<CallId>,
}

/// What a turn is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnKind {
    Regular,
    /// `review/start`; what is reviewed, for people.
    Review {
        subject: String,
    },
    /// `thread/compact/start`: nothing but a compaction.
    Compact,
}

/// Which model, and how it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSettings {
    pub name: String,
    pub effort: Option<String>,
    pub summary: Option<String>,
    pub output_schema: Option<Value>,
    /// In tokens; unknown for a model that nobody described.
    pub context_window: Option<i64>,
    /// Compacts by itself from this number of tokens on; nine tenths of the window when missing.
    pub compact_at: Option<i64>,
}

/// Something the user said: for people, and for the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub message: UserMessage,
    pub raw: RawItem,
}

/// What arrives.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnInput {
    /// Once, first. A compaction has nothing said.
    Begin(Vec<Said>),
    Model(Result<ModelEvent, ModelError>),
    Prepared(CallId, Prepared),
    Update(CallId, ToolUpdate),
    Tool(CallId, ToolOutcome),
    Decision(CallId, Answer),
    /// Ignored where [`Turn::steerable`] says no.
    Steer(Said),
    Interrupt,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Decision(codex_protocol::v2::ApprovalDecision),
    /// The client answered with an error, or with something else than a decision.
    Failed(String),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnAction {
    /// Ask the model, for a retry after a pause.
    Sample(Box<Prompt>, Option<SampleRetry>),
    /// Let the answer go; none of its events may arrive any more.
    StopSampling,
    Prepare(ToolCall),
    Run(ToolCall, Permission),
    /// Ask a call that is prepared or run to end.
    Stop(CallId),
    Ask(CallId, Question),
    /// The answer to this question has no meaning any more.
    Withdraw(CallId),
    Record(Record),
    Emit(TurnEvent),
}

/// Before which retry a pause is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRetry {
    /// From 1.
    pub number: u32,
    /// What the server asked for.
    pub asked: Option<Duration>,
}

/// Why a turn takes no more words from the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSteerable {
    #[error("a review takes no further input")]
    Review,
    #[error("a compaction takes no further input")]
    Compact,
    #[error("the turn is ending")]
    Ending,
}

/// One turn.
pub struct Turn {
    setup: Setup,
    phase: Phase,
    actions: VecDeque<TurnAction>,
    history: Vec<RawItem>,
    /// Ids of items and calls that are taken; small servers use theirs again and again.
    taken: BTreeSet<String>,
    items: ModelItems,
    calls: Calls,
    diff: TurnDiff,
    usage: ThreadTokenUsage,
    /// The usage has grown and nobody knows yet.
    counted: bool,
    /// Tokens of the conversation as the model last counted them.
    context_tokens: Option<i64>,
    /// Attempts since the last whole answer.
    retries: u32,
    /// The pause before the next question.
    retry: Option<SampleRetry>,
    /// The model has to be asked again before the turn is over.
    follow_up: bool,
    /// Compacted since the last whole answer: doing it again would not help.
    compacted: bool,
    started_at: UnixMillis,
    last_message: Option<ThreadItem>,
}

enum Phase {
    New,
    /// The model speaks.
    Sampling,
    /// The model has spoken; calls are under way.
    Calling,
    Compacting(Compacting),
    /// Calls are being stopped.
    Ending(Ending),
    Done,
}

struct Ending {
    status: TurnStatus,
    error: Option<TurnError>,
}

impl Turn {
    pub fn new(setup: Setup) -> Turn {
        let history = setup.history.clone();
        let ids = |item: &RawItem| {
            let text = |name: &str| item.value().get(name).and_then(Value::as_str).map(str::to_owned);
            [text("id"), text("call_id")]
        };
        let taken = history.iter().flat_map(ids).flatten().collect();
        let last = setup.usage.last.total_tokens;
        Turn {
            usage: setup.usage.clone(),
            counted: false,
            context_tokens: (last > 0).then_some(last),
            setup,
            phase: Phase::New,
            actions: VecDeque::new(),
            history,
            taken,
            items: ModelItems::default(),
            calls: Calls::default(),
            diff: TurnDiff::default(),
            retries: 0,
            retry: None,
            follow_up: false,
            compacted: false,
            started_at: 0,
            last_message: None,
        }
    }

    /// Takes what arrived. What has no meaning in the present state is dropped.
    pub fn handle(&mut self, now: UnixMillis, input: TurnInput) {
        match input {
            TurnInput::Begin(said) => self.begin(now, said),
            TurnInput::Model(event) => match self.phase {
                Phase::Sampling => self.handle_model(now, event),
                Phase::Compacting(_) => self.handle_summary(now, event),
                Phase::New | Phase::Calling | Phase::Ending(_) | Phase::Done => {}
            },
            TurnInput::Prepared(id, prepared) => self.handle_prepared(now, &id, prepared),
            TurnInput::Update(id, update) => self.handle_update(now, &id, update),
            TurnInput::Tool(id, outcome) => self.handle_outcome(now, &id, outcome),
            TurnInput::Decision(id, answer) => self.handle_answer(now, &id, answer),
            TurnInput::Steer(said) => self.steer(now, said),
            TurnInput::Interrupt => self.interrupt(now),
        }
        self.advance(now);
    }

    /// The next thing to do; nothing when everything is done until more arrives.
    pub fn poll_action(&mut self) -> Option<TurnAction> {
        self.actions.pop_front()
    }

    /// Whether [`TurnInput::Steer`] would be taken.
    pub fn steerable(&self) -> Result<(), NotSteerable> {
        match (&self.phase, &self.setup.kind) {
            (Phase::Ending(_) | Phase::Done, _) => Err(NotSteerable::Ending),
            (_, TurnKind::Review { .. }) => Err(NotSteerable::Review),
            (_, TurnKind::Compact) => Err(NotSteerable::Compact),
            (Phase::New | Phase::Sampling | Phase::Calling | Phase::Compacting(_), TurnKind::Regular) => {
                Ok(())
            }
        }
    }

    /// Whether the turn was completed. Commands in the background may still go on.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// Whether a command of this turn goes on in the background.
    pub fn has_background(&self) -> bool {
        self.calls.has_background()
    }

    /// Gives commands in the background up: their items are completed as failed.
    pub fn abandon_background(&mut self, now: UnixMillis) {
        self.end_background(now);
    }

    /// The conversation as it stands, for the next turn.
    pub fn history(&self) -> &[RawItem] {
        &self.history
    }

    /// The thread's usage as it stands.
    pub fn usage(&self) -> &ThreadTokenUsage {
        &self.usage
    }

    fn begin(&mut self, now: UnixMillis, said: Vec<Said>) {
        if !matches!(self.phase, Phase::New) {
            return;
        }
        self.started_at = now;
        if !self.setup.reopened.is_empty() {
            return self.reopen(now);
        }
        self.commit(TurnEvent::Started { at: now });
        if let TurnKind::Review { subject } = &self.setup.kind {
            let review = subject.clone();
            let id = self.own_id("review");
            self.show(now, ThreadItem::EnteredReviewMode(ReviewMode { id, review }));
        }
        said.into_iter().for_each(|said| self.say(now, said));
        if self.setup.kind == TurnKind::Compact {
            return self.compact(now);
        }
        self.phase = Phase::Calling;
        self.follow_up = true;
    }

    /// Takes the calls up again that waited for the user.
    fn reopen(&mut self, now: UnixMillis) {
        let waiting: BTreeSet<CallId> = std::mem::take(&mut self.setup.reopened).into_iter().collect();
        let calls: Vec<_> = self
            .history
            .iter()
            .filter_map(|item| match wire::read_item(item) {
                wire::ModelItem::Call(call) if waiting.contains(&call.id) => Some(call),
                _ => None,
            })
            .collect();
        for call in calls {
            self.add_call(now, call);
        }
        self.phase = Phase::Calling;
        self.follow_up = true;
    }

    /// Goes on where nothing is waited for any more.
    fn advance(&mut self, now: UnixMillis) {
        match &self.phase {
            Phase::Sampling => self.start_calls(),
            Phase::Calling => {
                self.start_calls();
                if self.calls.are_active() {
                    return;
                }
                match self.follow_up {
                    true => self.sample(now),
                    false => self.finish(now, TurnStatus::Completed, None),
                }
            }
            Phase::Ending(ending) if !self.calls.are_active() => {
                let (status, error) = (ending.status.clone(), ending.error.clone());
                self.finish(now, status, error);
            }
            Phase::New | Phase::Ending(_) | Phase::Compacting(_) | Phase::Done => {}
        }
    }

    fn steer(&mut self, now: UnixMillis, said: Said) {
        if self.steerable().is_err() || matches!(self.phase, Phase::New) {
            return;
        }
        if matches!(self.phase, Phase::Sampling) {
            self.actions.push_back(TurnAction::StopSampling);
            self.close_items(now, Partial::Kept);
            self.phase = Phase::Calling;
        }
        self.say(now, said);
        self.follow_up = true;
    }

    fn interrupt(&mut self, now: UnixMillis) {
        if !matches!(self.phase, Phase::New) {
            self.end(now, TurnStatus::Interrupted, None);
        }
    }

    /// Stops everything; the turn is completed when all calls have ended.
    fn end(&mut self, now: UnixMillis, status: TurnStatus, error: Option<TurnError>) {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            // The first reason counts, and what is over stays over.
            ended @ (Phase::Ending(_) | Phase::Done) => {
                self.phase = ended;
                return;
            }
            Phase::Sampling => self.actions.push_back(TurnAction::StopSampling),
            Phase::Compacting(compacting) => {
                self.actions.push_back(TurnAction::StopSampling);
                self.complete(now, compacting.item, compacting.started_at);
            }
            Phase::New | Phase::Calling => {}
        }
        self.phase = Phase::Ending(Ending { status, error });
        self.close_items(now, Partial::Kept);
        self.stop_calls(now);
    }

    fn finish(&mut self, now: UnixMillis, status: TurnStatus, error: Option<TurnError>) {
        self.tell_usage();
        if status == TurnStatus::Interrupted {
            self.remember(wire::message("user", INTERRUPTED));
        }
        if matches!(self.setup.kind, TurnKind::Review { .. }) {
            let said = match &self.last_message {
                Some(ThreadItem::AgentMessage(message)) => message.text.clone(),
                _ => "The review ended without a result.".to_owned(),
            };
            let item = ReviewMode {
                id: self.own_id("reviewed"),
                review: said,
            };
            self.show(now, ThreadItem::ExitedReviewMode(item));
        }
        if let Some(error) = error.clone() {
            self.commit(TurnEvent::Error {
                error,
                will_retry: false,
            });
        }
        self.phase = Phase::Done;
        let last_message = self
            .last_message
            .take()
            .filter(|_| status == TurnStatus::Completed)
            .map(Box::new);
        self.commit(TurnEvent::Completed {
            status,
            error,
            last_message,
            started_at: self.started_at,
            at: now,
        });
    }

    fn say(&mut self, now: UnixMillis, said: Said) {
        self.remember(said.raw);
        self.show(now, ThreadItem::UserMessage(said.message));
    }

    /// Appends to the history.
    fn remember(&mut self, item: RawItem) {
        self.history.push(item.clone());
        self.actions.push_back(TurnAction::Record(Record::Raw(item)));
    }

    /// Records an event and tells it.
    fn commit(&mut self, event: TurnEvent) {
        self.actions
            .push_back(TurnAction::Record(Record::Event(event.clone())));
        self.actions.push_back(TurnAction::Emit(event));
    }

    /// Tells something that is not recorded: deltas, which the completed item repeats.
    fn tell(&mut self, event: TurnEvent) {
        self.actions.push_back(TurnAction::Emit(event));
    }

    /// An item that is whole when it begins.
    fn show(&mut self, now: UnixMillis, item: ThreadItem) {
        self.commit(TurnEvent::ItemStarted {
            item: item.clone(),
            at: now,
        });
        self.complete(now, item, now);
    }

    fn complete(&mut self, now: UnixMillis, item: ThreadItem, started_at: UnixMillis) {
        if matches!(item, ThreadItem::AgentMessage(_)) {
            self.last_message = Some(item.clone());
        }
        self.commit(TurnEvent::ItemCompleted {
            item,
            started_at,
            at: now,
        });
    }

    /// An id that the model did not give.
    fn own_id(&mut self, word: &str) -> ItemId {
        let wanted = format!("{}-{word}", self.setup.turn_id);
        ItemId(self.free_id(Some(wanted)))
    }

    /// The wanted id, or the nearest one that is not taken; it is taken from here on.
    fn free_id(&mut self, wanted: Option<String>) -> String {
        let wanted = wanted
            .filter(|it| !it.is_empty())
            .unwrap_or_else(|| format!("{}-item", self.setup.turn_id));
        let mut id = wanted.clone();
        let mut number = 1u64;
        while !self.taken.insert(id.clone()) {
            number += 1;
            id = format!("{wanted}-{number}");
        }
        id
    }
}

/// What the model reads about a turn that the user ended.
const INTERRUPTED: &str = "<turn_aborted>\nThe user interrupted the turn before it was complete. Commands may have \
                           stopped in the middle: look before you rely on what they did.\n</turn_aborted>";

/// What becomes of a message that was cut short.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Partial {
    /// The model will read it.
    Kept,
    /// The answer is asked for anew, and reading both would repeat it.
    Dropped,
}

#[cfg(test)]
mod tests;

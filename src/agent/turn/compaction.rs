//! The conversation is replaced by a summary of it.

use codex_protocol::v2::{Marker, ThreadItem, TurnStatus};

use super::{Phase, Record, Turn, TurnAction, TurnEvent, TurnKind};
use crate::compact;
use crate::history::paired;
use crate::model::wire::{self, ModelItem};
use crate::model::{ErrorClass, ModelError, ModelEvent};
use crate::ports::UnixMillis;

/// How often the oldest part is left out because even the question for a summary does not fit.
const TRIMS_MAX: u32 = 8;

/// A summary is being written.
pub(super) struct Compacting {
    pub(super) item: ThreadItem,
    pub(super) started_at: UnixMillis,
    summary: String,
    /// What is summarised; later items came while the summary was written.
    summarised: usize,
    trims: u32,
}

impl Turn {
    pub(super) fn compact(&mut self, now: UnixMillis) {
        self.tell_usage();
        let item = ThreadItem::ContextCompaction(Marker {
            id: self.own_id("compaction"),
        });
        self.commit(TurnEvent::ItemStarted {
            item: item.clone(),
            at: now,
        });
        self.ask_for_summary(Compacting {
            item,
            started_at: now,
            summary: String::new(),
            summarised: self.history.len(),
            trims: 0,
        });
    }

    fn ask_for_summary(&mut self, compacting: Compacting) {
        let history = &self.history[..compacting.summarised];
        let mut input = paired(compact::trimmed(history, compacting.trims));
        input.push(wire::message("user", compact::REQUEST));
        let prompt = Box::new(self.prompt(input));
        self.phase = Phase::Compacting(Compacting {
            summary: String::new(),
            ..compacting
        });
        self.actions
            .push_back(TurnAction::Sample(prompt, self.retry.take()));
    }

    pub(super) fn handle_summary(&mut self, now: UnixMillis, event: Result<ModelEvent, ModelError>) {
        let Phase::Compacting(compacting) = &mut self.phase else {
            return;
        };
        match event {
            Ok(ModelEvent::TextDelta { delta, .. }) => compacting.summary.push_str(&delta),
            Ok(ModelEvent::ItemDone(item)) => {
                if let ModelItem::Message { text, .. } = wire::read_item(&item) {
                    compacting.summary = text;
                }
            }
            Ok(ModelEvent::Retrying {
                retry,
                retries_max,
                error,
            }) => {
                self.commit(TurnEvent::Error {
                    error: error.retry_notice(retry, retries_max),
                    will_retry: true,
                });
            }
            Ok(ModelEvent::Completed { usage }) => {
                self.count(usage);
                self.retries = 0;
                self.summarised(now);
            }
            Ok(
                ModelEvent::MessageStarted { .. }
                | ModelEvent::ReasoningStarted { .. }
                | ModelEvent::SummaryPart { .. }
                | ModelEvent::SummaryDelta { .. }
                | ModelEvent::ReasoningDelta { .. },
            ) => {}
            Err(error) => self.handle_summary_failure(now, &error),
        }
    }

    fn handle_summary_failure(&mut self, now: UnixMillis, error: &ModelError) {
        let again = self.may_retry(error);
        let Phase::Compacting(compacting) = std::mem::replace(&mut self.phase, Phase::Calling) else {
            return;
        };
        let too_long = error.class == ErrorClass::ContextWindowExceeded && compacting.trims < TRIMS_MAX;
        if again || too_long {
            let trims = compacting.trims + u32::from(too_long);
            return self.ask_for_summary(Compacting { trims, ..compacting });
        }
        self.complete(now, compacting.item, compacting.started_at);
        self.end(now, TurnStatus::Failed, Some(error.turn_error()));
    }

    fn summarised(&mut self, now: UnixMillis) {
        let Phase::Compacting(compacting) = std::mem::replace(&mut self.phase, Phase::Calling) else {
            return;
        };
        let item = compacting.item;
        if compacting.summary.trim().is_empty() {
            let error = ModelError::fatal(ErrorClass::Other, "the model gave no summary of the conversation");
            self.complete(now, item, compacting.started_at);
            return self.end(now, TurnStatus::Failed, Some(error.turn_error()));
        }
        let later = self.history.split_off(compacting.summarised);
        let mut history = compact::rebuilt(&self.history, &compacting.summary);
        history.extend(later);
        self.history.clone_from(&history);
        self.actions
            .push_back(TurnAction::Record(Record::Compacted(history)));
        self.complete(now, item, compacting.started_at);
        self.compacted = true;
        self.context_tokens = None;
        self.follow_up = !matches!(self.setup.kind, TurnKind::Compact);
    }
}

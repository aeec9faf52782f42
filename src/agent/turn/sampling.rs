//! The model speaks.

use codex_protocol::v2::{ThreadTokenUsage, TokenUsageBreakdown, TurnStatus};
use serde_json::Value;

use super::items::{Kind, Part};
use super::{Partial, Phase, SampleRetry, Turn, TurnAction, TurnEvent};
use crate::RawItem;
use crate::history::paired;
use crate::model::wire::{self, ModelCall, ModelItem};
use crate::model::{ErrorClass, ModelError, ModelEvent, Usage};
use crate::ports::{CallId, Prompt, UnixMillis};

impl Turn {
    /// Asks the model. Every call has its output by now.
    pub(super) fn sample(&mut self, now: UnixMillis) {
        self.tell_usage();
        if self.is_full() && !self.compacted {
            return self.compact(now);
        }
        self.follow_up = false;
        self.phase = Phase::Sampling;
        let prompt = Box::new(Prompt {
            tools: self.setup.tools.clone(),
            output_schema: self.setup.model.output_schema.clone(),
            ..self.prompt(paired(&self.history))
        });
        self.actions
            .push_back(TurnAction::Sample(prompt, self.retry.take()));
    }

    /// A prompt without tools.
    pub(super) fn prompt(&self, input: Vec<RawItem>) -> Prompt {
        let model = &self.setup.model;
        Prompt {
            model: model.name.clone(),
            instructions: self.setup.instructions.clone(),
            input,
            tools: [].into(),
            cache_key: self.setup.thread_id.to_string(),
            effort: model.effort.clone(),
            summary: model.summary.clone(),
            output_schema: None,
        }
    }

    pub(super) fn handle_model(&mut self, now: UnixMillis, event: Result<ModelEvent, ModelError>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.handle_failure(now, &error),
        };
        match event {
            ModelEvent::Retrying {
                retry,
                retries_max,
                error,
            } => {
                self.commit(TurnEvent::Error {
                    error: error.retry_notice(retry, retries_max),
                    will_retry: true,
                });
            }
            ModelEvent::MessageStarted { id, phase } => {
                self.open_item(now, Kind::Message, id, phase);
            }
            ModelEvent::TextDelta { id, delta } => self.append_text(now, id, delta),
            ModelEvent::ReasoningStarted { id } => {
                self.open_item(now, Kind::Reasoning, id, None);
            }
            ModelEvent::SummaryPart { id, index } => {
                self.begin_part(now, id, Part::Summary, index);
            }
            ModelEvent::SummaryDelta { id, index, delta } => {
                self.append_part(now, id, Part::Summary, index, delta)
            }
            ModelEvent::ReasoningDelta { id, index, delta } => {
                self.append_part(now, id, Part::Content, index, delta)
            }
            ModelEvent::ItemDone(item) => self.handle_item(now, item),
            ModelEvent::Completed { usage } => {
                self.close_items(now, Partial::Kept);
                self.count(usage);
                self.retries = 0;
                self.compacted = false;
                self.phase = Phase::Calling;
            }
        }
    }

    fn handle_item(&mut self, now: UnixMillis, item: RawItem) {
        match wire::read_item(&item) {
            ModelItem::Message { id, text, phase } => {
                self.remember(item);
                self.complete_message(now, id, text, phase);
            }
            ModelItem::Reasoning { id, summary, content } => {
                self.remember(item);
                self.complete_reasoning(now, id, summary, content);
            }
            ModelItem::Call(call) => self.handle_call(now, &item, call),
            ModelItem::Other => self.remember(item),
        }
    }

    fn handle_call(&mut self, now: UnixMillis, item: &RawItem, call: ModelCall) {
        let id = self.free_id(Some(call.id.0.clone()));
        let mut value = item.value().clone();
        value["call_id"] = Value::String(id.clone());
        self.remember(RawItem::new(value));
        self.follow_up = true;
        self.add_call(
            now,
            ModelCall {
                id: CallId(id),
                ..call
            },
        );
    }

    /// The answer broke off. It is asked for again where that can help, else the turn fails.
    fn handle_failure(&mut self, now: UnixMillis, error: &ModelError) {
        if error.class == ErrorClass::ContextWindowExceeded && !self.compacted {
            self.close_items(now, Partial::Kept);
            // Calls of the broken answer may be under way; the next question comes after them.
            self.context_tokens = Some(i64::MAX);
            self.follow_up = true;
            self.phase = Phase::Calling;
            return;
        }
        if self.may_retry(error) {
            self.close_items(now, Partial::Dropped);
            self.follow_up = true;
            self.phase = Phase::Calling;
            return;
        }
        self.end(now, TurnStatus::Failed, Some(error.turn_error()));
    }

    /// Whether the question may be asked again; tells it when so.
    pub(super) fn may_retry(&mut self, error: &ModelError) -> bool {
        let retries_max = self.setup.stream_max_retries;
        let too_long = error
            .retry_after
            .is_some_and(|asked| asked > crate::model::RETRY_AFTER_MAX);
        if !error.transient || too_long || self.retries >= retries_max {
            return false;
        }
        self.retries += 1;
        self.retry = Some(SampleRetry {
            number: self.retries,
            asked: error.retry_after,
        });
        self.commit(TurnEvent::Error {
            error: error.retry_notice(self.retries, retries_max),
            will_retry: true,
        });
        true
    }

    /// Adds an answer's tokens. A server that does not count leaves everything as it is.
    pub(super) fn count(&mut self, usage: Option<Usage>) {
        let Some(last) = usage.map(Usage::breakdown) else {
            return;
        };
        self.context_tokens = Some(last.total_tokens);
        let total = sum(&self.usage.total, &last);
        self.usage = ThreadTokenUsage {
            total,
            last,
            model_context_window: self.setup.model.context_window,
        };
        self.counted = true;
    }

    /// Tells what an answer has used, after its calls as the official server does.
    pub(super) fn tell_usage(&mut self) {
        if std::mem::take(&mut self.counted) {
            self.commit(TurnEvent::TokenUsage {
                usage: self.usage.clone(),
            });
        }
    }

    fn is_full(&self) -> bool {
        let model = &self.setup.model;
        let limit = crate::compact::limit(model.context_window, model.compact_at);
        self.context_tokens
            .is_some_and(|tokens| tokens == i64::MAX || limit.is_some_and(|limit| tokens >= limit))
    }
}

fn sum(one: &TokenUsageBreakdown, other: &TokenUsageBreakdown) -> TokenUsageBreakdown {
    TokenUsageBreakdown {
        total_tokens: one.total_tokens.saturating_add(other.total_tokens),
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        cached_input_tokens: one.cached_input_tokens.saturating_add(other.cached_input_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
        reasoning_output_tokens: one
            .reasoning_output_tokens
            .saturating_add(other.reasoning_output_tokens),
        cache_write_input_tokens: one
            .cache_write_input_tokens
            .saturating_add(other.cache_write_input_tokens),
    }
}

//! What a turn tells: kept first, then told to the subscribers.

use codex_agent::{
    approval::Grant,
    run::TurnOutput,
    turn::{Record as TurnRecord, TurnEvent},
};
use codex_protocol::{
    TurnId,
    v2::{ThreadItem, Turn, TurnError, TurnItemsView, TurnStatus},
};
use codex_threads::{Durability, ItemTimes, Record, StoreError};
use serde_json::{Value, json};

use super::{ask::resolved, owner::Owner, rules, wire};
use crate::notice::{Notice, TextStream, unix_millis};

/// Whether it is the start of a command that is not run at once; then the question about it, or its end, follows
/// immediately.
fn is_asked_about(output: &TurnOutput) -> bool {
    let TurnOutput::Emit(TurnEvent::ItemStarted {
        item: ThreadItem::CommandExecution(command),
        ..
    }) = output
    else {
        return false;
    };
    command.source.as_deref() == Some("agent")
}

impl Owner {
    /// Whether an output is told and not kept.
    pub(super) fn is_only_told(output: &TurnOutput) -> bool {
        matches!(output, TurnOutput::Emit(event) if event.is_delta())
    }

    /// Passes on what is not kept.
    pub(super) fn pass_on(&mut self, turn: &TurnId, batch: Vec<TurnOutput>) {
        self.send_on();
        for output in batch {
            if let TurnOutput::Emit(event) = output {
                self.delta(turn, &event);
            }
        }
    }

    /// Takes what a turn tells: everything that is to be kept is written first, with one sync.
    pub(super) fn told(&mut self, turn: &TurnId, batch: Vec<TurnOutput>) {
        self.send_on();
        let mut records = Vec::new();
        for output in &batch {
            self.record(turn, output, &mut records);
        }
        if !records.is_empty()
            && let Err(error) = self.log.append_all(unix_millis(), records, Durability::Synced)
        {
            return self.fail(turn, &error);
        }
        let mut batch = self.held.take().into_iter().chain(batch).peekable();
        while let Some(output) = batch.next() {
            if is_asked_about(&output) {
                match batch.peek() {
                    // The status comes before the command that is asked about.
                    Some(TurnOutput::Ask(..)) => self.show_status(),
                    Some(_) => {}
                    None => {
                        self.held = Some(output);
                        break;
                    }
                }
            }
            self.perform(turn, output);
        }
    }

    fn record(&mut self, turn: &TurnId, output: &TurnOutput, records: &mut Vec<Record>) {
        let turn_id = turn.clone();
        match output {
            TurnOutput::Record(TurnRecord::Raw(item)) => records.push(Record::ModelItem {
                turn: Some(turn_id),
                item: item.value().clone(),
            }),
            TurnOutput::Record(TurnRecord::Compacted(items)) => records.push(Record::Compacted {
                turn: Some(turn_id),
                replacement: items.iter().map(|it| it.value().clone()).collect(),
            }),
            TurnOutput::Record(TurnRecord::Event(event)) => self.record_event(turn, event, records),
            TurnOutput::Record(TurnRecord::Grant(grant)) => self.grant(grant),
            TurnOutput::Ask(call, question) => {
                // Of an earlier process: the new one is open before the old one is closed.
                let is_old = |it: &&codex_threads::PendingApproval| {
                    it.turn_id == *turn && it.item_id.as_ref().is_some_and(|id| id.0 == call.0)
                };
                let pending = self.log.state().pending_approvals.iter();
                let old: Vec<Value> = pending.filter(is_old).map(|it| it.request_id.clone()).collect();
                let asked = self.open_question(turn, call, question);
                let new = match &asked {
                    Record::ApprovalAsked(it) => it.request_id.clone(),
                    _ => Value::Null,
                };
                records.push(asked);
                let old = old.into_iter().filter(|it| *it != new);
                records.extend(old.map(|request_id| Record::ApprovalResolved { request_id }));
            }
            TurnOutput::Withdraw(call) => {
                let open = self.asked.of(turn, call);
                records.extend(open.map(resolved));
            }
            TurnOutput::Emit(_) | TurnOutput::Steered { .. } | TurnOutput::Flush(_) | TurnOutput::Over(_) => {
            }
        }
    }

    fn record_event(&mut self, turn: &TurnId, event: &TurnEvent, records: &mut Vec<Record>) {
        let turn_id = turn.clone();
        match event {
            TurnEvent::Started { at } => {
                records.push(Record::TurnStarted {
                    turn: turn_id,
                    started_at: Some(at / 1000),
                });
                let news = self.active.as_mut().filter(|it| it.id == *turn);
                let news = news.map(|it| std::mem::take(&mut it.news)).unwrap_or_default();
                records.extend(news.into_iter().map(|item| Record::ModelItem {
                    turn: Some(turn.clone()),
                    item: item.value().clone(),
                }));
            }
            // An item that was taken up again was started before.
            TurnEvent::ItemStarted { item, .. } if self.live.holds(turn, item) => {}
            TurnEvent::ItemStarted { item, .. } => records.push(Record::ItemStarted {
                turn: turn_id,
                item: item.clone(),
            }),
            TurnEvent::ItemCompleted { item, .. } => records.push(Record::ItemCompleted {
                turn: turn_id,
                item: item.clone(),
            }),
            TurnEvent::TokenUsage { usage } => records.push(Record::TokenUsage(usage.clone())),
            TurnEvent::Completed {
                status,
                error,
                started_at,
                at,
                ..
            } => records.push(Record::TurnCompleted {
                turn: turn_id,
                status: status.clone(),
                error: error.clone(),
                completed_at: Some(at / 1000),
                duration_ms: Some(at - started_at),
            }),
            _ => {}
        }
    }

    fn grant(&mut self, grant: &Grant) {
        if let Grant::Prefix { words } = grant
            && let Err(error) = rules::add(&self.server.setup().own_folder(), words)
        {
            self.warn(&format!(
                "the rule for `{}` holds only until this thread is closed: {error}",
                words.join(" ")
            ));
        }
        self.grants.add(grant.clone());
    }

    fn perform(&mut self, turn: &TurnId, output: TurnOutput) {
        match output {
            TurnOutput::Record(_) => {}
            TurnOutput::Emit(event) => self.emit(turn, event),
            TurnOutput::Ask(call, _) => self.put(turn, &call),
            TurnOutput::Withdraw(call) => {
                if let Some(id) = self.asked.of(turn, &call) {
                    self.resolve(id);
                }
            }
            TurnOutput::Steered { number, taken } => self.steered(turn, number, taken),
            // The turn may be over for good meanwhile, then nobody waits.
            TurnOutput::Flush(done) => _ = done.send(()),
            TurnOutput::Over(outcome) => self.over(turn, *outcome),
        }
    }

    fn emit(&mut self, turn: &TurnId, event: TurnEvent) {
        match event {
            TurnEvent::Started { at } => self.started(turn, at),
            TurnEvent::ItemStarted { item, at } => {
                let params = self.started_params(turn, &item, at);
                if !self.live.holds(turn, &item) {
                    self.live.start(turn, item, at);
                    self.tell(&Notice::new("item/started", &params));
                }
            }
            TurnEvent::ItemCompleted { item, started_at, at } => {
                self.forget_void();
                self.live.end(turn, &item);
                let params = json!({
                    "threadId": self.id,
                    "turnId": turn,
                    "item": wire::item(&item, started_at, Some(at)),
                    "completedAtMs": at,
                });
                self.tell(&Notice::new("item/completed", &params));
                if std::mem::take(&mut self.shows_status_late) {
                    self.show_status();
                }
                if matches!(item, ThreadItem::AgentMessage(_)) {
                    let times = ItemTimes {
                        started_at: Some(started_at),
                        completed_at: Some(at),
                    };
                    self.last_message = Some(times);
                }
            }
            TurnEvent::PlanUpdated { explanation, plan } => {
                let params =
                    json!({ "threadId": self.id, "turnId": turn, "explanation": explanation, "plan": plan });
                self.tell(&Notice::new("turn/plan/updated", &params));
            }
            TurnEvent::DiffUpdated { diff } => {
                let params = json!({ "threadId": self.id, "turnId": turn, "diff": diff });
                let notice = Notice::new("turn/diff/updated", &params);
                self.subscribers
                    .iter()
                    .for_each(|it| it.tell_latest(&turn.0, &notice));
            }
            TurnEvent::TokenUsage { usage } => {
                let params = json!({ "threadId": self.id, "turnId": turn, "tokenUsage": usage });
                self.tell(&Notice::new("thread/tokenUsage/updated", &params));
            }
            TurnEvent::Error { error, will_retry } => self.error(turn, &error, will_retry),
            TurnEvent::Completed {
                status,
                error,
                last_message,
                started_at,
                at,
            } => {
                let mut ended = Turn::new(turn.clone(), status);
                ended.error = error;
                ended.items.extend(last_message.map(|it| *it));
                ended.started_at = Some(started_at / 1000);
                ended.completed_at = Some(at / 1000);
                ended.duration_ms = Some(at - started_at);
                self.completed(ended);
            }
            delta => self.delta(turn, &delta),
        }
    }

    fn started(&mut self, turn: &TurnId, at: i64) {
        self.failed = false;
        if let Some(active) = self.active.as_mut().filter(|it| it.id == *turn) {
            active.started = true;
            if let Some((responder, answer)) = active.starting.take() {
                responder.answer(&answer);
            }
        }
        self.show_status();
        let params = json!({ "threadId": self.id, "turn": wire::new_turn(turn, Some(at / 1000)) });
        self.tell(&Notice::new("turn/started", &params));
    }

    pub(super) fn started_params(&self, turn: &TurnId, item: &ThreadItem, at: i64) -> Value {
        json!({
            "threadId": self.id,
            "turnId": turn,
            "item": wire::item(item, at, None),
            "startedAtMs": at,
        })
    }

    fn error(&mut self, turn: &TurnId, error: &TurnError, will_retry: bool) {
        if !will_retry {
            self.failed = true;
            if let Some(active) = self.active.as_mut().filter(|it| it.id == *turn) {
                active.completed = true;
            }
            self.show_status();
        }
        let params = json!({ "threadId": self.id, "turnId": turn, "error": error, "willRetry": will_retry });
        self.tell(&Notice::new("error", &params));
    }

    fn completed(&mut self, mut turn: Turn) {
        let mut interrupts = Vec::new();
        if let Some(active) = self.active.as_mut().filter(|it| it.id == turn.id) {
            active.completed = true;
            active.succeeded = turn.status == TurnStatus::Completed;
            interrupts = std::mem::take(&mut active.interrupts);
        }
        interrupts.into_iter().for_each(|it| it.answer(&json!({})));
        for question in self.questions_of(Some(&turn.id)) {
            self.resolve(question);
        }
        self.failed = turn.status == TurnStatus::Failed;
        self.show_status();
        let last_words = match turn.items.last() {
            Some(ThreadItem::AgentMessage(message)) => Some(message.text.clone()),
            _ => None,
        };
        let duration_ms = turn.duration_ms.unwrap_or_default();
        turn.items_view = Some(match turn.items.is_empty() {
            true => TurnItemsView::NotLoaded,
            false => TurnItemsView::Summary,
        });
        let times = self.last_message.take();
        let turn = wire::turn_with_times(&turn, times.as_slice());
        let params = json!({ "threadId": self.id, "turn": turn });
        self.tell(&Notice::new("turn/completed", &params));
        self.account_goal(last_words.as_deref(), duration_ms);
    }

    /// Text that is appended to an item.
    fn delta(&mut self, turn: &TurnId, event: &TurnEvent) {
        self.live.append(turn, event);
        let (method, item_id, part, delta) = match event {
            TurnEvent::TextDelta { item_id, delta } => ("item/agentMessage/delta", item_id, None, delta),
            TurnEvent::OutputDelta { item_id, delta } if self.live.is_mcp_call(turn, item_id) => {
                let params =
                    json!({ "threadId": self.id, "turnId": turn, "itemId": item_id, "message": delta });
                return self.tell(&Notice::new("item/mcpToolCall/progress", &params));
            }
            TurnEvent::OutputDelta { item_id, delta } => {
                ("item/commandExecution/outputDelta", item_id, None, delta)
            }
            TurnEvent::SummaryDelta {
                item_id,
                index,
                delta,
            } => (
                "item/reasoning/summaryTextDelta",
                item_id,
                Some(("summaryIndex", *index)),
                delta,
            ),
            TurnEvent::ReasoningDelta {
                item_id,
                index,
                delta,
            } => (
                "item/reasoning/textDelta",
                item_id,
                Some(("contentIndex", *index)),
                delta,
            ),
            TurnEvent::SummaryPart { item_id, index } => {
                let params =
                    json!({ "threadId": self.id, "turnId": turn, "itemId": item_id, "summaryIndex": index });
                return self.tell(&Notice::new("item/reasoning/summaryPartAdded", &params));
            }
            TurnEvent::TerminalInteraction {
                item_id,
                process_id,
                stdin,
            } => {
                let params = json!({
                    "threadId": self.id, "turnId": turn, "itemId": item_id, "processId": process_id, "stdin": stdin,
                });
                return self.tell(&Notice::new("item/commandExecution/terminalInteraction", &params));
            }
            _ => return,
        };
        let stream = TextStream {
            method,
            thread_id: self.id.0.clone(),
            turn_id: turn.0.clone(),
            item_id: item_id.0.clone(),
            part: part.map(|(name, index)| (name, i64::try_from(index).unwrap_or(i64::MAX))),
        };
        self.subscribers.iter().for_each(|it| it.append(&stream, delta));
    }

    /// The log takes no more: the turn ends here, and says why.
    fn fail(&mut self, turn: &TurnId, error: &StoreError) {
        tracing::error!(%error, thread = %self.id, "a turn could not be kept");
        let error = TurnError {
            message: format!("the turn was stopped, as it could not be kept: {error}"),
            codex_error_info: "other".into(),
            additional_details: error.hint().map(str::to_owned),
        };
        self.cancel();
        self.history = None;
        let Some(active) = self.active.take_if(|it| it.id == *turn) else {
            return;
        };
        if let Some((responder, _)) = active.starting {
            return responder.refuse(crate::refusal::Refusal::failed(error.message));
        }
        self.error(turn, &error, false);
        let mut ended = Turn::new(turn.clone(), TurnStatus::Failed);
        ended.error = Some(error);
        self.completed(ended);
    }
}

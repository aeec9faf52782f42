//! A thread whose server was killed, put right when it is loaded again.

use codex_agent::{ports::CallId, turn::TurnKind};
use codex_protocol::{
    TurnId,
    v2::{CommandExecutionStatus, PatchApplyStatus, ThreadItem, ToolCallStatus, TurnStatus},
};
use codex_threads::{Durability, Record};

use super::{owner::Owner, turn::Beginning};
use crate::notice::unix_millis;

impl Owner {
    /// Puts a thread right that was left in the middle of a turn: questions are asked again, everything else that
    /// was under way is over.
    pub(super) fn recover(&mut self) {
        self.load_rules();
        self.take_up();
        self.show_status();
    }

    fn take_up(&mut self) {
        let Some(turn) = self.log.state().active_turn().cloned() else {
            return self.settle(None, &[]);
        };
        let pending = self.log.state().pending_approvals.iter();
        let waiting: Vec<CallId> = pending
            .filter(|it| it.turn_id == turn)
            .filter_map(|it| Some(CallId(it.item_id.clone()?.0)))
            .collect();
        if waiting.is_empty() {
            return self.settle(Some(&turn), &[]);
        }
        self.settle(None, &waiting);
        let beginning = Beginning {
            id: turn.clone(),
            kind: TurnKind::Regular,
            said: Vec::new(),
            reopened: waiting,
            output_schema: None,
            summary: None,
        };
        if let Err(refusal) = self.begin(beginning) {
            tracing::warn!(thread = %self.id, ?refusal, "a turn could not be taken up again");
            return self.settle(Some(&turn), &[]);
        }
        if let Some(active) = &mut self.active {
            active.started = true;
        }
    }

    /// Writes the end of everything under way but `kept`, and that of `turn`.
    pub(super) fn settle(&mut self, turn: Option<&TurnId>, kept: &[CallId]) {
        let entries = self.log.reader().and_then(|it| it.items_in_flight());
        let entries = entries.unwrap_or_else(|error| {
            tracing::warn!(%error, thread = %self.id, "items under way could not be read");
            Vec::new()
        });
        let mut records = Vec::new();
        for entry in entries {
            let id = entry.item.id();
            if kept.iter().any(|it| id.as_ref().is_some_and(|id| id.0 == it.0)) {
                self.live.start(
                    &entry.turn_id,
                    entry.item,
                    entry.started_at_ms.unwrap_or_default(),
                );
                continue;
            }
            records.push(Record::ItemCompleted {
                turn: entry.turn_id,
                item: cut_short(entry.item),
            });
        }
        let now = unix_millis();
        if let Some(turn) = turn {
            let open = self.log.state().pending_approvals.iter();
            records.extend(open.map(|it| Record::ApprovalResolved {
                request_id: it.request_id.clone(),
            }));
            records.push(Record::TurnCompleted {
                turn: turn.clone(),
                status: TurnStatus::Interrupted,
                error: None,
                completed_at: Some(now / 1000),
                duration_ms: None,
            });
        }
        if records.is_empty() {
            return;
        }
        if let Err(error) = self.log.append_all(now, records, Durability::Synced) {
            tracing::warn!(%error, thread = %self.id, "the end of what was under way could not be written");
        }
    }
}

/// An item as it ends when nobody works on it any more.
fn cut_short(mut item: ThreadItem) -> ThreadItem {
    match &mut item {
        ThreadItem::CommandExecution(it) => it.status = CommandExecutionStatus::Failed,
        ThreadItem::FileChange(it) => it.status = PatchApplyStatus::Failed,
        ThreadItem::McpToolCall(it) => it.status = ToolCallStatus::Failed,
        ThreadItem::DynamicToolCall(it) => it.status = ToolCallStatus::Failed,
        _ => {}
    }
    item
}

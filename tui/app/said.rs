//! What servers tell: into the thread that it is about.

use codex_hosts::HostId;
use codex_protocol::{ServerNotification, ThreadId, notice, v2};

use super::{
    App,
    pane::{Interrupt, Link, Pane, PaneId},
    transcript::Stream,
};
use crate::{cells::Level, effect::Effect};

impl App {
    #[expect(clippy::too_many_lines, reason = "a table: one line or two a notification")]
    pub(super) fn handle_notification(
        &mut self,
        host: &HostId,
        notification: ServerNotification,
        effects: &mut Vec<Effect>,
    ) {
        use ServerNotification as N;
        self.want_host(host);
        match notification {
            N::ThreadStarted(it) => self.thread_started(host, it.thread),
            N::ThreadStatusChanged(it) => {
                if let Some(pane) = self.known(host, &it.thread_id) {
                    pane.status = it.status;
                }
            }
            N::ThreadNameUpdated(it) => {
                if let Some(pane) = self.known(host, &it.thread_id) {
                    pane.name = it.thread_name;
                }
            }
            N::ThreadTokenUsageUpdated(it) => {
                if let Some(pane) = self.known(host, &it.thread_id) {
                    pane.usage = Some(it.token_usage);
                }
            }
            N::ThreadArchived(it) | N::ThreadDeleted(it) => {
                if let Some(pane) = self.pane_of(host, &it.thread_id) {
                    self.leave_and_forget(pane);
                }
            }
            N::ThreadClosed(it) => {
                if let Some(pane) = self.known(host, &it.thread_id) {
                    pane.link = Link::Listed;
                    pane.status = v2::ThreadStatus::default();
                }
            }
            // The item of its turn says it already; and what was unarchived comes with the next list.
            N::ThreadCompacted(_) | N::ThreadUnarchived(_) => (),
            N::TurnStarted(it) => self.turn_started(host, &it, effects),
            N::TurnCompleted(it) => self.turn_completed(host, it, effects),
            N::TurnPlanUpdated(it) => {
                let pane = self.heard(host, &it.thread_id);
                pane.transcript.put_plan(&it.turn_id, it.plan, it.explanation);
            }
            N::ItemStarted(it) => self.put_item(host, it, Progress::Started),
            N::ItemCompleted(it) => self.put_item(host, it, Progress::Completed),
            N::AgentMessageDelta(it) => self.append(host, it, Stream::Message),
            N::PlanDelta(it) => self.append(host, it, Stream::Plan),
            N::CommandOutputDelta(it) => self.append(host, it, Stream::Output),
            N::ReasoningSummaryDelta(it) => {
                let stream = Stream::Summary(it.summary_index);
                self.append(host, delta(it), stream);
            }
            N::ReasoningTextDelta(it) => {
                let stream = Stream::Reasoning(it.summary_index);
                self.append(host, delta(it), stream);
            }
            N::PatchUpdated(it) => {
                let pane = self.heard(host, &it.thread_id);
                pane.transcript.patch(&it.turn_id, &it.item_id, it.changes);
            }
            N::McpToolCallProgress(it) => self.heard(host, &it.thread_id).passing = Some(it.message),
            N::TerminalInteraction(it) => {
                let typed = format!("⌨ {}", it.stdin);
                self.heard(host, &it.thread_id).passing = Some(typed);
            }
            N::ServerRequestResolved(it) => self.handle_resolved(host, &it.request_id),
            N::Error(it) => self.turn_errored(host, it),
            N::Warning(it) => self.warn(host, it.thread_id.as_ref(), &it.message),
            N::ConfigWarning(it) | N::DeprecationNotice(it) => {
                let details = it.details.map(|it| format!("\n{it}")).unwrap_or_default();
                self.warn(host, None, &format!("{}{details}", it.summary));
            }
            N::ModelRerouted(it) => {
                let text = format!(
                    "the host runs {} where {} was asked for",
                    it.to_model, it.from_model
                );
                self.warn(host, Some(&it.thread_id), &text);
            }
            N::McpServerStartupStatus(it) => {
                if let Some(error) = it.error {
                    self.warn(host, None, &format!("MCP server {}: {error}", it.name));
                }
            }
            // The file changes themselves are shown; and what is not known is of another version.
            N::TurnDiffUpdated(_) | N::FileChangeOutputDelta(_) | N::Unknown { .. } => (),
        }
    }

    fn known(&mut self, host: &HostId, thread: &ThreadId) -> Option<&mut Pane> {
        let id = self.pane_of(host, thread)?;
        self.panes.get_mut(&id)
    }

    /// The pane of a thread whose events arrive. They arrive because we are subscribed, so it is open; a
    /// thread that nobody opened is a sub-agent's.
    fn heard(&mut self, host: &HostId, thread: &ThreadId) -> &mut Pane {
        let is_new = self.pane_of(host, thread).is_none();
        let id = self.pane_for(host, thread);
        let pane = self
            .panes
            .entry(id)
            .or_insert_with(|| Pane::new(id, host.clone(), Some(thread.clone())));
        pane.is_sub_agent |= is_new;
        pane
    }

    fn thread_started(&mut self, host: &HostId, thread: v2::Thread) {
        // Our own is announced too, before or after the answer: the answer brings it into its draft.
        if self.is_starting_thread(host) && self.pane_of(host, &thread.id).is_none() {
            return;
        }
        if thread.ephemeral {
            return;
        }
        let id = self.pane_for(host, &thread.id);
        if let Some(pane) = self.panes.get_mut(&id) {
            pane.apply_head(thread);
        }
    }

    fn turn_started(&mut self, host: &HostId, it: &notice::TurnChanged, effects: &mut Vec<Effect>) {
        let now = self.now;
        let pane = self.heard(host, &it.thread_id);
        pane.turn_started(now, it.turn.id.clone());
        if let Some(started) = it.turn.started_at {
            pane.recency = pane.recency.max(started);
        }
        let id = pane.id;
        if pane.interrupt == Interrupt::Wanted {
            self.interrupt(id, effects);
        }
    }

    fn turn_completed(&mut self, host: &HostId, it: notice::TurnChanged, effects: &mut Vec<Effect>) {
        let current = self.current;
        let has_terminal_focus = self.has_terminal_focus;
        let pane = self.heard(host, &it.thread_id);
        for item in &it.turn.items {
            if item
                .id()
                .is_some_and(|id| pane.transcript.item(&it.turn.id, &id).is_none())
            {
                pane.transcript.put_item(&it.turn.id, item.clone(), false);
            }
        }
        pane.turn_ended(&it.turn.id);
        pane.transcript.end_turn(&it.turn);
        pane.note_new(1);
        pane.outgoing
            .retain(|it| it.state != super::pane::Delivery::Accepted);
        pane.is_unread = current != Some(pane.id) || !has_terminal_focus;
        let is_sub_agent = pane.is_sub_agent;
        if !is_sub_agent {
            self.ring(effects);
        }
    }

    fn put_item(&mut self, host: &HostId, it: notice::ItemChanged, progress: Progress) {
        let pane = self.heard(host, &it.thread_id);
        if let v2::ThreadItem::UserMessage(message) = &it.item {
            pane.settle_outgoing(message);
            if pane.preview.is_empty()
                && let Some(v2::UserInput::Text(text)) = message.content.first()
            {
                pane.preview.clone_from(&text.text);
            }
        }
        let before = pane.transcript.entries().len();
        pane.transcript
            .put_item(&it.turn_id, it.item, progress == Progress::Started);
        pane.note_new(pane.transcript.entries().len().saturating_sub(before));
        pane.passing = None;
    }

    fn append(&mut self, host: &HostId, it: notice::ItemDelta, stream: Stream) {
        let pane = self.heard(host, &it.thread_id);
        let before = pane.transcript.entries().len();
        pane.transcript
            .append(&it.turn_id, &it.item_id, stream, &it.delta);
        pane.note_new(pane.transcript.entries().len().saturating_sub(before));
        pane.passing = None;
    }

    fn turn_errored(&mut self, host: &HostId, it: notice::TurnErrored) {
        let pane = self.heard(host, &it.thread_id);
        // The final error is repeated by the turn's end, which is also in the history.
        if it.will_retry {
            pane.passing = Some(it.error.message);
        }
    }

    fn warn(&mut self, host: &HostId, thread: Option<&ThreadId>, text: &str) {
        let pane: Option<PaneId> = thread.and_then(|it| self.pane_of(host, it));
        if let Some(entry) = self.hosts.get_mut(host) {
            entry.notice(text.to_owned());
        }
        match pane.and_then(|it| self.panes.get_mut(&it)) {
            Some(pane) => {
                pane.transcript.remark(Level::Warning, text);
                pane.note_new(1);
            }
            None => self.remark_on_host(host, Level::Warning, &format!("{host}: {text}")),
        }
    }

    pub(super) fn interrupt(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        let turn_id = match &pane.turn {
            super::pane::Turn::Idle => return,
            // Between the answer to `turn/start` and `turn/started` the server knows no active turn.
            super::pane::Turn::Starting { .. } => {
                pane.interrupt = Interrupt::Wanted;
                return;
            }
            super::pane::Turn::Running { id, .. } => id.clone(),
        };
        let Some(thread_id) = pane.thread.clone() else {
            return;
        };
        pane.interrupt = Interrupt::Sent;
        let host = pane.host.clone();
        let params = v2::TurnInterruptParams { thread_id, turn_id };
        let request = codex_protocol::ClientRequest::TurnInterrupt(params);
        self.call(&host, super::answers::Call::Interrupt(id), request, effects);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Started,
    Completed,
}

fn delta(it: notice::ReasoningDelta) -> notice::ItemDelta {
    notice::ItemDelta {
        thread_id: it.thread_id,
        turn_id: it.turn_id,
        item_id: it.item_id,
        delta: it.delta,
    }
}

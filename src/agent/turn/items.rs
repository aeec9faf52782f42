//! The items of the model that are being spoken: messages and thoughts.

use codex_protocol::ItemId;
use codex_protocol::v2::{AgentMessage, Reasoning, ThreadItem};

use super::{Partial, Turn, TurnEvent};
use crate::model::wire;
use crate::ports::UnixMillis;

/// The most parts that a summary can have: an index is a number that a server makes up.
const PARTS_MAX: usize = 1000;

/// Items that were started and not yet completed, in the order of their start.
#[derive(Default)]
pub(super) struct ModelItems {
    open: Vec<OpenItem>,
}

struct OpenItem {
    /// The model's own id, which is not always the item's.
    model_id: Option<String>,
    item: ThreadItem,
    started_at: UnixMillis,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Reasoning,
}

/// Which list of a reasoning item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Summary,
    Content,
}

impl OpenItem {
    fn kind(&self) -> Kind {
        match self.item {
            ThreadItem::AgentMessage(_) => Kind::Message,
            _ => Kind::Reasoning,
        }
    }
}

impl ModelItems {
    /// The open item that the model means. Small servers leave ids out, or send others than they announced.
    fn find(&self, kind: Kind, id: Option<&String>) -> Option<usize> {
        let of_kind = |it: &OpenItem| it.kind() == kind;
        let named = |it: &OpenItem| of_kind(it) && id.is_some() && it.model_id.as_ref() == id;
        self.open
            .iter()
            .position(named)
            .or_else(|| self.open.iter().rposition(of_kind))
    }
}

impl Turn {
    pub(super) fn open_item(
        &mut self,
        now: UnixMillis,
        kind: Kind,
        model_id: Option<String>,
        phase: Option<String>,
    ) -> usize {
        let id = ItemId(self.free_id(model_id.clone()));
        let item = match kind {
            Kind::Message => ThreadItem::AgentMessage(AgentMessage {
                id,
                text: String::new(),
                phase,
            }),
            Kind::Reasoning => ThreadItem::Reasoning(Reasoning {
                id,
                summary: Vec::new(),
                content: Vec::new(),
            }),
        };
        self.commit(TurnEvent::ItemStarted {
            item: item.clone(),
            at: now,
        });
        self.items.open.push(OpenItem {
            model_id,
            item,
            started_at: now,
        });
        self.items.open.len() - 1
    }

    fn found_or_opened(&mut self, now: UnixMillis, kind: Kind, id: Option<String>) -> usize {
        match self.items.find(kind, id.as_ref()) {
            Some(index) => index,
            None => self.open_item(now, kind, id, None),
        }
    }

    pub(super) fn append_text(&mut self, now: UnixMillis, id: Option<String>, delta: String) {
        if delta.is_empty() {
            return;
        }
        let index = self.found_or_opened(now, Kind::Message, id);
        let Some(ThreadItem::AgentMessage(message)) = self.items.open.get_mut(index).map(|it| &mut it.item)
        else {
            return;
        };
        message.text.push_str(&delta);
        let item_id = message.id.clone();
        self.tell(TurnEvent::TextDelta { item_id, delta });
    }

    /// Begins parts of a reasoning item up to this one; false for an index beyond reason.
    pub(super) fn begin_part(
        &mut self,
        now: UnixMillis,
        id: Option<String>,
        part: Part,
        index: usize,
    ) -> bool {
        if index >= PARTS_MAX {
            return false;
        }
        let open = self.found_or_opened(now, Kind::Reasoning, id);
        let Some(ThreadItem::Reasoning(reasoning)) = self.items.open.get_mut(open).map(|it| &mut it.item)
        else {
            return false;
        };
        let item_id = reasoning.id.clone();
        let parts = match part {
            Part::Summary => &mut reasoning.summary,
            Part::Content => &mut reasoning.content,
        };
        let begun = parts.len();
        parts.resize(begun.max(index + 1), String::new());
        if part == Part::Summary {
            (begun..=index).for_each(|index| {
                self.tell(TurnEvent::SummaryPart {
                    item_id: item_id.clone(),
                    index,
                })
            });
        }
        true
    }

    pub(super) fn append_part(
        &mut self,
        now: UnixMillis,
        id: Option<String>,
        part: Part,
        index: usize,
        delta: String,
    ) {
        if delta.is_empty() || !self.begin_part(now, id.clone(), part, index) {
            return;
        }
        let open = self
            .items
            .find(Kind::Reasoning, id.as_ref())
            .and_then(|open| self.items.open.get_mut(open));
        let Some(ThreadItem::Reasoning(reasoning)) = open.map(|it| &mut it.item) else {
            return;
        };
        let item_id = reasoning.id.clone();
        let (parts, event) = match part {
            Part::Summary => (
                &mut reasoning.summary,
                TurnEvent::SummaryDelta {
                    item_id,
                    index,
                    delta: delta.clone(),
                },
            ),
            Part::Content => (
                &mut reasoning.content,
                TurnEvent::ReasoningDelta {
                    item_id,
                    index,
                    delta: delta.clone(),
                },
            ),
        };
        if let Some(text) = parts.get_mut(index) {
            text.push_str(&delta);
        }
        self.tell(event);
    }

    /// A message is whole: what the model says at the end counts.
    pub(super) fn complete_message(
        &mut self,
        now: UnixMillis,
        id: Option<String>,
        text: String,
        phase: Option<String>,
    ) {
        let index = self.found_or_opened(now, Kind::Message, id);
        let mut open = self.items.open.remove(index);
        if let ThreadItem::AgentMessage(message) = &mut open.item {
            message.text = text;
            message.phase = phase.or(message.phase.take());
        }
        self.complete(now, open.item, open.started_at);
    }

    /// Thoughts are whole. Those that nobody may read are not shown.
    pub(super) fn complete_reasoning(
        &mut self,
        now: UnixMillis,
        id: Option<String>,
        summary: Vec<String>,
        content: Vec<String>,
    ) {
        let known = self.items.find(Kind::Reasoning, id.as_ref());
        if known.is_none() && summary.is_empty() && content.is_empty() {
            return;
        }
        let index = known.unwrap_or_else(|| self.open_item(now, Kind::Reasoning, id, None));
        let mut open = self.items.open.remove(index);
        if let ThreadItem::Reasoning(reasoning) = &mut open.item {
            reasoning.summary = summary;
            reasoning.content = content;
        }
        self.complete(now, open.item, open.started_at);
    }

    /// Completes what the model left open, as far as it came.
    pub(super) fn close_items(&mut self, now: UnixMillis, partial: Partial) {
        for open in std::mem::take(&mut self.items.open) {
            if let (ThreadItem::AgentMessage(message), Partial::Kept) = (&open.item, partial)
                && !message.text.is_empty()
            {
                let raw = wire::assistant_message(&message.text);
                self.remember(raw);
            }
            self.complete(now, open.item, open.started_at);
        }
    }
}

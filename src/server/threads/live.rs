//! What goes on in a thread and is not in its log yet: items under way, with what was said of them.

use codex_agent::turn::TurnEvent;
use codex_protocol::{
    ItemId, TurnId,
    v2::{Idle, Reasoning, ThreadItem, ThreadItemEntry, ThreadStatus, Turn, TurnItemsView, TurnStatus},
};
use codex_threads::{ItemTimes, ItemsQuery, StoreError, ThreadReader, TurnsQuery};
use serde::Serialize;
use serde_json::{Value, json};

use super::wire;

/// How much output of a running command is shown to somebody who comes later, in bytes; the item holds more when
/// it is completed.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Turns that are given at once.
const TURNS_MAX: u32 = 1000;

/// An item that was started and not completed.
#[derive(Clone, Debug)]
pub(crate) struct LiveItem {
    pub(crate) turn: TurnId,
    pub(crate) item: ThreadItem,
    /// Unix milliseconds.
    pub(crate) started_at: i64,
}

/// The items under way, in the order of their start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    items: Vec<LiveItem>,
}

impl Live {
    pub(crate) fn start(&mut self, turn: &TurnId, item: ThreadItem, started_at: i64) {
        self.items.push(LiveItem {
            turn: turn.clone(),
            item,
            started_at,
        });
    }

    pub(crate) fn holds(&self, turn: &TurnId, item: &ThreadItem) -> bool {
        let id = item.id();
        self.items.iter().any(|it| it.turn == *turn && it.item.id() == id)
    }

    pub(crate) fn is_mcp_call(&self, turn: &TurnId, item: &ItemId) -> bool {
        let is_it = |it: &&LiveItem| it.turn == *turn && it.item.id().as_ref() == Some(item);
        let found = self.items.iter().find(is_it);
        found.is_some_and(|it| matches!(it.item, ThreadItem::McpToolCall(_)))
    }

    pub(crate) fn end(&mut self, turn: &TurnId, item: &ThreadItem) {
        let id = item.id();
        self.items.retain(|it| it.turn != *turn || it.item.id() != id);
    }

    pub(crate) fn clear(&mut self) {
        self.items.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LiveItem> {
        self.items.iter()
    }

    /// Takes in what a delta says.
    pub(crate) fn append(&mut self, turn: &TurnId, event: &TurnEvent) {
        match event {
            TurnEvent::TextDelta { item_id, delta } => {
                if let Some(ThreadItem::AgentMessage(message)) = self.find(turn, item_id) {
                    message.text.push_str(delta);
                }
            }
            TurnEvent::OutputDelta { item_id, delta } => {
                if let Some(ThreadItem::CommandExecution(command)) = self.find(turn, item_id) {
                    let output = command.aggregated_output.get_or_insert_default();
                    if output.len() < OUTPUT_BYTES_MAX {
                        output.push_str(delta);
                    }
                }
            }
            TurnEvent::SummaryPart { item_id, index } => {
                self.part(turn, item_id, *index, |it| &mut it.summary);
            }
            TurnEvent::SummaryDelta {
                item_id,
                index,
                delta,
            } => {
                if let Some(part) = self.part(turn, item_id, *index, |it| &mut it.summary) {
                    part.push_str(delta);
                }
            }
            TurnEvent::ReasoningDelta {
                item_id,
                index,
                delta,
            } => {
                if let Some(part) = self.part(turn, item_id, *index, |it| &mut it.content) {
                    part.push_str(delta);
                }
            }
            _ => {}
        }
    }

    fn find(&mut self, turn: &TurnId, id: &ItemId) -> Option<&mut ThreadItem> {
        let is_it = |it: &&mut LiveItem| it.turn == *turn && it.item.id().as_ref() == Some(id);
        self.items.iter_mut().find(is_it).map(|it| &mut it.item)
    }

    /// A part of what the model thinks. The machine bounds the index.
    fn part(
        &mut self,
        turn: &TurnId,
        id: &ItemId,
        index: usize,
        of: fn(&mut Reasoning) -> &mut Vec<String>,
    ) -> Option<&mut String> {
        let Some(ThreadItem::Reasoning(reasoning)) = self.find(turn, id) else {
            return None;
        };
        let parts = of(reasoning);
        if parts.len() <= index {
            parts.resize(index + 1, String::new());
        }
        parts.get_mut(index)
    }
}

/// A page of a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    data: Vec<Value>,
    next_cursor: Option<String>,
    backwards_cursor: Option<String>,
}

/// A thread as it is now: its log, and what goes on.
pub(crate) struct View<'a> {
    pub(crate) reader: ThreadReader,
    pub(crate) status: ThreadStatus,
    /// Nothing where the thread has no owner.
    pub(crate) live: Option<&'a Live>,
}

impl View<'_> {
    /// A thread that nobody works on.
    pub(crate) fn at_rest(reader: ThreadReader) -> View<'static> {
        View {
            reader,
            status: ThreadStatus::NotLoaded(Idle {}),
            live: None,
        }
    }

    /// A page of turns as clients see them; items under way are whole as far as they were told.
    pub(crate) fn turns(&self, query: &TurnsQuery) -> Result<Page, StoreError> {
        let mut page = self.reader.turns(query)?;
        for (turn, times) in page.turns.iter_mut().zip(&mut page.times) {
            self.update(turn, times);
        }
        let turns = page.turns.iter().zip(&page.times);
        Ok(Page {
            data: turns
                .map(|(turn, times)| wire::turn_with_times(turn, times))
                .collect(),
            next_cursor: page.next_cursor,
            backwards_cursor: page.backwards_cursor,
        })
    }

    /// The last turns whole, oldest first; the others are paged.
    pub(crate) fn last_turns(&self) -> Result<Vec<Value>, StoreError> {
        let query = TurnsQuery {
            limit: Some(TURNS_MAX),
            view: Some(TurnItemsView::Full),
            ..TurnsQuery::default()
        };
        let mut turns = self.turns(&query)?.data;
        turns.reverse();
        Ok(turns)
    }

    fn update(&self, turn: &mut Turn, times: &mut [ItemTimes]) {
        let Some(live) = self.live else {
            // Its process was killed; the end is written when the thread is loaded.
            if turn.status == TurnStatus::InProgress {
                turn.status = TurnStatus::Interrupted;
            }
            return;
        };
        if turn.items_view == Some(TurnItemsView::NotLoaded) {
            return;
        }
        for (known, times) in turn.items.iter_mut().zip(times) {
            let id = known.id();
            if let Some(now) = live.iter().find(|it| it.turn == turn.id && it.item.id() == id) {
                *known = now.item.clone();
                times.started_at = Some(now.started_at);
            }
        }
    }

    /// A page of items; those under way are whole as far as they were told.
    pub(crate) fn items(&self, query: &ItemsQuery) -> Result<Page, StoreError> {
        let mut page = self.reader.items(query)?;
        for entry in &mut page.items {
            let now = self
                .live
                .into_iter()
                .flat_map(Live::iter)
                .find(|it| it.turn == entry.turn_id && it.item.id() == entry.item.id());
            if let Some(now) = now {
                entry.item = now.item.clone();
            }
        }
        let entry = |it: &ThreadItemEntry| {
            let mut value = json!(it);
            value["item"]["startedAtMs"] = json!(it.started_at_ms);
            value["item"]["completedAtMs"] = json!(it.completed_at_ms);
            value
        };
        Ok(Page {
            data: page.items.iter().map(entry).collect(),
            next_cursor: page.next_cursor,
            backwards_cursor: page.backwards_cursor,
        })
    }
}

//! What a thread has said, in order: items by id, and remarks between them.
//!
//! An entry's [`revision`](Entry::revision) changes with its content and never else: drawn lines are kept
//! by it.

use std::collections::HashMap;

use codex_protocol::{ItemId, TurnId, v2};
use v2::ThreadItem;

use crate::cells::Level;

/// Entries that one thread keeps; the oldest go first and can be paged in again.
pub const ENTRIES_MAX: usize = 20_000;
/// Of a running command's output this much is kept, from its end. The item's completion brings the truth.
const LIVE_OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Text that one item may collect from deltas. A model's message is a thousand times shorter.
const ITEM_TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Names an entry for as long as it is in the transcript, also when its content is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub u64);

/// What an entry is about: two reports with the same key are the same entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Item(TurnId, ItemId),
    Plan(TurnId),
    TurnEnd(TurnId),
    Remark(u64),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Item(ThreadItem),
    Plan {
        steps: Vec<v2::TurnPlanStep>,
        explanation: Option<String>,
    },
    TurnEnd {
        status: v2::TurnStatus,
        duration_ms: Option<i64>,
        error: Option<v2::TurnError>,
    },
    Remark(Level, String),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: EntryId,
    pub key: Key,
    pub body: Body,
    pub revision: u64,
    /// The item is not completed.
    pub live: bool,
    /// The connection in which it was last heard of; see [`Transcript::begin_epoch`].
    epoch: u64,
}

impl Entry {
    fn turn(&self) -> Option<&TurnId> {
        match &self.key {
            Key::Item(turn, _) | Key::Plan(turn) | Key::TurnEnd(turn) => Some(turn),
            Key::Remark(_) => None,
        }
    }
}

/// What a delta is appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Message,
    Plan,
    Output,
    Summary(usize),
    Reasoning(usize),
}

#[derive(Debug, Default)]
pub struct Transcript {
    entries: Vec<Entry>,
    /// Where each entry is. Never iterated.
    positions: HashMap<Key, usize>,
    next_id: u64,
    next_revision: u64,
    epoch: u64,
}

impl Transcript {
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn position(&self, id: EntryId) -> Option<usize> {
        self.entries.iter().position(|it| it.id == id)
    }

    pub fn item(&self, turn: &TurnId, item: &ItemId) -> Option<&ThreadItem> {
        let key = Key::Item(turn.clone(), item.clone());
        match &self.entries.get(*self.positions.get(&key)?)?.body {
            Body::Item(item) => Some(item),
            _ => None,
        }
    }

    /// An item of any turn: an approval names the item, and the turn's id has been seen to differ.
    pub fn find_item(&self, id: &ItemId) -> Option<&ThreadItem> {
        self.entries
            .iter()
            .rev()
            .find_map(|it| match (&it.key, &it.body) {
                (Key::Item(_, item_id), Body::Item(item)) if item_id == id => Some(item),
                _ => None,
            })
    }

    /// The text of the last message of the model.
    pub fn last_answer(&self) -> Option<&str> {
        self.entries.iter().rev().find_map(|it| match &it.body {
            Body::Item(ThreadItem::AgentMessage(message)) if !message.text.is_empty() => {
                Some(message.text.as_str())
            }
            _ => None,
        })
    }

    pub fn has_items(&self) -> bool {
        self.entries.iter().any(|it| matches!(it.body, Body::Item(_)))
    }

    /// From here on entries are heard of in a new connection: what was live may have missed something.
    pub fn begin_epoch(&mut self) {
        self.epoch += 1;
    }

    /// Says something of our own. What was said last is not said again.
    pub fn remark(&mut self, level: Level, text: impl Into<String>) {
        let body = Body::Remark(level, text.into());
        if self.entries.last().is_some_and(|it| it.body == body) {
            return;
        }
        let key = Key::Remark(self.next_id);
        self.put(key, body, false);
    }

    /// Takes an item as it was started or completed. One without an id cannot be told from others and is
    /// kept once per report.
    pub fn put_item(&mut self, turn: &TurnId, item: ThreadItem, live: bool) {
        let id = item
            .id()
            .unwrap_or_else(|| ItemId(format!("entry-{}", self.next_id)));
        let key = Key::Item(turn.clone(), id);
        if live && self.is_complete(&key) {
            return;
        }
        let body = match self.get(&key) {
            Some(Body::Item(known)) if live => keep_longer(known, item),
            _ => item,
        };
        self.put(key, Body::Item(body), live);
    }

    pub fn put_plan(&mut self, turn: &TurnId, steps: Vec<v2::TurnPlanStep>, explanation: Option<String>) {
        self.put(Key::Plan(turn.clone()), Body::Plan { steps, explanation }, false);
    }

    /// Takes the end of a turn. Its messages that are not completed never will be; commands go on, but for
    /// those that an interrupt kept from beginning: of them nothing more is heard.
    pub fn end_turn(&mut self, turn: &v2::Turn) {
        for index in 0..self.entries.len() {
            let entry = &mut self.entries[index];
            let goes_on = match &entry.body {
                Body::Item(ThreadItem::CommandExecution(it)) => {
                    turn.status != v2::TurnStatus::Interrupted || has_begun(it)
                }
                _ => false,
            };
            if entry.live && !goes_on && entry.turn() == Some(&turn.id) {
                entry.live = false;
                entry.revision = next(&mut self.next_revision);
            }
        }
        let body = Body::TurnEnd {
            status: turn.status.clone(),
            duration_ms: turn.duration_ms,
            error: turn.error.clone(),
        };
        self.put(Key::TurnEnd(turn.id.clone()), body, false);
    }

    /// Appends to an item, which is made when it is not known.
    pub fn append(&mut self, turn: &TurnId, item: &ItemId, stream: Stream, delta: &str) {
        let key = Key::Item(turn.clone(), item.clone());
        if self.is_complete(&key) {
            return;
        }
        let index = match self.positions.get(&key) {
            Some(index) => *index,
            None => {
                self.put(key, Body::Item(empty_item(item, stream)), true);
                self.entries.len() - 1
            }
        };
        let epoch = self.epoch;
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let Body::Item(body) = &mut entry.body else { return };
        if entry.epoch != epoch {
            // What was said while the connection was down is missing until the item is completed.
            append_to(body, stream, " […] ");
        }
        append_to(body, stream, delta);
        entry.epoch = epoch;
        entry.revision = next(&mut self.next_revision);
    }

    /// Replaces an item's changes, where it is a file change.
    pub fn patch(&mut self, turn: &TurnId, item: &ItemId, changes: Vec<v2::FileUpdateChange>) {
        let key = Key::Item(turn.clone(), item.clone());
        let Some(entry) = self.positions.get(&key).and_then(|it| self.entries.get_mut(*it)) else {
            return;
        };
        if let Body::Item(ThreadItem::FileChange(change)) = &mut entry.body {
            change.changes = changes;
            entry.epoch = self.epoch;
            entry.revision = next(&mut self.next_revision);
        }
    }

    /// Puts a page of older turns, newest first, before everything else.
    pub fn prepend(&mut self, turns: &[v2::Turn]) {
        let mut older = Vec::new();
        for turn in turns.iter().rev() {
            self.snapshot_turn(turn, &mut older);
        }
        older.retain(|it| !self.positions.contains_key(&it.key));
        older.append(&mut self.entries);
        self.entries = older;
        self.index();
    }

    /// Replaces what is known by the server's newest turns, newest first: converge, do not replay.
    ///
    /// Kept beside the snapshot: older pages that it touches, what was heard of in this connection, and
    /// remarks of our own. Returns whether older entries are still the ones before the snapshot; if not,
    /// they are gone and have to be paged in again.
    pub fn converge(&mut self, turns: &[v2::Turn]) -> bool {
        let known: Vec<&TurnId> = turns.iter().map(|it| &it.id).collect();
        let in_snapshot = |entry: &Entry| entry.turn().is_some_and(|it| known.contains(&it));
        let first = self.entries.iter().position(in_snapshot);
        let last = self.entries.iter().rposition(in_snapshot);

        let mut snapshot = Vec::new();
        for turn in turns.iter().rev() {
            self.snapshot_turn(turn, &mut snapshot);
        }
        let mut old = std::mem::take(&mut self.entries);
        let after = old.split_off(last.map_or(0, |it| it + 1));
        let within = old.split_off(first.unwrap_or(old.len()));
        let before = old;

        let mut merged = before;
        merged.append(&mut snapshot);
        let mut keys: std::collections::HashSet<Key> = merged.iter().map(|it| it.key.clone()).collect();
        let epoch = self.epoch;
        for mut entry in within.into_iter().chain(after) {
            let stays = entry.epoch == epoch || matches!(entry.body, Body::Remark(..));
            if !stays || !keys.insert(entry.key.clone()) {
                continue;
            }
            entry.epoch = epoch;
            let place = place_for(&merged, &entry);
            merged.insert(place, entry);
        }
        self.entries = merged;
        self.index();
        first.is_some() || turns.is_empty()
    }

    /// The entries of one turn of a snapshot. Those that are known keep their ids, and their content where
    /// it is ahead of the snapshot.
    fn snapshot_turn(&mut self, turn: &v2::Turn, entries: &mut Vec<Entry>) {
        let is_running = turn.status == v2::TurnStatus::InProgress;
        for (index, item) in turn.items.iter().enumerate() {
            let Some(id) = item.id() else { continue };
            let key = Key::Item(turn.id.clone(), id);
            // The last text of a running turn may still grow: a snapshot does not say.
            let may_grow = index + 1 == turn.items.len() && is_text(item);
            let live = is_running && (is_unfinished(item) || may_grow);
            let body = match self.positions.get(&key).and_then(|it| self.entries.get(*it)) {
                Some(Entry {
                    body: Body::Item(known),
                    live: known_live,
                    epoch,
                    ..
                }) if *epoch == self.epoch => {
                    if *known_live {
                        keep_longer(known, item.clone())
                    } else {
                        known.clone()
                    }
                }
                _ => item.clone(),
            };
            entries.push(self.entry(key, Body::Item(body), live));
        }
        let is_remarkable = turn.error.is_some() || turn.status != v2::TurnStatus::Completed;
        if !is_running && (is_remarkable || turn.duration_ms.is_some()) {
            let body = Body::TurnEnd {
                status: turn.status.clone(),
                duration_ms: turn.duration_ms,
                error: turn.error.clone(),
            };
            entries.push(self.entry(Key::TurnEnd(turn.id.clone()), body, false));
        }
    }

    /// An entry with the identity that this key has or gets, and a new revision where the content differs.
    fn entry(&mut self, key: Key, body: Body, live: bool) -> Entry {
        let known = self.positions.get(&key).and_then(|it| self.entries.get(*it));
        let (id, revision) = match known {
            Some(entry) if entry.body == body && entry.live == live => (entry.id, Some(entry.revision)),
            Some(entry) => (entry.id, None),
            None => (EntryId(next(&mut self.next_id)), None),
        };
        Entry {
            id,
            key,
            body,
            live,
            revision: revision.unwrap_or_else(|| next(&mut self.next_revision)),
            epoch: self.epoch,
        }
    }

    fn put(&mut self, key: Key, body: Body, live: bool) {
        let entry = self.entry(key, body, live);
        if let Some(slot) = self
            .positions
            .get(&entry.key)
            .and_then(|it| self.entries.get_mut(*it))
        {
            *slot = entry;
            return;
        }
        self.positions.insert(entry.key.clone(), self.entries.len());
        self.entries.push(entry);
        if ENTRIES_MAX < self.entries.len() {
            self.entries.drain(..ENTRIES_MAX / 10);
            self.index();
        }
    }

    fn get(&self, key: &Key) -> Option<&Body> {
        self.positions
            .get(key)
            .and_then(|it| self.entries.get(*it))
            .map(|it| &it.body)
    }

    fn is_complete(&self, key: &Key) -> bool {
        let entry = self.positions.get(key).and_then(|it| self.entries.get(*it));
        entry.is_some_and(|it| {
            !it.live && it.epoch == self.epoch && matches!(&it.body, Body::Item(item) if !is_unfinished(item))
        })
    }

    fn index(&mut self) {
        self.positions = self
            .entries
            .iter()
            .enumerate()
            .map(|(index, it)| (it.key.clone(), index))
            .collect();
    }
}

/// Where an entry goes that the snapshot does not have: behind the last one of its turn, but before the
/// turn's end; without a turn at the end.
fn place_for(entries: &[Entry], entry: &Entry) -> usize {
    let Some(turn) = entry.turn() else {
        return entries.len();
    };
    match entries.iter().rposition(|it| it.turn() == Some(turn)) {
        Some(index) if matches!(entries[index].key, Key::TurnEnd(_)) => index,
        Some(index) => index + 1,
        None => entries.len(),
    }
}

fn next(counter: &mut u64) -> u64 {
    *counter += 1;
    *counter
}

/// Whether anything shows that a command ran: while it waits for an approval, nothing does.
fn has_begun(command: &v2::CommandExecution) -> bool {
    let has_output = command
        .aggregated_output
        .as_ref()
        .is_some_and(|it| !it.is_empty());
    command.process_id.is_some() || has_output
}

/// Whether the item itself says that it goes on. Messages do not say.
fn is_unfinished(item: &ThreadItem) -> bool {
    match item {
        ThreadItem::CommandExecution(it) => it.status == v2::CommandExecutionStatus::InProgress,
        ThreadItem::FileChange(it) => it.status == v2::PatchApplyStatus::InProgress,
        ThreadItem::McpToolCall(it) => it.status == v2::ToolCallStatus::InProgress,
        ThreadItem::DynamicToolCall(it) => it.status == v2::ToolCallStatus::InProgress,
        ThreadItem::UserMessage(_)
        | ThreadItem::AgentMessage(_)
        | ThreadItem::Reasoning(_)
        | ThreadItem::CollabAgentToolCall(_)
        | ThreadItem::WebSearch(_)
        | ThreadItem::Plan(_)
        | ThreadItem::ImageView(_)
        | ThreadItem::EnteredReviewMode(_)
        | ThreadItem::ExitedReviewMode(_)
        | ThreadItem::ContextCompaction(_)
        | ThreadItem::Unknown(_) => false,
    }
}

fn is_text(item: &ThreadItem) -> bool {
    matches!(
        item,
        ThreadItem::AgentMessage(_) | ThreadItem::Reasoning(_) | ThreadItem::Plan(_)
    )
}

/// Deltas may run ahead of a snapshot or of the report that an item began: the longer text wins.
fn keep_longer(known: &ThreadItem, mut new: ThreadItem) -> ThreadItem {
    match (known, &mut new) {
        (ThreadItem::AgentMessage(known), ThreadItem::AgentMessage(new))
            if new.text.len() < known.text.len() =>
        {
            new.text.clone_from(&known.text);
        }
        (ThreadItem::Plan(known), ThreadItem::Plan(new)) if new.text.len() < known.text.len() => {
            new.text.clone_from(&known.text);
        }
        (ThreadItem::Reasoning(known), ThreadItem::Reasoning(new)) => {
            let length = |parts: &[String]| parts.iter().map(String::len).sum::<usize>();
            if length(&new.summary) < length(&known.summary) {
                new.summary.clone_from(&known.summary);
            }
            if length(&new.content) < length(&known.content) {
                new.content.clone_from(&known.content);
            }
        }
        (ThreadItem::CommandExecution(known), ThreadItem::CommandExecution(new)) => {
            let length = |output: &Option<String>| output.as_ref().map_or(0, String::len);
            if length(&new.aggregated_output) < length(&known.aggregated_output) {
                new.aggregated_output.clone_from(&known.aggregated_output);
            }
        }
        _ => (),
    }
    new
}

fn empty_item(id: &ItemId, stream: Stream) -> ThreadItem {
    let id = id.clone();
    match stream {
        Stream::Message => ThreadItem::AgentMessage(v2::AgentMessage {
            id,
            text: String::new(),
            phase: None,
        }),
        Stream::Plan => ThreadItem::Plan(v2::PlanItem {
            id,
            text: String::new(),
        }),
        Stream::Output => ThreadItem::CommandExecution(v2::CommandExecution {
            id,
            command: String::new(),
            cwd: String::new(),
            process_id: None,
            command_actions: Vec::new(),
            source: None,
            status: v2::CommandExecutionStatus::InProgress,
            aggregated_output: None,
            exit_code: None,
            duration_ms: None,
        }),
        Stream::Summary(_) | Stream::Reasoning(_) => ThreadItem::Reasoning(v2::Reasoning {
            id,
            summary: Vec::new(),
            content: Vec::new(),
        }),
    }
}

fn append_to(item: &mut ThreadItem, stream: Stream, delta: &str) {
    match (item, stream) {
        (ThreadItem::AgentMessage(it), Stream::Message) => push_bounded(&mut it.text, delta),
        (ThreadItem::Plan(it), Stream::Plan) => push_bounded(&mut it.text, delta),
        (ThreadItem::Reasoning(it), Stream::Summary(part)) => push_part(&mut it.summary, part, delta),
        (ThreadItem::Reasoning(it), Stream::Reasoning(part)) => push_part(&mut it.content, part, delta),
        (ThreadItem::CommandExecution(it), Stream::Output) => {
            let output = it.aggregated_output.get_or_insert_default();
            output.push_str(delta);
            // Cut rarely and much: moving the rest for each delta would be quadratic.
            if 2 * LIVE_OUTPUT_BYTES_MAX < output.len() {
                let mut cut = output.len() - LIVE_OUTPUT_BYTES_MAX;
                while !output.is_char_boundary(cut) {
                    cut += 1;
                }
                output.drain(..cut);
            }
        }
        // A delta of another kind than its item: of another version of the protocol.
        _ => (),
    }
}

fn push_bounded(text: &mut String, delta: &str) {
    if text.len() + delta.len() <= ITEM_TEXT_BYTES_MAX {
        text.push_str(delta);
    }
}

fn push_part(parts: &mut Vec<String>, index: usize, delta: &str) {
    /// Parts of one item's reasoning. The index comes from the wire and must not choose an allocation.
    const PARTS_MAX: usize = 1024;
    let index = index.min(PARTS_MAX - 1);
    if parts.len() <= index {
        parts.resize(index + 1, String::new());
    }
    push_bounded(&mut parts[index], delta);
}

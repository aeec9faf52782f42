//! Reading a thread's history, from its end and without a lock.

use codex_protocol::{TurnId, v2::ThreadItemEntry};

use crate::{
    error::{Problem, StoreError},
    record::{Entry, Header, prefix},
    repair,
    source::{Flow, Source, note},
    state::{State, TurnLink},
    summary::Summary,
};

/// A thread's history as it was when the reader was made.
#[derive(Debug)]
pub struct ThreadReader {
    pub(crate) source: Source,
    header: Header,
    state: State,
}

/// Where a revert cuts: the turn's beginning, the turn before it, and the turns that go.
pub(crate) type RevertPoint = (u64, Option<TurnLink>, Vec<TurnId>);

/// A turn and where its part of the log ends: at the line of its end, or of the next turn's start.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) link: TurnLink,
    pub(crate) upper: u64,
    pub(crate) is_last: bool,
}

impl ThreadReader {
    pub(crate) fn new(source: Source, header: Header, state: State) -> Self {
        ThreadReader {
            source,
            header,
            state,
        }
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn summary(&self) -> Summary {
        Summary::new(&self.header, &self.state, self.source.len)
    }

    /// The items that were started and not completed, as they were at their start.
    pub fn items_in_flight(&self) -> Result<Vec<ThreadItemEntry>, StoreError> {
        let mut items = Vec::new();
        for open in &self.state.in_flight {
            if let Some(Entry::ItemStarted { at, turn, item }) = self.source.entry_at(open.start)? {
                items.push(ThreadItemEntry {
                    turn_id: turn,
                    item,
                    started_at_ms: Some(at),
                    completed_at_ms: None,
                });
            }
        }
        Ok(items)
    }

    /// The turns from the last one back.
    pub(crate) fn spans(&self) -> Spans<'_> {
        Spans {
            reader: self,
            next: self.state.last_turn.clone(),
            upper: self.source.len,
            is_last: true,
        }
    }

    pub(crate) fn span_of(&self, turn: &TurnId, problems: &mut Vec<Problem>) -> Result<Span, StoreError> {
        let mut spans = self.spans();
        while let Some(span) = spans.next_span(problems)? {
            if span.link.id == *turn {
                return Ok(span);
            }
        }
        Err(self.turn_not_found(turn))
    }

    pub(crate) fn turn_not_found(&self, turn: &TurnId) -> StoreError {
        StoreError::TurnNotFound {
            thread: self.header.id.clone(),
            turn: turn.clone(),
        }
    }

    /// Where a revert before this turn cuts.
    pub(crate) fn revert_point(&self, turn: &TurnId) -> Result<RevertPoint, StoreError> {
        let mut problems = Vec::new();
        let mut spans = self.spans();
        let mut gone = Vec::new();
        while let Some(span) = spans.next_span(&mut problems)? {
            gone.push(span.link.id.clone());
            if span.link.id == *turn {
                return Ok((span.link.start, spans.next, gone));
            }
        }
        Err(self.turn_not_found(turn))
    }

    /// Completions of this turn's items that came after its end, by where the items began.
    pub(crate) fn late_of(&self, turn: &TurnId) -> Result<Vec<(u64, Entry)>, StoreError> {
        let mut found = Vec::new();
        for late in self.state.late.iter().filter(|late| late.turn == *turn) {
            if let Some(entry) = self.source.entry_at(late.at)? {
                found.push((late.at, entry));
            }
        }
        Ok(found)
    }
}

/// Walks over the turns from the last one back, along the links from each to the one before it.
pub(crate) struct Spans<'r> {
    reader: &'r ThreadReader,
    pub(crate) next: Option<TurnLink>,
    upper: u64,
    is_last: bool,
}

impl Spans<'_> {
    pub(crate) fn next_span(&mut self, problems: &mut Vec<Problem>) -> Result<Option<Span>, StoreError> {
        let Some(link) = self.next.take() else {
            return Ok(None);
        };
        let source = &self.reader.source;
        self.next = match source.entry_at(link.start)? {
            // Links lead back; anything else would be a circle.
            Some(Entry::TurnStarted { prev, .. }) => prev.filter(|prev| prev.start < link.start),
            _ => {
                note(problems, Problem::BrokenLink { offset: link.start });
                self.search_before(link.start)?
            }
        };
        let upper = match (link.end, std::mem::replace(&mut self.upper, link.start)) {
            (Some(end), next_start) => next_start.min(end),
            (None, next_start) => next_start,
        };
        Ok(Some(Span {
            link,
            upper,
            is_last: std::mem::take(&mut self.is_last),
        }))
    }

    /// The last turn that begins before this place, where no link leads to it.
    fn search_before(&self, before: u64) -> Result<Option<TurnLink>, StoreError> {
        let source = &self.reader.source;
        let (_, body) = source.header()?;
        let start = repair::find_last(&source.file, body, before, |offset, line| {
            line.starts_with(prefix::TURN_STARTED).then_some(offset)
        });
        let Some(start) = start.map_err(source.read_error())? else {
            return Ok(None);
        };
        let mut state = State::new(&self.reader.header);
        source.for_each(
            start..before,
            |_| true,
            &mut Vec::new(),
            |place, entry| {
                if !matches!(entry, Entry::Checkpoint { .. } | Entry::Reverted { .. }) {
                    state.apply(place.offset, &entry);
                }
                Ok(Flow::Go)
            },
        )?;
        Ok(state.last_turn.filter(|turn| turn.start < before))
    }
}

/// An item by the place of its first line, and the latest that is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) place: u64,
    pub(crate) entry: ThreadItemEntry,
}

impl Placed {
    /// What an entry says about an item of this turn. A completion's place is the item's start.
    pub(crate) fn of(offset: u64, entry: Entry, turn: &TurnId) -> Option<Placed> {
        match entry {
            Entry::ItemStarted { at, turn: its, item } if its == *turn => {
                let entry = ThreadItemEntry {
                    turn_id: its,
                    item,
                    started_at_ms: Some(at),
                    completed_at_ms: None,
                };
                Some(Placed { place: offset, entry })
            }
            Entry::ItemCompleted {
                at,
                turn: its,
                start,
                item,
            } if its == *turn => {
                let entry = ThreadItemEntry {
                    turn_id: its,
                    item,
                    started_at_ms: None,
                    completed_at_ms: Some(at),
                };
                Some(Placed {
                    place: start.unwrap_or(offset),
                    entry,
                })
            }
            _ => None,
        }
    }

    /// Takes in what is said later about the same item.
    pub(crate) fn update(&mut self, later: ThreadItemEntry) {
        self.entry.item = later.item;
        self.entry.completed_at_ms = later.completed_at_ms;
    }
}

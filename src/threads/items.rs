//! Pages of items, oldest first unless asked otherwise.
//!
//! An item's place is that of its first line. Neither direction holds more than the page, and what of it is
//! still being looked for: a turn may be as long as the log.

use std::collections::HashMap;

use codex_protocol::{
    TurnId,
    v2::{SortDirection, ThreadItemEntry},
};

use crate::{
    cursor::{Cursor, Scope},
    error::{Problem, StoreError},
    lines::Backward,
    read::{Placed, Span, ThreadReader},
    record::{self, Decoded, Entry, prefix},
    source::{Flow, note},
};

/// How many items a page holds when the client does not say.
const DEFAULT_LIMIT: usize = 100;
/// How many items a page holds at most.
const MAX_LIMIT: usize = 1000;
/// A page ends early when its items make up this many bytes on disk; one item is always given.
const PAGE_BYTES: u64 = 16 << 20;

/// Which items.
#[derive(Clone, Debug, Default)]
pub struct ItemsQuery {
    pub cursor: Option<String>,
    /// 100 if not said, at most 1000. A page may hold fewer items although there are more.
    pub limit: Option<u32>,
    /// Oldest first if not said.
    pub direction: Option<SortDirection>,
    /// Only this turn's.
    pub turn: Option<TurnId>,
}

/// One page of items.
#[derive(Debug, Default)]
pub struct ItemsPage {
    pub items: Vec<ThreadItemEntry>,
    /// For the items behind this page, in the same direction.
    pub next_cursor: Option<String>,
    /// For the same items and those before them, in the other direction.
    pub backwards_cursor: Option<String>,
    pub problems: Vec<Problem>,
}

/// A page in the making.
struct Filling {
    placed: Vec<Placed>,
    bytes: u64,
    limit: usize,
    cursor: Option<Cursor>,
    more: bool,
}

impl Filling {
    fn full(&mut self) -> bool {
        let full = self.placed.len() >= self.limit || (!self.placed.is_empty() && self.bytes > PAGE_BYTES);
        self.more |= full;
        full
    }
}

impl ThreadReader {
    /// A page of items. An item without completion is as it was at its start.
    pub fn items(&self, query: &ItemsQuery) -> Result<ItemsPage, StoreError> {
        let cursor = Cursor::read(query.cursor.as_deref(), Scope::Items, &self.header().id)?;
        let limit = query
            .limit
            .map_or(DEFAULT_LIMIT, |limit| limit as usize)
            .min(MAX_LIMIT);
        let mut page = ItemsPage::default();
        let mut filling = Filling {
            placed: Vec::new(),
            bytes: 0,
            limit,
            cursor,
            more: false,
        };
        if query.direction == Some(SortDirection::Descending) {
            self.fill_descending(query.turn.as_ref(), &mut filling, &mut page.problems)?;
        } else {
            self.fill_ascending(query.turn.as_ref(), &mut filling, &mut page.problems)?;
        }
        let write = |placed: &Placed, inclusive| {
            Cursor {
                place: placed.place,
                inclusive,
            }
            .write(Scope::Items, &self.header().id)
        };
        page.next_cursor = filling
            .placed
            .last()
            .filter(|_| filling.more)
            .map(|last| write(last, false));
        page.backwards_cursor = filling.placed.first().map(|first| write(first, true));
        page.items = filling.placed.into_iter().map(|placed| placed.entry).collect();
        Ok(page)
    }

    /// The cursor from which items, newest first, begin with the last one. None without turns.
    pub fn items_cursor_at_end(&self) -> Option<String> {
        self.state().last_turn.as_ref()?;
        Some(
            Cursor {
                place: self.source.len,
                inclusive: true,
            }
            .write(Scope::Items, &self.header().id),
        )
    }

    fn fill_descending(
        &self,
        only: Option<&TurnId>,
        filling: &mut Filling,
        problems: &mut Vec<Problem>,
    ) -> Result<(), StoreError> {
        if let Some(turn) = only {
            let span = self.span_of(turn, problems)?;
            return self.fill_from_end(&span, filling, problems).map(drop);
        }
        let mut spans = self.spans();
        while let Some(span) = spans.next_span(problems)? {
            let begins_before = filling
                .cursor
                .is_none_or(|cursor| cursor.allows_down_to(span.link.start));
            if begins_before && self.fill_from_end(&span, filling, problems)? == Flow::Stop {
                break;
            }
        }
        Ok(())
    }

    /// The turn's items, last first. Completions come before their starts and wait for them.
    fn fill_from_end(
        &self,
        span: &Span,
        filling: &mut Filling,
        problems: &mut Vec<Problem>,
    ) -> Result<Flow, StoreError> {
        let turn = &span.link.id;
        let mut completed: HashMap<u64, (u64, ThreadItemEntry)> = HashMap::new();
        for (offset, entry) in self.late_of(turn)? {
            if let Some(late) = Placed::of(offset, entry, turn) {
                completed.insert(late.place, (0, late.entry));
            }
        }
        let mut lines = Backward::new(&self.source.file, span.link.start, span.upper);
        while let Some(line) = lines.next_line().map_err(self.source.read_error())? {
            let (offset, len) = (line.offset, line.len);
            if !line.bytes.starts_with(prefix::ITEM) {
                if !record::looks_like_entry(line.bytes) {
                    note(problems, Problem::Garbage { offset, bytes: len });
                }
                continue;
            }
            let entry = match Entry::decode(line.bytes) {
                Decoded::Entry(entry) => *entry,
                Decoded::Unknown => continue,
                Decoded::Garbage => {
                    note(problems, Problem::Garbage { offset, bytes: len });
                    continue;
                }
            };
            let Some(mut placed) = Placed::of(offset, entry, turn) else {
                continue;
            };
            if filling
                .cursor
                .is_some_and(|cursor| !cursor.allows_down_to(placed.place))
            {
                continue;
            }
            if placed.place != offset {
                completed.entry(placed.place).or_insert((len, placed.entry));
                continue;
            }
            if filling.full() {
                return Ok(Flow::Stop);
            }
            filling.bytes += len;
            if let Some((more, later)) = completed.remove(&offset) {
                filling.bytes += more;
                placed.update(later);
            }
            filling.placed.push(placed);
        }
        Ok(Flow::Go)
    }

    fn fill_ascending(
        &self,
        only: Option<&TurnId>,
        filling: &mut Filling,
        problems: &mut Vec<Problem>,
    ) -> Result<(), StoreError> {
        let spans = match only {
            Some(turn) => vec![self.span_of(turn, problems)?],
            None => self.spans_holding(filling.cursor.as_ref(), problems)?,
        };
        for span in spans.iter().rev() {
            if self.fill_from_start(span, filling, problems)? == Flow::Stop {
                break;
            }
        }
        Ok(())
    }

    /// The turns that may hold items at or after the cursor, newest first.
    fn spans_holding(
        &self,
        cursor: Option<&Cursor>,
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<Span>, StoreError> {
        let mut found = Vec::new();
        let mut spans = self.spans();
        while let Some(span) = spans.next_span(problems)? {
            let begins_before = cursor.is_some_and(|cursor| span.link.start <= cursor.place);
            found.push(span);
            if begins_before {
                break;
            }
        }
        Ok(found)
    }

    /// The turn's items, first first. When the page is full, only completions of its items are looked for.
    fn fill_from_start(
        &self,
        span: &Span,
        filling: &mut Filling,
        problems: &mut Vec<Problem>,
    ) -> Result<Flow, StoreError> {
        let turn = &span.link.id;
        let first = filling.placed.len();
        // Lines before the cursor only tell of items before it.
        let from = filling
            .cursor
            .map_or(span.link.start, |cursor| cursor.place.max(span.link.start));
        let from = if from >= span.upper { span.upper } else { from };
        let is_item = |line: &[u8]| line.starts_with(prefix::ITEM);
        let mut flow = Flow::Go;
        self.source
            .for_each(from..span.upper, is_item, problems, |place, entry| {
                let Some(placed) = Placed::of(place.offset, entry, turn) else {
                    return Ok(Flow::Go);
                };
                if filling
                    .cursor
                    .is_some_and(|cursor| !cursor.allows_up_to(placed.place))
                {
                    return Ok(Flow::Go);
                }
                if placed.place != place.offset {
                    filling.bytes += place.len;
                    update(&mut filling.placed[first..], placed);
                } else if flow == Flow::Go && filling.full() {
                    flow = Flow::Stop;
                } else if flow == Flow::Go {
                    filling.bytes += place.len;
                    filling.placed.push(placed);
                }
                let open = filling.placed[first..]
                    .iter()
                    .any(|placed| placed.entry.completed_at_ms.is_none());
                Ok(if flow == Flow::Stop && !open {
                    Flow::Stop
                } else {
                    Flow::Go
                })
            })?;
        for (offset, entry) in self.late_of(turn)? {
            if let Some(late) = Placed::of(offset, entry, turn) {
                update(&mut filling.placed[first..], late);
            }
        }
        Ok(flow)
    }
}

fn update(items: &mut [Placed], later: Placed) {
    if let Ok(at) = items.binary_search_by_key(&later.place, |known| known.place) {
        items[at].update(later.entry);
    }
}

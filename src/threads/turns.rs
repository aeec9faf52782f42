//! Pages of turns, newest first unless asked otherwise.

use codex_protocol::v2::{SortDirection, ThreadItemEntry, Turn, TurnItemsView, TurnStatus};

use crate::{
    cursor::{Cursor, Scope},
    error::{Problem, StoreError},
    read::{Placed, Span, ThreadReader},
    record::{Entry, prefix},
    source::Flow,
};

/// How many turns a page holds when the client does not say.
const DEFAULT_LIMIT: usize = 25;
/// A page ends early when its items make up this many bytes on disk; the rest comes with the next cursor. One
/// turn is always whole.
const PAGE_BYTES: u64 = 16 << 20;

/// Which turns, and how much of each.
#[derive(Clone, Debug, Default)]
pub struct TurnsQuery {
    pub cursor: Option<String>,
    /// 25 if not said. A page may hold fewer turns although there are more.
    pub limit: Option<u32>,
    /// Newest first if not said.
    pub direction: Option<SortDirection>,
    /// A summary if not said: the first user message and the last message of the model.
    pub view: Option<TurnItemsView>,
}

/// When an item began and ended, in Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemTimes {
    pub started_at: Option<i64>,
    pub completed_at: Option<i64>,
}

/// One page of turns.
#[derive(Debug, Default)]
pub struct TurnsPage {
    pub turns: Vec<Turn>,
    /// When the items of each turn began and ended, in the order of the turn's items.
    pub times: Vec<Vec<ItemTimes>>,
    /// For the turns behind this page, in the same direction.
    pub next_cursor: Option<String>,
    /// For the same turns and those before them, in the other direction.
    pub backwards_cursor: Option<String>,
    pub problems: Vec<Problem>,
}

impl ThreadReader {
    /// A page of turns. A turn that was neither ended nor is the last one shows as interrupted; the last one,
    /// if it was not ended, as in progress: whether anybody works on it is the server's knowledge.
    pub fn turns(&self, query: &TurnsQuery) -> Result<TurnsPage, StoreError> {
        let cursor = Cursor::read(query.cursor.as_deref(), Scope::Turns, &self.header().id)?;
        let limit = query.limit.map_or(DEFAULT_LIMIT, |limit| limit as usize);
        let mut page = TurnsPage::default();
        let mut places = Vec::new();
        let mut bytes = 0;
        let mut more = false;
        let mut take = |span: &Span, page: &mut TurnsPage| -> Result<Flow, StoreError> {
            if places.len() >= limit || bytes > PAGE_BYTES {
                more = true;
                return Ok(Flow::Stop);
            }
            let (turn, times, read) = self.turn(span, query.view.as_ref(), &mut page.problems)?;
            bytes += read;
            page.turns.push(turn);
            page.times.push(times);
            places.push(span.link.start);
            Ok(Flow::Go)
        };
        if query.direction == Some(SortDirection::Ascending) {
            for span in self.spans_from(cursor.as_ref(), &mut page.problems)?.iter().rev() {
                if take(span, &mut page)? == Flow::Stop {
                    break;
                }
            }
        } else {
            let mut spans = self.spans();
            while let Some(span) = spans.next_span(&mut page.problems)? {
                let wanted = cursor
                    .as_ref()
                    .is_none_or(|cursor| cursor.allows_down_to(span.link.start));
                if wanted && take(&span, &mut page)? == Flow::Stop {
                    break;
                }
            }
        }
        let write = |place: &u64, inclusive| {
            Cursor {
                place: *place,
                inclusive,
            }
            .write(Scope::Turns, &self.header().id)
        };
        page.next_cursor = places.last().filter(|_| more).map(|place| write(place, false));
        page.backwards_cursor = places.first().map(|place| write(place, true));
        Ok(page)
    }

    /// The cursor from which turns, newest first, begin with the last one. None without turns.
    pub fn turns_cursor_at_end(&self) -> Option<String> {
        let last = self.state().last_turn.as_ref()?;
        Some(
            Cursor {
                place: last.start,
                inclusive: true,
            }
            .write(Scope::Turns, &self.header().id),
        )
    }

    /// The turns that come at or after the cursor, newest first.
    pub(crate) fn spans_from(
        &self,
        cursor: Option<&Cursor>,
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<Span>, StoreError> {
        let mut found = Vec::new();
        let mut spans = self.spans();
        while let Some(span) = spans.next_span(problems)? {
            if cursor.is_some_and(|cursor| !cursor.allows_up_to(span.link.start)) {
                break;
            }
            found.push(span);
        }
        Ok(found)
    }

    /// The turn, and how many bytes of items were read for it.
    fn turn(
        &self,
        span: &Span,
        view: Option<&TurnItemsView>,
        problems: &mut Vec<Problem>,
    ) -> Result<(Turn, Vec<ItemTimes>, u64), StoreError> {
        let mut turn = Turn::new(span.link.id.clone(), TurnStatus::Interrupted);
        if let Some(Entry::TurnStarted { started_at, .. }) = self.source.entry_at(span.link.start)? {
            turn.started_at = started_at;
        }
        match span
            .link
            .end
            .map(|end| self.source.entry_at(end))
            .transpose()?
            .flatten()
        {
            Some(Entry::TurnCompleted {
                status,
                error,
                completed_at,
                duration_ms,
                ..
            }) => {
                turn.status = status;
                turn.error = error;
                turn.completed_at = completed_at;
                turn.duration_ms = duration_ms;
            }
            _ if span.is_last && span.link.end.is_none() => turn.status = TurnStatus::InProgress,
            // Damaged: the link remembers how it ended.
            _ => turn.status = span.link.status.clone().unwrap_or(TurnStatus::Interrupted),
        }
        let (view, (entries, bytes)) = match view {
            Some(TurnItemsView::Full) => (TurnItemsView::Full, self.items_of(span, problems)?),
            Some(TurnItemsView::NotLoaded) => (TurnItemsView::NotLoaded, (Vec::new(), 0)),
            _ => (TurnItemsView::Summary, (self.summary_of(span)?, 0)),
        };
        let mut times = Vec::with_capacity(entries.len());
        for entry in entries {
            times.push(ItemTimes {
                started_at: entry.started_at_ms,
                completed_at: entry.completed_at_ms,
            });
            turn.items.push(entry.item);
        }
        turn.items_view = Some(view);
        Ok((turn, times, bytes))
    }

    fn summary_of(&self, span: &Span) -> Result<Vec<ThreadItemEntry>, StoreError> {
        let mut items = Vec::new();
        for place in [span.link.user, span.link.answer].into_iter().flatten() {
            let Some(Entry::ItemCompleted { at, start, item, .. }) = self.source.entry_at(place)? else {
                continue;
            };
            let began = match start.map(|it| self.source.entry_at(it)).transpose()?.flatten() {
                Some(Entry::ItemStarted { at, .. }) => Some(at),
                _ => None,
            };
            items.push(ThreadItemEntry {
                turn_id: span.link.id.clone(),
                item,
                started_at_ms: began,
                completed_at_ms: Some(at),
            });
        }
        Ok(items)
    }

    /// All items of a turn in the order of their starts, each as it is known last.
    fn items_of(
        &self,
        span: &Span,
        problems: &mut Vec<Problem>,
    ) -> Result<(Vec<ThreadItemEntry>, u64), StoreError> {
        let turn = &span.link.id;
        let mut found: Vec<Placed> = Vec::new();
        let mut take = |offset: u64, entry: Entry| {
            if let Some(placed) = Placed::of(offset, entry, turn) {
                match found.binary_search_by_key(&placed.place, |known| known.place) {
                    Ok(at) => found[at].update(placed.entry),
                    Err(at) => found.insert(at, placed),
                }
            }
        };
        let is_item = |line: &[u8]| line.starts_with(prefix::ITEM);
        self.source
            .for_each(span.link.start..span.upper, is_item, problems, |place, entry| {
                take(place.offset, entry);
                Ok(Flow::Go)
            })?;
        for (offset, entry) in self.late_of(turn)? {
            take(offset, entry);
        }
        let items = found.into_iter().map(|placed| placed.entry).collect();
        Ok((items, span.upper - span.link.start))
    }
}

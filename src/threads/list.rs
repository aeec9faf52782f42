//! Lists of threads: filters, order and pages. Pure.

use codex_protocol::{
    ThreadId,
    v2::{SortDirection, ThreadSortKey},
};

use crate::{
    error::{Problem, StoreError},
    summary::Summary,
};

/// How many threads a page holds when the client does not say.
const DEFAULT_LIMIT: usize = 50;
/// How many threads a page holds at most.
const MAX_LIMIT: usize = 1000;

/// Which threads, in which order. The default is what `thread/list {}` means.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// From an earlier page with the same sort key.
    pub cursor: Option<String>,
    /// At most 1000, 50 if not said; 0 gives an empty page.
    pub limit: Option<u32>,
    /// `created_at` if not said or not known here.
    pub sort_key: Option<ThreadSortKey>,
    /// Newest first if not said.
    pub direction: Option<SortDirection>,
    /// Only archived threads, or only the others.
    pub archived: bool,
    /// In the name, the preview or the working directory, whatever the case.
    pub search_term: Option<String>,
    /// Exact working directories; empty means any, as for the lists below.
    pub cwds: Vec<String>,
    pub model_providers: Vec<String>,
    pub source_kinds: Vec<String>,
    pub excluded: Vec<ThreadId>,
    /// Leaves out threads in which nothing was said or done yet.
    pub only_begun: bool,
    pub parent: Option<ThreadId>,
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct ListPage {
    pub threads: Vec<Summary>,
    /// For the threads behind this page, in the same direction.
    pub next_cursor: Option<String>,
    /// For the same threads and those before them, in the other direction.
    pub backwards_cursor: Option<String>,
    /// What could not be listed, and what was damaged.
    pub problems: Vec<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Created,
    Updated,
    Recency,
}

impl Key {
    fn of(query: &ListQuery) -> Key {
        match query.sort_key {
            Some(ThreadSortKey::UpdatedAt) => Key::Updated,
            Some(ThreadSortKey::RecencyAt) => Key::Recency,
            _ => Key::Created,
        }
    }

    fn letter(self) -> &'static str {
        match self {
            Key::Created => "c",
            Key::Updated => "u",
            Key::Recency => "r",
        }
    }

    fn value(self, summary: &Summary) -> i64 {
        match self {
            Key::Created => summary.created_at,
            Key::Updated => summary.updated_at,
            Key::Recency => summary.recency_at,
        }
    }
}

/// A place between two threads: the order's value and the id of the thread at it.
struct Cursor<'c> {
    value: i64,
    id: &'c str,
    inclusive: bool,
}

fn write_cursor(key: Key, summary: &Summary, inclusive: bool) -> String {
    let side = if inclusive { "at" } else { "after" };
    format!("{}.{side}.{}.{}", key.letter(), key.value(summary), summary.id)
}

fn read_cursor(key: Key, text: &str) -> Result<Cursor<'_>, StoreError> {
    let read = || {
        let mut parts = text.splitn(4, '.');
        let (letter, side) = (parts.next()?, parts.next()?);
        let value = parts.next()?.parse().ok()?;
        let inclusive = match side {
            "at" => true,
            "after" => false,
            _ => return None,
        };
        (letter == key.letter()).then_some(Cursor {
            value,
            id: parts.next()?,
            inclusive,
        })
    };
    read().ok_or_else(|| StoreError::invalid_cursor(text))
}

/// Whether a thread is asked for. `term` is the search term in lower case.
fn matches(query: &ListQuery, term: Option<&str>, summary: &Summary) -> bool {
    let any_of =
        |allowed: &[String], value: &str| allowed.is_empty() || allowed.iter().any(|one| one == value);
    summary.archived == query.archived
        && any_of(&query.cwds, &summary.cwd)
        && any_of(&query.model_providers, &summary.model_provider)
        && any_of(&query.source_kinds, &summary.source)
        && !query.excluded.contains(&summary.id)
        && (!query.only_begun || !summary.preview.is_empty() || summary.last_turn_status.is_some())
        && query
            .parent
            .as_ref()
            .is_none_or(|parent| summary.parent_thread_id.as_ref() == Some(parent))
        && term.is_none_or(|term| {
            let name = summary.name.as_deref().unwrap_or_default();
            [name, &summary.preview, &summary.cwd]
                .iter()
                .any(|text| text.to_lowercase().contains(term))
        })
}

/// Chooses the page. The order is by the key, then by the id, so that it is the same every time.
pub(crate) fn page<'s>(
    summaries: impl Iterator<Item = &'s Summary>,
    query: &ListQuery,
) -> Result<ListPage, StoreError> {
    let key = Key::of(query);
    let ascending = query.direction == Some(SortDirection::Ascending);
    let cursor = query
        .cursor
        .as_deref()
        .map(|text| read_cursor(key, text))
        .transpose()?;
    let limit = query
        .limit
        .map_or(DEFAULT_LIMIT, |limit| limit as usize)
        .min(MAX_LIMIT);
    let term = query
        .search_term
        .as_deref()
        .map(str::to_lowercase)
        .filter(|term| !term.is_empty());
    let place = |summary: &Summary| (key.value(summary), summary.id.clone());
    let mut chosen: Vec<&Summary> = summaries
        .filter(|summary| match &cursor {
            None => true,
            Some(cursor) => {
                let order = (key.value(summary), summary.id.0.as_str()).cmp(&(cursor.value, cursor.id));
                let order = if ascending { order } else { order.reverse() };
                order.is_gt() || (cursor.inclusive && order.is_eq())
            }
        })
        .filter(|summary| matches(query, term.as_deref(), summary))
        .collect();
    chosen.sort_by_cached_key(|summary| place(summary));
    if !ascending {
        chosen.reverse();
    }
    let more = chosen.len() > limit;
    chosen.truncate(limit);
    Ok(ListPage {
        next_cursor: chosen
            .last()
            .filter(|_| more)
            .map(|last| write_cursor(key, last, false)),
        backwards_cursor: chosen.first().map(|first| write_cursor(key, first, true)),
        threads: chosen.into_iter().cloned().collect(),
        problems: Vec::new(),
    })
}

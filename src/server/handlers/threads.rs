//! Lists of threads.

use codex_protocol::{
    ThreadId,
    served::{ThreadListParams, ThreadLoadedListParams, ThreadSearchParams},
    v2::{Idle, ThreadSortKey, ThreadStatus},
};
use codex_threads::ListQuery;
use serde_json::{Value, json};

use super::thread::store;
use crate::{
    refusal::Refusal,
    router::{Call, Router, Stability::*},
    scope::Scope,
    threads::{on_the_wire, refuse},
};

/// Loaded threads in one answer, unless asked for fewer.
const LOADED_MAX: usize = 1000;

/// What lists can be sorted by. No thread is in a section: those are in the order of their creation.
const SORT_KEYS: [&str; 4] = ["created_at", "updated_at", "recency_at", "section_position"];

pub(super) fn routes(router: &mut Router) {
    router.answer("thread/list", Stable, |_: &ThreadListParams| Scope::free(), list);
    router.answer(
        "thread/search",
        Experimental,
        |_: &ThreadSearchParams| Scope::free(),
        search,
    );
    router.answer(
        "thread/loaded/list",
        Stable,
        |_: &ThreadLoadedListParams| Scope::free(),
        loaded,
    );
}

async fn list(call: Call, params: ThreadListParams) -> Result<Value, Refusal> {
    // No thread of this server is in a section or in a project.
    if params.section_id.or(params.project_id).is_some() {
        return Ok(json!({ "data": [], "nextCursor": null, "backwardsCursor": null }));
    }
    if let Some(key) = params.sort_key.as_deref()
        && !SORT_KEYS.contains(&key)
    {
        let known = SORT_KEYS.join("`, `");
        let text = format!("Invalid request: unknown variant `{key}`, expected one of `{known}`");
        return Err(Refusal::invalid(text));
    }
    let (store, statuses) = (store(&call).await?, call.server.threads().statuses().await);
    let query = ListQuery {
        cursor: params.cursor,
        limit: params.limit,
        sort_key: params.sort_key.map(ThreadSortKey::from),
        direction: params.sort_direction,
        cwds: params.cwd.map(Vec::from).unwrap_or_default(),
        model_providers: params.model_providers.unwrap_or_default(),
        source_kinds: params.source_kinds.unwrap_or_default(),
        parent: params.parent_thread_id,
        // As the official server, whose interface would offer the thread that it has just begun itself.
        only_begun: true,
        archived: params.archived.unwrap_or(false),
        search_term: params.search_term,
        ..ListQuery::default()
    };
    let page = super::blocking(move || store.list(&query).map_err(|it| refuse(&it))).await?;
    let at_rest = ThreadStatus::NotLoaded(Idle {});
    let threads: Vec<_> = page
        .threads
        .iter()
        .map(|it| on_the_wire(it, statuses.get(&it.id).unwrap_or(&at_rest), &[]))
        .collect();
    Ok(json!({ "data": threads, "nextCursor": page.next_cursor, "backwardsCursor": page.backwards_cursor }))
}

/// As `thread/list`, by what is in the name, the first words or the directory.
async fn search(call: Call, params: ThreadSearchParams) -> Result<Value, Refusal> {
    let query = ThreadListParams {
        search_term: Some(params.search_term),
        cursor: params.cursor,
        limit: params.limit,
        sort_key: params.sort_key,
        sort_direction: params.sort_direction,
        archived: params.archived,
        source_kinds: params.source_kinds,
        ..ThreadListParams::default()
    };
    let mut page = self::list(call, query).await?;
    let threads = page["data"]
        .as_array_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    let found = threads
        .into_iter()
        .map(|thread| json!({ "snippet": thread["preview"], "thread": thread }));
    page["data"] = found.collect();
    Ok(page)
}

async fn loaded(call: Call, params: ThreadLoadedListParams) -> Result<Value, Refusal> {
    let after = params.cursor.map(ThreadId);
    let limit = params.limit.unwrap_or(LOADED_MAX).min(LOADED_MAX);
    let statuses = call.server.threads().statuses().await;
    let mut ids = statuses
        .into_keys()
        .filter(|it| after.as_ref().is_none_or(|after| after < it));
    let page: Vec<ThreadId> = ids.by_ref().take(limit).collect();
    let next = ids.next().and(page.last().cloned());
    Ok(json!({ "data": page, "nextCursor": next }))
}

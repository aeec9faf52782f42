//! Threads: requests become mail to the thread's owner; what only looks reads the log.

use std::sync::Arc;

use codex_protocol::{
    ThreadId, TurnId,
    v2::{
        AskForApproval, Empty, SortDirection, ThreadIdParams, ThreadListParams, ThreadNameSetParams,
        ThreadReadParams, ThreadResumeParams, ThreadStartParams, ThreadTurnsListParams, TurnItemsView,
    },
};
use codex_threads::{Header, ItemsQuery, ListQuery, Settings, ThreadStore, TurnsQuery};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    notice::{Notice, unix_millis},
    refusal::Refusal,
    responder::Responder,
    router::{Call, Router, Stability::*},
    scope::Scope,
    threads::{Act, Mail, new_id, on_the_wire, refuse},
};

/// Turns of a thread that is read as a whole; the others are paged.
const READ_TURNS_MAX: u32 = 1000;

pub(super) fn routes(router: &mut Router) {
    router.hand_over(
        "thread/start",
        Stable,
        |_: &ThreadStartParams| Scope::free(),
        start,
    );
    let scope = |p: &ThreadResumeParams| Scope::thread(&p.thread_id.0);
    router.hand_over(
        "thread/resume",
        Stable,
        scope,
        |call, p: ThreadResumeParams, responder| {
            let with_turns = !p.exclude_turns.unwrap_or(false);
            send(call, p.thread_id, Act::Resume { with_turns }, responder)
        },
    );
    router.hand_over(
        "thread/name/set",
        Stable,
        |p: &ThreadNameSetParams| Scope::thread(&p.thread_id.0),
        name,
    );
    let scope = |p: &ThreadIdParams| Scope::thread(&p.thread_id.0);
    router.hand_over(
        "thread/archive",
        Stable,
        scope,
        |call, p: ThreadIdParams, responder| send(call, p.thread_id, Act::Archive, responder),
    );
    router.hand_over(
        "thread/delete",
        Stable,
        scope,
        |call, p: ThreadIdParams, responder| send(call, p.thread_id, Act::Delete, responder),
    );
    router.hand_over(
        "thread/unsubscribe",
        Stable,
        scope,
        |call, p: ThreadIdParams, responder| send(call, p.thread_id, Act::Unsubscribe, responder),
    );
    router.hand_over("thread/unarchive", Stable, scope, unarchive);
    router.answer("thread/list", Stable, |_: &ThreadListParams| Scope::free(), list);
    router.answer("thread/loaded/list", Stable, |_: &Empty| Scope::free(), loaded);
    router.answer(
        "thread/read",
        Stable,
        |p: &ThreadReadParams| Scope::thread_shared(&p.thread_id.0),
        read,
    );
    let scope = |p: &ThreadTurnsListParams| Scope::thread_shared(&p.thread_id.0);
    router.answer("thread/turns/list", Stable, scope, turns);
    router.answer(
        "thread/items/list",
        Stable,
        |p: &ItemsList| Scope::thread_shared(&p.thread_id.0),
        items,
    );
}

async fn send(call: Call, id: ThreadId, act: Act, responder: Responder) {
    let mail = Mail {
        act,
        connection: call.connection.clone(),
        responder,
    };
    call.server.threads().send(&call.server, &id, mail).await;
}

async fn start(call: Call, params: ThreadStartParams, responder: Responder) {
    match header(&call, params).await {
        Ok(header) => {
            let threads = call.server.threads();
            threads
                .start(&call.server, header, call.connection.clone(), responder)
                .await;
        }
        Err(refusal) => responder.refuse(refusal),
    }
}

async fn header(call: &Call, params: ThreadStartParams) -> Result<Header, Refusal> {
    if params.ephemeral == Some(true) {
        return Err(Refusal::invalid("ephemeral threads are not supported"));
    }
    let server = call.server.clone();
    super::blocking(move || {
        let (config, setup) = (server.config(), server.setup());
        let provider = params
            .model_provider
            .unwrap_or_else(|| config.provider_id().to_owned());
        if config.provider(&provider).is_none() {
            let text = format!("failed to load configuration: Model provider `{provider}` not found");
            return Err(Refusal::invalid(text));
        }
        let policy = params.approval_policy.or_else(|| config.approval_policy.clone());
        Ok(Header {
            id: new_id()?,
            created_at: unix_millis() / 1000,
            settings: Settings {
                cwd: setup
                    .cwd
                    .join(params.cwd.unwrap_or_default())
                    .display()
                    .to_string(),
                model: params.model.unwrap_or_else(|| config.model().to_owned()),
                model_provider: provider,
                sandbox: config.sandbox.policy(params.sandbox),
                approval_policy: policy.unwrap_or_else(AskForApproval::on_request),
                reasoning_effort: config.model_reasoning_effort.clone(),
                extra: serde_json::Map::new(),
            },
            cli_version: setup.version.clone(),
            source: "vscode".to_owned(),
            originator: None,
            thread_source: None,
            parent_thread_id: None,
            forked_from_id: None,
            metadata: codex_threads::Metadata::default(),
            extra: serde_json::Map::new(),
        })
    })
    .await
}

async fn name(call: Call, params: ThreadNameSetParams, responder: Responder) {
    let name = params.name.trim().to_owned();
    if name.is_empty() {
        return responder.refuse(Refusal::invalid("thread name must not be empty"));
    }
    send(call, params.thread_id, Act::Name(name), responder).await;
}

async fn store(call: &Call) -> Result<Arc<ThreadStore>, Refusal> {
    call.server
        .threads()
        .store(&call.server.setup().own_folder())
        .await
}

async fn unarchive(call: Call, params: ThreadIdParams, responder: Responder) {
    let id = params.thread_id.clone();
    let changed = async {
        let store = store(&call).await?;
        super::blocking(move || {
            store
                .set_archived(&id, false, unix_millis())
                .map_err(|it| refuse(&it))
        })
        .await
    };
    match changed.await {
        Ok(summary) => {
            responder.answer(&json!({ "thread": on_the_wire(&summary, false, &[]) }));
            let notice = Notice::new("thread/unarchived", &json!({ "threadId": params.thread_id }));
            call.server.broadcast(&notice);
        }
        Err(refusal) => responder.refuse(refusal),
    }
}

async fn list(call: Call, params: ThreadListParams) -> Result<Value, Refusal> {
    let (store, loaded) = (store(&call).await?, call.server.threads().ids().await);
    let query = ListQuery {
        cursor: params.cursor,
        limit: params.limit,
        sort_key: params.sort_key,
        archived: params.archived.unwrap_or(false),
        search_term: params.search_term,
        ..ListQuery::default()
    };
    let page = super::blocking(move || store.list(&query).map_err(|it| refuse(&it))).await?;
    let threads: Vec<_> = page
        .threads
        .iter()
        .map(|it| on_the_wire(it, loaded.contains(&it.id), &[]))
        .collect();
    Ok(json!({ "data": threads, "nextCursor": page.next_cursor, "backwardsCursor": page.backwards_cursor }))
}

async fn loaded(call: Call, _: Empty) -> Result<Value, Refusal> {
    Ok(json!({ "data": call.server.threads().ids().await, "nextCursor": null }))
}

async fn read(call: Call, params: ThreadReadParams) -> Result<Value, Refusal> {
    let (store, loaded) = (store(&call).await?, call.server.threads().ids().await);
    super::blocking(move || {
        let reader = store.reader(&params.thread_id).map_err(|it| refuse(&it))?;
        let mut turns = Vec::new();
        if params.include_turns == Some(true) {
            let query = TurnsQuery {
                limit: Some(READ_TURNS_MAX),
                view: Some(TurnItemsView::Full),
                ..TurnsQuery::default()
            };
            turns = reader.turns(&query).map_err(|it| refuse(&it))?.turns;
            turns.reverse();
        }
        let is_loaded = loaded.contains(&params.thread_id);
        Ok(json!({ "thread": on_the_wire(&reader.summary(), is_loaded, &turns) }))
    })
    .await
}

async fn turns(call: Call, params: ThreadTurnsListParams) -> Result<Value, Refusal> {
    let store = store(&call).await?;
    super::blocking(move || {
        let query = TurnsQuery {
            cursor: params.cursor,
            limit: params.limit,
            direction: params.sort_direction,
            view: params.items_view,
        };
        let page = store.reader(&params.thread_id).and_then(|it| it.turns(&query)).map_err(|it| refuse(&it))?;
        Ok(json!({ "data": page.turns, "nextCursor": page.next_cursor, "backwardsCursor": page.backwards_cursor }))
    })
    .await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemsList {
    thread_id: ThreadId,
    cursor: Option<String>,
    limit: Option<u32>,
    sort_direction: Option<SortDirection>,
    turn_id: Option<TurnId>,
}

async fn items(call: Call, params: ItemsList) -> Result<Value, Refusal> {
    let store = store(&call).await?;
    super::blocking(move || {
        let query = ItemsQuery {
            cursor: params.cursor,
            limit: params.limit,
            direction: params.sort_direction,
            turn: params.turn_id,
        };
        let page = store.reader(&params.thread_id).and_then(|it| it.items(&query)).map_err(|it| refuse(&it))?;
        Ok(json!({ "data": page.items, "nextCursor": page.next_cursor, "backwardsCursor": page.backwards_cursor }))
    })
    .await
}

//! What changes a thread's history or what is known about it: requests become mail to the thread's owner.

use std::time::Duration;

use codex_protocol::{
    ThreadId,
    served::{
        ThreadBackgroundTerminalsTerminateParams, ThreadForkParams, ThreadGoalSetParams,
        ThreadInjectItemsParams, ThreadMetadataUpdateParams, ThreadRevertParams, ThreadSettingsUpdateParams,
        ThreadShellCommandParams,
    },
    v2::ThreadIdParams,
};
use codex_threads::{Durability, ForkPoint, Record, StoreError, ThreadLog, ThreadStore};
use serde_json::Value;

use super::thread::{NO_ROLLOUT, acts, check, header, originator, store};
use crate::{
    notice::unix_millis,
    refusal::Refusal,
    responder::Responder,
    router::{Call, Router, Stability::*},
    scope::Scope,
    server::Server,
    threads::{View, refuse, refuse_missing},
};

pub(super) fn routes(router: &mut Router) {
    router.hand_over(
        "thread/fork",
        Stable,
        |p: &ThreadForkParams| Scope::thread(&p.thread_id.0),
        fork,
    );
    acts(
        router,
        "thread/compact/start",
        Stable,
        named,
        |it, _, responder| {
            it.compact(responder);
        },
    );
    acts(
        router,
        "thread/inject_items",
        Stable,
        |p: &ThreadInjectItemsParams| &p.thread_id,
        |it, p, responder| it.inject(p.items, responder),
    );
    acts(
        router,
        "thread/revert",
        Stable,
        |p: &ThreadRevertParams| &p.thread_id,
        |it, p, responder| it.revert(&p.before_turn_id, responder),
    );
    acts(
        router,
        "thread/shellCommand",
        Stable,
        |p: &ThreadShellCommandParams| &p.thread_id,
        |it, p, responder| it.shell(&p.command, p.timeout_ms.map(Duration::from_millis), responder),
    );
    acts(
        router,
        "thread/metadata/update",
        Stable,
        |p: &ThreadMetadataUpdateParams| &p.thread_id,
        |it, p, responder| it.update_metadata(p.git_info.as_ref(), responder),
    );
    acts(
        router,
        "thread/settings/update",
        Experimental,
        |p: &ThreadSettingsUpdateParams| &p.thread_id,
        |it, p, responder| {
            responder.conclude(it.change_settings(&p.overrides).map(|()| serde_json::json!({})));
        },
    );
    goals(router);
    terminals(router);
}

fn goals(router: &mut Router) {
    acts(
        router,
        "thread/goal/set",
        Stable,
        |p: &ThreadGoalSetParams| &p.thread_id,
        |it, p, responder| it.set_goal(p, responder),
    );
    acts(router, "thread/goal/get", Stable, named, |it, _, responder| {
        it.get_goal(responder);
    });
    acts(router, "thread/goal/clear", Stable, named, |it, _, responder| {
        it.clear_goal(responder);
    });
}

fn terminals(router: &mut Router) {
    acts(
        router,
        "thread/backgroundTerminals/list",
        Experimental,
        named,
        |it, _, responder| it.terminals(responder),
    );
    acts(
        router,
        "thread/backgroundTerminals/clean",
        Experimental,
        named,
        |it, _, responder| it.terminate_all(responder),
    );
    acts(
        router,
        "thread/backgroundTerminals/terminate",
        Experimental,
        |p: &ThreadBackgroundTerminalsTerminateParams| &p.thread_id,
        |it, p, responder| it.terminate(&p.process_id, responder),
    );
}

/// The thread of a request that says nothing else.
fn named(params: &ThreadIdParams) -> &ThreadId {
    &params.thread_id
}

async fn fork(call: Call, params: ThreadForkParams, responder: Responder) {
    let forked = async {
        check(&call, &params.start)?;
        let (server, originator) = (call.server.clone(), originator(&call));
        let store = store(&call).await?;
        super::blocking(move || copy(&server, &store, params, originator)).await
    };
    match forked.await {
        Ok((log, turns)) => {
            let threads = call.server.threads();
            threads
                .adopt(&call.server, log, &turns, call.connection.clone(), responder)
                .await;
        }
        Err(refusal) => responder.refuse(refusal),
    }
}

/// Makes the new thread: its log, and the turns that the client wants to see. Blocking.
fn copy(
    server: &Server,
    store: &ThreadStore,
    params: ThreadForkParams,
    originator: Option<String>,
) -> Result<(ThreadLog, Vec<Value>), Refusal> {
    let point = match (params.last_turn_id, params.before_turn_id) {
        (Some(last), None) => ForkPoint::Through(last),
        (None, Some(before)) => ForkPoint::Before(before),
        (None, None) => ForkPoint::End,
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid(
                "`lastTurnId` cannot be combined with `beforeTurnId`",
            ));
        }
    };
    let missing = |it: &StoreError| refuse_missing(it, NO_ROLLOUT);
    let source = store.reader(&params.thread_id).map_err(|it| missing(&it))?;
    let name = source.state().name.clone();
    let mut header = header(server, params.start, originator, Some(&source.state().settings))?;
    for (key, value) in &source.header().extra {
        header.extra.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let forked = store.fork(&params.thread_id, &point, header, unix_millis());
    let mut log = forked.map_err(|it| missing(&it))?;
    if name.is_some() {
        let named = log.append(unix_millis(), Record::NameSet { name }, Durability::Synced);
        named.map_err(|it| refuse(&it))?;
    }
    let turns = match params.exclude_turns {
        Some(true) => Vec::new(),
        _ => {
            let reader = log.reader().map_err(|it| refuse(&it))?;
            View::at_rest(reader).last_turns().map_err(|it| refuse(&it))?
        }
    };
    Ok((log, turns))
}

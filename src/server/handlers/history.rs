//! What changes a thread's history or what is known about it: requests become mail to the thread's owner.

use std::time::Duration;

use codex_protocol::{ThreadId, TurnId, v2::ThreadIdParams};
use codex_threads::{Durability, ForkPoint, Record, StoreError};
use serde::Deserialize;
use serde_json::Value;

use super::thread::{NO_ROLLOUT, Start, header, send, store};
use crate::{
    notice::unix_millis,
    refusal::Refusal,
    responder::Responder,
    router::{Call, Router, Stability::*},
    scope::Scope,
    threads::{Act, GoalSet, Overrides, Owner, View, refuse, refuse_missing},
};

pub(super) fn routes(router: &mut Router) {
    let thread = |p: &ThreadIdParams| Scope::thread(&p.thread_id.0);
    router.hand_over(
        "thread/fork",
        Stable,
        |p: &Fork| Scope::thread(&p.thread_id.0),
        fork,
    );
    router.hand_over(
        "thread/compact/start",
        Stable,
        thread,
        |call, p: ThreadIdParams, responder| send(call, p.thread_id, Act::does(Owner::compact), responder),
    );
    router.hand_over(
        "thread/inject_items",
        Stable,
        |p: &Inject| Scope::thread(&p.thread_id.0),
        |call, p: Inject, responder| {
            send(
                call,
                p.thread_id,
                Act::does(|it, responder| it.inject(p.items, responder)),
                responder,
            )
        },
    );
    router.hand_over(
        "thread/revert",
        Stable,
        |p: &Revert| Scope::thread(&p.thread_id.0),
        |call, p: Revert, responder| {
            let act = Act::does(move |it, responder| it.revert(&p.before_turn_id, responder));
            send(call, p.thread_id, act, responder)
        },
    );
    router.hand_over(
        "thread/shellCommand",
        Stable,
        |p: &Shell| Scope::thread(&p.thread_id.0),
        |call, p: Shell, responder| {
            let time_out = p.timeout_ms.map(Duration::from_millis);
            let act = Act::does(move |it, responder| it.shell(&p.command, time_out, responder));
            send(call, p.thread_id, act, responder)
        },
    );
    router.hand_over(
        "thread/metadata/update",
        Stable,
        |p: &Update| Scope::thread(&p.thread_id.0),
        |call, p: Update, responder| {
            let act = Act::does(move |it, responder| it.update_metadata(p.git_info.as_ref(), responder));
            send(call, p.thread_id, act, responder)
        },
    );
    router.hand_over(
        "thread/settings/update",
        Experimental,
        |p: &Settings| Scope::thread(&p.thread_id.0),
        |call, p: Settings, responder| {
            let act = Act::does(move |it, responder| {
                responder.conclude(it.change_settings(&p.overrides).map(|()| serde_json::json!({})));
            });
            send(call, p.thread_id, act, responder)
        },
    );
    goals(router);
    terminals(router);
}

fn goals(router: &mut Router) {
    let thread = |p: &ThreadIdParams| Scope::thread(&p.thread_id.0);
    router.hand_over(
        "thread/goal/set",
        Stable,
        |p: &Goal| Scope::thread(&p.thread_id.0),
        |call, p: Goal, responder| {
            send(
                call,
                p.thread_id,
                Act::does(|it, responder| it.set_goal(p.set, responder)),
                responder,
            )
        },
    );
    router.hand_over(
        "thread/goal/get",
        Stable,
        thread,
        |call, p: ThreadIdParams, responder| {
            send(
                call,
                p.thread_id,
                Act::does(|it, responder| it.get_goal(responder)),
                responder,
            )
        },
    );
    router.hand_over(
        "thread/goal/clear",
        Stable,
        thread,
        |call, p: ThreadIdParams, responder| send(call, p.thread_id, Act::does(Owner::clear_goal), responder),
    );
}

fn terminals(router: &mut Router) {
    let thread = |p: &ThreadIdParams| Scope::thread(&p.thread_id.0);
    router.hand_over(
        "thread/backgroundTerminals/list",
        Experimental,
        thread,
        |call, p: ThreadIdParams, responder| {
            send(
                call,
                p.thread_id,
                Act::does(|it, responder| it.terminals(responder)),
                responder,
            )
        },
    );
    router.hand_over(
        "thread/backgroundTerminals/clean",
        Experimental,
        thread,
        |call, p: ThreadIdParams, responder| {
            send(
                call,
                p.thread_id,
                Act::does(|it, responder| it.terminate_all(responder)),
                responder,
            )
        },
    );
    router.hand_over(
        "thread/backgroundTerminals/terminate",
        Experimental,
        |p: &Terminate| Scope::thread(&p.thread_id.0),
        |call, p: Terminate, responder| {
            let act = Act::does(move |it, responder| it.terminate(&p.process_id, responder));
            send(call, p.thread_id, act, responder)
        },
    );
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inject {
    thread_id: ThreadId,
    items: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Revert {
    thread_id: ThreadId,
    before_turn_id: TurnId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shell {
    thread_id: ThreadId,
    command: String,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    thread_id: ThreadId,
    git_info: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    thread_id: ThreadId,
    #[serde(flatten)]
    overrides: Overrides,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Goal {
    thread_id: ThreadId,
    #[serde(flatten)]
    set: GoalSet,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminate {
    thread_id: ThreadId,
    process_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fork {
    thread_id: ThreadId,
    exclude_turns: Option<bool>,
    last_turn_id: Option<TurnId>,
    before_turn_id: Option<TurnId>,
    #[serde(flatten)]
    start: Start,
}

async fn fork(call: Call, params: Fork, responder: Responder) {
    let forked = async {
        let mut header = header(&call, &params.start).await?;
        let store = store(&call).await?;
        let config = call.server.config();
        let cwd = call.server.setup().cwd.clone();
        super::blocking(move || {
            let missing = |it: &StoreError| refuse_missing(it, NO_ROLLOUT);
            let source = store.reader(&params.thread_id).map_err(|it| missing(&it))?;
            let name = source.state().name.clone();
            let settings = &source.state().settings;
            header.settings = params.start.overrides.apply(settings, &config, &cwd)?;
            for (key, value) in &source.header().extra {
                header.extra.entry(key.clone()).or_insert_with(|| value.clone());
            }
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
        })
        .await
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

//! Threads: requests become mail to the thread's owner; what only looks sees the thread at one moment.

use std::sync::Arc;

use codex_protocol::{
    ThreadId,
    served::{ThreadItemsListParams, ThreadResumeParams, ThreadStartParams},
    v2::{
        AskForApproval, Idle, SandboxPolicy, ThreadIdParams, ThreadNameSetParams, ThreadReadParams,
        ThreadStatus, ThreadTurnsListParams,
    },
};
use codex_threads::{Header, ItemsQuery, Metadata, Settings, ThreadStore, TurnsQuery};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    config::Config,
    notice::{Notice, unix_millis},
    refusal::Refusal,
    responder::Responder,
    router::{
        Call, Router,
        Stability::{self, *},
    },
    scope::Scope,
    server::Server,
    threads::{
        Act, BASE_INSTRUCTIONS, DEVELOPER_INSTRUCTIONS, DYNAMIC_TOOLS, Look, Mail, Owner, View,
        apply_overrides, git_info, known_provider, new_id, on_the_wire, read_dynamic_tools, refuse,
    },
};

pub(super) fn routes(router: &mut Router) {
    router.hand_over(
        "thread/start",
        Stable,
        |_: &ThreadStartParams| Scope::free(),
        start,
    );
    router.hand_over(
        "thread/resume",
        Stable,
        |p: &ThreadResumeParams| Scope::thread(&p.thread_id.0),
        |call, p: ThreadResumeParams, responder| {
            let with_turns = !p.exclude_turns.unwrap_or(false);
            let act = Act::Do(Box::new(move |it, connection, responder| {
                it.resume(with_turns, &p.overrides, connection, responder);
            }));
            send_about(call, p.thread_id, act, NO_ROLLOUT, responder)
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
        |call, p: ThreadIdParams, responder| {
            send_about(call, p.thread_id, Act::Archive, NO_ROLLOUT, responder)
        },
    );
    router.hand_over(
        "thread/delete",
        Stable,
        scope,
        |call, p: ThreadIdParams, responder| {
            send_about(call, p.thread_id, Act::Delete, NO_ROLLOUT, responder)
        },
    );
    router.hand_over(
        "thread/unsubscribe",
        Stable,
        scope,
        |call, p: ThreadIdParams, responder| send(call, p.thread_id, Act::Unsubscribe, responder),
    );
    router.hand_over("thread/unarchive", Stable, scope, unarchive);
    router.hand_over(
        "thread/read",
        Stable,
        |p: &ThreadReadParams| Scope::thread_shared(&p.thread_id.0),
        read,
    );
    router.hand_over(
        "thread/turns/list",
        Stable,
        |p: &ThreadTurnsListParams| Scope::thread_shared(&p.thread_id.0),
        turns,
    );
    router.hand_over(
        "thread/items/list",
        Stable,
        |p: &ThreadItemsListParams| Scope::thread_shared(&p.thread_id.0),
        items,
    );
}

/// How requests to a thread say that there is none.
const NO_THREAD: &str = "thread not found: ";
/// How those say it that find a thread on disk.
pub(super) const NO_ROLLOUT: &str = "no rollout found for thread id ";
/// How requests that look at a thread say it.
const NOT_LOADED: &str = "thread not loaded: ";

pub(super) async fn send(call: Call, id: ThreadId, act: Act, responder: Responder) {
    let missing = match act {
        Act::Look(_) => NOT_LOADED,
        _ => NO_THREAD,
    };
    send_about(call, id, act, missing, responder).await;
}

/// Adds a method that the owner of the thread in its parameters does and answers, in the thread's order.
pub(super) fn acts<P: DeserializeOwned + Send + 'static>(
    router: &mut Router,
    method: &'static str,
    stability: Stability,
    thread: fn(&P) -> &ThreadId,
    act: fn(&mut Owner, P, Responder),
) {
    router.hand_over(
        method,
        stability,
        move |p: &P| Scope::thread(&thread(p).0),
        move |call, p: P, responder| {
            let id = thread(&p).clone();
            send(
                call,
                id,
                Act::does(move |owner, responder| act(owner, p, responder)),
                responder,
            )
        },
    );
}

/// Sends mail to a thread's owner.
pub(super) async fn send_about(
    call: Call,
    id: ThreadId,
    act: Act,
    missing: &'static str,
    responder: Responder,
) {
    let mail = Mail {
        act,
        missing,
        connection: call.connection.clone(),
        responder,
    };
    call.server.threads().send(&call.server, &id, mail).await;
}

async fn start(call: Call, params: ThreadStartParams, responder: Responder) {
    let header = async {
        check(&call, &params)?;
        let (server, originator) = (call.server.clone(), originator(&call));
        super::blocking(move || header(&server, params, originator, None)).await
    };
    match header.await {
        Ok(header) => {
            let (id, sandbox) = (header.id.clone(), header.settings.sandbox.clone());
            let threads = call.server.threads();
            threads
                .start(&call.server, header, call.connection.clone(), responder)
                .await;
            warn_of_sandbox(&call, &id, &sandbox).await;
        }
        Err(refusal) => responder.refuse(refusal),
    }
}

/// Says that commands cannot be confined as this thread wants: they would be refused one by one later.
async fn warn_of_sandbox(call: &Call, thread: &ThreadId, policy: &SandboxPolicy) {
    if !matches!(
        policy,
        SandboxPolicy::ReadOnly(_) | SandboxPolicy::WorkspaceWrite(_)
    ) {
        return;
    }
    let preflight = call.server.runner().preflight().await;
    if preflight.chosen().is_some() {
        return;
    }
    let (reasons, fix) = preflight.complaints();
    let message = format!(
        "the model's commands cannot be confined on this host and will be refused: {reasons}. To mend it: {fix}"
    );
    let params = json!({ "threadId": thread, "message": message });
    call.connection.tell(&Notice::new("warning", &params));
}

/// What is refused wherever a thread begins.
pub(super) fn check(call: &Call, params: &ThreadStartParams) -> Result<(), Refusal> {
    if params.dynamic_tools.as_ref().is_some_and(|it| !it.is_null()) {
        call.require_experimental("thread/start.dynamicTools")?;
    }
    Ok(())
}

/// The client that asks, by its name.
pub(super) fn originator(call: &Call) -> Option<String> {
    call.connection.session().map(|it| it.client_name.clone())
}

/// What a new thread begins with: the settings of its source, else those of the configuration, with what the client
/// wants otherwise. Blocking.
pub(super) fn header(
    server: &Server,
    params: ThreadStartParams,
    originator: Option<String>,
    source: Option<&Settings>,
) -> Result<Header, Refusal> {
    let (setup, config) = (server.setup(), server.config());
    let settings = match source {
        Some(settings) => settings.clone(),
        None => configured(server, &config),
    };
    let settings = apply_overrides(&params.overrides, &settings, &config, &setup.cwd)?;
    if source.is_none() && setup.model.is_none() {
        known_provider(&settings.model_provider, &config)?;
    }
    let mut extra = Map::new();
    if let Some(tools) = params.dynamic_tools.filter(|it| !it.is_null()) {
        extra.insert(DYNAMIC_TOOLS.to_owned(), json!(read_dynamic_tools(&tools)?));
    }
    for (key, text) in [
        (BASE_INSTRUCTIONS, params.base_instructions),
        (DEVELOPER_INSTRUCTIONS, params.developer_instructions),
    ] {
        extra.extend(text.map(|it| (key.to_owned(), Value::String(it))));
    }
    Ok(Header {
        id: ThreadId(new_id()?),
        created_at: unix_millis() / 1000,
        cli_version: setup.version.clone(),
        // What the official server says of every thread that a client starts; its clients look for it.
        source: "vscode".to_owned(),
        originator,
        thread_source: params.thread_source,
        parent_thread_id: None,
        forked_from_id: None,
        metadata: Metadata {
            git_info: git_info(std::path::Path::new(&settings.cwd)),
            extra: Map::new(),
        },
        settings,
        extra,
        ephemeral: params.ephemeral == Some(true),
    })
}

/// The settings of a thread for which nobody wants others.
fn configured(server: &Server, config: &Config) -> Settings {
    let policy = config.approval_policy.clone();
    Settings {
        cwd: server.setup().cwd.display().to_string(),
        model: config.model().to_owned(),
        model_provider: config.provider_id().to_owned(),
        sandbox: config.sandbox.policy(None),
        approval_policy: policy.unwrap_or_else(AskForApproval::on_request),
        reasoning_effort: config.model_reasoning_effort.clone(),
        extra: Map::new(),
    }
}

async fn name(call: Call, params: ThreadNameSetParams, responder: Responder) {
    let name = params.name.trim().to_owned();
    if name.is_empty() {
        return responder.refuse(Refusal::invalid("thread name must not be empty"));
    }
    let act = Act::does(move |it, responder| it.name(name, responder));
    send_about(call, params.thread_id, act, NO_ROLLOUT, responder).await;
}

pub(super) async fn store(call: &Call) -> Result<Arc<ThreadStore>, Refusal> {
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
                .reader(&id)
                .ok()
                .filter(|it| it.state().archived)
                .ok_or_else(|| Refusal::invalid(format!("no archived rollout found for thread id {id}")))?;
            store
                .set_archived(&id, false, unix_millis())
                .map_err(|it| refuse(&it))
        })
        .await
    };
    match changed.await {
        Ok(summary) => {
            let status = ThreadStatus::NotLoaded(Idle {});
            responder.answer(&json!({ "thread": on_the_wire(&summary, &status, &[]) }));
            let notice = Notice::new("thread/unarchived", &json!({ "threadId": params.thread_id }));
            call.server.broadcast(&notice);
        }
        Err(refusal) => responder.refuse(refusal),
    }
}

/// Looks at a thread, in order with what goes on in it.
pub(super) async fn look(
    call: Call,
    id: ThreadId,
    responder: Responder,
    look: impl FnOnce(View<'_>) -> Result<Value, Refusal> + Send + 'static,
) {
    let look: Look = Box::new(look);
    send(call, id, Act::Look(look), responder).await;
}

async fn read(call: Call, params: ThreadReadParams, responder: Responder) {
    let with_turns = params.include_turns == Some(true);
    look(call, params.thread_id, responder, move |thread| {
        let turns = match with_turns {
            true => thread.last_turns().map_err(|it| refuse(&it))?,
            false => Vec::new(),
        };
        Ok(json!({ "thread": on_the_wire(&thread.reader.summary(), &thread.status, &turns) }))
    })
    .await;
}

async fn turns(call: Call, params: ThreadTurnsListParams, responder: Responder) {
    look(call, params.thread_id, responder, move |thread| {
        let query = TurnsQuery {
            cursor: params.cursor,
            limit: params.limit,
            direction: params.sort_direction,
            view: params.items_view,
        };
        Ok(json!(thread.turns(&query).map_err(|it| refuse(&it))?))
    })
    .await;
}

async fn items(call: Call, params: ThreadItemsListParams, responder: Responder) {
    look(call, params.thread_id, responder, move |thread| {
        let query = ItemsQuery {
            cursor: params.cursor,
            limit: params.limit,
            direction: params.sort_direction,
            turn: params.turn_id,
        };
        Ok(json!(thread.items(&query).map_err(|it| refuse(&it))?))
    })
    .await;
}

//! The method table: from a name to the handler that answers.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use codex_protocol::Params;
use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    connection::{Connection, Turn},
    handlers,
    refusal::Refusal,
    responder::Responder,
    scope::Scope,
    server::Server,
};

/// What a handler is given besides the parameters.
pub struct Call {
    pub server: Server,
    pub connection: Connection,
    turn: Arc<Mutex<Option<Turn>>>,
}

impl Call {
    /// Lets the requests go on that wait for this one: what they may rely on is done.
    pub fn release(&self) {
        release(&self.turn);
    }

    /// Refuses a field that may still change to a peer which has not asked for such; `field` is for
    /// instance `thread/start.dynamicTools`.
    pub fn require_experimental(&self, field: &str) -> Result<(), Refusal> {
        match self.connection.is_experimental() {
            true => Ok(()),
            false => Err(Refusal::invalid(format!(
                "{field} requires experimentalApi capability"
            ))),
        }
    }
}

/// Whether a method may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stability {
    Stable,
    /// Only for peers with the capability `experimentalApi`.
    Experimental,
}

/// A request that is ready to be run.
pub(crate) type Job = BoxFuture<'static, ()>;

type Prepare = dyn Fn(Server, Connection, Option<&Params>, Responder) -> Option<Job> + Send + Sync;

struct Route {
    stability: Stability,
    prepare: Box<Prepare>,
}

/// All methods.
#[derive(Default)]
pub(crate) struct Router(BTreeMap<&'static str, Route>);

impl Router {
    pub(crate) fn with_all_methods() -> Router {
        let mut router = Router::default();
        handlers::routes(&mut router);
        router
    }

    /// Adds a method whose handler answers by returning.
    pub(crate) fn answer<P, A, F>(
        &mut self,
        method: &'static str,
        stability: Stability,
        scope: impl Fn(&P) -> Scope + Send + Sync + 'static,
        handler: impl Fn(Call, P) -> F + Clone + Send + Sync + 'static,
    ) where
        P: DeserializeOwned + Send + 'static,
        A: Serialize + Send + 'static,
        F: Future<Output = Result<A, Refusal>> + Send + 'static,
    {
        self.hand_over(method, stability, scope, move |call, params: P, responder| {
            let answer = handler(call, params);
            async move { responder.conclude(answer.await) }
        });
    }

    /// Adds a method whose handler passes the duty to answer on.
    pub(crate) fn hand_over<P, F>(
        &mut self,
        method: &'static str,
        stability: Stability,
        scope: impl Fn(&P) -> Scope + Send + Sync + 'static,
        handler: impl Fn(Call, P, Responder) -> F + Clone + Send + Sync + 'static,
    ) where
        P: DeserializeOwned + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let prepare = move |server, connection: Connection, params: Option<&Params>, responder: Responder| {
            let params = match read::<P>(params) {
                Ok(params) => params,
                Err(refusal) => {
                    responder.refuse(refusal);
                    return None;
                }
            };
            let mut turn = connection.enter(scope(&params));
            let handler = handler.clone();
            let job: Job = Box::pin(async move {
                turn.come().await;
                // Held here too: a handler may be done with the call long before it is done.
                let turn = Arc::new(Mutex::new(Some(turn)));
                let call = Call {
                    server,
                    connection,
                    turn: Arc::clone(&turn),
                };
                handler(call, params, responder).await;
                release(&turn);
            });
            Some(job)
        };
        let route = Route {
            stability,
            prepare: Box::new(prepare),
        };
        let before = self.0.insert(method, route);
        debug_assert!(before.is_none(), "{method} is in the table twice");
    }

    /// Puts a request into its line; the job runs it when its turn has come. `None`: it is refused already.
    pub(crate) fn dispatch(
        &self,
        server: &Server,
        connection: &Connection,
        method: &str,
        params: Option<&Params>,
        responder: Responder,
    ) -> Option<Job> {
        let Some(route) = self.0.get(method) else {
            responder.refuse(Refusal::method_not_found(method));
            return None;
        };
        if route.stability == Stability::Experimental && !connection.is_experimental() {
            responder.refuse(Refusal::invalid(format!(
                "{method} requires experimentalApi capability"
            )));
            return None;
        }
        (route.prepare)(server.clone(), connection.clone(), params, responder)
    }
}

/// Reads parameters; missing or null ones are `{}`.
pub(crate) fn read<P: DeserializeOwned>(params: Option<&Params>) -> Result<P, Refusal> {
    let text = params.map_or("{}", |it| it.get());
    let text = if text == "null" { "{}" } else { text };
    serde_json::from_str(text).map_err(Refusal::from)
}

fn release(turn: &Mutex<Option<Turn>>) {
    let turn = turn.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Outside of the lock: others start.
    drop(turn);
}

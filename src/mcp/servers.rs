//! The owner of all servers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::config::ServerConfig;
use crate::error::Error;
use crate::limits::TOOLS_MAX;
use crate::live::Live;
use crate::outcome::CallOutcome;
use crate::server::{Server, Setup, State};
use crate::status::{Detail, Status};
use crate::tools::Tool;

/// All servers of one configuration, running. Dropping it kills their programs, with all that they started;
/// [`Servers::close`] lets them end by themselves.
pub struct Servers {
    setup: Arc<Setup>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    servers: BTreeMap<String, Arc<Server>>,
    /// One task per server, until it is ended and its program is gone.
    tasks: JoinSet<()>,
}

impl Servers {
    /// Starts all servers, side by side and in the background. Call it inside a tokio runtime.
    pub fn start(setup: Setup, configs: BTreeMap<String, ServerConfig>) -> Servers {
        let servers = Servers {
            setup: Arc::new(setup),
            inner: Mutex::default(),
        };
        servers.reload(configs);
        servers
    }

    /// Takes another configuration: ends the servers that are gone or changed, starts those that are new, changed
    /// or have failed, and leaves the others alone. Calls of servers that end fail. Call it inside a tokio runtime.
    pub fn reload(&self, mut configs: BTreeMap<String, ServerConfig>) {
        let ended: Vec<_> = {
            let mut inner = self.lock();
            let is_other = |name: &String, server: &mut Arc<Server>| {
                let is_same = configs.get(name).is_some_and(|it| *it == server.config);
                !is_same || matches!(server.state(), State::Failed { .. })
            };
            let ended = inner
                .servers
                .extract_if(.., is_other)
                .map(|(_, server)| server)
                .collect();
            configs.retain(|name, _| !inner.servers.contains_key(name));
            while inner.tasks.try_join_next().is_some() {}
            ended
        };
        // Not under the lock: it tells the owner, who may look at the servers.
        ended.iter().for_each(|it| it.stop());
        let mut overtaken = Vec::new();
        let mut inner = self.lock();
        for (name, config) in configs {
            let server = Arc::new(Server::new(&name, config, Arc::clone(&self.setup)));
            overtaken.extend(inner.servers.insert(name, Arc::clone(&server)));
            inner.tasks.spawn(server.run());
        }
        drop(inner);
        // Of another reload at the same time.
        overtaken.iter().for_each(|it| it.stop());
    }

    /// Ends all servers: closes their connections, lets programs end, kills those that do not. Returns when they are
    /// gone, which takes a few seconds at most.
    pub async fn close(&self) {
        let Inner { servers, mut tasks } = std::mem::take(&mut *self.lock());
        servers.values().for_each(|it| it.stop());
        while tasks.join_next().await.is_some() {}
    }

    /// Returns the tools of all servers that are ready, in a fixed order, after waiting at most `wait` for those that
    /// are starting. Servers that have failed are started again for the next time.
    pub async fn tools(&self, wait: Duration) -> Vec<Arc<Tool>> {
        let servers = self.servers();
        let deadline = Instant::now() + wait;
        servers.iter().for_each(|it| it.want());
        let mut tools = Vec::new();
        let mut names = BTreeSet::new();
        for server in servers {
            let state = timeout_at(deadline, server.settled()).await;
            let state = state.unwrap_or_else(|_| server.state());
            if let State::Ready(live) = state {
                let new = live
                    .catalog
                    .tools
                    .iter()
                    .filter(|it| names.insert(it.qualified_name.clone()));
                tools.extend(new.cloned());
            }
        }
        tools.truncate(TOOLS_MAX);
        tools
    }

    /// Returns the tool that the model means, also if its server has ended since it was offered.
    pub fn find(&self, qualified_name: &str) -> Option<Arc<Tool>> {
        let known = self.servers().into_iter().flat_map(|it| it.known_tools());
        known.into_iter().find(|it| it.qualified_name == qualified_name)
    }

    /// Calls a tool. A server that has ended is an error at once, and is started again for the next time; one that
    /// starts is waited for.
    pub async fn call(&self, call: Call, cancel: &CancellationToken) -> CallOutcome {
        match self.server(&call.server) {
            Ok(server) => server.call(call, cancel).await,
            Err(error) => CallOutcome {
                result: Err(error),
                duration: Duration::ZERO,
            },
        }
    }

    /// Returns how the servers are, or only the one with this name, by name, after waiting at most `wait` for those
    /// that are starting and for what is asked of them.
    pub async fn status(&self, only: Option<&str>, detail: Detail, wait: Duration) -> Vec<Status> {
        let servers = self
            .servers()
            .into_iter()
            .filter(|it| only.is_none_or(|name| it.name == name));
        let asking = servers.map(|server| async move {
            let asked = async {
                server.settled().await;
                server.status(detail).await
            };
            match timeout(wait, asked).await {
                Ok(status) => status,
                Err(_) => server.status(Detail::ToolsAndAuthOnly).await,
            }
        });
        join_all(asking).await
    }

    /// Returns the servers that must not be missing and do, with the reason, once that is known.
    pub async fn missing(&self) -> Vec<(String, String)> {
        let required = self
            .servers()
            .into_iter()
            .filter(|it| it.config.required && it.config.enabled);
        let asking = required.map(|server| async move {
            match server.settled().await {
                State::Failed { failure, .. } => Some((server.name.clone(), failure.message)),
                _ => None,
            }
        });
        join_all(asking).await.into_iter().flatten().collect()
    }

    /// `resources/list` of a server.
    pub async fn resources(&self, server: &str) -> Result<Vec<Value>, Error> {
        self.ask(server, async |live| live.resources().await).await
    }

    /// `resources/templates/list` of a server.
    pub async fn resource_templates(&self, server: &str) -> Result<Vec<Value>, Error> {
        self.ask(server, async |live| live.resource_templates().await)
            .await
    }

    /// `resources/read` of a server: the contents as the protocol has them.
    pub async fn read_resource(&self, server: &str, uri: &str) -> Result<Vec<Value>, Error> {
        self.ask(server, async |live| live.read_resource(uri).await).await
    }

    async fn ask<T>(
        &self,
        server: &str,
        asking: impl AsyncFnOnce(Arc<Live>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let server = self.server(server)?;
        server.within(async { asking(server.live().await?).await }).await
    }

    fn server(&self, name: &str) -> Result<Arc<Server>, Error> {
        let server = self.lock().servers.get(name).cloned();
        server.ok_or_else(|| Error::UnknownServer {
            server: name.to_owned(),
        })
    }

    fn servers(&self) -> Vec<Arc<Server>> {
        self.lock().servers.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever serves several clients asks from tasks.
    #[test]
    fn everything_can_be_asked_from_a_task() {
        fn is_send<T: Send>(_: impl FnOnce(&'static Servers) -> T) {}
        is_send(|it| it.tools(Duration::ZERO));
        is_send(|it| it.status(None, Detail::Full, Duration::ZERO));
        is_send(|it| it.missing());
        is_send(|it| it.resources(""));
        is_send(|it| it.resource_templates(""));
        is_send(|it| it.read_resource("", ""));
        is_send(|it| it.close());
        is_send(async |it: &'static Servers| {
            let call = Call {
                server: String::new(),
                tool: String::new(),
                arguments: Value::Null,
                progress: None,
                elicit: None,
            };
            it.call(call, &CancellationToken::new()).await
        });
    }
}

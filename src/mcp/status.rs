//! How servers are: what `mcpServerStatus/list` tells.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::{Http, Transport};
use crate::error::Error;
use crate::server::{Server, State};

/// How much is asked of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Full,
    /// Without resources: no server is asked anything.
    ToolsAndAuthOnly,
}

/// A server, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub name: String,
    pub connection: ConnectionStatus,
    /// Why it does not run.
    pub error: Option<String>,
    pub auth: AuthStatus,
    /// Scheme, host and port of an HTTP server.
    pub http_origin: Option<String>,
    /// The protocol's `serverInfo`, as the server gives it; absent until it has started.
    pub server_info: Option<Value>,
    pub capabilities: Option<Value>,
    /// Definitions as the server gives them, by its own names; those that are offered.
    pub tools: BTreeMap<String, Value>,
    /// Why tools are missing.
    pub tools_error: Option<String>,
    pub resources: Vec<Value>,
    pub resource_templates: Vec<Value>,
}

/// Where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionStatus {
    Starting,
    Connected,
    AuthenticationRequired,
    Failed,
    Cancelled,
    Disabled,
}

impl ConnectionStatus {
    /// The protocol's word.
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionStatus::Starting => "starting",
            ConnectionStatus::Connected => "connected",
            ConnectionStatus::AuthenticationRequired => "authenticationRequired",
            ConnectionStatus::Failed => "failed",
            ConnectionStatus::Cancelled => "cancelled",
            ConnectionStatus::Disabled => "disabled",
        }
    }
}

/// How we show a server who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStatus {
    /// Not known before it has answered.
    Unknown,
    /// There is nothing to show: a program, or a server that wants nothing.
    Unsupported,
    /// It wants a credential and there is none.
    NotLoggedIn,
    /// With a token or a header of the configuration.
    BearerToken,
}

impl AuthStatus {
    /// The protocol's word.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthStatus::Unknown => "unknown",
            AuthStatus::Unsupported => "unsupported",
            AuthStatus::NotLoggedIn => "notLoggedIn",
            AuthStatus::BearerToken => "bearerToken",
        }
    }
}

impl Server {
    /// How the server is; resources are read if `detail` wants them.
    pub(crate) async fn status(&self, detail: Detail) -> Status {
        let state = self.state();
        let (connection, error) = match &state {
            State::Disabled => (ConnectionStatus::Disabled, None),
            State::Starting => (ConnectionStatus::Starting, None),
            State::Ready(_) => (ConnectionStatus::Connected, None),
            State::Stopped => (ConnectionStatus::Cancelled, None),
            State::Failed { failure, .. } if failure.needs_login => (
                ConnectionStatus::AuthenticationRequired,
                Some(failure.message.clone()),
            ),
            State::Failed { failure, .. } => (ConnectionStatus::Failed, Some(failure.message.clone())),
        };
        let mut status = Status {
            name: self.name.clone(),
            connection,
            tools_error: error.clone(),
            error,
            auth: self.auth(&state),
            http_origin: match &self.config.transport {
                Transport::Http(http) => crate::http::origin(http),
                Transport::Stdio(_) => None,
            },
            server_info: None,
            capabilities: None,
            tools: BTreeMap::new(),
            resources: Vec::new(),
            resource_templates: Vec::new(),
        };
        let State::Ready(live) = state else {
            return status;
        };
        if let Some(info) = &live.info {
            let name = info.server_info.as_ref();
            status.server_info = name.and_then(|it| serde_json::to_value(it).ok());
            status.capabilities = serde_json::to_value(&info.capabilities).ok();
        }
        let tools = live.catalog.tools.iter();
        status.tools = tools.map(|it| (it.name.clone(), it.definition.clone())).collect();
        status.tools_error.clone_from(&live.catalog.left_out);
        if detail == Detail::Full {
            // A server that has none, or does not say, is shown without them.
            status.resources = self.within(live.resources()).await.unwrap_or_default();
            status.resource_templates = self.within(live.resource_templates()).await.unwrap_or_default();
        }
        status
    }

    /// Gives a question of ours to the server the time of a call.
    pub(crate) async fn within<T>(&self, asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let after = self.config.tool_timeout;
        let timed_out = |_| Error::TimedOut {
            server: self.name.clone(),
            after,
        };
        tokio::time::timeout(after, asking).await.map_err(timed_out)?
    }

    fn auth(&self, state: &State) -> AuthStatus {
        let has_credential = |http: &Http| crate::http::has_credential(http);
        match (&self.config.transport, state) {
            (Transport::Stdio(_), _) => AuthStatus::Unsupported,
            (Transport::Http(http), _) if has_credential(http) => AuthStatus::BearerToken,
            (_, State::Ready(_)) => AuthStatus::Unsupported,
            (_, State::Failed { failure, .. }) if failure.needs_login => AuthStatus::NotLoggedIn,
            _ => AuthStatus::Unknown,
        }
    }
}

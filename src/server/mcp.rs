//! The MCP servers of the configuration, shared by all threads; they run from the first thread on.

use std::sync::OnceLock;

use codex_mcp::{Environment, Event, Servers, Setup, read_servers};
use serde_json::json;

use crate::{notice::Notice, server::Server};

/// Starts servers when they are first needed.
#[derive(Default)]
pub(crate) struct Mcp(OnceLock<Servers>);

impl Mcp {
    /// The servers; `None` where none is configured and none was. Blocking, and short; inside a runtime.
    pub(crate) fn servers(&self, server: &Server) -> Option<&Servers> {
        if self.0.get().is_none() && server.config().mcp_servers.is_empty() {
            return None;
        }
        Some(self.0.get_or_init(|| start(server)))
    }

    /// Takes the configuration as it is now. Blocking, and short; inside a runtime.
    pub(crate) fn reload(&self, server: &Server) {
        if let Some(servers) = self.servers(server) {
            servers.reload(configured(server));
        }
    }

    /// Lets programs end by themselves, within bounds.
    pub(crate) async fn close(&self) {
        if let Some(servers) = self.0.get() {
            servers.close().await;
        }
    }
}

fn start(server: &Server) -> Servers {
    let setup = server.setup();
    let variables = setup.environment.iter();
    let environment: Environment = variables
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let watching = server.downgrade();
    let setup = Setup {
        environment,
        cwd: setup.cwd.clone(),
        // Every call brings the thread whose user is asked.
        elicit: None,
        on_event: std::sync::Arc::new(move |event| {
            if let Some(server) = watching.upgrade() {
                tell(&server, event);
            }
        }),
    };
    Servers::start(setup, configured(server))
}

fn configured(server: &Server) -> std::collections::BTreeMap<String, codex_mcp::ServerConfig> {
    let (servers, problems) = read_servers(&server.config().mcp_servers);
    for problem in problems {
        let params = json!({ "summary": problem.to_string(), "details": "this MCP server is left out" });
        server.broadcast(&Notice::new("configWarning", &params));
    }
    servers
}

fn tell(server: &Server, event: Event) {
    let Event::Startup {
        server: name,
        status,
        error,
        needs_login,
    } = event
    else {
        return;
    };
    let failure = needs_login.then_some("reauthenticationRequired");
    let params = json!({ "name": name, "status": status.as_str(), "error": error, "failureReason": failure });
    server.broadcast(&Notice::new("mcpServer/startupStatus/updated", &params));
}

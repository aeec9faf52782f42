//! A connection to a server: how it is made, and what is read over it.

use std::sync::Arc;

use rmcp::model::{
    PaginatedRequestParams, ReadResourceRequestParams, Resource, ResourceTemplate, ServerPeerInfo,
};
use rmcp::service::{ClientInitializeError, Peer, RoleClient, RunningService, ServiceError};
use rmcp::transport::async_rw::AsyncRwTransport;
use serde::Serialize;
use serde_json::Value;

use crate::child::Child;
use crate::config::{ServerConfig, Transport};
use crate::desk::{Desk, Handler};
use crate::error::{Error, Failure, explain, explain_transport};
use crate::limits::{
    MESSAGE_BYTES, PAGES_MAX, RESOURCE_BYTES_MAX, RESOURCE_ENTRY_BYTES_MAX, RESOURCES_MAX,
    TOOLS_PER_SERVER_MAX,
};
use crate::secret::Secret;
use crate::server::{LOST, Setup};
use crate::tools::Catalog;

/// What the SDK runs for one connection.
pub(crate) type Service = RunningService<RoleClient, Handler>;

/// A server that answers.
pub(crate) struct Live {
    pub(crate) server: String,
    pub(crate) peer: Peer<RoleClient>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) info: Option<Arc<ServerPeerInfo>>,
    pub(crate) catalog: Catalog,
    /// What must not be repeated to people.
    pub(crate) secrets: Arc<[Secret]>,
}

/// Connects to a server and shakes hands. The program, if there is one, is put into `child` at once: whoever gives up
/// waiting has to end it.
pub(crate) async fn connect(
    setup: &Setup,
    config: &ServerConfig,
    desk: Arc<Desk>,
    child: &mut Option<Child>,
) -> Result<Service, Failure> {
    let failure = |message: String| Failure {
        message,
        needs_login: false,
    };
    let handler = Handler(desk);
    match &config.transport {
        Transport::Stdio(stdio) => {
            let (spawned, stdout, stdin) =
                Child::spawn(stdio, &setup.environment, &setup.cwd).map_err(|it| failure(it.to_string()))?;
            *child = Some(spawned);
            let transport = AsyncRwTransport::new_client(stdout, stdin).with_max_line_length(MESSAGE_BYTES);
            rmcp::serve_client(handler, transport)
                .await
                .map_err(|it| not_initialized(&it, &[]))
        }
        Transport::Http(http) => {
            let transport =
                crate::http::transport(http, &setup.environment).map_err(|it| failure(explain(&it, &[])))?;
            let secrets = crate::http::secrets(http, &setup.environment);
            rmcp::serve_client(handler, transport)
                .await
                .map_err(|it| not_initialized(&it, &secrets))
        }
    }
}

fn not_initialized(error: &ClientInitializeError, secrets: &[Secret]) -> Failure {
    let failure = match error {
        ClientInitializeError::TransportError { error, .. } => explain_transport(error, secrets),
        other => Failure {
            message: explain(other, secrets),
            needs_login: false,
        },
    };
    Failure {
        message: format!("initializing: {}", failure.message),
        ..failure
    }
}

/// Reads a list page by page, until it ends or there is enough.
async fn pages<T, F>(
    enough: usize,
    mut page: impl FnMut(Option<PaginatedRequestParams>) -> F,
) -> Result<Vec<T>, ServiceError>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), ServiceError>>,
{
    let mut items = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let params = cursor.map(|it| PaginatedRequestParams::default().with_cursor(Some(it)));
        let (found, next) = page(params).await?;
        items.extend(found);
        cursor = next;
        if cursor.is_none() || items.len() > enough {
            break;
        }
    }
    Ok(items)
}

/// Entries as JSON; what is too many or too large is left out.
fn entries<T: Serialize>(items: Vec<T>) -> Vec<Value> {
    let values = items.into_iter().filter_map(|it| serde_json::to_value(it).ok());
    let small = values.filter(|it| it.to_string().len() <= RESOURCE_ENTRY_BYTES_MAX);
    small.take(RESOURCES_MAX).collect()
}

impl Live {
    /// Takes a new connection into use: reads which tools there are.
    pub(crate) async fn open(
        setup: &Setup,
        server: &str,
        config: &ServerConfig,
        service: &Service,
        desk: Arc<Desk>,
    ) -> Result<Live, Failure> {
        let secrets = match &config.transport {
            Transport::Http(http) => crate::http::secrets(http, &setup.environment),
            Transport::Stdio(_) => Vec::new(),
        };
        let mut live = Live {
            server: server.to_owned(),
            peer: service.peer().clone(),
            desk,
            info: service.peer().peer_info(),
            catalog: Catalog::default(),
            secrets: secrets.into(),
        };
        live.catalog = live.read_catalog(config).await.map_err(|error| {
            let (why, needs_login) = live.explain(&error);
            Failure {
                message: format!("listing its tools: {why}"),
                needs_login,
            }
        })?;
        Ok(live)
    }

    /// The same connection with another list of tools.
    pub(crate) fn with_catalog(&self, catalog: Catalog) -> Live {
        Live {
            server: self.server.clone(),
            peer: self.peer.clone(),
            desk: Arc::clone(&self.desk),
            info: self.info.clone(),
            catalog,
            secrets: Arc::clone(&self.secrets),
        }
    }

    pub(crate) async fn read_catalog(&self, config: &ServerConfig) -> Result<Catalog, ServiceError> {
        if self
            .info
            .as_ref()
            .is_some_and(|it| it.capabilities.tools.is_none())
        {
            return Ok(Catalog::default());
        }
        let page = async |params| {
            let page = self.peer.list_tools(params).await?;
            Ok((page.tools, page.next_cursor))
        };
        // Some of them may be disabled: more are read than offered.
        let tools = pages(TOOLS_PER_SERVER_MAX * 4, page).await?;
        Ok(Catalog::new(&self.server, config, tools))
    }

    fn has_resources(&self) -> bool {
        self.info
            .as_ref()
            .is_none_or(|it| it.capabilities.resources.is_some())
    }

    /// `resources/list`; nothing if the server has none.
    pub(crate) async fn resources(&self) -> Result<Vec<Value>, Error> {
        if !self.has_resources() {
            return Ok(Vec::new());
        }
        let page = async |params| {
            let page = self.peer.list_resources(params).await?;
            Ok((page.resources, page.next_cursor))
        };
        let found: Vec<Resource> = pages(RESOURCES_MAX, page).await.map_err(|it| self.error(&it))?;
        Ok(entries(found))
    }

    /// `resources/templates/list`; nothing if the server has none.
    pub(crate) async fn resource_templates(&self) -> Result<Vec<Value>, Error> {
        if !self.has_resources() {
            return Ok(Vec::new());
        }
        let page = async |params| {
            let page = self.peer.list_resource_templates(params).await?;
            Ok((page.resource_templates, page.next_cursor))
        };
        let found: Vec<ResourceTemplate> = pages(RESOURCES_MAX, page).await.map_err(|it| self.error(&it))?;
        Ok(entries(found))
    }

    /// `resources/read`.
    pub(crate) async fn read_resource(&self, uri: &str) -> Result<Vec<Value>, Error> {
        let result = self.peer.read_resource(ReadResourceRequestParams::new(uri)).await;
        let contents = result.map_err(|it| self.error(&it))?.contents;
        let contents: Vec<Value> = contents
            .into_iter()
            .filter_map(|it| serde_json::to_value(it).ok())
            .collect();
        let bytes = contents.iter().map(|it| it.to_string().len()).sum();
        if bytes > RESOURCE_BYTES_MAX {
            return Err(Error::TooLarge {
                server: self.server.clone(),
                bytes,
                max: RESOURCE_BYTES_MAX,
            });
        }
        Ok(contents)
    }

    pub(crate) fn error(&self, error: &ServiceError) -> Error {
        let server = self.server.clone();
        match error {
            ServiceError::McpError(refusal) => Error::Refused {
                server,
                code: refusal.code.0,
                message: explain(&Message(refusal.message.to_string()), &self.secrets),
            },
            ServiceError::Cancelled { .. } => Error::Cancelled { server },
            ServiceError::TransportClosed => Error::NotRunning {
                server,
                why: LOST.to_owned(),
            },
            other => Error::Transport {
                server,
                why: self.explain(other).0,
            },
        }
    }

    /// Says what went wrong, and whether the server wants a credential.
    fn explain(&self, error: &ServiceError) -> (String, bool) {
        match error {
            ServiceError::TransportSend(error) => {
                let failure = explain_transport(error, &self.secrets);
                (failure.message, failure.needs_login)
            }
            other => (explain(other, &self.secrets), false),
        }
    }
}

/// A text of a server, as an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Message(String);

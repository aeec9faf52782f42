//! What can go wrong between an agent and its servers.

use std::error::Error as StdError;
use std::time::Duration;

use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

use crate::desk::cut;
use crate::limits::REASON_BYTES_MAX;
use crate::secret::{Secret, redact};

/// Why a server was not asked, or did not answer. The text holds no secret of the configuration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("finding the MCP server `{server}`: it is not configured")]
    UnknownServer { server: String },
    #[error("using the MCP server `{server}`: it is disabled")]
    Disabled { server: String },
    #[error("calling `{tool}` of the MCP server `{server}`: the configuration does not allow it")]
    NotAllowed { server: String, tool: String },
    #[error("calling `{tool}` of the MCP server `{server}`: the arguments are not a JSON object")]
    Arguments { server: String, tool: String },
    #[error("asking the MCP server `{server}`: it is not running: {why}")]
    NotRunning { server: String, why: String },
    #[error("asking the MCP server `{server}`: it has not started yet")]
    Starting { server: String },
    #[error("asking the MCP server `{server}`: no answer for {} s", .after.as_secs_f64())]
    TimedOut { server: String, after: Duration },
    #[error("asking the MCP server `{server}`: cancelled")]
    Cancelled { server: String },
    /// It answered with an error of the protocol: a tool or resource that it does not know, wrong arguments.
    #[error("asking the MCP server `{server}`: it refuses: {message} ({code})")]
    Refused {
        server: String,
        code: i32,
        message: String,
    },
    #[error("asking the MCP server `{server}`: {why}")]
    Transport { server: String, why: String },
    #[error("asking the MCP server `{server}`: its answer has {bytes} bytes, at most {max} are taken")]
    TooLarge {
        server: String,
        bytes: usize,
        max: usize,
    },
}

impl Error {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::UnknownServer { server } => Some(format!("add `[mcp_servers.{server}]` to config.toml")),
            Error::Disabled { server } => Some(format!(
                "set `enabled = true` in `[mcp_servers.{server}]` of config.toml"
            )),
            Error::NotAllowed { server, .. } => Some(format!(
                "see `enabled_tools` and `disabled_tools` in `[mcp_servers.{server}]` of config.toml"
            )),
            Error::TimedOut { server, .. } => Some(format!(
                "set `tool_timeout_sec` in `[mcp_servers.{server}]` of config.toml"
            )),
            Error::NotRunning { .. } => Some(
                "it is started again when it is next used; after several failures, when the configuration is reloaded"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Why a server does not run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// It wants a credential, or another one.
    pub(crate) needs_login: bool,
}

/// Returns an error with what caused it, in one line, cut and without secrets.
pub(crate) fn explain(error: &(dyn StdError + 'static), secrets: &[Secret]) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Many errors repeat their cause.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    let text = redact(&text, secrets.iter().map(Secret::expose));
    cut(text, REASON_BYTES_MAX)
}

type HttpError = StreamableHttpError<reqwest::Error>;

/// Says what went wrong on the way to a server, without the layers in between, and whether it wants a credential.
pub(crate) fn explain_transport(error: &DynamicTransportError, secrets: &[Secret]) -> Failure {
    let inner = error.error.as_ref();
    let http = inner.downcast_ref::<HttpError>();
    let root: &(dyn StdError + 'static) = match http {
        Some(StreamableHttpError::Client(root)) => root,
        _ => inner,
    };
    let needs_login = match http {
        Some(HttpError::AuthRequired(_) | HttpError::InsufficientScope(_)) => true,
        // Without a challenge the SDK tells the status in words alone.
        Some(HttpError::UnexpectedServerResponse(said)) => {
            ["HTTP 401", "HTTP 403"].iter().any(|it| said.starts_with(it))
        }
        _ => false,
    };
    let message = explain(root, secrets);
    Failure {
        // The address has been taken out of these words.
        message: message.replace(" for url ([hidden])", ""),
        needs_login,
    }
}

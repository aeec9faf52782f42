//! The gate in front of every connection. Pure.

use codex_protocol::{
    REFERENCE_VERSION,
    v2::{InitializeCapabilities, InitializeParams, InitializeResponse, OWN_VERSION},
};

use crate::{refusal::Refusal, server::Setup};

/// Who the peer is and what it wants, as said in `initialize`.
#[derive(Clone, Debug)]
pub struct Session {
    pub client_name: String,
    pub client_version: String,
    /// Whether methods and fields that may still change are allowed.
    pub experimental: bool,
    opted_out: Vec<String>,
}

impl Session {
    pub(crate) fn new(params: InitializeParams) -> Result<Session, Refusal> {
        let InitializeParams {
            client_info,
            capabilities,
        } = params;
        for (field, value) in [("name", &client_info.name), ("version", &client_info.version)] {
            if !is_header_value(value) {
                return Err(Refusal::invalid(format!(
                    "Invalid clientInfo.{field}: it must be 1 to {HEADER_BYTES_MAX} bytes that an HTTP header may hold"
                )));
            }
        }
        let InitializeCapabilities {
            experimental_api,
            opt_out_notification_methods,
            ..
        } = capabilities.unwrap_or_default();
        Ok(Session {
            client_name: client_info.name,
            client_version: client_info.version,
            experimental: experimental_api,
            opted_out: opt_out_notification_methods,
        })
    }

    /// Whether this notification shall be sent.
    pub(crate) fn wants(&self, method: &str) -> bool {
        !self.opted_out.iter().any(|it| it == method)
    }

    /// The answer to `initialize`. The user agent names this client and no other, and first the version of the
    /// protocol: the official interface warns of servers that are older than itself.
    pub(crate) fn response(&self, setup: &Setup) -> InitializeResponse {
        let (name, version) = (&self.client_name, &self.client_version);
        let system = format!("{}; {}", std::env::consts::OS, std::env::consts::ARCH);
        InitializeResponse {
            user_agent: format!(
                "{name}/{REFERENCE_VERSION} ({system}){OWN_VERSION}{} ({name}; {version})",
                setup.version
            ),
            codex_home: setup.codex_home.display().to_string(),
            platform_family: std::env::consts::FAMILY.to_owned(),
            platform_os: std::env::consts::OS.to_owned(),
        }
    }
}

/// Enough for every name that means something.
const HEADER_BYTES_MAX: usize = 256;

/// The name is sent to the model's API in a header (RFC 9110, section 5.5: visible characters, spaces and
/// tabs; here ASCII only).
fn is_header_value(text: &str) -> bool {
    let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    !text.trim().is_empty() && text.len() <= HEADER_BYTES_MAX && text.bytes().all(is_visible)
}

//! The handshake.

use serde::{Deserialize, Serialize};

use super::null_as_default;

/// Who is calling. The name becomes part of an HTTP header on the server's side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub version: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct InitializeCapabilities {
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"), ts(as = "Option<bool>", optional = nullable))]
    pub experimental_api: bool,
    /// Exact names of notifications that the server shall not send.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<String>>"), ts(as = "Option<Vec<String>>", optional = nullable))]
    pub opt_out_notification_methods: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams {
    pub client_info: ClientInfo,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<InitializeCapabilities>,
}

/// The server's version is only inside `userAgent`: there is no negotiation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct InitializeResponse {
    pub user_agent: String,
    #[serde(default)]
    pub codex_home: String,
    #[serde(default)]
    pub platform_family: String,
    #[serde(default)]
    pub platform_os: String,
}

/// What stands in the user agent of our own server before its version.
pub const OWN_VERSION: &str = " codex-server/";

impl InitializeResponse {
    /// The server's own version: what follows [`OWN_VERSION`], else the first `/` of the user agent, up to a space.
    pub fn server_version(&self) -> Option<&str> {
        let own = self.user_agent.split_once(OWN_VERSION);
        own.or_else(|| self.user_agent.split_once('/'))?
            .1
            .split(' ')
            .next()
            .filter(|it| !it.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_user_agent() {
        let version = |user_agent: &str| {
            let response = InitializeResponse {
                user_agent: user_agent.to_owned(),
                codex_home: String::new(),
                platform_family: String::new(),
                platform_os: String::new(),
            };
            response.server_version().map(str::to_owned)
        };
        assert_eq!(
            version("codex-connect/0.169.0 (Debian 12.0.0; x86_64) xterm"),
            Some("0.169.0".to_owned())
        );
        assert_eq!(
            version("codex-connect/0.169.0 (linux; x86_64) codex-server/0.1.0 (codex-connect; 2)"),
            Some("0.1.0".to_owned())
        );
        assert_eq!(version("odd"), None);
    }
}

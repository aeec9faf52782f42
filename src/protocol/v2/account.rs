//! Who is logged in on the host.

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountReadParams {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountReadResponse {
    /// `None`: nobody is logged in.
    #[serde(default)]
    pub account: Option<Value>,
    /// Whether the configured model provider needs a login at all.
    #[serde(default)]
    pub requires_openai_auth: bool,
}

//! Tools that a client brings along: offered to the model with a thread, run by the client.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::{ThreadId, TurnId},
    macros::tagged_union,
};

/// A function that the client runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct DynamicToolFunction {
    /// Letters, digits, `_` and `-`, as the Responses API wants it.
    pub name: String,
    /// For the model.
    pub description: String,
    /// A JSON Schema of the arguments.
    pub input_schema: Value,
    /// The model need not know it before it looks for it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<bool>"))]
    pub defer_loading: bool,
}

/// Functions under one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct DynamicToolNamespace {
    pub name: String,
    /// For the model.
    pub description: String,
    pub tools: Vec<DynamicToolNamespaceTool>,
}

tagged_union!(
    /// A tool of a client.
    DynamicToolSpec {
        Function(DynamicToolFunction) = "function",
        Namespace(DynamicToolNamespace) = "namespace",
    }
);

tagged_union!(
    /// A tool in a namespace.
    DynamicToolNamespaceTool {
        Function(DynamicToolFunction) = "function",
    }
);

/// Asks a client to run its tool (`item/tool/call`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields = nullable))]
#[serde(rename_all = "camelCase")]
pub struct DynamicToolCallParams {
    pub thread_id: ThreadId,
    pub turn_id: TurnId,
    /// The id of the item too.
    pub call_id: String,
    #[serde(default)]
    pub namespace: Option<String>,
    pub tool: String,
    pub arguments: Value,
}

/// What came out of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct DynamicToolCallResponse {
    /// For the model, also where the call failed.
    pub content_items: Vec<DynamicToolCallOutputContentItem>,
    pub success: bool,
}

/// Text of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DynamicToolText {
    pub text: String,
}

/// An image of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct DynamicToolImage {
    /// A `data:` URL, or where the model's provider finds it.
    pub image_url: String,
}

/// A sound of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct DynamicToolAudio {
    pub audio_url: String,
}

tagged_union!(
    /// A part of what a tool gives the model.
    DynamicToolCallOutputContentItem {
        Text(DynamicToolText) = "inputText",
        Image(DynamicToolImage) = "inputImage",
        Audio(DynamicToolAudio) = "inputAudio",
    }
);

impl DynamicToolCallOutputContentItem {
    /// These words.
    pub fn text(text: impl Into<String>) -> DynamicToolCallOutputContentItem {
        DynamicToolCallOutputContentItem::Text(DynamicToolText { text: text.into() })
    }
}

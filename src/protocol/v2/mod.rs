//! The parameters, answers and shared types of the methods, one file per resource.

mod account;
mod approval;
mod catalog;
mod command;
mod config;
mod dynamic;
mod fs;
mod initialize;
mod item;
mod model;
mod thread;
mod turn;

pub use account::*;
pub use approval::*;
pub use catalog::*;
pub use command::*;
pub use config::*;
pub use dynamic::*;
pub use fs::*;
pub use initialize::*;
pub use item::*;
pub use model::*;
pub use thread::*;
pub use turn::*;

use serde::{Deserialize, Deserializer, Serialize};

/// An answer or a parameter object without fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Empty {}

/// Reads `null` as the type's default: the official TUI spells out every field that it leaves open.
pub(crate) fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list that is never longer than one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The only page.
    pub fn whole(data: Vec<T>) -> Page<T> {
        Page {
            data,
            next_cursor: None,
        }
    }
}

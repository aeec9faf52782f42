//! Descriptions of [`crate::served`] for other languages: JSON Schema and TypeScript.
//!
//! Only types are described here, never values, and nothing is written: a bundle is a table of files. Types that
//! read more than they name (open enums, unions with an unknown variant) are described by what they name.

mod json;
mod typescript;

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;
use ts_rs::{Config, TS, TypeVisitor};

use crate::served::{CALLS, Call, Stability};
pub use json::json_schema;
pub use typescript::typescript;

/// Files by their path inside the folder of the bundle, with `/` between its parts.
pub type Files = BTreeMap<String, String>;

/// A type that can be described without an instance of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    json: fn(SchemaSettings) -> Value,
    typescript: fn(&mut typescript::Types) -> typescript::Body,
}

impl Shape {
    pub(crate) const fn of<T: JsonSchema + TS + 'static>() -> Shape {
        Shape {
            json: json::root::<T>,
            typescript: typescript::body::<T>,
        }
    }
}

/// Describes a union with the tag `type` for TypeScript. The derive would intersect with types without fields,
/// and nothing has both a tag and no field.
macro_rules! tagged {
    ($known:ident { $($body:ty = $tag:literal,)+ }) => {
        impl ts_rs::TS for $known {
            type WithoutGenerics = Self;
            type OptionInnerType = Self;

            fn name(_: &ts_rs::Config) -> String {
                stringify!($known).to_owned()
            }

            fn inline(config: &ts_rs::Config) -> String {
                [$($crate::schema::branch::<$body>($tag, config)),+].join(" | ")
            }

            fn visit_dependencies(visitor: &mut impl ts_rs::TypeVisitor) {
                $($crate::schema::visit_branch::<$body>(visitor);)+
            }
        }
    };
}
pub(crate) use tagged;

/// How TypeScript says that there are no fields.
const NO_FIELDS: &str = "Record<symbol, never>";

pub(crate) fn branch<T: TS>(tag: &str, config: &Config) -> String {
    let tag = format!("{{ \"type\": \"{tag}\" }}");
    match T::inline(config) == NO_FIELDS {
        true => tag,
        false => format!("{tag} & {}", T::name(config)),
    }
}

pub(crate) fn visit_branch<T: TS + 'static>(visitor: &mut impl TypeVisitor) {
    if T::inline(&Config::new()) != NO_FIELDS {
        visitor.visit::<T>();
    }
}

/// Comments without the marks of links to items, and lines without spaces at their end.
fn tidy(text: &str) -> String {
    let text = text.replace("[`", "`").replace("`]", "`");
    let mut tidy = String::with_capacity(text.len());
    for line in text.lines() {
        tidy.push_str(line.trim_end());
        tidy.push('\n');
    }
    tidy
}

/// What clients may ask, without what may still change unless that is wanted.
fn calls(experimental: bool) -> impl Iterator<Item = &'static Call> {
    let is_wanted = move |it: &&Call| experimental || it.stability == Stability::Stable;
    CALLS.iter().filter(is_wanted)
}

/// The folder of a type, with a `/` at its end; the official one.
fn folder(name: &str) -> &'static str {
    const TOP: [&str; 8] = [
        "ClientInfo",
        "ClientNotification",
        "ClientRequest",
        "InitializeCapabilities",
        "RequestId",
        "ServerNotification",
        "ServerNotificationEnvelope",
        "ServerRequest",
    ];
    match name {
        "JsonValue" => "serde_json/",
        _ if TOP.contains(&name) => "",
        _ if ["FuzzyFileSearch", "Initialize", "GetAuthStatus", "JSONRPC"]
            .iter()
            .any(|it| name.starts_with(it)) =>
        {
            ""
        }
        _ => "v2/",
    }
}

//! Shapes that recur on the wire, each said once: open string enums and unions with a tag.

/// An enum of wire strings that keeps a value which it does not know.
macro_rules! string_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A value of another version of the protocol.
            Other(String),
        }

        impl $name {
            /// The value's spelling on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $text,)+
                    $name::Other(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => $name::$variant,)+
                    _ => $name::Other(text),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer).map(Self::from)
            }
        }

        #[cfg(feature = "schema")]
        const _: () = {
            #[derive(schemars::JsonSchema, ts_rs::TS)]
            #[expect(dead_code, reason = "only its shape is of interest")]
            $(#[$doc])*
            enum Known {
                $(#[schemars(rename = $text)] #[ts(rename = $text)] $variant,)+
                #[schemars(skip)]
                #[ts(skip)]
                Other,
            }
            $crate::macros::described_as!($name, Known);
        };
    };
}

/// A union tagged by `type`. A tag that is not in the list, or a body that does not fit, is kept as the
/// JSON that came.
macro_rules! tagged_union {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident($body:ty) = $tag:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $($(#[$vdoc])* $variant($body),)+
            /// Of another version of the protocol, kept whole.
            Unknown(serde_json::Value),
        }

        impl $name {
            /// The value of `type` on the wire.
            pub fn tag(&self) -> &str {
                match self {
                    $($name::$variant(_) => $tag,)+
                    $name::Unknown(value) => value.get("type").and_then(serde_json::Value::as_str).unwrap_or("unknown"),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::Error;
                let mut value = match self {
                    $($name::$variant(body) => serde_json::to_value(body).map_err(S::Error::custom)?,)+
                    $name::Unknown(value) => return value.serialize(serializer),
                };
                if let Some(object) = value.as_object_mut() {
                    object.insert("type".to_owned(), self.tag().into());
                }
                value.serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                let known = match value.get("type").and_then(serde_json::Value::as_str) {
                    $(Some($tag) => <$body as serde::Deserialize>::deserialize(&value).ok().map($name::$variant),)+
                    _ => None,
                };
                Ok(known.unwrap_or($name::Unknown(value)))
            }
        }

        #[cfg(feature = "schema")]
        const _: () = {
            #[derive(schemars::JsonSchema)]
            #[schemars(tag = "type")]
            #[expect(dead_code, reason = "only its shape is of interest")]
            $(#[$doc])*
            enum Known {
                $($(#[$vdoc])* #[schemars(rename = $tag)] $variant($body),)+
            }

            $crate::schema::tagged!(Known { $($body = $tag,)+ });
            $crate::macros::described_as!($name, Known);
        };
    };
}

/// Describes a type that reads more than it names by one that has only what it names.
#[cfg(feature = "schema")]
macro_rules! described_as {
    ($name:ident, $known:ty) => {
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn schema_id() -> std::borrow::Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($name)).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$known as schemars::JsonSchema>::json_schema(generator)
            }
        }

        impl ts_rs::TS for $name {
            type WithoutGenerics = Self;
            type OptionInnerType = Self;

            fn docs() -> Option<String> {
                let schema = schemars::schema_for!($known);
                let text = schema
                    .get("description")
                    .and_then(serde_json::Value::as_str)?;
                Some(format!("/**\n * {}\n */\n", text.replace('\n', "\n * ")))
            }

            fn name(_: &ts_rs::Config) -> String {
                stringify!($name).to_owned()
            }

            fn inline(config: &ts_rs::Config) -> String {
                <$known as ts_rs::TS>::inline(config)
            }

            fn inline_flattened(config: &ts_rs::Config) -> String {
                format!("({})", <$known as ts_rs::TS>::inline(config))
            }

            fn decl(config: &ts_rs::Config) -> String {
                format!(
                    "type {} = {};",
                    stringify!($name),
                    <$known as ts_rs::TS>::inline(config)
                )
            }

            fn decl_concrete(config: &ts_rs::Config) -> String {
                Self::decl(config)
            }

            fn visit_dependencies(visitor: &mut impl ts_rs::TypeVisitor) {
                <$known as ts_rs::TS>::visit_dependencies(visitor);
            }

            fn output_path() -> Option<std::path::PathBuf> {
                Some(concat!(stringify!($name), ".ts").into())
            }
        }
    };
}

#[cfg(feature = "schema")]
pub(crate) use described_as;
pub(crate) use {string_enum, tagged_union};

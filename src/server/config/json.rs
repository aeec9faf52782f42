//! TOML as JSON and back.

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, TableLike};

pub(super) fn from_table(table: &dyn TableLike) -> Value {
    let entries = table.iter().map(|(key, item)| (key.to_owned(), from_item(item)));
    Value::Object(entries.collect::<Map<_, _>>())
}

pub(super) fn from_item(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => from_value(value),
        Item::Table(table) => from_table(table),
        Item::ArrayOfTables(tables) => tables.iter().map(|it| from_table(it)).collect(),
    }
}

fn from_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(it) => Value::String(it.value().clone()),
        toml_edit::Value::Integer(it) => (*it.value()).into(),
        // JSON has neither infinity nor *not a number*.
        toml_edit::Value::Float(it) => (*it.value()).into(),
        toml_edit::Value::Boolean(it) => (*it.value()).into(),
        toml_edit::Value::Datetime(it) => Value::String(it.value().to_string()),
        toml_edit::Value::Array(it) => it.iter().map(from_value).collect(),
        toml_edit::Value::InlineTable(it) => from_table(it),
    }
}

/// `None` for what TOML cannot say: `null`, and integers beyond 64 bits.
pub(super) fn to_value(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(it) => (*it).into(),
        Value::Number(it) => match it.as_i64() {
            Some(it) => it.into(),
            None if it.is_f64() => it.as_f64()?.into(),
            None => return None,
        },
        Value::String(it) => it.into(),
        Value::Array(items) => items.iter().map(to_value).collect::<Option<Array>>()?.into(),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| Some((key, to_value(value)?)));
            entries.collect::<Option<InlineTable>>()?.into()
        }
    })
}

/// A document that says the same. What TOML cannot say is left out.
pub(super) fn to_document(value: &Value) -> DocumentMut {
    let mut document = DocumentMut::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        if let Some(value) = to_value(value) {
            // An inline table would have to stay on one line, and be found by the reader all the same.
            let item = Item::Value(value).into_table().map_or_else(|it| it, Item::Table);
            document.insert(key, item);
        }
    }
    document
}

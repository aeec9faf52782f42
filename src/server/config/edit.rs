//! Changes keys of a TOML document; comments, order and unknown keys stay.

use codex_protocol::v2::{ConfigEdit, MergeStrategy};
use serde_json::Value;
use toml_edit::{DocumentMut, Item, Key, Table, TableLike};

use super::json;

/// Deeper paths are a mistake.
const DEPTH_MAX: usize = 32;

#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    #[error("`{0}` is no key path")]
    Path(String),
    #[error("`{0}` is a value, so nothing can be set inside of it")]
    NotATable(String),
    #[error("`{0}` cannot be set to this value: TOML has no such thing")]
    Value(String),
}

/// Does one edit.
pub(super) fn apply(document: &mut DocumentMut, edit: &ConfigEdit) -> Result<(), EditError> {
    let path = || edit.key_path.clone();
    let keys = Key::parse(&edit.key_path).map_err(|_| EditError::Path(path()))?;
    if DEPTH_MAX < keys.len() {
        return Err(EditError::Path(path()));
    }
    let Some((last, parents)) = keys.split_last() else {
        return Err(EditError::Path(path()));
    };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for key in parents {
        if !table.contains_key(key.get()) {
            if edit.value.is_null() {
                return Ok(());
            }
            let mut inner = Table::new();
            // Without a head of its own unless something stands directly in it.
            inner.set_implicit(true);
            table.insert(key.get(), Item::Table(inner));
        }
        let inner = table.get_mut(key.get()).and_then(Item::as_table_like_mut);
        table = inner.ok_or_else(|| EditError::NotATable(key.get().to_owned()))?;
    }
    set(table, last.get(), &edit.value, edit.merge_strategy).ok_or_else(|| EditError::Value(path()))
}

/// `None`: TOML cannot say it.
fn set(table: &mut dyn TableLike, key: &str, value: &Value, strategy: MergeStrategy) -> Option<()> {
    if value.is_null() {
        table.remove(key);
        return Some(());
    }
    let existing = table.get_mut(key);
    if let (Value::Object(entries), MergeStrategy::Upsert) = (value, strategy)
        && let Some(inner) = existing.and_then(Item::as_table_like_mut)
    {
        return entries
            .iter()
            .try_for_each(|(key, value)| set(inner, key, value, strategy));
    }
    let mut item = match value {
        Value::Object(entries) => {
            let mut inner = Table::new();
            entries
                .iter()
                .try_for_each(|(key, value)| set(&mut inner, key, value, strategy))?;
            Item::Table(inner)
        }
        _ => Item::Value(json::to_value(value)?),
    };
    // A comment behind the value stays behind it.
    if let (Some(Item::Value(old)), Item::Value(new)) = (table.get(key), &mut item) {
        *new.decor_mut() = old.decor().clone();
    }
    match table.get_mut(key) {
        Some(existing) => *existing = item,
        None => {
            table.insert(key, item);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edited(text: &str, edits: &[(&str, Value, MergeStrategy)]) -> String {
        let mut document: DocumentMut = text.parse().unwrap();
        for (key_path, value, merge_strategy) in edits.iter().cloned() {
            apply(
                &mut document,
                &ConfigEdit {
                    key_path: key_path.to_owned(),
                    value,
                    merge_strategy,
                },
            )
            .unwrap();
        }
        document.to_string()
    }

    #[test]
    fn only_the_key_changes() {
        use MergeStrategy::{Replace, Upsert};
        let text = "# mine\nmodel = \"a\" # the old one\nmystery = [1, 2]\n\n[mcp_servers.docs] # kept\ncommand = \"x\"\n";
        let expected = "# mine\nmodel = \"b\" # the old one\nmystery = [1, 2]\n\n[mcp_servers.docs] # kept\ncommand = \"x\"\nargs = [\"-v\"]\n\n[sandbox]\nnetwork_access = true\n\n[projects.\"/w.x\"]\ntrust_level = \"trusted\"\n";
        let seen = edited(
            text,
            &[
                ("model", json!("b"), Replace),
                ("mcp_servers.docs", json!({ "args": ["-v"] }), Upsert),
                ("sandbox.network_access", json!(true), Replace),
                ("projects.\"/w.x\".trust_level", json!("trusted"), Replace),
                ("nothing.here", json!(null), Replace),
            ],
        );
        assert_eq!(seen, expected);
        assert_eq!(
            edited("a = 1\nb = 2\n", &[("a", json!(null), Replace)]),
            "b = 2\n"
        );
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let mut document: DocumentMut = "model = \"a\"\n".parse().unwrap();
        let mut refused = |key_path: &str, value: Value| {
            let edit = ConfigEdit {
                key_path: key_path.to_owned(),
                value,
                merge_strategy: MergeStrategy::Replace,
            };
            apply(&mut document, &edit).unwrap_err().to_string()
        };
        assert_eq!(
            refused("model.name", json!(1)),
            "`model` is a value, so nothing can be set inside of it"
        );
        assert_eq!(refused("a b", json!(1)), "`a b` is no key path");
        assert!(refused("a", json!([null])).contains("TOML has no such thing"));
    }
}

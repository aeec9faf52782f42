//! The list of differences that are meant, `tests/e2e/differences.toml`.

use toml_edit::{DocumentMut, Item};

/// A difference that is meant, wherever it shows.
#[derive(Debug)]
pub(super) struct Listed {
    /// The conversations in which it shows; `*` stands for any text.
    pub(super) conversations: Vec<String>,
    /// The place, as [`super::align::Difference::place`] says it; `*` stands for any text.
    pub(super) place: String,
    /// Why it is meant.
    pub(super) why: String,
    /// Whether it may also not show: the official one does now this, now that.
    pub(super) sometimes: bool,
}

/// Reads the list.
pub(super) fn read() -> Vec<Listed> {
    let file = codex_testkit::repository().join("tests/e2e/differences.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let document: DocumentMut = text.parse().unwrap();
    let entries = document["difference"].as_array_of_tables().unwrap();
    let entry = |table: &toml_edit::Table| {
        let text = |name: &str| {
            let value = table.get(name).and_then(Item::as_str);
            value
                .unwrap_or_else(|| panic!("no `{name}` in the list of differences:\n{table}"))
                .to_owned()
        };
        let conversations = table["conversations"].as_array().unwrap();
        let conversations = conversations.iter().map(|it| it.as_str().unwrap().to_owned());
        Listed {
            conversations: conversations.collect(),
            place: text("place"),
            why: text("why"),
            sometimes: table.get("sometimes").and_then(Item::as_bool).unwrap_or(false),
        }
    };
    entries.iter().map(entry).collect()
}

impl Listed {
    /// The pattern of conversations by which this difference is the listed one, if it is.
    pub(super) fn covers(&self, conversation: &str, place: &str) -> Option<usize> {
        if !fits(&self.place, place) {
            return None;
        }
        self.conversations.iter().position(|it| fits(it, conversation))
    }
}

/// Whether the text fits the pattern, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(tail) = text.strip_prefix(before) else {
        return false;
    };
    (0..=tail.len())
        .filter(|end| tail.is_char_boundary(*end))
        .any(|end| fits(rest, &tail[end..]))
}

#[test]
fn a_star_stands_for_any_text() {
    assert!(fits("item/*/status", "item/started/status") && fits("*", "") && fits("a*b*c", "a1b2c"));
    assert!(!fits("item/*/status", "item/started/text") && !fits("a", "ab") && !fits("a*b", "a"));
}

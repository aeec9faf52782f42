//! The names under which tools are offered to the model.

use sha2::{Digest, Sha256};

/// The longest name of a function that model providers accept, in bytes; they accept ASCII letters, digits, `_` and
/// `-` (Responses API, `tools[].name`).
pub const QUALIFIED_NAME_MAX: usize = 64;
/// Between the parts of a name.
const DELIMITER: &str = "__";
/// What every name begins with.
const PREFIX: &str = "mcp";
/// Hexadecimal digits of the hash that tells apart what would look the same.
const HASH_DIGITS: usize = 8;

/// Returns the name of a tool of a server for the model: `mcp__SERVER__TOOL`. Where that is not a name that can be
/// read back (it is too long, has other characters, or the server's name has a delimiter in it) it is made to fit
/// and ends with a hash of both names, so that two tools never have one name, whatever else is configured.
pub fn qualified_name(server: &str, tool: &str) -> String {
    let plain = [PREFIX, server, tool].join(DELIMITER);
    let is_clear = !server.contains(DELIMITER) && !server.ends_with('_') && !server.is_empty();
    if is_clear && plain.len() <= QUALIFIED_NAME_MAX && plain.bytes().all(is_accepted) && !tool.is_empty() {
        return plain;
    }
    let hash = Sha256::new()
        .chain_update(server)
        .chain_update([0])
        .chain_update(tool)
        .finalize();
    let hash: String = hash.iter().map(|it| format!("{it:02x}")).collect();
    let fitting = plain.chars().map(|c| {
        if c.is_ascii() && is_accepted(c as u8) {
            c
        } else {
            '_'
        }
    });
    let kept: String = fitting.take(QUALIFIED_NAME_MAX - HASH_DIGITS - 1).collect();
    format!("{kept}_{}", &hash[..HASH_DIGITS])
}

fn is_accepted(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plain_name_stays_as_it_is() {
        assert_eq!(qualified_name("docs", "search-all"), "mcp__docs__search-all");
        assert_eq!(qualified_name("docs", "_x"), "mcp__docs___x");
    }

    #[test]
    fn names_that_would_look_the_same_are_told_apart() {
        let same = [
            ("a", "b__c"),
            ("a__b", "c"),
            ("a", "_c"),
            ("a_", "c"),
            ("d", "x.y"),
            ("d", "x_y"),
            ("d", "x y"),
        ];
        let names: std::collections::BTreeSet<_> = same.iter().map(|(s, t)| qualified_name(s, t)).collect();
        assert_eq!(names.len(), same.len(), "{names:?}");
    }

    #[test]
    fn long_names_with_one_beginning_are_told_apart() {
        let long = "x".repeat(100);
        let one = qualified_name("docs", &format!("{long}1"));
        assert_ne!(one, qualified_name("docs", &format!("{long}2")));
        assert_eq!(one.len(), QUALIFIED_NAME_MAX);
    }

    proptest! {
        #[test]
        fn every_name_is_accepted(server in ".{0,80}", tool in ".{0,80}") {
            let name = qualified_name(&server, &tool);
            prop_assert!(name.len() <= QUALIFIED_NAME_MAX && name.bytes().all(is_accepted), "{name}");
            prop_assert!(name.starts_with("mcp__"));
        }
    }
}

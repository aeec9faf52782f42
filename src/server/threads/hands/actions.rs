//! What a command does, in the words that clients show: reading, listing, searching.

use std::path::Path;

use codex_exec::policy;
use serde_json::{Value, json};

/// The protocol's `commandActions` of a shell call: one for each command of a plain script, else one for the whole.
pub(super) fn of(argv: &[String], script: &str, cwd: &Path) -> Vec<Value> {
    let unknown = || vec![json!({ "type": "unknown", "command": script })];
    let Some(commands) = policy::plain_commands(argv) else {
        return unknown();
    };
    let actions: Vec<Value> = commands.iter().filter_map(|it| action(it, cwd)).collect();
    if actions.len() == commands.len() {
        actions
    } else {
        unknown()
    }
}

fn action(words: &[String], cwd: &Path) -> Option<Value> {
    let command = shlex::try_join(words.iter().map(String::as_str)).ok()?;
    let (program, rest) = words.split_first()?;
    let mut plain = rest.iter().filter(|it| !it.starts_with('-'));
    match program.as_str() {
        "cat" | "head" | "tail" | "nl" | "less" | "more" | "bat" => {
            // `head -n 5 file`: the number is an option's value.
            let path = plain.next_back()?;
            let name = Path::new(path).file_name()?.to_str()?;
            Some(json!({ "type": "read", "command": command, "name": name, "path": cwd.join(path) }))
        }
        "sed" if rest.first().is_some_and(|it| it == "-n") => {
            let path = rest.get(2)?;
            let name = Path::new(path).file_name()?.to_str()?;
            Some(json!({ "type": "read", "command": command, "name": name, "path": cwd.join(path) }))
        }
        "ls" | "tree" | "eza" => {
            Some(json!({ "type": "listFiles", "command": command, "path": plain.next() }))
        }
        "rg" if rest.iter().any(|it| it == "--files") => {
            Some(json!({ "type": "listFiles", "command": command, "path": plain.next() }))
        }
        "rg" | "grep" | "ag" | "ack" => {
            let query = plain.next();
            Some(json!({ "type": "search", "command": command, "query": query, "path": plain.next() }))
        }
        "find" | "fd" => {
            Some(json!({ "type": "search", "command": command, "query": null, "path": plain.next() }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(script: &str) -> Vec<Value> {
        let argv = ["bash", "-lc", script].map(str::to_owned);
        of(&argv, script, Path::new("/w"))
            .into_iter()
            .map(|it| it["type"].clone())
            .collect()
    }

    #[test]
    fn what_only_looks_is_told_by_what_it_looks_at() {
        assert_eq!(kinds("cat src/a.rs && ls"), ["read", "listFiles"]);
        assert_eq!(kinds("rg needle src | head -n 3 x"), ["search", "read"]);
        assert_eq!(kinds("cat a && make"), ["unknown"]);
        assert_eq!(kinds("cat $(ls)"), ["unknown"]);
        let argv = ["bash", "-lc", "sed -n 1,5p src/a.rs"].map(str::to_owned);
        let action = &of(&argv, "", Path::new("/w"))[0];
        assert_eq!(
            (&action["path"], &action["name"]),
            (&json!("/w/src/a.rs"), &json!("a.rs"))
        );
    }
}

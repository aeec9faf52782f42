//! Commands that the user has allowed for good, by their first words.

use std::{fs, io, path::Path};

use codex_agent::approval::Grant;

use crate::private;

/// The file in our own folder: a line of JSON for each rule, a list of words.
const FILE: &str = "allowed-commands.jsonl";
/// The rules that are read; a file of this many lines was not made by answering questions.
const RULES_MAX: usize = 10_000;

/// What was allowed. A line that is not understood allows nothing.
pub(super) fn load(own_folder: &Path) -> Vec<Grant> {
    let text = fs::read_to_string(own_folder.join(FILE)).unwrap_or_default();
    let rule = |line: &str| serde_json::from_str::<Vec<String>>(line).ok();
    let rules = text.lines().take(RULES_MAX).filter_map(rule);
    rules.map(|words| Grant::Prefix { words }).collect()
}

/// Adds a rule.
pub(super) fn add(own_folder: &Path, words: &[String]) -> io::Result<()> {
    let file = own_folder.join(FILE);
    let mut text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let line = serde_json::to_string(words)?;
    if text.lines().any(|it| it == line) {
        return Ok(());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&line);
    text.push('\n');
    private::replace(&file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_kept_once_and_a_broken_line_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).is_empty());
        let words = ["git", "push"].map(str::to_owned);
        add(folder.path(), &words).unwrap();
        add(folder.path(), &words).unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, format!("{}no json", fs::read_to_string(&file).unwrap())).unwrap();
        add(folder.path(), &["ls".to_owned()]).unwrap();
        let is = load(folder.path());
        let prefix = |words: &[String]| Grant::Prefix {
            words: words.to_vec(),
        };
        assert_eq!(is, [prefix(&words), prefix(&["ls".to_owned()])]);
    }
}

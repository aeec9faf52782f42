//! All changes of a turn as one diff.

use std::collections::BTreeMap;

use crate::ports::FileContent;
use crate::tools::patch::hunks;

/// The files that patches of this turn changed: how each was before the first one, and how it is.
#[derive(Default)]
pub(super) struct TurnDiff {
    files: BTreeMap<String, (Option<String>, Option<String>)>,
    told: String,
}

impl TurnDiff {
    /// Adds a patch. The diff of the turn, when it differs from the one before.
    pub(super) fn add(&mut self, files: Vec<FileContent>) -> Option<String> {
        for file in files {
            let entry = self.files.entry(file.path).or_insert((file.before, None));
            entry.1 = file.after;
        }
        let text: String = self
            .files
            .iter()
            .map(|(path, (before, after))| one(path, before.as_ref(), after.as_ref()))
            .collect();
        if text == self.told {
            return None;
        }
        self.told.clone_from(&text);
        Some(text)
    }
}

fn one(path: &str, before: Option<&String>, after: Option<&String>) -> String {
    if before == after {
        return String::new();
    }
    let side = |prefix: &str, content: Option<&String>| match content {
        Some(_) => format!("{prefix}/{}", path.trim_start_matches('/')),
        None => "/dev/null".to_owned(),
    };
    let mode = match (before, after) {
        (None, _) => "new file mode 100644\n",
        (_, None) => "deleted file mode 100644\n",
        _ => "",
    };
    let name = path.trim_start_matches('/');
    let text = |content: Option<&String>| content.map_or("", |it| it).to_owned();
    let (old, new) = (side("a", before), side("b", after));
    format!(
        "diff --git a/{name} b/{name}\n{mode}--- {old}\n+++ {new}\n{}",
        hunks(&text(before), &text(after))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_one_file_become_one_diff_and_vanish_when_undone() {
        let mut diff = TurnDiff::default();
        let mut patch = |before: Option<&str>, after: Option<&str>| {
            let text = |it: Option<&str>| it.map(str::to_owned);
            diff.add(vec![FileContent {
                path: "/w/f".into(),
                before: text(before),
                after: text(after),
            }])
        };
        let first = patch(None, Some("a\n")).unwrap();
        assert_eq!(
            first,
            "diff --git a/w/f b/w/f\nnew file mode 100644\n--- /dev/null\n+++ b/w/f\n@@ -0,0 +1 @@\n+a\n"
        );
        let second = patch(Some("a\n"), Some("a\nb\n")).unwrap();
        assert!(second.ends_with("@@ -0,0 +1,2 @@\n+a\n+b\n"), "{second}");
        assert_eq!(patch(Some("a\nb\n"), Some("a\nb\n")), None);
        assert_eq!(patch(Some("a\nb\n"), None), Some(String::new()));
    }
}

//! What the model is told for `review/start`.

/// What is reviewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReviewTarget {
    /// Staged, unstaged and untracked changes.
    UncommittedChanges,
    /// All changes since the current branch left this one.
    BaseBranch {
        branch: String,
    },
    Commit {
        sha: String,
        title: Option<String>,
    },
    /// As the user words it.
    Custom {
        instructions: String,
    },
}

/// How many characters of a commit's id people read.
const SHA_CHARS: usize = 7;

impl ReviewTarget {
    /// The subject in a few words, for `enteredReviewMode`.
    pub fn subject(&self) -> String {
        match self {
            ReviewTarget::UncommittedChanges => "current changes".to_owned(),
            ReviewTarget::BaseBranch { branch } => format!("changes against '{branch}'"),
            ReviewTarget::Commit { sha, title } => {
                let short: String = sha.chars().take(SHA_CHARS).collect();
                match title.as_deref().filter(|it| !it.is_empty()) {
                    Some(title) => format!("commit {short}: {title}"),
                    None => format!("commit {short}"),
                }
            }
            ReviewTarget::Custom { instructions } => instructions.trim().to_owned(),
        }
    }

    /// The message that begins the review. `merge_base` is the commit where the branches parted, where it is known.
    pub fn request(&self, merge_base: Option<&str>) -> String {
        match self {
            ReviewTarget::UncommittedChanges => {
                "Review everything in the working tree that is not committed: staged, unstaged and untracked files. \
                 Begin with `git status --porcelain` and `git diff HEAD`."
                    .to_owned()
            }
            ReviewTarget::BaseBranch { branch } => {
                let base = merge_base.map_or_else(
                    || format!("Find the commit where the branches parted with `git merge-base HEAD {}`, and then look at `git diff` from there.", quoted(branch)),
                    |base| format!("They parted at {base}: look at `git diff {base}`."),
                );
                format!("Review what the current branch would bring into the branch '{branch}'. {base}")
            }
            ReviewTarget::Commit { sha, title } => {
                let title = title.as_deref().filter(|it| !it.is_empty()).map_or_else(String::new, |it| format!(" (\"{it}\")"));
                format!("Review what the commit {sha}{title} changes. Look at it with `git show {}`.", quoted(sha))
            }
            ReviewTarget::Custom { instructions } => instructions.trim().to_owned(),
        }
    }
}

/// A word that a shell takes as one, whatever a branch is called.
fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-@{}^~".contains(it);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The system prompt of a review.
pub const INSTRUCTIONS: &str = "\
You review a change to a code base that somebody else made. You only look: do not edit files and do not run commands \
that change anything.

Report what the author would want to fix before the change is merged: wrong results, crashes, lost data, races, \
security holes, broken interfaces, missing handling of errors that can happen, tests that cannot fail. Leave out taste, \
formatting, and problems that were there before and that the change does not make worse. Read as much of the \
surrounding code as you need to be sure; a suspicion that you did not check is not a finding.

For each finding write one paragraph: a short title with a priority from P0 (everything stands still) to P3 (worth \
knowing), the file and the lines, in which situation it goes wrong and what then happens. Say nothing twice. End with \
one sentence on whether the change is correct as it is. When there is nothing to report, say so in one sentence.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_subject_and_a_request() {
        let branch = ReviewTarget::BaseBranch {
            branch: "main".into(),
        };
        assert_eq!(branch.subject(), "changes against 'main'");
        assert!(branch.request(None).contains("git merge-base HEAD main`"));
        assert!(branch.request(Some("abc123")).contains("`git diff abc123`"));
        let commit = ReviewTarget::Commit {
            sha: "0123456789".into(),
            title: Some("Fix".into()),
        };
        assert_eq!(commit.subject(), "commit 0123456: Fix");
        assert!(commit.request(None).contains("`git show 0123456789`"));
        assert!(
            ReviewTarget::UncommittedChanges
                .request(None)
                .contains("git diff HEAD")
        );
        assert_eq!(
            ReviewTarget::Custom {
                instructions: " look ".into()
            }
            .request(None),
            "look"
        );
    }

    #[test]
    fn the_name_of_a_branch_cannot_become_a_command() {
        let branch = ReviewTarget::BaseBranch {
            branch: "a;rm -rf ~'".into(),
        };
        assert!(
            branch.request(None).contains(r"HEAD 'a;rm -rf ~'\'''`"),
            "{}",
            branch.request(None)
        );
        assert_eq!(quoted("--output=x"), "'--output=x'");
    }
}

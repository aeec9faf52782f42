//! `fuzzyFileSearch`: files and directories whose path looks like what was typed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    path::Path,
};

use codex_protocol::v2::{FuzzyFileSearchParams, FuzzyFileSearchResponse, FuzzyFileSearchResult};
use ignore::WalkBuilder;
use nucleo_matcher::{
    Config, Matcher, Utf32Str,
    pattern::{CaseMatching, Normalization, Pattern},
};
use tokio_util::sync::CancellationToken;

use super::fs::absolute;
use crate::{
    refusal::Refusal,
    router::{Call, Router, Stability::*},
    scope::Scope,
};

/// Results of one search: more than a list on a screen shows.
const RESULTS_MAX: usize = 50;
/// Entries that one search looks at. A larger tree is searched in part.
const ENTRIES_MAX: usize = 1_000_000;
/// A query is typed.
const QUERY_BYTES_MAX: usize = 1_024;

pub(super) fn routes(router: &mut Router) {
    router.answer(
        "fuzzyFileSearch",
        Stable,
        |_: &FuzzyFileSearchParams| Scope::free(),
        search,
    );
}

/// The searches of one connection that can be ended by the next one with their token.
pub(crate) type Searches = BTreeMap<String, CancellationToken>;

async fn search(call: Call, params: FuzzyFileSearchParams) -> Result<FuzzyFileSearchResponse, Refusal> {
    let FuzzyFileSearchParams {
        query,
        roots,
        cancellation_token,
    } = params;
    if QUERY_BYTES_MAX < query.len() {
        return Err(Refusal::params(format!(
            "the query is longer than {QUERY_BYTES_MAX} bytes"
        )));
    }
    for root in &roots {
        absolute(root)?;
    }
    let cancelled = call.connection.leaving().child_token();
    // Ends with the request, however that ends.
    let _guard = cancelled.clone().drop_guard();
    if let Some(token) = &cancellation_token {
        let earlier = call
            .connection
            .with_searches(|it| it.insert(token.clone(), cancelled.clone()));
        if let Some(earlier) = earlier {
            earlier.cancel();
        }
    }
    let files = {
        let cancelled = cancelled.clone();
        super::blocking(move || Ok(find(&query, &roots, &cancelled))).await?
    };
    if let Some(token) = &cancellation_token {
        call.connection.with_searches(|it| {
            // Not cancelled, so the one under this token is ours.
            if !cancelled.is_cancelled() {
                it.remove(token);
            }
        });
    }
    Ok(FuzzyFileSearchResponse { files })
}

/// One candidate; ordered by score, then by shortness, then by name.
type Ranked = (u32, Reverse<usize>, Reverse<String>, usize, bool);

/// What was found until the end, or until it was cancelled: best first.
fn find(query: &str, roots: &[String], cancelled: &CancellationToken) -> Vec<FuzzyFileSearchResult> {
    let mut matcher = Matcher::new(Config::DEFAULT.match_paths());
    let pattern = Pattern::parse(query, CaseMatching::Smart, Normalization::Smart);
    let mut best: BinaryHeap<Reverse<Ranked>> = BinaryHeap::new();
    let (mut seen, mut characters) = (0, Vec::new());
    for (root_index, root) in roots.iter().enumerate() {
        // A `.gitignore` counts also where there is no repository: the tree may be a copy of one.
        let walk = WalkBuilder::new(root)
            .require_git(false)
            .hidden(false)
            .filter_entry(|it| it.file_name() != ".git")
            .build();
        for entry in walk {
            seen += 1;
            if cancelled.is_cancelled() || ENTRIES_MAX < seen {
                break;
            }
            // What cannot be read is not found.
            let Ok(entry) = entry else { continue };
            let Ok(path) = entry.path().strip_prefix(root) else {
                continue;
            };
            let Some(path) = path.to_str().filter(|it| !it.is_empty()) else {
                continue;
            };
            let Some(score) = pattern.score(Utf32Str::new(path, &mut characters), &mut matcher) else {
                continue;
            };
            let is_directory = entry.file_type().is_some_and(|it| it.is_dir());
            best.push(Reverse((
                score,
                Reverse(path.len()),
                Reverse(path.to_owned()),
                root_index,
                is_directory,
            )));
            if RESULTS_MAX < best.len() {
                best.pop();
            }
        }
    }
    let ranked = best.into_sorted_vec();
    let result = |Reverse((score, _, Reverse(path), root, is_directory)): Reverse<Ranked>| {
        let mut indices = Vec::new();
        pattern.indices(Utf32Str::new(&path, &mut characters), &mut matcher, &mut indices);
        indices.sort_unstable();
        indices.dedup();
        FuzzyFileSearchResult {
            root: roots[root].clone(),
            file_name: Path::new(&path)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            match_type: if is_directory { "directory" } else { "file" }.to_owned(),
            score,
            indices: Some(indices),
            path,
        }
    };
    ranked.into_iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(query: &str, root: &Path) -> Vec<String> {
        let roots = [root.display().to_string()];
        let files = find(query, &roots, &CancellationToken::new());
        files.into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn the_best_comes_first_and_ignored_files_do_not_come() {
        let tree = tempfile::tempdir().unwrap();
        for file in [
            "src/main.rs",
            "src/domain_rules.rs",
            "target/main.rs",
            ".github/main.yml",
            ".git/main",
        ] {
            let file = tree.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        fs::write(tree.path().join(".gitignore"), "target\n").unwrap();
        assert_eq!(
            found("main.rs", tree.path()),
            ["src/main.rs", "src/domain_rules.rs"]
        );
        assert_eq!(found("main", tree.path())[0], "src/main.rs");
        assert_eq!(found("zzz", tree.path()), [""; 0]);
        assert!(
            found("src", tree.path()).contains(&"src".to_owned()),
            "directories are found"
        );
    }

    #[test]
    fn a_cancelled_search_ends() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("main"), "").unwrap();
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        assert!(find("main", &[tree.path().display().to_string()], &cancelled).is_empty());
    }
}

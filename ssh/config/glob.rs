//! Files by pattern, as `Include` needs them.

use std::path::{Path, PathBuf};

/// More matches of one pattern are not looked at; `Include /*/*/*` must not walk the disk.
const MATCHES_MAX: usize = 4_096;

const LIKE_A_SHELL: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    // That would never find a hidden file, not even with `.*`: `is_asked_for` looks at them instead.
    require_literal_leading_dot: false,
};

/// Existing files that match `pattern` as glob(3) would find them, sorted by name.
pub(super) fn files(pattern: &str) -> Vec<PathBuf> {
    let translated = translate(pattern);
    let Ok(found) = glob::glob_with(&translated, LIKE_A_SHELL) else {
        // An unbalanced bracket is an ordinary character to glob(3).
        return Some(PathBuf::from(pattern))
            .filter(|it| it.exists())
            .into_iter()
            .collect();
    };
    let mut found: Vec<_> = found
        .filter_map(Result::ok)
        .filter(|it| is_asked_for(it, &translated))
        .take(MATCHES_MAX)
        .collect();
    // Not by component: glob(3) compares whole paths as bytes.
    found.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    found
}

/// Whether each name that begins with a dot stands where the pattern begins with one, too.
fn is_asked_for(path: &Path, pattern: &str) -> bool {
    let names = path.as_os_str().as_encoded_bytes().split(|it| *it == b'/');
    let patterns = pattern.split('/').filter(|it| !it.is_empty());
    let mut both = names.filter(|it| !it.is_empty()).zip(patterns);
    both.all(|(name, pattern)| !name.starts_with(b".") || pattern.starts_with('.'))
}

/// `path` as a pattern that matches nothing else.
pub(super) fn escape(path: &Path) -> String {
    glob::Pattern::escape(&path.to_string_lossy())
}

/// OpenSSH's own glob(3) knows backslashes, negates with `[!` only, and sees nothing special in `**`.
fn translate(pattern: &str) -> String {
    let (mut out, mut chars) = (String::new(), pattern.chars().peekable());
    while let Some(it) = chars.next() {
        match it {
            '\\' => {
                let literal = chars.next().unwrap_or('\\');
                out.push_str(&glob::Pattern::escape(literal.encode_utf8(&mut [0; 4])));
            }
            '*' => {
                while chars.next_if_eq(&'*').is_some() {}
                out.push('*');
            }
            // The translation keeps the members of a bracket as they are.
            '[' => {
                out.push('[');
                while let Some(member) = chars.next_if(|it| *it != ']') {
                    out.push(member);
                }
            }
            _ => out.push(it),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_what_glob_finds() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["20-b", "10-a", ".hidden", "c*", "[d"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = files(&format!("{}/{pattern}", escape(dir.path())));
            found
                .iter()
                .filter_map(|it| Some(it.file_name()?.to_str()?.to_owned()))
                .collect()
        };
        assert_eq!(names("*"), ["10-a", "20-b", "[d", "c*"]);
        assert_eq!(names("**-?"), ["10-a", "20-b"]);
        assert_eq!(names("[!1]*"), ["20-b", "[d", "c*"]);
        assert_eq!(names("[^1]*"), ["10-a"]);
        assert_eq!(names(".h*"), [".hidden"]);
        assert!(names(".*").contains(&".hidden".to_owned()));
        assert_eq!(names(r"c\*"), ["c*"]);
        assert_eq!(names("10-a"), ["10-a"]);
        assert_eq!(names("nothing"), [""; 0]);
    }
}

//! Files by pattern, as `Include` needs them.

use std::path::{Path, PathBuf};

/// More matches of one pattern are not looked at; `Include /*/*/*` must not walk the disk.
const MATCHES_MAX: usize = 4_096;

const LIKE_A_SHELL: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Existing files that match `pattern` as glob(3) would find them, sorted by name.
pub(super) fn files(pattern: &str) -> Vec<PathBuf> {
    let Ok(found) = glob::glob_with(&translate(pattern), LIKE_A_SHELL) else {
        // An unbalanced bracket is an ordinary character to glob(3).
        return Some(PathBuf::from(pattern))
            .filter(|it| it.exists())
            .into_iter()
            .collect();
    };
    let mut found: Vec<_> = found.filter_map(Result::ok).take(MATCHES_MAX).collect();
    found.sort();
    found
}

/// `path` as a pattern that matches nothing else.
pub(super) fn escape(path: &Path) -> String {
    glob::Pattern::escape(&path.to_string_lossy())
}

/// glob(3) knows backslashes and `[^`, and sees nothing special in `**`.
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
            '[' if chars.next_if_eq(&'^').is_some() => out.push_str("[!"),
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
                .map(|it| it.file_name().unwrap().to_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names("*"), ["10-a", "20-b", "[d", "c*"]);
        assert_eq!(names("**-?"), ["10-a", "20-b"]);
        assert_eq!(names("[^1]*"), ["20-b", "[d", "c*"]);
        assert_eq!(names(r"c\*"), ["c*"]);
        assert_eq!(names("10-a"), ["10-a"]);
        assert_eq!(names("nothing"), [""; 0]);
    }
}

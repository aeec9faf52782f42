//! Patterns of ssh_config(5): `*`, `?`, `!` and lists of them.

/// Whether all of `text` matches the glob `pattern`. Linear in memory, no backtracking blow-up.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&it) if it == b'?' || it == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&it| it == b'*')
}

/// A negated match vetoes, wherever it stands; a list of only negations matches nothing.
pub(crate) fn any_of<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> bool {
    let mut positive = false;
    for it in patterns {
        match it.strip_prefix('!') {
            Some(negated) if matches(negated, text) => return false,
            Some(_) => {}
            None => positive |= matches(it, text),
        }
    }
    positive
}

/// A comma-separated list, as in `Match user`.
pub(crate) fn list(patterns: &str, text: &str) -> bool {
    // The empty list has no pattern at all; `split` would make it one empty pattern.
    !patterns.is_empty() && any_of(patterns.split(','), text)
}

/// A comma-separated list that ignores case, as for host names.
pub(crate) fn list_ignoring_case(patterns: &str, text: &str) -> bool {
    list(&patterns.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

/// Whether `pattern` names one thing only.
pub(crate) fn is_literal(pattern: &str) -> bool {
    !pattern.is_empty() && !pattern.contains(['*', '?', '!'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_like_openssh() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a", "a", true),
            ("a", "A", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.example", "a.b.example", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbX", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_negation_vetoes_and_never_matches_alone() {
        assert!(any_of(["*", "!b"], "a"));
        assert!(!any_of(["*", "!b"], "b"));
        assert!(!any_of(["!b", "b"], "b"));
        assert!(!any_of(["!b"], "a"));
        assert!(list_ignoring_case("X,DEV*", "Devbox"));
        assert!(!list("", ""));
    }

    #[test]
    fn many_stars_against_a_long_name_end_quickly() {
        assert!(!matches(&"*a".repeat(200), &"b".repeat(10_000)));
    }
}

//! One line of text to words. Knows the grammar, not the meaning.
//!
//! Follows OpenSSH's two scanners, because their differences are visible: the keyword ends at white
//! space, `=` or a quote; the rest is split with quotes, backslashes and comments.

/// What separates a keyword from its arguments.
const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// A line that says something: a keyword in lower case and the text after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split<'a> {
    pub(crate) keyword: String,
    pub(crate) rest: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LexError {
    #[error("a quote is not closed")]
    OpenQuote,
}

/// The keyword of `line` and what follows it; `None` for blank lines and comments.
pub(crate) fn split_line(line: &str) -> Result<Option<Split<'_>>, LexError> {
    // OpenSSH reads lines as C strings.
    let line = line.split('\0').next().unwrap_or_default();
    let end = line.trim_end_matches([' ', '\t', '\r', '\n', '\x0c']).len();
    // The first character is never taken away: a form feed alone is a keyword, and an unknown one.
    let first = line.chars().next().map_or(0, char::len_utf8);
    let line = &line[..end.max(first)];
    let (mut keyword, mut rest) = word_before_equals(line)?;
    if keyword.is_empty() {
        (keyword, rest) = word_before_equals(rest)?;
    }
    if keyword.is_empty() || keyword.starts_with('#') {
        return Ok(None);
    }
    Ok(Some(Split {
        keyword: keyword.to_ascii_lowercase(),
        rest: rest.trim_start_matches(BLANK),
    }))
}

/// Takes one word that ends at white space, a quote or one `=`.
fn word_before_equals(text: &str) -> Result<(String, &str), LexError> {
    let Some(end) = text.find(|it| BLANK.contains(&it) || it == '"' || it == '=') else {
        return Ok((text.to_owned(), ""));
    };
    let (word, rest) = text.split_at(end);
    if let Some(quoted) = rest.strip_prefix('"') {
        let (inner, rest) = quoted.split_once('"').ok_or(LexError::OpenQuote)?;
        return Ok((format!("{word}{inner}"), rest.trim_start_matches(BLANK)));
    }
    if let Some(rest) = rest.strip_prefix('=') {
        return Ok((word.to_owned(), rest.trim_start_matches(BLANK)));
    }
    let rest = rest.trim_start_matches(BLANK);
    let rest = rest
        .strip_prefix('=')
        .map_or(rest, |it| it.trim_start_matches(BLANK));
    Ok((word.to_owned(), rest))
}

/// The arguments in `text`: quotes group, a backslash keeps quotes, backslashes and (outside quotes)
/// spaces, and `#` at the start of a word begins a comment.
pub(crate) fn words(text: &str) -> Result<Vec<String>, LexError> {
    let (mut words, mut chars) = (Vec::new(), text.chars().peekable());
    loop {
        while chars.next_if(|it| matches!(it, ' ' | '\t')).is_some() {}
        if matches!(chars.peek(), None | Some('#')) {
            return Ok(words);
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(it) = chars.next_if(|it| quote.is_some() || !matches!(it, ' ' | '\t')) {
            match (it, quote) {
                ('\\', _) => {
                    let escaped = chars.next_if(|&next| {
                        matches!(next, '\'' | '"' | '\\') || (next == ' ' && quote.is_none())
                    });
                    word.push(escaped.unwrap_or('\\'));
                }
                ('"' | '\'', None) => quote = Some(it),
                (_, Some(open)) if it == open => quote = None,
                _ => word.push(it),
            }
        }
        if quote.is_some() {
            return Err(LexError::OpenQuote);
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<(String, &str)> {
        split_line(line).unwrap().map(|it| (it.keyword, it.rest))
    }

    #[test]
    fn the_keyword_ends_at_a_blank_an_equals_sign_or_a_quote() {
        for (line, keyword, rest) in [
            ("Host a b", "host", "a b"),
            ("\t Host\ta ", "host", "a"),
            ("Port=22", "port", "22"),
            ("Port = 22\r", "port", "22"),
            ("Port =22", "port", "22"),
            ("Port== 22", "port", "= 22"),
            ("\"User\" bob", "user", "bob"),
            ("User\"bob\"", "userbob", ""),
            ("User", "user", ""),
            ("ProxyCommand=a=b", "proxycommand", "a=b"),
        ] {
            assert_eq!(split(line), Some((keyword.to_owned(), rest)), "{line:?}");
        }
    }

    #[test]
    fn blank_lines_and_comments_say_nothing() {
        for line in ["", "   ", "\t\r", "# Host a", "  # x", " \x0c"] {
            assert!(split(line).is_none(), "{line:?}");
        }
        assert_eq!(split("\x0c"), Some(("\x0c".to_owned(), "")));
    }

    #[test]
    fn words_follow_quotes_backslashes_and_comments() {
        let cases: [(&str, &[&str]); 12] = [
            ("a b", &["a", "b"]),
            ("\"a b\" c", &["a b", "c"]),
            ("'a b'", &["a b"]),
            ("a\"b c\"d", &["ab cd"]),
            ("a#b # c", &["a#b"]),
            ("# c", &[]),
            (r#""a\"b""#, &["a\"b"]),
            (r"a\ b", &["a b"]),
            (r#""a\ b""#, &[r"a\ b"]),
            (r"a\nb", &[r"a\nb"]),
            ("\"\" x", &["", "x"]),
            (r"CORP\\bob", &[r"CORP\bob"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).unwrap(), expected, "{text:?}");
        }
        assert_eq!(words("\"a"), Err(LexError::OpenQuote));
        assert_eq!(words("it's"), Err(LexError::OpenQuote));
    }
}

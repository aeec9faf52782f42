//! A file's bytes to items. Never fails as a whole.

use super::lex::{LexError, split_line, words};

/// One line with a keyword.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Counts from one.
    pub(crate) line: u32,
    /// In lower case, as written (aliases are resolved by [`keywords`](super::keywords)).
    pub(crate) keyword: String,
    /// Everything after the keyword, for values that are one shell command.
    pub(crate) rest: String,
}

impl Item {
    /// The arguments, split like OpenSSH does.
    pub(crate) fn words(&self) -> Result<Vec<String>, LexError> {
        words(&self.rest)
    }
}

/// A line that OpenSSH would not take, or only by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: u32,
    pub(crate) message: &'static str,
    /// Whether OpenSSH refuses the file.
    pub(crate) fatal: bool,
}

/// Text to items. Bytes that are not UTF-8 are replaced and reported: OpenSSH keeps them, and a name
/// with such bytes would not be the one that was meant.
pub(crate) fn parse(bytes: &[u8]) -> (Vec<Item>, Vec<Fault>) {
    let (mut items, mut faults) = (Vec::new(), Vec::new());
    let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
        Some(rest) => {
            let message = "the file starts with a byte order mark, which OpenSSH takes for a keyword";
            faults.push(Fault {
                line: 1,
                message,
                fatal: true,
            });
            rest
        }
        None => bytes,
    };
    for (index, line) in bytes.split(|&it| it == b'\n').enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let text = String::from_utf8_lossy(line);
        match split_line(&text) {
            Ok(None) => {}
            Ok(Some(split)) => {
                if std::str::from_utf8(line).is_err() {
                    let message = "the line is not UTF-8; the bytes in question are replaced";
                    faults.push(Fault {
                        line: number,
                        message,
                        fatal: false,
                    });
                }
                items.push(Item {
                    line: number,
                    keyword: split.keyword,
                    rest: split.rest.to_owned(),
                });
            }
            // OpenSSH silently drops a line whose keyword opens a quote that never closes.
            Err(LexError::OpenQuote) => {
                let message = "the keyword opens a quote that is not closed; the line is ignored";
                faults.push(Fault {
                    line: number,
                    message,
                    fatal: false,
                });
            }
        }
    }
    (items, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_and_a_bad_line_is_not_the_end() {
        let (items, faults) = parse(b"# c\r\nHost a\r\n\r\nUs\"er x\n User al\xFFice\nPort 22");
        let seen: Vec<_> = items
            .iter()
            .map(|it| (it.line, it.keyword.as_str(), it.rest.as_str()))
            .collect();
        assert_eq!(
            seen,
            [(2, "host", "a"), (5, "user", "al\u{FFFD}ice"), (6, "port", "22")]
        );
        assert_eq!(
            faults.iter().map(|it| (it.line, it.fatal)).collect::<Vec<_>>(),
            [(4, false), (5, false)]
        );
    }

    #[test]
    fn a_byte_order_mark_is_reported_and_skipped() {
        let (items, faults) = parse(b"\xEF\xBB\xBFHost a\n");
        assert_eq!(items[0].keyword, "host");
        assert!(faults[0].fatal);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            let (items, _) = parse(&bytes);
            for item in items {
                drop(item.words());
            }
        }
    }
}

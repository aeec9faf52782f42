//! Server-sent events (WHATWG HTML, 9.2.6), read from arbitrary pieces of bytes.

/// The longest event, in bytes: far above any item of a model, and a bound for what a broken server can make us hold.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An event, or a line of one, is longer than [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {EVENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// Collects bytes and hands out the data of whole events. Names and ids of events are of no use here: the API repeats
/// the name in the data.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    /// Whether the event has a data line; its data may still be empty.
    has_data: bool,
    /// The last byte was a carriage return, whose line feed may come with the next piece.
    after_return: bool,
    /// A byte order mark may come before the first line only.
    begun: bool,
}

impl Parser {
    /// Takes the next bytes and appends the data of every event that they complete. Bytes that are no UTF-8 become
    /// replacement characters.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<String>) -> Result<(), TooLong> {
        for &byte in bytes {
            let follows_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\n' | b'\r' => self.end_line(events),
                _ => {
                    if self.line.len() + self.data.len() >= EVENT_BYTES_MAX {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<String>) {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if line.is_empty() {
            self.end_event(events);
        } else if let Some(value) = field(&line, b"data") {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
        }
        // The line's room serves the next one.
        line.clear();
        self.line = line;
    }

    fn end_event(&mut self, events: &mut Vec<String>) {
        if std::mem::replace(&mut self.has_data, false) {
            events.push(String::from_utf8_lossy(&self.data).into_owned());
            self.data.clear();
        }
    }
}

/// The value of the field `name` on this line; one space after the colon does not belong to it.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest {
        [] => Some(rest),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<String> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        pieces
            .iter()
            .for_each(|piece| parser.push(piece, &mut events).unwrap());
        events
    }

    #[test]
    fn events_end_with_an_empty_line_of_any_kind() {
        let stream = "\u{feff}data: one\n\nevent: x\r\ndata:two\r\ndata: three\r\n\r\n: comment\rdata\r\rdata: unfinished\n";
        assert_eq!(parse(&[stream.as_bytes()]), ["one", "two\nthree", ""]);
        assert_eq!(parse(&[b"data: \xff\n\n"]), ["\u{fffd}"]);
        assert_eq!(parse(&[b"\n\nid: 1\n\ndatum: x\n\n"]), [""; 0]);
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1024 * 1024];
        let ended = (0..17).find_map(|_| parser.push(&piece, &mut Vec::new()).err());
        assert_eq!(ended, Some(TooLong));
        let mut parser = Parser::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        let ended = (0..17).find_map(|_| parser.push(&line, &mut Vec::new()).err());
        assert_eq!(ended, Some(TooLong));
    }

    proptest! {
        #[test]
        fn the_cut_into_pieces_does_not_matter(
            lines in proptest::collection::vec("(data: [a-z]{0,3}|:x|)(\n|\r\n|\r)", 0..20),
            cut in 1usize..5,
        ) {
            let whole = lines.concat();
            let pieces: Vec<&[u8]> = whole.as_bytes().chunks(cut).collect();
            prop_assert_eq!(parse(&[whole.as_bytes()]), parse(&pieces));
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = Parser::default().push(&bytes, &mut Vec::new());
        }
    }
}

//! The JSONL codec: one message a line.
//!
//! Bad input costs the line it stands in and nothing else: invalid UTF-8 is replaced, what is not a
//! message is reported, a line beyond the limit is skipped while it arrives, in bounded memory.

use bytes::{Buf, BufMut, BytesMut};
use codex_protocol::{Id, Malformed, Message};
use tokio_util::codec::{Decoder, Encoder};

use crate::transport::{Incoming, TransportError};

/// How much of a bad line is told: enough to recognize a shell's message or a half-written object.
const SAMPLE_BYTES_MAX: usize = 200;

pub struct Jsonl {
    line_bytes_max: usize,
    /// How far the buffer is known to hold no line end.
    scanned: usize,
    /// The line that is being skipped, if one is.
    skipping: Option<Skipped>,
}

struct Skipped {
    bytes: usize,
    id: Option<Id>,
}

impl Jsonl {
    pub fn new(line_bytes_max: usize) -> Jsonl {
        Jsonl {
            line_bytes_max,
            scanned: 0,
            skipping: None,
        }
    }

    /// Goes on skipping; `Some` when the line's end has come.
    fn skip(&mut self, mut skipped: Skipped, buffer: &mut BytesMut) -> Option<Incoming> {
        let end = memchr::memchr(b'\n', buffer);
        skipped.bytes += end.unwrap_or(buffer.len());
        buffer.advance(end.map_or(buffer.len(), |it| it + 1));
        match end {
            Some(_) => Some(Incoming::TooLong {
                bytes: skipped.bytes,
                id: skipped.id,
            }),
            None => {
                self.skipping = Some(skipped);
                None
            }
        }
    }
}

impl Decoder for Jsonl {
    type Item = Incoming;
    type Error = TransportError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, TransportError> {
        loop {
            if let Some(skipped) = self.skipping.take() {
                return Ok(self.skip(skipped, buffer));
            }
            let end = memchr::memchr(b'\n', &buffer[self.scanned..]).map(|it| self.scanned + it);
            let length = end.unwrap_or(buffer.len());
            if self.line_bytes_max < length {
                self.scanned = 0;
                self.skipping = Some(Skipped {
                    bytes: 0,
                    id: leading_id(buffer),
                });
                continue;
            }
            let Some(end) = end else {
                self.scanned = length;
                return Ok(None);
            };
            self.scanned = 0;
            let line = buffer.split_to(end);
            buffer.advance(1);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return Ok(Some(read(&line)));
        }
    }

    /// The peer closed in the middle of a line: the rest cannot be trusted, but it is told.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, TransportError> {
        if let Some(incoming) = self.decode(buffer)? {
            return Ok(Some(incoming));
        }
        self.skipping = None;
        self.scanned = 0;
        let rest = buffer.split();
        if rest.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        Ok(Some(Incoming::Malformed {
            why: Malformed::Shape("the connection closed inside a line"),
            beginning: sample(&rest),
            // Who closed waits for no answer.
            id: None,
        }))
    }
}

/// Reads a whole line, or a whole text frame.
pub(crate) fn read(line: &[u8]) -> Incoming {
    let message = match std::str::from_utf8(line) {
        Ok(_) => Message::parse(line),
        // One bad byte in a command's output must not cost the whole item.
        Err(_) => Message::parse(String::from_utf8_lossy(line).as_bytes()),
    };
    match message {
        Ok(message) => Incoming::Message(message),
        Err(why) => Incoming::Malformed {
            why,
            beginning: sample(line),
            id: leading_id(line),
        },
    }
}

pub(crate) fn sample(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(SAMPLE_BYTES_MAX)]).into_owned();
    if line.len() <= SAMPLE_BYTES_MAX {
        text
    } else {
        text + "…"
    }
}

/// The id of a line that begins with `{"id":…`, as results and requests of the official server do.
fn leading_id(line: &[u8]) -> Option<Id> {
    const ID_BYTES_MAX: usize = 256;
    let rest = line
        .trim_ascii_start()
        .strip_prefix(b"{")?
        .trim_ascii_start()
        .strip_prefix(b"\"id\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let rest = &rest[..rest.len().min(ID_BYTES_MAX)];
    serde_json::Deserializer::from_slice(rest)
        .into_iter()
        .next()?
        .ok()
}

impl Encoder<Message> for Jsonl {
    type Error = TransportError;

    fn encode(&mut self, message: Message, buffer: &mut BytesMut) -> Result<(), TransportError> {
        let line = message.to_line().map_err(TransportError::Unwritable)?;
        buffer.reserve(line.len() + 1);
        buffer.put_slice(&line);
        buffer.put_u8(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE_BYTES_MAX: usize = 64;

    fn decode_all<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut codec, mut buffer, mut seen) = (Jsonl::new(LINE_BYTES_MAX), BytesMut::new(), Vec::new());
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(incoming) = codec.decode(&mut buffer).unwrap() {
                seen.push(format!("{incoming:?}"));
            }
            assert!(
                buffer.len() <= LINE_BYTES_MAX + chunk.len(),
                "a skipped line is not kept"
            );
        }
        while let Some(incoming) = codec.decode_eof(&mut buffer).unwrap() {
            seen.push(format!("{incoming:?}"));
        }
        seen
    }

    proptest! {
        #[test]
        fn chunking_never_changes_what_is_decoded(
            ids in prop::collection::vec(0i64..1000, 0..20),
            long in prop::collection::vec(any::<bool>(), 20),
            cuts in prop::collection::vec(1usize..40, 0..60),
        ) {
            let line = |(id, long): (&i64, &bool)| {
                let padding = " ".repeat(if *long { 2 * LINE_BYTES_MAX } else { 0 });
                format!("{{\"id\":{id},\"method\":\"m\"{padding}}}\n").into_bytes()
            };
            let bytes: Vec<u8> = ids.iter().zip(&long).flat_map(line).collect();
            let (mut chunks, mut rest) = (Vec::new(), &bytes[..]);
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                chunks.push(head);
                rest = tail;
            }
            chunks.push(rest);
            let whole = decode_all([&bytes[..]]);
            prop_assert_eq!(whole.len(), ids.len());
            prop_assert_eq!(decode_all(chunks), whole);
        }

        #[test]
        fn no_bytes_end_the_decoding(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            decode_all([&bytes[..]]);
        }
    }

    #[test]
    fn bad_lines_cost_themselves_and_nothing_else() {
        let long = format!("{{\"id\":7,\"result\":\"{}\"}}\n", "x".repeat(1000));
        let seen = decode_all([
            b"Welcome!\n\n".as_slice(),
            b"{\"method\":\"bad\xff\"}\n",
            long.as_bytes(),
            b"{\"method\":\"good\"}\r\n{\"met",
        ]);
        let expected = [
            "Malformed { why: Shape(\"not a JSON object\"), beginning: \"Welcome!\", id: None }",
            "Message(Notification(Notification { method: \"bad\u{fffd}\", params: None, emitted_at_ms: None }))",
            "TooLong { bytes: 1020, id: Some(Integer(7)) }",
            "Message(Notification(Notification { method: \"good\", params: None, emitted_at_ms: None }))",
            "Malformed { why: Shape(\"the connection closed inside a line\"), beginning: \"{\\\"met\", id: None }",
        ];
        assert_eq!(seen, expected);
    }
}

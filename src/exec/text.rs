//! Turns chunks of bytes into chunks of text without breaking characters at their borders.

/// Decodes UTF-8 that arrives in pieces. Bytes that are no text become U+FFFD; a character that is cut by a
/// chunk's border waits for its rest.
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    /// The beginning of a character: at most three bytes.
    rest: Vec<u8>,
}

impl TextStream {
    /// Takes bytes and returns the text that is certain.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut input = bytes;
        if !self.rest.is_empty() {
            let mut all = std::mem::take(&mut self.rest);
            all.extend_from_slice(bytes);
            joined = all;
            input = &joined;
        }
        let mut text = String::with_capacity(input.len());
        loop {
            match std::str::from_utf8(input) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => {
                    let (valid, bad) = input.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(length) = error.error_len() else {
                        self.rest = bad.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    input = &bad[length..];
                }
            }
        }
    }

    /// Returns what is left at the end of the stream: U+FFFD for a character that never came whole.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest.clear();
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cut_of_any_bytes_gives_the_text_of_the_whole(
            bytes in prop_oneof![any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>()],
            cuts in proptest::collection::vec(1_usize..5, 1..40),
        ) {
            let mut stream = TextStream::default();
            let mut text = String::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                text.push_str(&stream.push(piece));
                rest = after;
            }
            text.push_str(&stream.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

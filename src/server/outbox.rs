//! What waits to be written to one peer. Pure.
//!
//! Pieces of text merge while they wait, so a reader that is slow for a moment gets fewer and longer
//! pieces. A reader that stays slow loses the detail: text beyond the limit is counted instead of kept, and
//! the count is told in its place; the finished item brings the whole text. Messages are never lost.

use std::collections::VecDeque;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry<S, L, M> {
    Message(M),
    /// A message of which only the newest with this key matters.
    Latest {
        key: L,
        message: M,
    },
    /// Text to be appended to a stream, and how many bytes after it were given up.
    Text {
        stream: S,
        text: String,
        omitted: usize,
    },
}

pub(crate) struct Outbox<S, L, M> {
    text_bytes_max: usize,
    text_bytes: usize,
    queue: VecDeque<Entry<S, L, M>>,
}

impl<S: PartialEq, L: PartialEq, M> Outbox<S, L, M> {
    /// An outbox that keeps at most `text_bytes_max` bytes of text that waits.
    pub(crate) fn new(text_bytes_max: usize) -> Outbox<S, L, M> {
        Outbox {
            text_bytes_max,
            text_bytes: 0,
            queue: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, message: M) {
        self.queue.push_back(Entry::Message(message));
    }

    /// Like [`push`](Self::push); an older message with this key that still waits is dropped.
    pub(crate) fn push_latest(&mut self, key: L, message: M) {
        self.queue
            .retain(|it| !matches!(it, Entry::Latest { key: other, .. } if *other == key));
        self.queue.push_back(Entry::Latest { key, message });
    }

    pub(crate) fn append(&mut self, stream: S, text: &str) {
        let fits = self.text_bytes + text.len() <= self.text_bytes_max;
        // Text of different streams commutes; nothing commutes with a message.
        for waiting in self.queue.iter_mut().rev() {
            match waiting {
                Entry::Text {
                    stream: other,
                    text: so_far,
                    omitted,
                } if *other == stream => {
                    if fits && *omitted == 0 {
                        so_far.push_str(text);
                        self.text_bytes += text.len();
                    } else {
                        *omitted += text.len();
                    }
                    return;
                }
                Entry::Text { .. } | Entry::Latest { .. } => (),
                Entry::Message(_) => break,
            }
        }
        let (text, omitted) = if fits { (text, 0) } else { ("", text.len()) };
        self.text_bytes += text.len();
        self.queue.push_back(Entry::Text {
            stream,
            text: text.to_owned(),
            omitted,
        });
    }

    pub(crate) fn pop(&mut self) -> Option<Entry<S, L, M>> {
        let entry = self.queue.pop_front()?;
        if let Entry::Text { text, .. } = &entry {
            self.text_bytes -= text.len();
        }
        Some(entry)
    }

    /// How many entries wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TEXT_BYTES_MAX: usize = 64;

    #[derive(Clone, Debug)]
    enum Step {
        Text(u8, String),
        Message(u16),
        Latest(u8, u16),
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..3, "[a-zé]{1,9}").prop_map(|(stream, text)| Step::Text(stream, text)),
            2 => any::<u16>().prop_map(Step::Message),
            1 => (0u8..2, any::<u16>()).prop_map(|(key, message)| Step::Latest(key, message)),
            3 => Just(Step::Pop),
        ]
    }

    /// What a reader has at the end: messages in order, and each stream's text between two messages as
    /// pieces, with the number of bytes that are missing after each.
    #[derive(Default)]
    struct Reader {
        messages: Vec<u16>,
        latest: BTreeMap<u8, Vec<u16>>,
        texts: BTreeMap<(u8, usize), Vec<(String, usize)>>,
    }

    impl Reader {
        fn read(&mut self, entry: Entry<u8, u8, u16>) {
            match entry {
                Entry::Message(it) => self.messages.push(it),
                Entry::Latest { key, message } => self.latest.entry(key).or_default().push(message),
                Entry::Text {
                    stream,
                    text,
                    omitted,
                } => {
                    let key = (stream, self.messages.len());
                    self.texts.entry(key).or_default().push((text, omitted));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn messages_stay_and_text_is_whole_or_its_gap_is_marked(steps in prop::collection::vec(step(), 0..200)) {
            let mut outbox = Outbox::new(TEXT_BYTES_MAX);
            let (mut sent, mut reader) = (Reader::default(), Reader::default());
            for it in steps {
                match it {
                    Step::Pop => if let Some(entry) = outbox.pop() { reader.read(entry) },
                    Step::Text(stream, text) => {
                        outbox.append(stream, &text);
                        sent.read(Entry::Text { stream, text, omitted: 0 });
                    }
                    Step::Message(it) => { outbox.push(it); sent.read(Entry::Message(it)) }
                    Step::Latest(key, message) => {
                        outbox.push_latest(key, message);
                        sent.read(Entry::Latest { key, message });
                    }
                }
                let kept: usize = outbox.queue.iter().map(|it| match it { Entry::Text { text, .. } => text.len(), _ => 0 }).sum();
                prop_assert_eq!(kept, outbox.text_bytes);
                prop_assert!(kept <= TEXT_BYTES_MAX);
            }
            while let Some(entry) = outbox.pop() { reader.read(entry) }
            prop_assert_eq!(&sent.messages, &reader.messages);
            for (key, sent) in &sent.latest {
                prop_assert_eq!(sent.last(), reader.latest[key].last(), "the newest arrives");
            }
            prop_assert_eq!(sent.texts.keys().collect::<Vec<_>>(), reader.texts.keys().collect::<Vec<_>>());
            for (key, sent) in &sent.texts {
                let sent: String = sent.iter().map(|it| it.0.as_str()).collect();
                let mut rest = sent.as_str();
                for (text, omitted) in &reader.texts[key] {
                    prop_assert!(rest.starts_with(text.as_str()));
                    rest = &rest[text.len() + omitted..];
                }
                prop_assert_eq!(rest, "");
            }
        }
    }

    #[test]
    fn waiting_text_becomes_one_piece_and_a_message_divides_it() {
        let mut outbox = Outbox::<i32, (), i32>::new(TEXT_BYTES_MAX);
        for text in ["a", "b"] {
            outbox.append(1, text);
            outbox.append(2, text);
        }
        outbox.push(7);
        outbox.append(1, "c");
        let entries: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
        let text = |stream, text: &str| Entry::Text {
            stream,
            text: text.to_owned(),
            omitted: 0,
        };
        assert_eq!(
            entries,
            [text(1, "ab"), text(2, "ab"), Entry::Message(7), text(1, "c")]
        );
    }
}

//! The draft of a prompt: text, collapsed pastes, and the way back through earlier prompts.

use std::collections::VecDeque;

use super::text_field::{TextField, at_column, place, rows};
use crate::keymap::Command;

/// A paste of more lines than this collapses to one mark.
pub const PASTE_LINES_MAX: usize = 8;
/// Or of more characters.
pub const PASTE_CHARS_MAX: usize = 1_000;
/// Prompts that are remembered for each host.
pub const HISTORY_MAX: usize = 200;

#[derive(Clone, Debug, Default)]
pub struct Composer {
    field: TextField,
    /// Collapsed pastes by their mark.
    pastes: Vec<Paste>,
    /// How far back in the history the shown text is, and what was there before.
    recalled: Option<Recalled>,
}

#[derive(Clone, Debug)]
struct Paste {
    mark: String,
    text: String,
}

#[derive(Clone, Debug)]
struct Recalled {
    /// From the newest prompt, which is 0.
    index: usize,
    draft: TextField,
}

/// Earlier prompts, newest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    prompts: VecDeque<String>,
}

impl History {
    pub fn push(&mut self, prompt: &str) {
        if self.prompts.front().is_some_and(|it| it == prompt) {
            return;
        }
        self.prompts.push_front(prompt.to_owned());
        self.prompts.truncate(HISTORY_MAX);
    }
}

impl Composer {
    pub fn field(&self) -> &TextField {
        &self.field
    }

    pub fn text(&self) -> &str {
        self.field.text()
    }

    pub fn is_empty(&self) -> bool {
        self.field.is_empty()
    }

    /// The draft as it is sent: with the whole pastes.
    pub fn expanded(&self) -> String {
        let mut text = String::new();
        let mut rest = self.field.text();
        while let Some((index, paste)) = self
            .pastes
            .iter()
            .filter_map(|it| rest.find(&it.mark).map(|index| (index, it)))
            .min_by_key(|(index, _)| *index)
        {
            text.push_str(&rest[..index]);
            text.push_str(&paste.text);
            rest = &rest[index + paste.mark.len()..];
        }
        text.push_str(rest);
        text
    }

    pub fn clear(&mut self) {
        *self = Composer::default();
    }

    /// Replaces the draft.
    pub fn set(&mut self, text: &str) {
        self.clear();
        self.field = TextField::new(text);
    }

    /// Puts text that could not be sent before what has been typed since.
    pub fn give_back(&mut self, text: &str) {
        let typed_since = self.field.take();
        let joined = if typed_since.is_empty() {
            text.to_owned()
        } else {
            format!("{text}\n{typed_since}")
        };
        self.field = TextField::new(joined);
        self.recalled = None;
    }

    pub fn insert(&mut self, text: &str) {
        self.recalled = None;
        self.field.insert(text);
    }

    /// Takes a paste. It is text, never keys: a line break in it sends nothing.
    pub fn paste(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let lines = text.lines().count();
        if lines <= PASTE_LINES_MAX && text.chars().count() <= PASTE_CHARS_MAX {
            self.insert(&text);
            return;
        }
        let what = if PASTE_LINES_MAX < lines {
            format!("{lines} lines")
        } else {
            format!("{} characters", text.chars().count())
        };
        let mark = (1..)
            .map(|n| match n {
                1 => format!("[pasted {what}]"),
                n => format!("[pasted {what} #{n}]"),
            })
            .find(|mark| !self.field.text().contains(mark) && !self.pastes.iter().any(|it| it.mark == *mark));
        let Some(mark) = mark else { return };
        self.insert(&mark);
        self.pastes.push(Paste { mark, text });
    }

    /// Shows the paste at the cursor, or else the last one, as text.
    pub fn expand_paste(&mut self) {
        let near = self.marks().rfind(|(start, _)| *start <= self.field.cursor());
        let Some((start, index)) = near.or_else(|| self.marks().next()) else {
            return;
        };
        let paste = self.pastes.remove(index);
        self.field.replace(start..start + paste.mark.len(), &paste.text);
    }

    /// Performs a command on the text. A mark goes as a whole.
    pub fn handle(&mut self, command: Command) -> bool {
        let cursor = self.field.cursor();
        let whole = match command {
            Command::DeleteBack | Command::DeleteWordBack => self
                .marks()
                .find(|(start, index)| start + self.pastes[*index].mark.len() == cursor),
            Command::DeleteForward | Command::DeleteWordForward => {
                self.marks().find(|(start, _)| *start == cursor)
            }
            _ => None,
        };
        if let Some((start, index)) = whole {
            let paste = self.pastes.remove(index);
            self.field.replace(start..start + paste.mark.len(), "");
            return true;
        }
        let before = self.field.text().len();
        let done = self.field.handle(command);
        if before != self.field.text().len() {
            self.recalled = None;
        }
        done
    }

    /// A row up; in the first one, to the prompt before.
    pub fn up(&mut self, width: u16, history: &History) {
        let rows = rows(self.text(), width);
        let (row, column) = place(self.text(), &rows, self.field.cursor());
        if self.recalled.is_none() && 0 < row {
            let cursor = at_column(self.text(), &rows[row - 1], column);
            self.field.set_cursor(cursor);
            return;
        }
        let index = self.recalled.as_ref().map_or(0, |it| it.index + 1);
        if let Some(prompt) = history.prompts.get(index) {
            let draft = match self.recalled.take() {
                Some(recalled) => recalled.draft,
                None => self.field.clone(),
            };
            self.field = TextField::new(prompt.as_str());
            self.recalled = Some(Recalled { index, draft });
        }
    }

    /// A row down; in the last one, to the prompt after, at last to the draft.
    pub fn down(&mut self, width: u16, history: &History) {
        let rows = rows(self.text(), width);
        let (row, column) = place(self.text(), &rows, self.field.cursor());
        match self.recalled.take() {
            None => {
                if let Some(next) = rows.get(row + 1) {
                    let cursor = at_column(self.text(), next, column);
                    self.field.set_cursor(cursor);
                }
            }
            Some(Recalled { index: 0, draft }) => self.field = draft,
            Some(Recalled { index, draft }) => {
                if let Some(prompt) = history.prompts.get(index - 1) {
                    self.field = TextField::new(prompt.as_str());
                }
                self.recalled = Some(Recalled {
                    index: index - 1,
                    draft,
                });
            }
        }
    }

    /// Where marks are: byte position, and which paste.
    fn marks(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> {
        let mut marks: Vec<(usize, usize)> = self
            .pastes
            .iter()
            .enumerate()
            .filter_map(|(index, it)| Some((self.field.text().find(&it.mark)?, index)))
            .collect();
        marks.sort_unstable();
        marks.into_iter()
    }
}

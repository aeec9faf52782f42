//! What the model was told and said: the prompt as the log has it.

use codex_protocol::TurnId;
use serde_json::Value;

use crate::{
    error::{Problem, StoreError},
    read::ThreadReader,
    record::{Entry, prefix},
    source::Flow,
};

/// One model item, opaque.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptItem {
    /// The turn that it came in; none for injected ones.
    pub turn: Option<TurnId>,
    pub item: Value,
}

impl ThreadReader {
    /// The model items of the prompt in order: since the last compaction, without what was reverted.
    ///
    /// Reads from the last compaction on and holds what it returns, which is what the model's context holds.
    pub fn prompt(&self) -> Result<(Vec<PromptItem>, Vec<Problem>), StoreError> {
        let from = match self.state().compactions.last() {
            Some(compaction) => *compaction,
            None => self.source.header()?.1,
        };
        let gone = self.source.reverted(from)?;
        let mut items = Vec::new();
        let mut problems = Vec::new();
        let wanted =
            |line: &[u8]| line.starts_with(prefix::MODEL_ITEM) || line.starts_with(prefix::COMPACTED);
        self.source
            .for_each(from..self.source.len, wanted, &mut problems, |place, entry| {
                if gone.iter().any(|range| range.contains(&place.offset)) {
                    return Ok(Flow::Go);
                }
                match entry {
                    Entry::ModelItem { turn, item, .. } => items.push(PromptItem { turn, item }),
                    Entry::Compacted {
                        turn, replacement, ..
                    } => {
                        items = replacement
                            .into_iter()
                            .map(|item| PromptItem {
                                turn: turn.clone(),
                                item,
                            })
                            .collect();
                    }
                    _ => {}
                }
                Ok(Flow::Go)
            })?;
        Ok((items, problems))
    }
}

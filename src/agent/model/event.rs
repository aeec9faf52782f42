//! What a model says while it answers.

use codex_protocol::v2::TokenUsageBreakdown;

use super::ModelError;
use crate::RawItem;

/// One event of an answer. Ids are those of the model, which may be missing with small servers.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelEvent {
    /// The request could not be made; it is made again after a pause.
    Retrying {
        retry: u32,
        retries_max: u32,
        error: ModelError,
    },
    /// A message begins.
    MessageStarted {
        id: Option<String>,
        phase: Option<String>,
    },
    TextDelta {
        id: Option<String>,
        delta: String,
    },
    /// Thinking begins.
    ReasoningStarted {
        id: Option<String>,
    },
    /// A part of the summary begins.
    SummaryPart {
        id: Option<String>,
        index: usize,
    },
    SummaryDelta {
        id: Option<String>,
        index: usize,
        delta: String,
    },
    /// Raw thoughts, which only open models tell.
    ReasoningDelta {
        id: Option<String>,
        index: usize,
        delta: String,
    },
    /// An item is whole.
    ItemDone(RawItem),
    /// The answer is whole.
    Completed {
        usage: Option<Usage>,
    },
}

/// Tokens of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: i64,
    /// The part of `input` that came from the provider's cache.
    pub cached_input: i64,
    pub output: i64,
    /// The part of `output` that was thinking.
    pub reasoning_output: i64,
    pub total: i64,
}

impl Usage {
    /// In the protocol's words.
    pub fn breakdown(self) -> TokenUsageBreakdown {
        TokenUsageBreakdown {
            total_tokens: self.total,
            input_tokens: self.input,
            cached_input_tokens: self.cached_input,
            output_tokens: self.output,
            reasoning_output_tokens: self.reasoning_output,
            cache_write_input_tokens: 0,
        }
    }
}

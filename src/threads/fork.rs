//! Copying a thread's history into a new thread, up to a turn.

use std::collections::HashSet;

use codex_protocol::{TurnId, v2::TurnStatus};

use crate::{
    error::StoreError,
    log::{Durability, ThreadLog},
    read::ThreadReader,
    record::{Entry, Record},
    source::Flow,
};

/// How many bytes of the source are copied with one write.
const CHUNK_BYTES: u64 = 1 << 20;

/// How much of a thread a fork takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForkPoint {
    /// All of it. A turn under way is interrupted in the fork.
    End,
    /// Up to this turn, and with it.
    Through(TurnId),
    /// Up to this turn, and without it.
    Before(TurnId),
}

/// Where to stop copying.
fn cut(source: &ThreadReader, point: &ForkPoint) -> Result<u64, StoreError> {
    let mut problems = Vec::new();
    match point {
        ForkPoint::End => Ok(source.source.len),
        ForkPoint::Before(turn) => Ok(source.span_of(turn, &mut problems)?.link.start),
        ForkPoint::Through(turn) => {
            let mut spans = source.spans();
            let mut upper = source.source.len;
            while let Some(span) = spans.next_span(&mut problems)? {
                if span.link.id == *turn {
                    return Ok(upper);
                }
                upper = span.link.start;
            }
            Err(source.turn_not_found(turn))
        }
    }
}

/// Copies turns, items and the prompt; not names, questions, goals and what was reverted.
pub(crate) fn copy(
    source: &ThreadReader,
    point: &ForkPoint,
    into: &mut ThreadLog,
    now_ms: i64,
) -> Result<(), StoreError> {
    let log = &source.source;
    let (_, body) = log.header()?;
    let mut gone = log.reverted(body)?;
    gone.push(cut(source, point)?..log.len);
    let mut kept: HashSet<TurnId> = HashSet::new();
    let mut chunk = Vec::new();
    let mut bytes = 0;
    log.for_each(
        body..log.len,
        |_| true,
        &mut Vec::new(),
        |place, entry| {
            let is_gone = gone.iter().any(|range| range.contains(&place.offset));
            let copied = match &entry {
                Entry::TurnStarted { turn, .. } if !is_gone => kept.insert(turn.clone()),
                // An item of a turn that stays may end in a part that goes.
                Entry::ItemCompleted { turn, .. } => kept.contains(turn),
                Entry::TurnCompleted { turn, .. } | Entry::ItemStarted { turn, .. } => {
                    !is_gone && kept.contains(turn)
                }
                Entry::ModelItem { .. } | Entry::Compacted { .. } | Entry::TokenUsage { .. } => !is_gone,
                _ => false,
            };
            if copied {
                bytes += place.len;
                chunk.push(entry);
            }
            if bytes > CHUNK_BYTES {
                bytes = 0;
                into.write_copied(now_ms, std::mem::take(&mut chunk))?;
            }
            Ok(Flow::Go)
        },
    )?;
    into.write_copied(now_ms, chunk)?;
    if let Some(turn) = into.state().active_turn().cloned() {
        let record = Record::TurnCompleted {
            turn,
            status: TurnStatus::Interrupted,
            error: None,
            completed_at: Some(now_ms / 1000),
            duration_ms: None,
        };
        into.append(now_ms, record, Durability::Written)?;
    }
    into.sync()
}

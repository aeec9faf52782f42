//! Calls to a host's server, as those see them who know no connection.

/// Names a call until its answer comes. Chosen by the caller, never reused in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallFailure {
    /// The server's error code, when the server refused.
    pub code: Option<i64>,
    pub message: String,
    /// The connection ended first: whether the call had an effect is not known.
    pub lost: bool,
}

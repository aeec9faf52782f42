//! What should be connected, why it is not, and what the user is asked: values without I/O.
//!
//! [`HostConnection`] decides and does nothing; `fleet` performs its [`Action`]s and reports back. The
//! other types are the vocabulary in which hosts are talked about above the connection.

mod backoff;
mod call;
mod connection;
mod failure;
mod forward;
mod host;
mod nearest;
mod policy;
mod question;

pub use backoff::Backoff;
pub use call::{CallFailure, Ticket};
pub use connection::{Action, Attempt, Command, HostConnection, HostEvent, Met, Phase, Report, Status};
pub use failure::{Failure, FailureKind, Recovery};
pub use forward::{Forwarded, ForwardedState};
pub use host::{Host, HostId, Origin};
pub use nearest::did_you_mean;
pub use policy::{Policy, Search};
pub use question::{Hop, HostKey, HostKeyQuestion, Prompt, Question, QuestionId, Reply, Secret};

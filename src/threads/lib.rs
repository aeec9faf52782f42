//! Threads on disk: one append-only log each, and an index for lists.
//!
//! What was acknowledged survives `kill -9`. A log is lines of JSON; its head says the format's version. The
//! one writer holds a lock of the operating system; readers need none. Everything that a list or the last
//! page needs is found from the end of a log, whatever its size. See `README.md` for the format.
//!
//! Blocking; time and randomness are inputs.

mod cursor;
mod error;
mod files;
mod fork;
mod id;
mod index;
mod items;
mod lines;
mod list;
mod log;
mod prompt;
mod read;
mod record;
mod repair;
mod source;
mod state;
mod store;
mod summary;
mod turns;

pub use error::{Problem, StoreError};
pub use fork::ForkPoint;
pub use id::{thread_id, uuid_v7};
pub use items::{ItemsPage, ItemsQuery};
pub use list::{ListPage, ListQuery};
pub use log::{Durability, MAX_EPHEMERAL_BYTES, MAX_RECORD_BYTES, ThreadLog};
pub use prompt::PromptItem;
pub use read::ThreadReader;
pub use record::{FORMAT_VERSION, Header, Metadata, PendingApproval, Record, Settings};
pub use state::State;
pub use store::ThreadStore;
pub use summary::Summary;
pub use turns::{ItemTimes, TurnsPage, TurnsQuery};

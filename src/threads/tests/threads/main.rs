//! Threads on disk, as the server uses them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails like the test"
)]

mod build;
mod damage;
mod ephemeral;
mod fixtures;
mod history;
mod kill;
mod lists;
mod writers;

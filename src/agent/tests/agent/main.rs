//! Turns over real HTTP, against the scripted model of the testkit and against servers that misbehave.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test helpers")]

mod failures;
mod http;
mod stage;
mod turns;
mod wild;

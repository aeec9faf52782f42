//! Servers that are started, listed, called and ended: real programs and a real HTTP server.
#![expect(clippy::unwrap_used, reason = "tests")]

mod calls;
mod http;
mod life;
mod rig;
mod tools;

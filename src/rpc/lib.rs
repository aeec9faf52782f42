//! JSON-RPC peers over any byte stream. Moves and correlates messages; knows no method.
//!
//! [`peer`] is the protocol and does no I/O. [`jsonl`] turns bytes into messages. [`client`] drives the
//! two together on tokio.

pub mod client;
pub mod jsonl;
pub mod peer;
pub mod transport;

pub use client::{Client, End, Event, client};
pub use peer::{Busy, CallError, Limits, Outcome};
pub use transport::{Incoming, Transport, TransportError, jsonl, jsonl_after};

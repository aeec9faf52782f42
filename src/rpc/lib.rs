//! JSON-RPC peers over any byte stream. Moves and correlates messages; knows no method.
//!
//! [`peer`] is the protocol and does no I/O. [`jsonl`] and [`websocket`] turn bytes into messages. [`client`] drives the
//! two together on tokio.

pub mod client;
pub mod jsonl;
pub mod peer;
pub mod transport;
pub mod websocket;

pub use client::{Client, End, Event, WeakClient, client};
pub use peer::{Busy, CallError, Limits, Outcome};
pub use transport::{Incoming, Transport, TransportError, jsonl, jsonl_after};
pub use websocket::{Role, UpgradeError, connect_websocket, websocket};

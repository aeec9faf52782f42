//! Wire types of the Codex app-server protocol: what is said, and nothing about how or why.
//!
//! The reference is the official server, version 0.169.0. Hosts run many versions, so everything that
//! arrives is read leniently: unknown fields are skipped, unknown enum values, items, notifications and
//! requests are kept as they came. Everything that we send is checked against the JSON Schema which the
//! official binary generates.

mod ids;
mod macros;
mod message;
mod methods;
mod notifications;
mod requests;
#[cfg(feature = "schema")]
pub mod schema;
pub mod served;
pub mod v2;

pub use ids::{ItemId, ThreadId, TurnId};
pub use message::{ErrorObject, Id, Malformed, Message, Notification, Params, Request, Response};
pub use methods::{ClientRequest, ClientResponse, Method};
pub mod notice {
    //! The parameters of notifications.
    pub use crate::notifications::*;
}
pub use methods::method;
pub use notifications::ServerNotification;
pub use requests::ServerRequest;

/// Answer to a request that came while the server's queues were full (observed: `-32001`).
pub const CODE_OVERLOADED: i64 = -32001;
/// JSON-RPC: the method does not exist.
pub const CODE_METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: an error inside the answering side.
pub const CODE_INTERNAL: i64 = -32603;

/// The version of the official program whose protocol this is. Its clients compare it with their own.
pub const REFERENCE_VERSION: &str = "0.169.0";

//! The app-server: keeps threads, serves peers.
//!
//! ```text
//! listen ─► connection (one peer) ─► router ─► handlers ─► thread's owner ─► agent
//!                ▲                     │ scope                   │
//!                └────── outbox ◄──────┴────── Connection ◄──────┘
//! ```
//!
//! # How a handler is added
//!
//! A handler is a function in `handlers/<topic>.rs`; that file's `routes(router)` names its methods, one
//! line each, and `router.rs` calls `routes` once. There are two kinds:
//!
//! ```ignore
//! // Answers by returning. An error becomes a JSON-RPC error, a panic *internal error*.
//! router.answer("fs/readFile", Stable, |p: &ReadFile| Scope::path(&p.path, Shared), read_file);
//! async fn read_file(call: Call, params: ReadFile) -> Result<ReadFileResponse, Refusal> { … }
//!
//! // Hands the answer over to somebody else, for instance to a thread's owner.
//! router.hand_over("turn/start", Stable, |p: &TurnStart| Scope::thread(&p.thread_id), start);
//! async fn start(call: Call, params: TurnStart, responder: Responder) { … }
//! ```
//!
//! Parameters are read once, before the handler; missing parameters are `{}`. The third argument says which
//! requests of the same connection this one waits for ([`Scope`]): a request starts when all earlier ones
//! that conflict with it have ended. A handler that goes on for long lets the later ones go with
//! [`Call::release`]. [`Call::server`] is everything that outlives the request, [`Call::connection`] the
//! peer that asked.
//!
//! # How a handler answers
//!
//! [`Responder`] cannot be cloned; `answer` and `refuse` consume it, and one that is dropped answers
//! *internal error*: every request is answered exactly once. Both put the answer into the connection's
//! outbox at once, without waiting. So *answer first, then notify* is the order on the wire, also when a
//! thread's owner does both.
//!
//! # How notifications reach subscribers
//!
//! [`Connection`] is a cheap handle on one peer's outbox. Telling never waits and never fails: what is said
//! to a connection that has closed is dropped. Opted-out methods are left out, and nothing is told before
//! `initialize`. A thread's owner keeps the `Connection`s of its subscribers:
//!
//! - [`Connection::tell`] queues a [`Notice`], which is made once and shared by all subscribers
//!   ([`Notice::new`] or `Notice::from(&ServerNotification)`);
//! - [`Connection::append`] queues a piece of text for an item. Pieces of the same [`TextStream`] merge while they
//!   wait, and beyond a limit their detail is given up and marked;
//! - [`Connection::tell_latest`] queues a notice that replaces the same one about the same thread if that
//!   still waits: token usage, the turn's diff;
//! - [`Connection::ask`] sends a request of the server. [`Server::questions`] gives the id and delivers the
//!   answer, whichever connection it comes from;
//! - [`Server::broadcast`] tells every initialized connection.
//!
//! What belongs to one connection (watches, commands) is in [`Connection`] and ends with it.
//!
//! A producer that is allowed to wait (a command's output, not a turn) awaits [`Connection::room`] first.
//!
//! # Lives
//!
//! [`Server::life`] says when to finish: `draining` — start no new turns, let the running ones end;
//! `stopping` — interrupt, write what must be written. Whoever has work that a drain waits for holds a
//! [`Work`] guard. Each connection is cancelled by `Connection::closed`.

mod checkup;
mod config;
mod connection;
mod handlers;
mod handshake;
mod ingress;
mod life;
mod listen;
mod login;
mod mcp;
mod models;
mod notice;
mod outbox;
mod private;
mod questions;
mod refusal;
mod responder;
mod router;
mod scope;
mod serve;
mod server;
mod threads;

pub use checkup::{McpCheckup, ReachError, ThreadsCheckup, reach};
pub use config::{Config, SandboxSettings};
pub use connection::{Connection, ConnectionId};
pub use handshake::Session;
pub use ingress::serve_peer;
pub use life::{Life, Work};
pub use listen::{Listen, ListenError, Listener, default_socket};
pub use login::{Kept, KeyringError, LoginError, Logins, Origin, Place};
pub use notice::{Notice, TextStream};
pub use questions::{Answer, Questions};
pub use refusal::Refusal;
pub use responder::Responder;
pub use router::Call;
pub use scope::{Access, Scope};
pub use serve::{Signals, in_memory, serve};
pub use server::{Server, Setup};

//! What an agent does next: one turn as a pure machine, and the driver that gives it a model and tools.
//!
//! [`turn::Turn`] decides, [`run::run`] does. The machine speaks the protocol's items to whoever listens and the
//! model API's own items ([`RawItem`]) to the history; `model/wire.rs` is the only translation between the two.
//! Persistence, clients and the tools themselves belong to others: see [`ports`].

pub mod approval;
pub mod compact;
pub mod context;
pub mod model;
pub mod ports;
pub mod review;
pub mod run;
pub mod tools;
pub mod turn;

mod history;
pub use history::RawItem;

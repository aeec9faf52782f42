//! What `ssh_config(5)` says about a host.
//!
//! [`resolve`] is an interpreter: it passes over the lines once with a flag that says whether the
//! current block applies, and the first value of a keyword wins. `Include` is read in place, `Match`
//! asks about what is known so far, and `Match final` or `CanonicalizeHostname` cause one second pass.
//! The answer is that of `ssh -G`; the comments name the places where OpenSSH's behaviour is surprising.
//!
//! Nothing here fails because of a bad line somewhere: such a line is a [`Problem`] with file and line,
//! and the caller decides what to do about problems that are in effect for its host.

mod algorithms;
mod aliases;
mod backend;
mod canonical;
mod destination;
mod dump;
mod effective;
mod forward;
mod glob;
mod keywords;
mod lex;
mod matching;
mod parse;
mod pattern;
mod problem;
mod resolve;
pub mod settings;
mod source;
#[cfg(test)]
mod tests;
mod tokens;
mod value;
mod world;

pub use aliases::{Alias, aliases};
pub use destination::{DestinationError, Query};
pub use dump::Effective;
pub use problem::{ConfigError, Origin, PROBLEMS_MAX, Problem, Severity};
pub use resolve::{Resolved, resolve};
pub use source::{FILES_MAX, INCLUDE_DEPTH_MAX, Sources};
pub use world::{ConfigFile, EXEC_TIME_MAX, FILE_BYTES_MAX, SystemWorld, World};

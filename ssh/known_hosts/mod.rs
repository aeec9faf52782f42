//! Which keys hosts are known to have: sshd(8), *SSH_KNOWN_HOSTS FILE FORMAT*.

mod check;
mod krl;
mod parse;
mod revoked;
mod update;
mod write;

pub(crate) use check::key_type;
pub use check::{Known, KnownHosts, Verdict};
pub(crate) use parse::matches;
pub use parse::{Line, Marker, hash_name, parse};
pub(crate) use update::{OwnNames, Update, replace};
pub use write::{WriteError, add};

/// A host's name as `known_hosts` has it: `host`, or `[host]:port` for a port that is not 22.
pub fn entry_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    }
}

//! Hosts and where they come from.

use std::{fmt, path::PathBuf};

/// A host's name as the user gave it: an alias of ssh_config, `user@host:port`, the address of a server that
/// listens (`ws://host:port`, `unix://path`), or what the settings call it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub String);

impl HostId {
    /// Whether it is meant to be the address of a server that listens, right or wrong. Such a server was there
    /// before us and goes on after us, and its turns with it; every other one ends with its connection.
    pub fn is_address(&self) -> bool {
        let scheme = self.0.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|it| it != "ssh")
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for HostId {
    fn from(text: &str) -> Self {
        HostId(text.to_owned())
    }
}

/// A host that can be picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub id: HostId,
    pub origin: Origin,
    /// `user@name:port` where it is known without asking anybody; for display.
    pub address: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An alias in a configuration file; for display, so the home directory may be written as `~`.
    Config { file: PathBuf, line: u32 },
    /// Typed on the command line or in the picker.
    Typed,
    /// The machine that this program runs on.
    ThisMachine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_ssh_are_no_addresses_of_servers() {
        for (text, is_address) in [
            ("devbox", false),
            ("ssh://me@devbox:22", false),
            ("me@h:22", false),
            ("this machine", false),
            ("ws://h:1", true),
            ("wss://h", true),
            ("http://h", true),
            ("unix://", true),
        ] {
            assert_eq!(HostId::from(text).is_address(), is_address, "{text}");
        }
    }
}

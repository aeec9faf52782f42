//! Hosts and where they come from.

use std::{fmt, path::PathBuf};

/// A host's name as the user gave it: an alias of ssh_config, or `user@host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub String);

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

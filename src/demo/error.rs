//! Why there is no demonstration.

use std::{io, path::PathBuf};

/// A demonstration that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("writing the demonstration's files to {}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// ssh_config(5) has no way to write such a path.
    #[error("the folder for temporary files, {}, has a name that an SSH configuration cannot hold", .0.display())]
    Path(PathBuf),
    /// Where the login shell would find `codex`, nothing can be started.
    #[error("programs cannot be started from {}", .0.display())]
    NotExecutable(PathBuf),
    #[error("generating the demonstration's keys: {0}")]
    Keys(String),
    #[error("listening on the loopback interface")]
    Listen(#[source] io::Error),
}

impl DemoError {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            DemoError::Folder { .. } | DemoError::Path(_) => {
                Some("set TMPDIR to a directory that you can write to, with a plain name")
            }
            DemoError::NotExecutable(_) => {
                Some("set TMPDIR to a directory whose file system is not mounted `noexec`")
            }
            DemoError::Listen(_) => Some("allow this program to listen on 127.0.0.1"),
            DemoError::Keys(_) => None,
        }
    }
}

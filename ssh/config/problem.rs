//! What is wrong with a configuration, and where.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

/// More findings than this are counted, not kept: a binary file given by mistake must not fill memory.
pub const PROBLEMS_MAX: usize = 1_000;

/// Where a value or a problem comes from. `line` counts from one; zero means the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub file: PathBuf,
    pub line: u32,
}

impl Origin {
    pub(crate) fn new(file: &Path, line: u32) -> Origin {
        Origin {
            file: file.to_owned(),
            line,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The line is understood and has no effect here.
    Note,
    /// The line asks for something that is not done.
    Warning,
    /// OpenSSH refuses the whole file because of this line; here only the line is skipped.
    Error,
}

/// One finding about the configuration. The rest of the file stays in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// Counts from one; zero means the file as a whole.
    pub line: u32,
    pub severity: Severity,
    /// Whether the line stands where it applies to the host that was asked for. Always false in
    /// [`aliases`](super::aliases), which asks for no host.
    pub in_effect: bool,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Origin::new(&self.file, self.line), self.message)
    }
}

/// Collects problems; the second pass over the files finds the same ones again.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    seen: BTreeSet<(PathBuf, u32, String)>,
    dropped: usize,
}

impl Problems {
    pub(crate) fn add(
        &mut self,
        origin: &Origin,
        severity: Severity,
        in_effect: bool,
        message: impl Into<String>,
    ) {
        let message = message.into();
        let key = (origin.file.clone(), origin.line, message);
        if self.seen.contains(&key) {
            let known = self
                .list
                .iter_mut()
                .filter(|it| it.line == key.1 && it.file == key.0);
            known
                .filter(|it| it.message == key.2)
                .for_each(|it| it.in_effect |= in_effect);
            return;
        }
        if self.list.len() >= PROBLEMS_MAX {
            self.dropped += 1;
            return;
        }
        self.list.push(Problem {
            file: key.0.clone(),
            line: key.1,
            severity,
            in_effect,
            message: key.2.clone(),
        });
        self.seen.insert(key);
    }

    pub(crate) fn into_list(mut self) -> Vec<Problem> {
        if let (true, Some(last)) = (self.dropped > 0, self.list.last().cloned()) {
            let message = format!("{} more problems are not listed", self.dropped);
            self.list.push(Problem {
                line: 0,
                severity: Severity::Warning,
                message,
                ..last
            });
        }
        self.list
    }
}

/// Why nothing can be said about a host.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named explicitly cannot be read. Missing default files are normal.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    /// ssh_config(5): the user's file must belong to the user or root and be writable by the owner only.
    #[error("{}: owned by somebody else or writable by others", file.display())]
    Permissions { file: PathBuf },
    /// A setting for this host leaves no way to connect.
    #[error("{origin}: {message}")]
    Setting { origin: Origin, message: String },
}

impl ConfigError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            ConfigError::Unreadable { .. } => "check the path and its permissions".to_owned(),
            ConfigError::Permissions { file } => {
                format!("chown it to your user and run: chmod go-w {}", file.display())
            }
            ConfigError::Setting { origin, .. } => format!("correct {origin}"),
        }
    }
}

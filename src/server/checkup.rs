//! What `codex doctor` asks about the state that is this server's, without serving anybody.

use codex_mcp::read_servers;
use codex_protocol::v2::ConfigWarning;
use codex_threads::{ListQuery, Problem, ThreadStore};

use crate::server::Server;

pub use codex_agent::model::{ReachError, reach};

/// The MCP servers of the configuration, as they stand there.
pub struct McpCheckup {
    /// Those that can be started, enabled or not.
    pub usable: usize,
    /// What is wrong with the others; never a value.
    pub problems: Vec<String>,
}

/// The threads on disk.
#[derive(Default)]
pub struct ThreadsCheckup {
    /// All of them, archived ones too.
    pub count: usize,
    /// Logs that cannot be listed, and damage that was met: at most a few are told.
    pub problems: Vec<String>,
}

impl Server {
    /// Whether there is a `config.toml`, and what is wrong in it. Blocking, and short.
    pub fn config_warnings(&self) -> (bool, Vec<ConfigWarning>) {
        let loaded = self.settings().load();
        (loaded.exists, loaded.warnings.to_vec())
    }

    /// Reads the configuration of the MCP servers, and starts none. Blocking, and short.
    pub fn check_mcp(&self) -> McpCheckup {
        let (servers, problems) = read_servers(&self.config().mcp_servers);
        McpCheckup {
            usable: servers.len(),
            problems: problems.iter().map(ToString::to_string).collect(),
        }
    }

    /// Looks at every log that has changed since it was listed last. Blocking.
    ///
    /// # Errors
    ///
    /// The folder cannot be read; the text says why.
    pub fn check_threads(&self) -> Result<ThreadsCheckup, String> {
        let folder = self.setup().own_folder();
        // Whoever has no threads gets no folder for them.
        if !folder.join("threads").is_dir() {
            return Ok(ThreadsCheckup::default());
        }
        let mut checkup = ThreadsCheckup::default();
        let store = ThreadStore::open(&folder).map_err(|error| error.to_string())?;
        for archived in [false, true] {
            let mut cursor = None;
            loop {
                let query = ListQuery {
                    cursor: cursor.take(),
                    limit: Some(u32::MAX),
                    archived,
                    ..ListQuery::default()
                };
                let page = store.list(&query).map_err(|error| error.to_string())?;
                checkup.count += page.threads.len();
                for problem in page.problems.iter().map(damage) {
                    if !checkup.problems.contains(&problem) {
                        checkup.problems.push(problem);
                    }
                }
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(checkup)
    }
}

fn damage(problem: &Problem) -> String {
    match problem {
        Problem::Unlisted { path, reason } => format!("{} cannot be listed: {reason}", path.display()),
        Problem::TornTail { bytes, note, .. } => {
            format!(
                "a log had a torn end of {bytes} bytes, which is kept in {}",
                note.display()
            )
        }
        Problem::MissingLineEnd { .. } => "a log had no line end, which was added".to_owned(),
        Problem::Garbage { offset, bytes } => format!("a log has {bytes} damaged bytes at {offset}"),
        Problem::BrokenLink { offset } => format!("a log has a damaged turn at {offset}"),
    }
}

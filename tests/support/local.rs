//! An app-server as a child process, without SSH, in a home of its own.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{AppServer, Direction, Model, official};

/// A running app-server, its model and its home; dropping it ends and removes all of them.
pub struct Local {
    /// The conversation.
    pub server: AppServer,
    /// The model it asks.
    pub model: Model,
    program: PathBuf,
    ended: Vec<Vec<(Direction, Value)>>,
    home: tempfile::TempDir,
}

impl Local {
    /// Starts the official app-server; nothing has been said yet.
    ///
    /// # Panics
    ///
    /// When the official program is missing; ask [`crate::available`] first.
    pub fn start() -> Local {
        Local::start_program(official())
    }

    /// Starts `program app-server`; nothing has been said yet.
    pub fn start_program(program: PathBuf) -> Local {
        let model = Model::start();
        // Codex may write below /tmp without asking, and homes are not there.
        let home = tempfile::Builder::new()
            .prefix("codex-local-")
            .tempdir_in("/var/tmp")
            .unwrap();
        fs::create_dir(home.path().join(".codex")).unwrap();
        fs::create_dir(home.path().join("work")).unwrap();
        fs::write(home.path().join(".codex/config.toml"), model.config_toml()).unwrap();
        let server = spawn(&program, home.path());
        Local {
            server,
            model,
            program,
            ended: Vec::new(),
            home,
        }
    }

    /// Ends the app-server and starts another one in the same home.
    pub fn restart(&mut self) {
        // The first one may still write to what the second one reads.
        self.ended.push(self.server.transcript().to_vec());
        self.server.end();
        self.server = spawn(&self.program, self.home());
    }

    /// What was said to each app-server and by it, the one that runs last.
    pub fn transcripts(&self) -> Vec<Vec<(Direction, Value)>> {
        let mut all = self.ended.clone();
        all.push(self.server.transcript().to_vec());
        all
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The folder `~/work`, which is there from the start.
    pub fn work(&self) -> PathBuf {
        self.home().join("work")
    }

    /// A new thread in `~/work`. Hands back its id.
    pub fn start_thread(&mut self) -> String {
        self.server
            .start_thread(&self.home.path().join("work").display().to_string())
    }
}

fn spawn(program: &Path, home: &Path) -> AppServer {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .env("HOME", home)
        .env("SHELL", "/bin/bash")
        .env("LANG", "C.UTF-8")
        .current_dir(home);
    command.arg("app-server");
    AppServer::spawn(command)
}

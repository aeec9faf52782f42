//! The two programs, homes for them, and what the kernel says about a process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use codex_testkit::{Model, PINNED_VERSION, repository};
use tempfile::TempDir;

use crate::Outcome;

/// How long a server may take to end by itself after its input was closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Official,
}

/// A program that has an `app-server`.
pub(crate) struct Program {
    pub(crate) side: Side,
    pub(crate) path: PathBuf,
}

impl Program {
    /// Ours, built by somebody else.
    pub(crate) fn ours(path: PathBuf) -> Program {
        Program {
            side: Side::Ours,
            path,
        }
    }

    /// Ours, as it is released; builds it.
    pub(crate) fn release() -> Outcome<Program> {
        let output = Command::new(repository().join(".ci/release"))
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err("`.ci/release` failed".into());
        }
        let path = String::from_utf8(output.stdout)?;
        Ok(Program::ours(path.trim().into()))
    }

    /// The official program itself, without npm's launcher for Node.js in front of it.
    pub(crate) fn official() -> Outcome<Program> {
        let scope = repository().join(".deps/node_modules/@openai");
        let lack = || {
            let text = "run `tests/run --no-run`, which installs it, or leave it out with --without-official";
            format!(
                "no official codex {PINNED_VERSION} in {}: {text}",
                scope.display()
            )
        };
        let manifest = fs::read_to_string(scope.join("codex/package.json")).map_err(|_| lack())?;
        if serde_json::from_str::<serde_json::Value>(&manifest)?["version"] != PINNED_VERSION {
            return Err(lack().into());
        }
        let targets = fs::read_dir(&scope)?
            .flatten()
            .flat_map(|platform| fs::read_dir(platform.path().join("vendor")))
            .flatten()
            .flatten();
        let path = targets
            .map(|target| target.path().join("bin/codex"))
            .find(|it| it.is_file())
            .ok_or_else(lack)?;
        Ok(Program {
            side: Side::Official,
            path,
        })
    }
}

/// A home directory whose configuration names a scripted model of its own.
pub(crate) struct Home {
    folder: TempDir,
    _model: Model,
}

impl Home {
    pub(crate) fn new() -> Outcome<Home> {
        let model = Model::start();
        // What is below /tmp is writable in a sandbox, and homes are not.
        let folder = tempfile::Builder::new()
            .prefix("codex-bench-")
            .tempdir_in("/var/tmp")?;
        fs::create_dir(folder.path().join(".codex"))?;
        fs::create_dir(folder.path().join("work"))?;
        fs::write(folder.path().join(".codex/config.toml"), model.config_toml())?;
        Ok(Home {
            folder,
            _model: model,
        })
    }

    /// The folder in which threads work.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// `$CODEX_HOME`.
    pub(crate) fn codex_home(&self) -> PathBuf {
        self.folder.path().join(".codex")
    }

    /// `PROGRAM app-server` in this home, with nothing of the caller's environment but `PATH`.
    pub(crate) fn app_server(&self, program: &Program) -> Command {
        let mut command = Command::new(&program.path);
        command
            .arg("app-server")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("SHELL", "/bin/bash")
            .env("LANG", "C.UTF-8")
            .current_dir(self.work());
        command
    }
}

/// A process that is ended when it is dropped: by itself if its input is closed by then, else by force.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn new(child: Child) -> Process {
        Process(child)
    }

    pub(crate) fn memory(&self) -> Outcome<Memory> {
        Memory::of(self.0.id())
    }

    pub(crate) fn kill(&mut self) {
        _ = self.0.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// What a process has in memory, in MB of 10^6 bytes; see proc_pid_status(5).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// `VmRSS`: everything that is resident, the program's file included.
    pub(crate) resident: f64,
    /// `RssAnon`: what only this process has.
    pub(crate) anonymous: f64,
    /// `VmHWM`: the most that was ever resident.
    pub(crate) peak: f64,
}

impl Memory {
    fn of(pid: u32) -> Outcome<Memory> {
        let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
        let field = |name: &str| -> Outcome<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|it| it.trim_end_matches("kB").trim().parse::<f64>().ok());
            let lack = || format!("no {name} in the status of process {pid}");
            Ok(kilobytes.ok_or_else(lack)? * 1024.0 / 1e6)
        };
        Ok(Memory {
            resident: field("VmRSS:")?,
            anonymous: field("RssAnon:")?,
            peak: field("VmHWM:")?,
        })
    }
}

//! The pinned official `codex`: where `tests/run` put it, and the JSON Schema it generates.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The version of the npm package `@openai/codex` that `tests/run` installs.
pub const PINNED_VERSION: &str = "0.169.0";

/// The oldest Node.js that the package's manifest allows.
const OLDEST_NODE: u32 = 16;

/// The repository's folder.
pub fn repository() -> &'static Path {
    let support = Path::new(env!("CARGO_MANIFEST_DIR"));
    support.ancestors().nth(2).unwrap()
}

/// The folder with the official package's program, `codex`, as npm links it.
///
/// # Panics
///
/// When it is not there; ask [`crate::available`] first.
pub fn official() -> PathBuf {
    if let Some(reason) = lack() {
        panic!("{reason}");
    }
    repository().join(".deps/node_modules/.bin/codex")
}

/// The official program itself, without npm's launcher in front of it: one process instead of two, and no Node.
pub(crate) fn native() -> PathBuf {
    let scope = repository().join(".deps/node_modules/@openai");
    let platforms = std::fs::read_dir(&scope)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    platforms
        .flat_map(|platform| std::fs::read_dir(platform.join("vendor")).into_iter().flatten())
        .map(|target| target.unwrap().path().join("bin/codex"))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("no program for this platform under {}", scope.display()))
}

/// Why the official program cannot be used, or nothing when it can.
pub(crate) fn lack() -> Option<String> {
    let manifest = repository().join(".deps/node_modules/@openai/codex/package.json");
    let Ok(text) = std::fs::read_to_string(&manifest) else {
        return Some(format!(
            "the official codex is not in {} (tests/run installs it)",
            manifest.display()
        ));
    };
    let version = serde_json::from_str::<serde_json::Value>(&text).unwrap()["version"].clone();
    if version != PINNED_VERSION {
        return Some(format!(
            "the official codex in .deps is {version}, not {PINNED_VERSION} (run tests/run)"
        ));
    }
    static NODE: OnceLock<Option<String>> = OnceLock::new();
    NODE.get_or_init(node_lack).clone()
}

/// npm's launcher of the official program is a script for Node.js.
fn node_lack() -> Option<String> {
    let output = Command::new("node").arg("--version").output().ok();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let major = |version: &str| version.strip_prefix('v')?.split('.').next()?.parse().ok();
    match version.as_deref().and_then(major) {
        Some(OLDEST_NODE..) => None,
        Some(_) => Some(format!(
            "Node.js {} is older than {OLDEST_NODE}",
            version.unwrap_or_default()
        )),
        None => Some("Node.js is not installed".into()),
    }
}

/// The folder of JSON Schema files which the official program generates, experimental methods included if
/// asked for. Generated once per process.
///
/// # Panics
///
/// When the program is missing or fails.
pub fn schema(experimental: bool) -> &'static Path {
    static STABLE: OnceLock<tempfile::TempDir> = OnceLock::new();
    static EXPERIMENTAL: OnceLock<tempfile::TempDir> = OnceLock::new();
    let once = if experimental { &EXPERIMENTAL } else { &STABLE };
    once.get_or_init(|| generate(experimental)).path()
}

fn generate(experimental: bool) -> tempfile::TempDir {
    official();
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(native());
    command
        .args(["app-server", "generate-json-schema", "--out"])
        .arg(folder.path());
    if experimental {
        command.arg("--experimental");
    }
    let output = command
        .env("CODEX_HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "generate-json-schema: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder
}

/// What the official server leaves behind in `/tmp` when a command in its sandbox is killed (seen): empty
/// directories, by which everything below `/tmp` looks like a part of a repository to other programs and tests.
const LITTER: [&str; 4] = ["/tmp/.git", "/tmp/.codex", "/tmp/.agents", "/tmp/.aws"];

/// Removes it. A directory that holds something is somebody's, and stays.
pub(crate) fn sweep() {
    for directory in LITTER {
        // Mostly there is none.
        let _ = std::fs::remove_dir(directory);
    }
}

//! The programs called `codex` on this machine, and which of them a shell would start.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::json;
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

use super::finding::Finding;

/// How long a program may take to tell its version: the official one starts through Node.
const VERSION_PATIENCE: Duration = Duration::from_secs(5);
/// A version is one line.
const VERSION_BYTES_MAX: u64 = 4096;
/// Folders of the search path that are looked at.
const FOLDERS_MAX: usize = 256;
/// How the official program begins its version.
const OFFICIAL: &str = "codex-cli ";

struct Program {
    path: PathBuf,
    /// What it calls itself, or why that is not known.
    version: String,
    is_this: bool,
}

/// This program, and whether it is the one that `codex` starts.
pub(super) async fn examine(this: &Path, version: &str, search_path: &str) -> Vec<Finding> {
    let mut programs = Vec::new();
    for path in on_path(search_path) {
        let is_this = same(&path, this);
        let version = match is_this {
            true => format!("codex {version}"),
            false => ask(&path).await,
        };
        programs.push(Program {
            path,
            version,
            is_this,
        });
    }
    let own = Finding::fine("program", format!("codex {version} at {}", this.display()));
    vec![own, first(&programs)]
}

fn first(programs: &[Program]) -> Finding {
    let describe = |it: &Program| {
        let whose = match (it.is_this, it.version.starts_with(OFFICIAL)) {
            (true, _) => "this program",
            (_, true) => "the official one",
            _ => "another",
        };
        format!("{} ({}, {whose})", it.path.display(), it.version)
    };
    let list: Vec<_> = programs
        .iter()
        .map(|it| json!({ "path": it.path, "version": it.version, "isThis": it.is_this }))
        .collect();
    let stage = "path";
    let finding = match programs {
        [] => Finding::warning(
            stage,
            "no `codex` is on PATH",
            "put the folder of this program on PATH, so that other machines find it here",
        ),
        [first, rest @ ..] => {
            let hidden: Vec<String> = rest.iter().map(describe).collect();
            let behind = match hidden.is_empty() {
                true => String::new(),
                false => format!("; behind it {}", hidden.join(", ")),
            };
            let text = format!("`codex` starts {}{behind}", describe(first));
            // Which one is wanted is the user's choice: neither is a fault.
            Finding::fine(stage, text)
        }
    };
    finding.details(json!(list))
}

fn on_path(search_path: &str) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    std::env::split_paths(search_path)
        .filter(|it| it.is_absolute())
        .take(FOLDERS_MAX)
        .map(|it| it.join("codex"))
        .filter(|it| is_program(it) && seen.insert(it.clone()))
        .collect()
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

fn same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// The first line of `--version`.
async fn ask(path: &Path) -> String {
    let started = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return format!("does not start: {error}"),
    };
    let mut output = Vec::new();
    let read = async {
        if let Some(stdout) = &mut child.stdout {
            // What it said before an error counts.
            _ = stdout.take(VERSION_BYTES_MAX).read_to_end(&mut output).await;
        }
    };
    if timeout(VERSION_PATIENCE, read).await.is_err() {
        return format!("tells no version within {} s", VERSION_PATIENCE.as_secs());
    }
    let text = String::from_utf8_lossy(&output);
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => line.to_owned(),
        _ => "tells no version".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, text: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let file = folder.join("codex");
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    #[tokio::test]
    async fn the_first_program_on_the_path_wins_and_the_official_one_is_known_by_its_version() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, three] = ["one", "two", "three"].map(|it| dir.path().join(it));
        script(&one, "echo codex-cli 0.169.0");
        let this = script(&two, "exit 1");
        script(&three, "exit 1");
        std::fs::write(dir.path().join("codex"), "no program").unwrap();
        let path =
            std::env::join_paths([dir.path(), &one, &two, &three, &one, Path::new("relative")]).unwrap();
        let findings = examine(&this, "1.2.3", path.to_str().unwrap()).await;
        let text = &findings[1].text;
        let at = |it: &Path| it.join("codex").display().to_string();
        assert_eq!(
            *text,
            format!(
                "`codex` starts {} (codex-cli 0.169.0, the official one); behind it {} (codex 1.2.3, this \
                 program), {} (tells no version, another)",
                at(&one),
                at(&two),
                at(&three)
            )
        );
    }

    #[tokio::test]
    async fn a_path_without_codex_is_said() {
        let findings = examine(Path::new("/nowhere/codex"), "1", "/nowhere").await;
        assert!(findings[1].text.contains("no `codex`") && findings[1].fix.is_some());
    }
}

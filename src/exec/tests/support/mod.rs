//! What the tests of this crate share: commands with sensible fields, and waiting for conditions.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test binary uses its own part of it"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use codex_exec::{CaptureLimits, Command, Exit, Output, Process, Runner, Stdin};
use codex_protocol::v2::SandboxPolicy;
use serde_json::json;

/// How long a condition may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn helper() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_codex-exec-helper"))
}

pub(crate) fn policy(value: serde_json::Value) -> SandboxPolicy {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn command(argv: &[&str], cwd: &Path) -> Command {
    Command {
        argv: argv.iter().map(|word| word.to_string()).collect(),
        cwd: cwd.to_owned(),
        environment: BTreeMap::from([(
            "PATH".to_owned(),
            "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned(),
        )]),
        stdin: Stdin::Null,
        terminal: None,
        time_out: Some(PATIENCE),
        capture: CaptureLimits::USUAL,
        sandbox: policy(json!({"type": "dangerFullAccess"})),
        hidden: Vec::new(),
        unix_sockets: Vec::new(),
    }
}

/// Runs a command to its end.
pub(crate) async fn run(runner: &Runner, command: Command) -> (Exit, Output) {
    let (process, chunks) = runner.spawn(command).await.unwrap();
    drop(chunks);
    let exit = process.wait().await;
    (exit, process.output())
}

/// Waits until the output so far contains a text.
pub(crate) async fn until_printed(process: &Process, text: &str) {
    until(&format!("{text:?} is printed"), || {
        process.output().aggregated.text().contains(text)
    })
    .await;
}

pub(crate) async fn until(name: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {name}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process runs that has this word among its arguments.
pub(crate) fn is_running(word: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| {
        line.split(|&byte| byte == 0)
            .any(|argument| argument == word.as_bytes())
    })
}

/// A number of seconds that no other process sleeps for.
pub(crate) fn unique_sleep() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}.{:04}",
        1_000_000 + std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

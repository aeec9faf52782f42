//! Attacks on the sandbox: each mechanism that works here, in each mode.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

mod files;
mod life;
mod reach;
#[path = "../support/mod.rs"]
mod support;

use std::{
    fs,
    io::{ErrorKind, Read},
    net::{TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::symlink,
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use codex_exec::{
    Cause, Command, Exit, Output, Runner, SpawnError, Status, Stdin, TerminalSize,
    sandbox::{Mechanism, Outcome, Refusal},
};
use serde_json::{Value, json};
use support::{command, helper, is_running, policy, run, unique_sleep, until, until_printed};

/// A workspace with a repository, a place outside, and a mechanism.
struct Field {
    runner: Runner,
    mechanism: Mechanism,
    workspace: tempfile::TempDir,
    outside: tempfile::TempDir,
}

impl Field {
    /// One for each mechanism that works here; the others are named.
    async fn each() -> Vec<Field> {
        let mut fields = Vec::new();
        for mechanism in [Mechanism::Bubblewrap, Mechanism::Landlock] {
            let runner = Runner::with_mechanism(helper(), mechanism);
            if runner.preflight().await.chosen().is_none() {
                skipped(&format!("{:?}", runner.preflight().await.findings));
                let required = std::env::var("CODEX_TESTS_REQUIRE").unwrap_or_default();
                assert!(
                    !required.split(',').any(|word| word == "sandbox"),
                    "{mechanism:?} does not work here"
                );
                continue;
            }
            // Not below /tmp, which is writable by itself.
            let directory = || {
                tempfile::Builder::new()
                    .prefix("codex-exec")
                    .tempdir_in("/var/tmp")
                    .unwrap()
            };
            let field = Field {
                runner,
                mechanism,
                workspace: directory(),
                outside: directory(),
            };
            fs::create_dir_all(field.workspace.path().join("sub")).unwrap();
            fs::create_dir_all(field.workspace.path().join(".git/hooks")).unwrap();
            fs::write(field.workspace.path().join(".git/config"), "original").unwrap();
            fs::write(field.workspace.path().join("old.txt"), "old").unwrap();
            fs::write(field.outside.path().join("secret"), "treasure").unwrap();
            fields.push(field);
        }
        fields
    }

    fn workspace(&self) -> &Path {
        self.workspace.path()
    }

    fn outside(&self) -> &Path {
        self.outside.path()
    }

    fn command(&self, policy: Value, argv: &[&str]) -> Command {
        let mut command = command(argv, self.workspace());
        command.sandbox = self::policy(policy);
        command
            .environment
            .insert("OUT".to_owned(), self.outside().display().to_string());
        command
    }

    async fn sh(&self, policy: Value, script: &str) -> (Exit, Output) {
        run(&self.runner, self.command(policy, &["sh", "-c", script])).await
    }

    /// Runs a script of which every line must fail; a line that succeeds is printed.
    async fn all_fail(&self, policy: Value, lines: &[&str]) {
        for line in lines {
            let script = format!("{{ {line} ; }} 2>/dev/null && echo SUCCEEDED");
            let (exit, output) = self.sh(policy.clone(), &script).await;
            assert!(
                exit.code() != 0 && !output.stdout.text().contains("SUCCEEDED"),
                "{:?}: {line}",
                self.mechanism
            );
        }
        assert_eq!(
            fs::read_to_string(self.outside().join("secret")).unwrap(),
            "treasure"
        );
        assert_eq!(
            fs::read_dir(self.outside()).unwrap().count(),
            1,
            "{:?}",
            self.mechanism
        );
    }

    async fn all_succeed(&self, policy: Value, lines: &[&str]) {
        for line in lines {
            let (exit, output) = self.sh(policy.clone(), line).await;
            assert_eq!(
                exit.status,
                Status::Exited(0),
                "{:?}: {line}: {}",
                self.mechanism,
                output.aggregated.text()
            );
        }
    }

    /// Runs this test binary inside the sandbox, as [`inside`].
    async fn attack(&self, policy: Value, attack: &str) -> String {
        let binary = std::env::current_exe().unwrap();
        let mut command = self.command(
            policy,
            &[binary.to_str().unwrap(), "--exact", "inside", "--nocapture"],
        );
        command.environment.insert("ATTACK".to_owned(), attack.to_owned());
        let text = run(&self.runner, command).await.1.stdout.text();
        let found = text
            .lines()
            .find_map(|line| line.split_once("RESULT "))
            .map(|(_, result)| result.to_owned());
        found.unwrap_or_else(|| panic!("{:?}: {attack}: {text}", self.mechanism))
    }
}

fn read_only() -> Value {
    json!({"type": "readOnly"})
}

fn workspace_write() -> Value {
    json!({"type": "workspaceWrite"})
}

/// The attacker: does nothing unless another test started it in a sandbox.
#[test]
fn inside() {
    let Ok(attack) = std::env::var("ATTACK") else {
        return;
    };
    let (kind, target) = attack.split_once(' ').unwrap_or((&attack, ""));
    let outcome = match kind {
        "tcp" => TcpStream::connect(target).map(drop),
        "listen" => TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| TcpStream::connect(listener.local_addr()?))
            .map(drop),
        "unix" => UnixStream::connect(target).map(drop),
        "abstract" => SocketAddr::from_abstract_name(target)
            .and_then(|address| UnixStream::connect_addr(&address))
            .map(drop),
        "datagram" => UnixDatagram::unbound()
            .and_then(|socket| socket.send_to(b"x", target))
            .map(drop),
        "datagram-pair" => UnixDatagram::pair()
            .and_then(|(socket, _)| socket.send_to(b"x", target))
            .map(drop),
        "stream-pair" => UnixStream::pair().map(drop),
        "kill" => rustix_kill(target),
        other => panic!("no attack {other}"),
    };
    println!(
        "\nRESULT {}",
        outcome.map_or_else(|error| format!("{:?}", error.kind()), |()| "done".to_owned())
    );
}

/// Asks whether a signal could be sent.
fn rustix_kill(pid: &str) -> std::io::Result<()> {
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("kill -0 {pid}")])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(ErrorKind::PermissionDenied.into())
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn skipped(reason: &str) {
    println!("skipped: {reason}");
}

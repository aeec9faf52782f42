//! Builds what is measured, as it is released.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use codex_testkit::repository;

use crate::Outcome;

/// The crate `codex-ssh` in a program without anything else, with the profile and the flags of `.ci/release`.
pub(crate) fn client() -> Outcome<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let built = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--release", "--package", "codex-ssh"])
        .args(["--example", "bench_client", "--target", &target])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(repository())
        .stdin(Stdio::null())
        .status()?;
    if !built.success() {
        return Err("bench_client could not be built".into());
    }
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into());
    let program = repository().join(folder).join(target);
    Ok(program.join("release/examples/bench_client"))
}

/// `codex` as it is released; builds it.
pub(crate) fn codex() -> Outcome<PathBuf> {
    let output = Command::new(repository().join(".ci/release"))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("`.ci/release` failed".into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

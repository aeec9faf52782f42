//! The hidden mode of our own binary: supervises one sandboxed command, or tries a sandbox from the inside.

use std::ffi::OsString;

/// The first argument that turns the binary into the sandbox's helper. The rest goes to [`sandbox_main`].
pub const SANDBOX_MODE: &str = "__sandbox";
pub(crate) const RUN: &str = "run";
pub(crate) const ENTER: &str = "enter";
pub(crate) const PROBE: &str = "probe";

/// The exit code for arguments that only this crate gives and nobody types.
const USAGE: i32 = 2;

/// Does what the arguments after [`SANDBOX_MODE`] say and ends the process. To be called first in `main`,
/// before any thread exists.
pub fn sandbox_main(arguments: impl Iterator<Item = OsString>) -> ! {
    let arguments: Vec<OsString> = arguments.collect();
    let words: Vec<&str> = arguments
        .iter()
        .map(|word| word.to_str().unwrap_or_default())
        .collect();
    let code = match words[..] {
        [RUN, control] => run(control),
        [ENTER, ourselves, ..] => enter(ourselves, arguments.get(2..).unwrap_or_default()),
        [PROBE, directory] => super::preflight::probe(directory.as_ref()),
        _ => USAGE,
    };
    std::process::exit(code)
}

#[cfg(target_os = "linux")]
fn run(control: &str) -> i32 {
    control.parse().map_or(USAGE, super::supervisor::supervise)
}

#[cfg(target_os = "linux")]
fn enter(ourselves: &str, command: &[OsString]) -> i32 {
    ourselves
        .parse()
        .map_or(USAGE, |ourselves| super::supervisor::enter(ourselves, command))
}

#[cfg(not(target_os = "linux"))]
fn run(_: &str) -> i32 {
    USAGE
}

#[cfg(not(target_os = "linux"))]
fn enter(_: &str, _: &[OsString]) -> i32 {
    USAGE
}

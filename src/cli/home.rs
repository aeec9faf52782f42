//! Where this user's state is, for what runs on this machine.

use std::path::PathBuf;

use codex_server::Setup;

use super::report::{Code, Problem};

/// `$CODEX_HOME`, or else `~/.codex`; absolute, and it need not exist.
pub(crate) fn codex_home() -> Result<PathBuf, Problem> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    };
    let home = set("CODEX_HOME").or_else(|| Some(set("HOME")?.join(".codex")));
    let home = home.ok_or_else(|| {
        Problem::usage("neither CODEX_HOME nor HOME is set")
            .hint("set CODEX_HOME to the directory for this program's state")
    })?;
    Ok(current_dir()?.join(home))
}

/// Where the program was started.
pub(crate) fn current_dir() -> Result<PathBuf, Problem> {
    std::env::current_dir()
        .map_err(|error| Problem::new(Code::Usage, format!("finding the working directory: {error}")))
}

/// This program for children of this process. Its path may lead to another version by then, or to nothing: an
/// installation keeps two. What proc(5) has stays this program.
fn helper() -> Result<PathBuf, Problem> {
    let running = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() {
        return Ok(running);
    }
    std::env::current_exe()
        .map_err(|error| Problem::new(Code::Usage, format!("finding this program: {error}")))
}

/// Reads the environment, once.
pub(crate) fn setup() -> Result<Setup, Problem> {
    // Names and values that are not UTF-8 cannot travel as JSON; no tool depends on one.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment: std::collections::BTreeMap<_, _> = environment.collect();
    Ok(Setup {
        codex_home: codex_home()?,
        sandbox_helper: helper()?,
        cwd: current_dir()?,
        environment,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: None,
    })
}

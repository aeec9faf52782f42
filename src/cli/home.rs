//! Where this user's state is, for what runs on this machine.

use std::path::PathBuf;

use codex_server::Setup;

use super::report::{Code, Problem};

/// Reads the environment, once.
pub(crate) fn setup() -> Result<Setup, Problem> {
    let failed = |what: &str, error: std::io::Error| Problem::new(Code::Usage, format!("{what}: {error}"));
    let cwd = std::env::current_dir().map_err(|error| failed("finding the working directory", error))?;
    // Names and values that are not UTF-8 cannot travel as JSON; no tool depends on one.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment: std::collections::BTreeMap<_, _> = environment.collect();
    let set = |name: &str| {
        environment
            .get(name)
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    };
    let home = set("CODEX_HOME").or_else(|| Some(set("HOME")?.join(".codex")));
    let home = home.ok_or_else(|| {
        Problem::usage("neither CODEX_HOME nor HOME is set")
            .hint("set CODEX_HOME to the directory for this program's state")
    })?;
    Ok(Setup {
        codex_home: cwd.join(home),
        sandbox_helper: std::env::current_exe().map_err(|error| failed("finding this program", error))?,
        cwd,
        environment,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

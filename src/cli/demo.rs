//! `codex connect --demo`: hosts inside this program, in place of the user's.

use codex_demo::{Demo, DemoError, Surroundings};

use super::{
    ConnectArgs,
    report::{Code, Problem},
};

/// Starts the hosts if the command line asks for them, and makes it as if they and their configuration had
/// been named there.
pub(crate) async fn start(args: &mut ConnectArgs) -> Result<Option<Demo>, Problem> {
    if !args.demo {
        return Ok(None);
    }
    let surroundings = Surroundings {
        sandbox_helper: std::env::current_exe()
            .map_err(|error| Problem::new(Code::TurnFailed, format!("finding this program: {error}")))?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        temporary: std::env::temp_dir(),
        search_path: std::env::var("PATH").ok(),
    };
    let demo = Demo::start(surroundings).await.map_err(|it| problem(&it))?;
    args.hosts = demo.aliases().map(str::to_owned).to_vec();
    args.ssh.file = Some(demo.config_path().to_owned());
    Ok(Some(demo))
}

fn problem(error: &DemoError) -> Problem {
    let cause = std::error::Error::source(error)
        .map(|it| format!(": {it}"))
        .unwrap_or_default();
    let problem = Problem::new(Code::TurnFailed, format!("{error}{cause}"));
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

//! `codex login`: the key that this machine's app-server uses.

use std::io::{IsTerminal, Read};

use clap::{Args, Subcommand};
use codex_server::{Kept, LoginError, Logins, Origin, Place, Setup};
use codex_tui::text::sanitize::sanitize_line;
use zeroize::Zeroizing;

use super::{
    home,
    report::{self, Code, Problem},
};

/// More than any key has; the rest is not read.
const INPUT_BYTES_MAX: u64 = 64 << 10;

/// Store the API key that this machine's app-server uses
///
/// The environment variable OPENAI_API_KEY, or the `env_key` of a provider, works without any login.
#[derive(Args)]
#[command(after_help = "Examples:
  printenv OPENAI_API_KEY | codex login --with-api-key
  codex login status")]
pub(crate) struct LoginArgs {
    /// Read the API key from standard input
    #[arg(long)]
    with_api_key: bool,
    #[command(subcommand)]
    command: Option<LoginCommand>,
}

#[derive(Subcommand)]
enum LoginCommand {
    /// Say which credential would be used, never its value
    Status,
    /// Forget the stored key
    Logout,
}

pub(crate) fn run(args: &LoginArgs) -> Result<Code, Problem> {
    let setup = home::setup()?;
    let logins = Logins::of(&setup);
    match &args.command {
        Some(LoginCommand::Status) => status(&setup, &logins),
        Some(LoginCommand::Logout) => logout(&logins),
        None if args.with_api_key => login(&logins),
        None => {
            let hint =
                "pipe an API key to `codex login --with-api-key`; `codex login status` says what is stored";
            Err(Problem::usage("only API keys can be stored").hint(hint))
        }
    }
}

/// `codex logout`, as the official program has it beside `codex login`.
pub(crate) fn run_logout() -> Result<Code, Problem> {
    logout(&Logins::of(&home::setup()?))
}

fn login(logins: &Logins) -> Result<Code, Problem> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let hint = "for instance `printenv OPENAI_API_KEY | codex login --with-api-key`";
        return Err(Problem::usage("the API key is read from a pipe, not typed").hint(hint));
    }
    let mut key = Zeroizing::new(String::new());
    let read = input.lock().take(INPUT_BYTES_MAX).read_to_string(&mut key);
    read.map_err(|error| Problem::usage(format!("reading the API key from standard input: {error}")))?;
    let Kept {
        place,
        why_no_keyring,
    } = logins.store(key).map_err(|error| problem(&error))?;
    match place {
        Place::Keyring => report::note("The API key is stored in the system keyring."),
        Place::File(file) => {
            let why = why_no_keyring.map(|it| format!(" ({})", sanitize_line(&it.to_string())));
            report::note(&format!(
                "The API key is stored in {}, which only you can read{}.",
                file.display(),
                why.unwrap_or_default()
            ));
        }
    }
    Ok(Code::Done)
}

fn status(setup: &Setup, logins: &Logins) -> Result<Code, Problem> {
    let environment_key = setup.variable("OPENAI_API_KEY");
    if logins.origin(environment_key) == Some(Origin::Environment) {
        report::note("Logged in with the API key in OPENAI_API_KEY.");
        return Ok(Code::Done);
    }
    let text = match logins.look().map_err(|error| problem(&error))? {
        Some((_, Place::Keyring)) => "Logged in with an API key stored in the system keyring.".to_owned(),
        Some((_, Place::File(file))) => {
            format!("Logged in with an API key stored in {}.", file.display())
        }
        None => {
            report::note("Not logged in.");
            return Ok(Code::TurnFailed);
        }
    };
    report::note(&text);
    Ok(Code::Done)
}

fn logout(logins: &Logins) -> Result<Code, Problem> {
    match logins.forget().map_err(|error| problem(&error))? {
        true => report::note("The stored API key is forgotten."),
        false => report::note("No API key was stored."),
    }
    Ok(Code::Done)
}

fn problem(error: &LoginError) -> Problem {
    let cause = std::error::Error::source(error)
        .map(|it| format!(": {it}"))
        .unwrap_or_default();
    let text = format!("{error}{cause}");
    let problem = Problem::new(Code::TurnFailed, sanitize_line(&text));
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

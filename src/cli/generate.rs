//! `codex app-server generate-json-schema` and `generate-ts`: the protocol, described for other languages.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use codex_protocol::schema::{Files, json_schema, typescript};

use super::report::{Code, Problem};

/// Write JSON Schema of all that this server answers, asks and tells
///
/// One document for each kind of message, one for each type of parameters and answers, and all of them merged into
/// one. Files that are there under the same names are replaced; others stay.
#[derive(Args)]
#[command(after_help = "Example:
  codex app-server generate-json-schema --out schema")]
pub(super) struct JsonSchemaArgs {
    #[command(flatten)]
    output: Output,
}

/// Write TypeScript declarations of all that this server answers, asks and tells
///
/// One file for each type, and an index. Files that are there under the same names are replaced; others stay.
#[derive(Args)]
#[command(after_help = "Example:
  codex app-server generate-ts --out src/protocol")]
pub(super) struct TypeScriptArgs {
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct Output {
    /// The directory to write to; made if it is not there
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Also methods that may still change: those for clients with the capability `experimentalApi`
    #[arg(long)]
    experimental: bool,
}

pub(super) fn generate_json_schema(args: &JsonSchemaArgs) -> Result<Code, Problem> {
    write(&args.output.out, &json_schema(args.output.experimental))
}

pub(super) fn generate_typescript(args: &TypeScriptArgs) -> Result<Code, Problem> {
    write(&args.output.out, &typescript(args.output.experimental))
}

fn write(folder: &Path, files: &Files) -> Result<Code, Problem> {
    for (name, text) in files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|it| refused("creating the directory", parent, &it))?;
        fs::write(&path, text).map_err(|it| refused("writing", &path, &it))?;
    }
    Ok(Code::Done)
}

fn refused(what: &str, path: &Path, error: &io::Error) -> Problem {
    let problem = Problem::new(Code::TurnFailed, format!("{what} `{}`: {error}", path.display()));
    problem.hint("give with `--out` a directory that you may write to")
}

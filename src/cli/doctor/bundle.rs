//! A file with all that was found, to be shown to somebody who helps.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde_json::{Value, json};

use super::{
    finding::{Examined, Finding},
    remover::Remover,
};
use crate::cli::report::{Code, Problem};

/// Refuses a file that is there, since it is not replaced, and a folder that is not: all that is examined first would be
/// lost.
pub(super) fn check(file: &Path) -> Result<(), Problem> {
    if file.symlink_metadata().is_ok() {
        let error = io::Error::new(ErrorKind::AlreadyExists, "it is there already");
        return Err(failed(file, &error));
    }
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    match folder.map(Path::metadata) {
        Some(Err(error)) => Err(failed(file, &error)),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Writes the bundle; the file is for its owner alone, and replaces none.
pub(super) fn write(file: &Path, examined: &[Examined], remover: &Remover) -> Result<(), Problem> {
    let text = text(examined, remover);
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let written = made.and_then(|mut it| it.write_all(text.as_bytes()));
    written.map_err(|error| failed(file, &error))
}

fn failed(file: &Path, error: &io::Error) -> Problem {
    let problem = Problem::new(Code::Usage, format!("writing {}: {error}", file.display()));
    problem.hint("name a file that does not exist yet, in a folder that can be written")
}

fn text(examined: &[Examined], remover: &Remover) -> String {
    let hosts: Vec<Value> = examined
        .iter()
        .map(|it| {
            let stages: Vec<Value> = it.findings.iter().map(Finding::value).collect();
            json!({ "host": it.host, "stages": stages, "more": it.more })
        })
        .collect();
    let mut bundle = json!({
        "format": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "examined": hosts,
    });
    remover.clean(&mut bundle);
    format!("{bundle:#}\n")
}

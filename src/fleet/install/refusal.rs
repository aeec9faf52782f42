//! What it means when the script on the host ends without having put the program there, in words for the user.

use codex_hosts::HostId;

use super::{Program, TAKEN_TRIES_MAX, field};

/// What happened, and what can be done; the first of the fields says which refusal it is.
pub(super) fn words(id: &HostId, fields: &[String], program: &Program) -> (String, Option<String>) {
    match fields[0].as_str() {
        "nosum" => (
            format!(
                "{id} has none of sha256sum, shasum, openssl, perl and python3 that works: what arrives there cannot be checked"
            ),
            Some("install one of them on the host".to_owned()),
        ),
        "noplace" => (
            format!(
                "no folder on {id} lets a program be written and run: tried{}",
                field(fields, 1)
            ),
            Some("set CODEX_HOME on the host to one that does".to_owned()),
        ),
        "short" => (
            format!("the upload to {id} was cut off after {} bytes", field(fields, 1)),
            Some("run it again: it goes on from there".to_owned()),
        ),
        "corrupt" => (
            format!(
                "what arrived on {id} has the SHA-256 {}, not {}",
                field(fields, 1),
                program.sha256()
            ),
            None,
        ),
        "taken" => (
            format!("other uploads to {id} took over {TAKEN_TRIES_MAX} times"),
            Some("run it again when the others have ended".to_owned()),
        ),
        "unwritten" => (
            format!("{id} could not write the program"),
            Some("see what it said, and make room there".to_owned()),
        ),
        // What the kernel takes for no program of its own a shell reads as a script (POSIX, exec).
        "unfit" if field(fields, 2).contains("ELF") || field(fields, 2).contains("Exec format error") => (
            format!(
                "the program does not run on {id}: it is for {}, and the host is something else, whatever its uname says",
                program.system()
            ),
            Some(format!(
                "`codex install {id} --binary FILE` takes another program"
            )),
        ),
        "unfit" => {
            let hint = program.needs_libraries().then(|| {
                "the program needs the C library of the machine it was built on; `.ci/release` builds one that does not"
                    .to_owned()
            });
            (
                format!(
                    "the program does not run on {id} as codex: exit status {}, `{}`",
                    field(fields, 1),
                    field(fields, 2)
                ),
                hint,
            )
        }
        "foreign" => (
            format!("{} on {id} was not made by an installation", field(fields, 1)),
            Some("move it away".to_owned()),
        ),
        other => (format!("the installation on {id} ended with `{other}`"), None),
    }
}

//! A file with all that was found, to be shown to somebody who helps.
//!
//! Passwords, keys and passphrases never reach a finding. What remains are texts of remotes and of configurations,
//! which may quote a secret: they are searched for what looks like one, and for every value that the environment
//! of this process holds under a name that says so.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use serde_json::{Value, json};

use super::finding::{Examined, Finding};
use crate::cli::report::{Code, Problem};

/// In place of what was taken out.
const REMOVED: &str = "[removed]";
/// Parts of the names of settings and variables that hold secrets.
const SECRET_NAMES: &[&str] = &[
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "auth",
];
/// How keys of services and tokens begin; what follows belongs to them.
const SECRET_BEGINNINGS: &[&str] = &[
    "sk-",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xox",
    "AKIA",
    "ASIA",
    "eyJ",
    "AIza",
    "hf_",
    "npm_",
];
/// What is shorter is a word.
const SECRET_CHARS_MIN: usize = 8;
/// Settings of SSH whose values are command lines or variables, which may carry secrets.
const SECRET_SETTINGS: &[&str] = &[
    "setenv",
    "proxycommand",
    "knownhostscommand",
    "localcommand",
    "remotecommand",
];

/// Writes the bundle; the file is for its owner alone, and replaces none.
pub(super) fn write(file: &Path, examined: &[Examined]) -> Result<(), Problem> {
    let remover = Remover::new(std::env::vars_os());
    let text = text(examined, &remover);
    let failed = |error: std::io::Error| {
        let problem = Problem::new(Code::Usage, format!("writing {}: {error}", file.display()));
        problem.hint("name a file that does not exist yet, in a folder that can be written")
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
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

struct Remover {
    /// Values of variables whose names say that they are secret.
    known: Vec<String>,
}

impl Remover {
    fn new(environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>) -> Remover {
        let known = environment
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| {
                // Paths of sockets and files are what one wants to see.
                is_secret_name(name) && SECRET_CHARS_MIN <= value.len() && !value.starts_with('/')
            })
            .map(|(_, value)| value)
            .collect();
        Remover { known }
    }

    fn clean(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.cleaned(text),
            Value::Array(list) => list.iter_mut().for_each(|it| self.clean(it)),
            Value::Object(table) => {
                let keyword = table
                    .get("keyword")
                    .and_then(Value::as_str)
                    .map(str::to_ascii_lowercase);
                if keyword.is_some_and(|it| SECRET_SETTINGS.contains(&it.as_str())) {
                    table.insert("value".to_owned(), json!(REMOVED));
                }
                table.values_mut().for_each(|it| self.clean(it));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => (),
        }
    }

    fn cleaned(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.known {
            text = text.replace(secret, REMOVED);
        }
        let text = without_blocks(&text);
        text.split_inclusive(ends_word)
            .scan(Before::default(), |before, piece| {
                Some(without_secret(piece, before))
            })
            .collect()
    }
}

/// Private keys in their usual armour.
fn without_blocks(text: &str) -> String {
    let mut rest = text;
    let mut cleaned = String::new();
    while let Some((before, inside)) = rest.split_once("-----BEGIN ") {
        cleaned += before;
        cleaned += REMOVED;
        let end = inside.find("-----END ").map(|it| it + "-----END ".len());
        // A block that was cut off has no end.
        rest = end.map_or("", |it| &inside[it..]);
        rest = rest.find("-----").map_or("", |it| &rest[it + 5..]);
    }
    cleaned + rest
}

/// What the words before a word say about it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Nothing,
    /// The name of a secret; a colon or an equals sign would make the next word its value.
    Name,
    Value,
}

/// One word with what ends it.
fn without_secret(piece: &str, before: &mut Before) -> String {
    let word = piece.trim_end_matches(ends_word);
    let end = &piece[word.len()..];
    if word.is_empty() {
        return piece.to_owned();
    }
    let said = std::mem::take(before);
    let lower = word.to_ascii_lowercase();
    if matches!((said, word), (Before::Name, ":" | "=")) {
        *before = Before::Value;
        return piece.to_owned();
    }
    if said == Before::Value {
        // The name of a scheme stands before the secret.
        if ["bearer", "basic"].contains(&lower.as_str()) {
            *before = Before::Value;
            return piece.to_owned();
        }
        return format!("{REMOVED}{end}");
    }
    if let Some((name, value)) = word.split_once('=')
        && is_secret_name(name)
        && !value.is_empty()
    {
        return format!("{name}={REMOVED}{end}");
    }
    let is_announced = word.strip_suffix([':', '=']).is_some_and(is_secret_name);
    let is_option = word.starts_with("--") && is_secret_name(word) && !word.contains('=');
    if lower == "bearer" || is_announced || is_option {
        *before = Before::Value;
    } else if is_secret_name(word) {
        *before = Before::Name;
    }
    if let Some(address) = without_password(word) {
        return address + end;
    }
    let starts = SECRET_BEGINNINGS.iter().filter_map(|it| word.find(it)).min();
    match starts {
        Some(at) if SECRET_CHARS_MIN <= word.len() - at => format!("{}{REMOVED}{end}", &word[..at]),
        _ => piece.to_owned(),
    }
}

fn ends_word(it: char) -> bool {
    it.is_whitespace() || "\"'`,;()<>[]{}".contains(it)
}

/// `scheme://user:password@host` without the password.
fn without_password(word: &str) -> Option<String> {
    let (scheme, rest) = word.split_once("://")?;
    let (login, host) = rest.split_once('@')?;
    let (user, _) = login.split_once(':')?;
    Some(format!("{scheme}://{user}:{REMOVED}@{host}"))
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // `host-key:` and `publickey:` are what one wants to see.
    let harmless = [
        "hostkey",
        "host-key",
        "publickey",
        "public-key",
        "fingerprint",
        "known",
        "authorized",
        "authority",
    ];
    SECRET_NAMES.iter().any(|it| name.contains(it)) && !harmless.iter().any(|it| name.contains(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remover() -> Remover {
        let variables = [
            ("MY_TOKEN", "planted-in-env"),
            ("SSH_AUTH_SOCK", "/tmp/agent.1"),
            ("LANG", "planted-no-secret"),
        ];
        Remover::new(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn nothing_that_was_planted_is_left() {
        for text in [
            "key sk-planted1234567 is wrong",
            "OPENAI_API_KEY=planted OTHER=1",
            "Authorization: Bearer planted.planted",
            "password: planted",
            "Authorization: Basic planted",
            "curl --token planted https://x",
            "https://me:planted@host/x",
            "what planted-in-env says",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nplanted\n-----END OPENSSH PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nplanted",
            "{\"api_key\":\"planted\"}",
            "passphrase=planted",
            "password = planted",
            "token ghp_planted12345",
        ] {
            let cleaned = remover().cleaned(text);
            assert!(!cleaned.contains("planted"), "{text:?} became {cleaned:?}");
        }
    }

    #[test]
    fn what_helps_is_left() {
        for text in [
            "publickey ED25519 SHA256:7dbXf3 ~/.ssh/id_ed25519: accepted",
            "host key ssh-ed25519, aes256-gcm@openssh.com",
            "the agent at /tmp/agent.1 has no keys",
            "planted-no-secret",
            "https://me@host/x",
            "logging in as dev: publickey id: denied; the server accepts publickey,password",
        ] {
            assert_eq!(remover().cleaned(text), text);
        }
    }

    #[test]
    fn settings_that_may_carry_secrets_are_named_without_their_values() {
        let mut value = json!([
            { "keyword": "setenv", "value": "A=planted" },
            { "keyword": "hostname", "value": "real" },
        ]);
        remover().clean(&mut value);
        assert_eq!(value[0]["value"], REMOVED);
        assert_eq!(value[1]["value"], "real");
    }
}

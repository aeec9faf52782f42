//! Takes secrets out of what is shown to others.
//!
//! Passwords, keys and passphrases never reach a finding. What remains are texts of remotes and of configurations,
//! which may quote a secret: they are searched for what looks like one, for every value that the environment of this
//! process holds under a name that says so, and for the commands and variables of the user's own settings.

use std::ffi::OsString;

use serde_json::{Value, json};
use toml_edit::{Document, Item, TableLike};

use crate::cli::{home, settings::Settings};

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
    "cookie",
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
/// A user in an address is a name; what is longer is a token.
const USER_CHARS_MAX: usize = 20;
/// Settings of SSH whose values are command lines, variables or sockets, which may carry secrets.
const SECRET_SETTINGS: &[&str] = &[
    "setenv",
    "proxycommand",
    "knownhostscommand",
    "localcommand",
    "remotecommand",
    "identityagent",
];
/// Tables of config.toml whose values may be secrets, whatever their names are.
const SECRET_TABLES: &[&str] = &["env", "http_headers", "headers", "query_params"];
/// How failures quote the commands of those settings, up to a backtick and a colon.
const QUOTED_COMMANDS: &[&str] = &["proxy command `", "KnownHostsCommand `"];
/// Where the agent is, and what is said of it: the way to it may be meant for its user alone.
const AGENT: (&str, &str) = ("SSH_AUTH_SOCK", "[agent socket]");
/// What may follow the name of a login's method: how it went.
const OUTCOMES: &[&str] = &["accepted", "denied", "cancelled", "not", "the"];

pub(super) struct Remover {
    /// What is known to be secret, or to hold secrets, and what stands for it.
    known: Vec<(String, String)>,
}

impl Remover {
    /// Knows this process's environment and the user's settings. Blocking.
    pub(super) fn of_this_process() -> Remover {
        let mut remover = Remover::new(std::env::vars_os());
        let hosts = Settings::read().unwrap_or_default().hosts.into_values();
        for command in hosts.filter_map(Result::ok).filter_map(|it| it.command) {
            remover.learn(&command.join(" "));
        }
        let config = home::codex_home().ok().map(|it| it.join("config.toml"));
        if let Some(text) = config.and_then(|it| std::fs::read_to_string(it).ok()) {
            remover.learn_config(&text);
        }
        remover
    }

    fn new(environment: impl Iterator<Item = (OsString, OsString)>) -> Remover {
        let mut remover = Remover { known: Vec::new() };
        for (name, value) in environment {
            let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else {
                continue;
            };
            let (agent, instead) = AGENT;
            if name == agent && SECRET_CHARS_MIN <= value.len() {
                remover.known.push((value, instead.to_owned()));
            } else if is_secret_name(&name) && !value.starts_with('/') {
                // Paths of files are what one wants to see.
                remover.learn(&value);
            }
        }
        remover
    }

    fn learn(&mut self, secret: &str) {
        if SECRET_CHARS_MIN <= secret.len() {
            self.known.push((secret.to_owned(), REMOVED.to_owned()));
        }
    }

    /// Learns the variables and sockets among the settings of an SSH host: `[{"keyword": …, "value": …}]`.
    pub(super) fn learn_settings(&mut self, settings: &Value) {
        for it in settings.as_array().into_iter().flatten() {
            match (it["keyword"].as_str(), it["value"].as_str()) {
                (Some("setenv"), Some(value)) => {
                    self.learn(value.split_once('=').map_or(value, |(_, value)| value));
                }
                (Some("identityagent"), Some(value)) => self.learn(value),
                _ => (),
            }
        }
    }

    /// What cannot be read as TOML is in force for nobody.
    fn learn_config(&mut self, text: &str) {
        if let Ok(document) = Document::parse(text) {
            self.learn_table(document.as_table(), false);
        }
    }

    fn learn_table(&mut self, table: &dyn TableLike, is_secret: bool) {
        for (key, item) in table.iter() {
            let key = key.to_ascii_lowercase();
            // `env_key` and its like are names of variables.
            let is_secret = is_secret
                || SECRET_TABLES.contains(&key.as_str())
                || is_secret_name(&key) && !key.contains("env");
            match item {
                _ if let Some(table) = item.as_table_like() => self.learn_table(table, is_secret),
                Item::Value(value) if is_secret => self.learn(value.as_str().unwrap_or_default()),
                _ => (),
            }
        }
    }

    /// Takes the secrets out of all texts in it.
    pub(super) fn clean(&self, value: &mut Value) {
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
        for (secret, instead) in &self.known {
            text = text.replace(secret, instead);
        }
        let text = without_commands(without_blocks(&text));
        let pieces = text.split_inclusive(ends_word);
        Words {
            pieces,
            before: Before::Nothing,
        }
        .collect()
    }
}

/// Commands of the configuration, whatever they hold.
fn without_commands(mut text: String) -> String {
    for quoted in QUOTED_COMMANDS {
        if let Some(at) = text.find(quoted).map(|it| it + quoted.len()) {
            let end = text[at..].rfind("`: ").map_or(text.len(), |it| at + it);
            text.replace_range(at..end, REMOVED);
        }
    }
    text
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
    /// The bare word `key` and a colon: of a secret, or of a sentence about keys.
    Key,
}

/// Words, each with what ends it, and what stands for those that are secret.
struct Words<'a, I: Iterator<Item = &'a str>> {
    pieces: I,
    before: Before,
}

impl<'a, I: Iterator<Item = &'a str>> Iterator for Words<'a, I> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let piece = self.pieces.next()?;
        let quote = piece.chars().next_back().filter(|it| "\"'`".contains(*it));
        let told = without_secret(piece, &mut self.before);
        if let (Before::Value, Some(quote)) = (self.before, quote) {
            self.before = Before::Nothing;
            return Some(told + &self.quoted(quote));
        }
        Some(told)
    }
}

impl<'a, I: Iterator<Item = &'a str>> Words<'a, I> {
    /// A secret in quotes may have any number of words.
    fn quoted(&mut self, quote: char) -> String {
        match self.pieces.find(|it| it.ends_with(quote)) {
            Some(_) => format!("{REMOVED}{quote}"),
            None => REMOVED.to_owned(),
        }
    }
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
    if said == Before::Value && !OUTCOMES.contains(&lower.trim_end_matches(':')) {
        // The name of a scheme stands before the secret.
        if ["bearer", "basic"].contains(&lower.as_str()) {
            *before = Before::Value;
            return piece.to_owned();
        }
        return format!("{REMOVED}{end}");
    }
    let address = without_password(word);
    let word = address.as_deref().unwrap_or(word);
    if let Some((name, value)) = word.split_once('=')
        && is_secret_name(name)
        && !value.is_empty()
    {
        return format!("{name}={REMOVED}{end}");
    }
    if said == Before::Key && is_random(word) {
        return format!("{REMOVED}{end}");
    }
    let is_announced = word.strip_suffix([':', '=']).is_some_and(is_secret_name);
    let is_option = word.starts_with("--") && is_secret_name(word) && !word.contains('=');
    if ["key:", "keys:"].contains(&lower.as_str()) {
        *before = Before::Key;
    } else if lower == "bearer" || is_announced || is_option {
        *before = Before::Value;
    } else if is_secret_name(word) {
        *before = Before::Name;
    }
    let starts = SECRET_BEGINNINGS.iter().filter_map(|it| word.find(it)).min();
    match starts {
        Some(at) if SECRET_CHARS_MIN <= word.len() - at => format!("{}{REMOVED}{end}", &word[..at]),
        _ => format!("{word}{end}"),
    }
}

/// Whether it could be a key, other than a fingerprint or the path of one.
fn is_random(word: &str) -> bool {
    let is_said = ["SHA256:", "MD5:", "/", "~"]
        .iter()
        .any(|it| word.starts_with(it));
    SECRET_CHARS_MIN <= word.len() && !is_said && word.contains(|it: char| it.is_ascii_digit())
}

fn ends_word(it: char) -> bool {
    it.is_whitespace() || "\"'`,;()<>[]{}?&".contains(it)
}

/// `scheme://user:password@host` without the password, and `scheme://token@host` without the token.
fn without_password(word: &str) -> Option<String> {
    let (scheme, rest) = word.split_once("://")?;
    let (login, host) = rest.rsplit_once('@')?;
    match login.split_once(':') {
        Some((user, _)) => Some(format!("{scheme}://{user}:{REMOVED}@{host}")),
        None if USER_CHARS_MAX < login.len() => Some(format!("{scheme}://{REMOVED}@{host}")),
        None => None,
    }
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
        "authentic",
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
            "password=\"several planted words\" and more",
            "password: 'planted, with a comma' is wrong",
            "https://x/v1?version=2&token=planted&x=1",
            "https://me:planted@host/v1?api_key=planted",
            "https://me:plan@planted@host/x",
            "https://planted-token-of-some-length@host/x.git",
            "proxy command `nc -u me planted h`: exit status: 1: \"no\"",
            "KnownHostsCommand `keys `cat planted``: exit status: 1",
            "Set-Cookie: planted",
            "key: planted1234",
            "API key: planted1",
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
            "the agent at /run/agent.2 has no keys",
            "planted-no-secret",
            "https://me@host/x",
            "logging in as dev: publickey id: denied; the server accepts publickey,password",
            "logging in as dev: password: denied; keyboard-interactive: not tried: BatchMode asks nobody",
            "remove the old key: ssh-keygen -f ~/.ssh/known_hosts -R '[127.0.0.1]:18119'",
            "the server wants another key: IdentityFile selects one",
            "known by another key: SHA256:7dbXf3abcdef",
            "the password: cancelled: devbox [me@h:22] asks for a password",
        ] {
            assert_eq!(remover().cleaned(text), text);
        }
    }

    #[test]
    fn what_the_settings_hold_is_known_and_where_the_agent_is_has_a_name() {
        let mut remover = remover();
        remover.learn_settings(&json!([
            { "keyword": "setenv", "value": "URL=planted in setenv" },
            { "keyword": "identityagent", "value": "/run/planted/agent" },
            { "keyword": "user", "value": "a-long-name" },
        ]));
        remover.learn_config(
            "model_provider = \"a-provider\"\n[model_providers.a]\nenv_key = \"NAME_OF_KEY\"\n\
             experimental_bearer_token = \"planted-bearer\"\nhttp_headers = { X = \"planted-header\" }\n\
             [mcp_servers.m.env]\nA = \"planted-variable\"\n",
        );
        let text = "planted in setenv /run/planted/agent /tmp/agent.1: gone, planted-bearer planted-header \
                    planted-variable a-long-name a-provider NAME_OF_KEY";
        assert_eq!(
            remover.cleaned(text),
            "[removed] [removed] [agent socket]: gone, [removed] [removed] [removed] a-long-name a-provider NAME_OF_KEY"
        );
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

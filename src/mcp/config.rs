//! `[mcp_servers.NAME]` of `config.toml`: which servers there are and how they are reached.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::secret::Secret;

/// How long a server may take to start, unless configured.
pub const STARTUP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How long a call may take, unless configured.
pub const TOOL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// The longest time that can be configured; what is longer is taken as this.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// One server, as the user has configured it. It has no `Debug`: arguments, addresses, headers and variables
/// hold secrets.
#[derive(Clone, PartialEq)]
pub struct ServerConfig {
    pub transport: Transport,
    pub startup_timeout: Duration,
    /// How long a call may take, without the time in which the user is asked something.
    pub tool_timeout: Duration,
    pub enabled: bool,
    /// Whether a thread must not begin without it.
    pub required: bool,
    /// The only tools that are offered; all of them, if absent.
    pub enabled_tools: Option<BTreeSet<String>>,
    /// Tools that are not offered, also if they are in `enabled_tools`.
    pub disabled_tools: BTreeSet<String>,
}

impl ServerConfig {
    /// Whether the configuration lets this tool be offered and called.
    pub fn allows(&self, tool: &str) -> bool {
        let listed = self.enabled_tools.as_ref().is_none_or(|it| it.contains(tool));
        listed && !self.disabled_tools.contains(tool)
    }
}

/// How a server is reached.
#[derive(Clone, PartialEq)]
pub enum Transport {
    Stdio(Stdio),
    Http(Http),
}

/// A program that speaks on its standard input and output.
#[derive(Clone, PartialEq)]
pub struct Stdio {
    /// A path, or a name that is looked for in the program's own `PATH`.
    pub command: String,
    pub args: Vec<Secret>,
    /// Set as they stand, over everything else.
    pub env: BTreeMap<String, Secret>,
    /// Variables that are handed on in addition to the usual ones.
    pub env_vars: Vec<String>,
    /// Relative to the directory of the owner; that directory itself, if absent.
    pub cwd: Option<PathBuf>,
}

/// A streamable HTTP server.
#[derive(Clone, PartialEq)]
pub struct Http {
    pub url: Secret,
    /// The variable that holds the bearer token.
    pub bearer_token_env_var: Option<String>,
    pub http_headers: BTreeMap<String, Secret>,
    /// Headers whose values are in these variables; a variable that is not set sets no header.
    pub env_http_headers: BTreeMap<String, String>,
}

/// Something in the configuration of one server that cannot be read. The server is left out; the others are not
/// concerned. The text never repeats a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading `mcp_servers.{server}.{key}`: {why}")]
pub struct ConfigProblem {
    pub server: String,
    /// Empty if it is the table itself.
    pub key: String,
    pub why: String,
}

/// Reads all tables of `mcp_servers`. A server with a problem is left out.
pub fn read_servers(
    tables: &BTreeMap<String, Value>,
) -> (BTreeMap<String, ServerConfig>, Vec<ConfigProblem>) {
    let mut servers = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, table) in tables {
        match ServerConfig::read(name, table) {
            Ok(config) => {
                servers.insert(name.clone(), config);
            }
            Err(found) => problems.extend(found),
        }
    }
    (servers, problems)
}

impl ServerConfig {
    /// Reads one table. Keys that are not known are of another version and no problem; a known one with a wrong
    /// value is: without it the server could do more than the user has allowed.
    pub fn read(name: &str, table: &Value) -> Result<ServerConfig, Vec<ConfigProblem>> {
        let Some(table) = table.as_object() else {
            return Err(vec![problem(name, "", "it must be a table")]);
        };
        let mut keys = Keys {
            server: name,
            table,
            problems: Vec::new(),
        };
        if name.is_empty() {
            keys.wrong("", "the server has no name");
        }
        let transport = keys.transport();
        let config = ServerConfig {
            // Read below; where there is none there is a problem.
            transport: transport.unwrap_or_else(nowhere),
            startup_timeout: keys.seconds("startup_timeout_sec", STARTUP_TIMEOUT_DEFAULT),
            tool_timeout: keys.seconds("tool_timeout_sec", TOOL_TIMEOUT_DEFAULT),
            enabled: keys
                .get("enabled", "true or false", Value::as_bool)
                .unwrap_or(true),
            required: keys
                .get("required", "true or false", Value::as_bool)
                .unwrap_or(false),
            enabled_tools: keys.get("enabled_tools", TEXTS, texts).map(BTreeSet::from_iter),
            disabled_tools: keys
                .get("disabled_tools", TEXTS, texts)
                .map(BTreeSet::from_iter)
                .unwrap_or_default(),
        };
        if keys.problems.is_empty() {
            Ok(config)
        } else {
            Err(keys.problems)
        }
    }
}

const TEXT: &str = "a text";
const TEXTS: &str = "a list of texts";
const TABLE: &str = "a table of texts";

/// Stands for a transport that could not be read; never handed out.
fn nowhere() -> Transport {
    Transport::Stdio(Stdio {
        command: String::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        env_vars: Vec::new(),
        cwd: None,
    })
}

fn problem(server: &str, key: &str, why: &str) -> ConfigProblem {
    ConfigProblem {
        server: server.to_owned(),
        key: key.to_owned(),
        why: why.to_owned(),
    }
}

struct Keys<'a> {
    server: &'a str,
    table: &'a Map<String, Value>,
    problems: Vec<ConfigProblem>,
}

impl Keys<'_> {
    fn wrong(&mut self, key: &str, why: &str) {
        self.problems.push(problem(self.server, key, why));
    }

    fn get<T>(&mut self, key: &str, what: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.table.get(key).filter(|it| !it.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.wrong(key, &format!("it must be {what}"));
        }
        read
    }

    fn seconds(&mut self, key: &str, default: Duration) -> Duration {
        let what = "a number of seconds above 0";
        let read = self.get(key, what, |value| {
            let seconds = value.as_f64().filter(|it| *it > 0.0)?;
            Some(Duration::try_from_secs_f64(seconds).map_or(TIMEOUT_MAX, |it| it.min(TIMEOUT_MAX)))
        });
        read.unwrap_or(default)
    }

    fn transport(&mut self) -> Option<Transport> {
        match (self.table.contains_key("command"), self.table.contains_key("url")) {
            (true, false) => self.stdio().map(Transport::Stdio),
            (false, true) => self.http().map(Transport::Http),
            (true, true) => {
                self.wrong(
                    "url",
                    "there is a `command` as well: only one of them can be meant",
                );
                None
            }
            (false, false) => {
                self.wrong("command", "there is neither this nor a `url`");
                None
            }
        }
    }

    fn stdio(&mut self) -> Option<Stdio> {
        let command = self.get("command", "a text that is not empty", text_not_empty);
        let args = self.get("args", TEXTS, texts).unwrap_or_default();
        let env = self.get("env", TABLE, table).unwrap_or_default();
        Some(Stdio {
            args: args.into_iter().map(Secret::new).collect(),
            env: env
                .into_iter()
                .map(|(key, value)| (key, Secret::new(value)))
                .collect(),
            env_vars: self
                .get("env_vars", "a list of names", variables)
                .unwrap_or_default(),
            cwd: self.get("cwd", TEXT, text_not_empty).map(PathBuf::from),
            command: command?,
        })
    }

    fn http(&mut self) -> Option<Http> {
        let url = self.get(
            "url",
            "an address that begins with http:// or https://",
            |value| {
                let address = reqwest::Url::parse(value.as_str()?).ok()?;
                (["http", "https"].contains(&address.scheme()) && address.has_host()).then(|| text(value))?
            },
        );
        let headers = self.get("http_headers", TABLE, table).unwrap_or_default();
        Some(Http {
            bearer_token_env_var: self.get("bearer_token_env_var", "the name of a variable", text_not_empty),
            http_headers: headers
                .into_iter()
                .map(|(key, value)| (key, Secret::new(value)))
                .collect(),
            env_http_headers: self.get("env_http_headers", TABLE, table).unwrap_or_default(),
            url: Secret::new(url?),
        })
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn text_not_empty(value: &Value) -> Option<String> {
    text(value).filter(|it| !it.is_empty())
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

fn table(value: &Value) -> Option<BTreeMap<String, String>> {
    let pairs = value.as_object()?.iter();
    pairs
        .map(|(key, value)| Some((key.clone(), text(value)?)))
        .collect()
}

/// Names, or tables with a `name`, as newer versions write them.
fn variables(value: &Value) -> Option<Vec<String>> {
    let name = |value: &Value| text(value.get("name").unwrap_or(value));
    value.as_array()?.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(table: Value) -> Result<ServerConfig, Vec<String>> {
        ServerConfig::read("docs", &table).map_err(|problems| problems.into_iter().map(|it| it.key).collect())
    }

    #[test]
    fn a_program_is_read_with_its_defaults() {
        let config = read(json!({ "command": "x", "mystery": 1 })).unwrap_or_else(|_| panic!("it is right"));
        assert_eq!(config.startup_timeout, Duration::from_secs(10));
        assert_eq!(config.tool_timeout, Duration::from_secs(60));
        assert!(config.enabled && !config.required && config.allows("anything"));
    }

    #[test]
    fn every_key_is_read() {
        let table = json!({
            "command": "x", "args": ["a"], "env": { "K": "v" }, "env_vars": ["A", { "name": "B", "source": "local" }],
            "cwd": "/tmp", "startup_timeout_sec": 0.5, "tool_timeout_sec": 1e300, "enabled": false,
            "required": true, "enabled_tools": ["a", "b"], "disabled_tools": ["b"],
        });
        let config = read(table).unwrap_or_else(|_| panic!("it is right"));
        let Transport::Stdio(stdio) = &config.transport else {
            panic!("it is a program");
        };
        assert_eq!((stdio.args[0].expose(), stdio.env["K"].expose()), ("a", "v"));
        assert_eq!(stdio.env_vars, ["A", "B"]);
        assert_eq!(config.startup_timeout, Duration::from_millis(500));
        assert_eq!(config.tool_timeout, TIMEOUT_MAX);
        assert!(!config.enabled && config.required);
        assert!(config.allows("a") && !config.allows("b") && !config.allows("c"));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_key_and_without_itself() {
        let table = json!({ "command": "x", "env": { "TOKEN": 5 }, "args": "sk-1", "tool_timeout_sec": 0, "enabled_tools": [1] });
        assert_eq!(
            read(table.clone()).err(),
            Some(
                ["args", "env", "tool_timeout_sec", "enabled_tools"]
                    .map(str::to_owned)
                    .to_vec()
            )
        );
        let problems = ServerConfig::read("docs", &table).err().unwrap_or_default();
        assert_eq!(
            problems[0].to_string(),
            "reading `mcp_servers.docs.args`: it must be a list of texts"
        );
        for (table, key) in [
            (json!({}), "command"),
            (json!({ "command": "x", "url": "http://x" }), "url"),
            (json!({ "url": "ftp://x" }), "url"),
            (json!({ "url": "/x" }), "url"),
            (json!({ "command": "" }), "command"),
            (json!(5), ""),
        ] {
            assert_eq!(read(table).err(), Some(vec![key.to_owned()]));
        }
    }

    #[test]
    fn a_wrong_server_hides_no_other() {
        let tables = [("bad", json!(1)), ("good", json!({ "url": "https://x/mcp" }))];
        let tables = tables.map(|(name, table)| (name.to_owned(), table)).into();
        let (servers, problems) = read_servers(&tables);
        assert!(servers.keys().eq(["good"]));
        assert_eq!(problems[0].server, "bad");
    }
}

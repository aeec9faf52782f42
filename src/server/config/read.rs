//! The text of `config.toml`, taken apart. One wrong value hides nothing else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use codex_agent::model::{ProviderConfig, built_in};
use codex_protocol::v2::{
    AskForApproval, ConfigEdit, ConfigWarning, MergeStrategy, SandboxMode, SandboxPolicy, WorkspaceWrite,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use toml_edit::{Document, Item, TableLike};

use super::{DEFAULT_MODEL, DEFAULT_PROVIDER, edit, json, place};

/// What the configuration says. Absent: the user has left it open.
#[derive(Clone, Default)]
pub struct Config {
    pub model: Option<String>,
    pub model_provider: Option<String>,
    /// Tokens.
    pub model_context_window: Option<u64>,
    /// Tokens at which the conversation is compacted.
    pub model_auto_compact_token_limit: Option<u64>,
    pub model_reasoning_effort: Option<String>,
    pub model_reasoning_summary: Option<String>,
    pub review_model: Option<String>,
    pub approval_policy: Option<AskForApproval>,
    pub sandbox: SandboxSettings,
    /// Only those of the file; see [`Config::provider`].
    pub providers: BTreeMap<String, ProviderConfig>,
    /// `[mcp_servers.NAME]`, as it stands.
    pub mcp_servers: BTreeMap<String, Value>,
    /// Bytes of `AGENTS.md` files that are read.
    pub project_doc_max_bytes: Option<usize>,
    /// Names that are tried where there is no `AGENTS.md`.
    pub project_doc_fallback_filenames: Vec<String>,
    /// Seconds after which a thread is unloaded that nobody listens to.
    pub thread_unload_delay_secs: Option<u64>,
    /// The whole file but for wrong values, with its own keys.
    pub value: Value,
}

/// `sandbox_mode` with `[sandbox_workspace_write]`, or `[sandbox]`; the latter wins, key by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SandboxSettings {
    pub mode: Option<SandboxMode>,
    pub writable_roots: Vec<PathBuf>,
    /// Unix sockets to which commands may connect; only Seatbelt can open single ones, elsewhere a list refuses
    /// every command. Absolute.
    pub unix_sockets: Vec<PathBuf>,
    pub network_access: bool,
    pub exclude_tmpdir_env_var: bool,
    pub exclude_slash_tmp: bool,
}

impl SandboxSettings {
    /// The policy of a mode with these settings; the configured mode, else read-only, if none is given.
    pub fn policy(&self, mode: Option<SandboxMode>) -> SandboxPolicy {
        let network = |allowed: bool| json!({ "networkAccess": allowed });
        match mode.or_else(|| self.mode.clone()) {
            Some(SandboxMode::DangerFullAccess) => SandboxPolicy::DangerFullAccess(Default::default()),
            Some(SandboxMode::WorkspaceWrite) => {
                let roots: Vec<_> = self
                    .writable_roots
                    .iter()
                    .map(|it| it.display().to_string())
                    .collect();
                let policy = json!({
                    "writableRoots": roots,
                    "networkAccess": self.network_access,
                    "excludeTmpdirEnvVar": self.exclude_tmpdir_env_var,
                    "excludeSlashTmp": self.exclude_slash_tmp,
                });
                SandboxPolicy::WorkspaceWrite(
                    serde_json::from_value(policy).unwrap_or_else(|_| WorkspaceWrite::default()),
                )
            }
            Some(SandboxMode::ReadOnly | SandboxMode::Other(_)) | None => {
                let policy = serde_json::from_value(network(self.network_access));
                SandboxPolicy::ReadOnly(policy.unwrap_or_default())
            }
        }
    }
}

impl Config {
    /// Reads the text of the file at `path`. What is wrong is told and left out.
    pub(crate) fn read(text: &str, path: &Path) -> (Config, Vec<ConfigWarning>) {
        let mut reader = Reader {
            text,
            path,
            warnings: Vec::new(),
        };
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(error) => {
                let range = error.span().map(|it| place::range(text, it));
                reader.warnings.push(ConfigWarning {
                    summary: format!("{} is not read: {}", path.display(), error.message().trim()),
                    details: Some("nothing of the file is in force until this is mended".to_owned()),
                    path: Some(path.display().to_string()),
                    range,
                });
                let config = Config {
                    value: json!({}),
                    ..Config::default()
                };
                return (config, reader.warnings);
            }
        };
        let config = reader.config(document.as_table());
        (config, reader.warnings)
    }

    /// This configuration with some keys set otherwise, by dotted path, as `thread/start` may ask. Says what
    /// is wrong with them.
    pub fn overridden(&self, overrides: &BTreeMap<String, Value>) -> Result<Config, String> {
        let mut document = json::to_document(&self.value);
        for (key_path, value) in overrides {
            let edit = ConfigEdit {
                key_path: key_path.clone(),
                value: value.clone(),
                merge_strategy: MergeStrategy::Upsert,
            };
            edit::apply(&mut document, &edit).map_err(|it| it.to_string())?;
        }
        let place = Path::new("config");
        let (_, before) = Config::read(&json::to_document(&self.value).to_string(), place);
        let (config, after) = Config::read(&document.to_string(), place);
        match after.get(before.len()..) {
            Some([wrong, ..]) => Err(wrong.summary.clone()),
            _ => Ok(config),
        }
    }

    /// The id of the provider that is asked.
    pub fn provider_id(&self) -> &str {
        self.model_provider.as_deref().unwrap_or(DEFAULT_PROVIDER)
    }

    /// The model that is asked for.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(DEFAULT_MODEL)
    }

    /// A provider: of the file, else one that is known without it.
    pub fn provider(&self, id: &str) -> Option<ProviderConfig> {
        self.providers.get(id).cloned().or_else(|| built_in(id))
    }
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    warnings: Vec<ConfigWarning>,
}

impl Reader<'_> {
    fn config(&mut self, root: &dyn TableLike) -> Config {
        let mut value = json::from_table(root);
        let known = self.warnings.len();
        let mut take = Keys {
            reader: self,
            value: &mut value,
        };
        let mut config = Config {
            model: take.get(root, "model"),
            model_provider: take.get(root, "model_provider"),
            model_context_window: take.get(root, "model_context_window"),
            model_auto_compact_token_limit: take.get(root, "model_auto_compact_token_limit"),
            model_reasoning_effort: take.get(root, "model_reasoning_effort"),
            model_reasoning_summary: take.get(root, "model_reasoning_summary"),
            review_model: take.get(root, "review_model"),
            approval_policy: take.get_if(root, "approval_policy", is_approval_policy),
            mcp_servers: take.get(root, "mcp_servers").unwrap_or_default(),
            project_doc_max_bytes: take.get(root, "project_doc_max_bytes"),
            project_doc_fallback_filenames: take
                .get(root, "project_doc_fallback_filenames")
                .unwrap_or_default(),
            thread_unload_delay_secs: take.get(root, "thread_unload_delay_secs"),
            ..Config::default()
        };
        config.sandbox.mode = take.get_if(root, "sandbox_mode", is_sandbox_mode);
        debug_assert!(known <= self.warnings.len());
        self.sandbox(root, "sandbox_workspace_write", &mut config.sandbox);
        self.sandbox(root, "sandbox", &mut config.sandbox);
        config.providers = self.providers(root);
        config.value = value;
        config
    }

    fn sandbox(&mut self, root: &dyn TableLike, name: &str, settings: &mut SandboxSettings) {
        let Some(table) = self.table(root, name) else {
            return;
        };
        let mut scratch = json!({});
        let mut take = Keys {
            reader: self,
            value: &mut scratch,
        };
        if name == "sandbox"
            && let Some(mode) = take.get_if(table, "mode", is_sandbox_mode)
        {
            settings.mode = Some(mode);
        }
        if let Some(roots) = take.get(table, "writable_roots") {
            settings.writable_roots = roots;
        }
        if let Some(sockets) = take.get(table, "unix_sockets") {
            settings.unix_sockets = sockets;
        }
        for (key, flag) in [
            ("network_access", &mut settings.network_access),
            ("exclude_tmpdir_env_var", &mut settings.exclude_tmpdir_env_var),
            ("exclude_slash_tmp", &mut settings.exclude_slash_tmp),
        ] {
            if let Some(value) = take.get(table, key) {
                *flag = value;
            }
        }
    }

    fn providers(&mut self, root: &dyn TableLike) -> BTreeMap<String, ProviderConfig> {
        let Some(table) = self.table(root, "model_providers") else {
            return BTreeMap::new();
        };
        let mut providers = BTreeMap::new();
        for (id, item) in table.iter() {
            if let Some(provider) = self.value(item, &format!("model_providers.{id}")) {
                providers.insert(id.to_owned(), provider);
            }
        }
        providers
    }

    fn table<'t>(&mut self, root: &'t dyn TableLike, name: &str) -> Option<&'t dyn TableLike> {
        let item = root.get(name)?;
        let table = item.as_table_like();
        if table.is_none() {
            self.warn(item, name, "it must be a table");
        }
        table
    }

    fn value<T: DeserializeOwned>(&mut self, item: &Item, key: &str) -> Option<T> {
        match serde_json::from_value(json::from_item(item)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.warn(item, key, &error.to_string());
                None
            }
        }
    }

    fn warn(&mut self, item: &Item, key: &str, why: &str) {
        let range = item.span().map(|it| place::range(self.text, it));
        let line = range
            .map(|it| format!(" in line {}", it.start.line))
            .unwrap_or_default();
        self.warnings.push(ConfigWarning {
            summary: format!("{}: `{key}`{line} is left out: {why}", self.path.display()),
            details: None,
            path: Some(self.path.display().to_string()),
            range,
        });
    }
}

/// Takes known keys of one table; wrong ones are removed from `value`.
struct Keys<'k, 'a> {
    reader: &'k mut Reader<'a>,
    value: &'k mut Value,
}

impl Keys<'_, '_> {
    fn get<T: DeserializeOwned>(&mut self, table: &dyn TableLike, key: &str) -> Option<T> {
        self.get_if(table, key, |_| Ok(()))
    }

    fn get_if<T: DeserializeOwned>(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        check: fn(&Value) -> Result<(), String>,
    ) -> Option<T> {
        let item = table.get(key)?;
        let value = match check(&json::from_item(item)) {
            Ok(()) => self.reader.value(item, key),
            Err(why) => {
                self.reader.warn(item, key, &why);
                None
            }
        };
        if value.is_none()
            && let Some(object) = self.value.as_object_mut()
        {
            object.remove(key);
        }
        value
    }
}

fn is_approval_policy(value: &Value) -> Result<(), String> {
    match value {
        Value::String(it) if ["untrusted", "on-request", "never"].contains(&it.as_str()) => Ok(()),
        Value::Object(it) if it.contains_key("granular") => Ok(()),
        _ => Err("it must be `untrusted`, `on-request` or `never`".to_owned()),
    }
}

fn is_sandbox_mode(value: &Value) -> Result<(), String> {
    match value.as_str() {
        Some("read-only" | "workspace-write" | "danger-full-access") => Ok(()),
        _ => Err("it must be `read-only`, `workspace-write` or `danger-full-access`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_told_with_its_place_and_hides_nothing_else() {
        let text = "model = \"m\"\nmodel_context_window = \"many\"\nmystery = 1\n\n[sandbox]\nmode = \"safe\"\nnetwork_access = true\n";
        let (config, warnings) = Config::read(text, Path::new("/c/config.toml"));
        assert_eq!(config.model(), "m");
        assert_eq!(config.value["mystery"], 1);
        assert_eq!(config.value.get("model_context_window"), None);
        assert!(config.sandbox.network_access && config.sandbox.mode.is_none());
        let places: Vec<_> = warnings.iter().map(|it| it.range.unwrap().start).collect();
        assert_eq!(
            places.iter().map(|it| (it.line, it.column)).collect::<Vec<_>>(),
            [(2, 24), (6, 8)]
        );
        assert!(
            warnings[0].summary.contains("`model_context_window` in line 2"),
            "{}",
            warnings[0].summary
        );
    }

    #[test]
    fn a_file_that_is_not_toml_is_one_warning() {
        let (config, warnings) = Config::read("model = \n", Path::new("/c/config.toml"));
        assert_eq!((config.model(), warnings.len()), (DEFAULT_MODEL, 1));
        assert_eq!(warnings[0].range.unwrap().start.line, 1);
    }

    #[test]
    fn both_spellings_of_the_sandbox_are_read_and_ours_wins() {
        let text = "sandbox_mode = \"workspace-write\"\n[sandbox_workspace_write]\nwritable_roots = [\"/a\"]\nnetwork_access = true\n[sandbox]\nwritable_roots = [\"/b\"]\nunix_sockets = [\"/run/s\"]\n";
        let (config, warnings) = Config::read(text, Path::new("/c/config.toml"));
        assert!(warnings.is_empty());
        let policy = serde_json::to_value(config.sandbox.policy(None)).unwrap();
        assert_eq!(policy["type"], "workspaceWrite");
        assert_eq!(config.sandbox.unix_sockets, [Path::new("/run/s")]);
        assert_eq!(
            (&policy["writableRoots"], &policy["networkAccess"]),
            (&json!(["/b"]), &json!(true))
        );
    }

    #[test]
    fn keys_can_be_set_otherwise_for_one_thread() {
        let text = "model = \"a\"\nmystery = 1\nreview_model = 7\n[sandbox]\nnetwork_access = true\n";
        let (config, _) = Config::read(text, Path::new("/c/config.toml"));
        let overridden =
            |key: &str, value: Value| config.overridden(&BTreeMap::from([(key.to_owned(), value)]));
        let other = overridden("sandbox.mode", json!("workspace-write")).unwrap_or_default();
        assert_eq!((other.model(), other.value["mystery"].as_i64()), ("a", Some(1)));
        assert!(other.sandbox.network_access && other.sandbox.mode == Some(SandboxMode::WorkspaceWrite));
        assert!(overridden("mcp_servers", json!({})).is_ok());
        assert!(overridden("sandbox_mode", json!("safe")).is_err_and(|it| it.contains("read-only")));
        assert!(overridden("model.name", json!(1)).is_err());
    }

    #[test]
    fn providers_of_the_file_win_over_those_that_are_known() {
        let text = "model_provider = \"lab\"\n[model_providers.lab]\nbase_url = \"http://lab/v1\"\nstream_max_retries = 2\n[model_providers.bad]\nbase_url = 3\n";
        let (config, warnings) = Config::read(text, Path::new("/c/config.toml"));
        assert_eq!(config.provider_id(), "lab");
        assert_eq!(config.provider("lab").unwrap().stream_max_retries, Some(2));
        assert!(config.provider("openai").unwrap().requires_openai_auth);
        assert!(config.provider("bad").is_none());
        assert_eq!(warnings.len(), 1);
    }
}

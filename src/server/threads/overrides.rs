//! What a client sets otherwise than the configuration, for a thread from now on.

use std::{collections::BTreeMap, path::Path};

use codex_protocol::v2::{AskForApproval, SandboxMode, SandboxPolicy};
use codex_threads::Settings;
use serde::Deserialize;
use serde_json::Value;

use crate::{config::Config, refusal::Refusal};

/// The fields that `thread/start`, `thread/resume`, `thread/fork`, `turn/start` and `thread/settings/update` share.
/// Both spellings of the sandbox's modes are taken.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Overrides {
    pub(crate) cwd: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) model_provider: Option<String>,
    pub(crate) approval_policy: Option<AskForApproval>,
    /// A mode.
    pub(crate) sandbox: Option<String>,
    /// The whole policy.
    pub(crate) sandbox_policy: Option<Value>,
    /// A profile; as a mode with a colon before it.
    pub(crate) permissions: Option<String>,
    pub(crate) effort: Option<String>,
    /// Keys of the configuration, by dotted path.
    pub(crate) config: Option<BTreeMap<String, Value>>,
}

impl Overrides {
    /// The settings with these changes. Relative directories are those of `base`.
    pub(crate) fn apply(
        &self,
        settings: &Settings,
        config: &Config,
        base: &Path,
    ) -> Result<Settings, Refusal> {
        let mut new = settings.clone();
        if let Some(cwd) = self.cwd.as_deref().filter(|it| !it.is_empty()) {
            let cwd = base.join(cwd);
            // Better now than with the first command.
            if !cwd.is_dir() {
                return Err(Refusal::invalid(format!(
                    "cwd {}: no such directory",
                    cwd.display()
                )));
            }
            new.cwd = cwd.display().to_string();
        }
        if let Some(model) = self.model.as_deref().filter(|it| !it.is_empty()) {
            new.model = model.to_owned();
        }
        if let Some(provider) = &self.model_provider {
            if config.provider(provider).is_none() {
                let text = format!("failed to load configuration: Model provider `{provider}` not found");
                return Err(Refusal::invalid(text));
            }
            new.model_provider.clone_from(provider);
        }
        if let Some(policy) = &self.approval_policy {
            new.approval_policy = approval(policy)?;
        }
        if let Some(policy) = self.sandbox(config)? {
            new.sandbox = policy;
        }
        if let Some(effort) = &self.effort {
            new.reasoning_effort = Some(effort.clone());
        }
        Ok(new)
    }

    fn sandbox(&self, config: &Config) -> Result<Option<SandboxPolicy>, Refusal> {
        if self.permissions.is_some() && (self.sandbox.is_some() || self.sandbox_policy.is_some()) {
            return Err(Refusal::invalid(
                "`permissions` cannot be combined with `sandbox`",
            ));
        }
        if let Some(policy) = self.sandbox_policy.as_ref().filter(|it| !it.is_null()) {
            return whole(policy.clone()).map(Some);
        }
        let mode = match (&self.sandbox, &self.permissions) {
            (Some(mode), _) => self::mode(mode),
            (None, Some(profile)) => match profile.as_str() {
                ":workspace" => Some(SandboxMode::WorkspaceWrite),
                other => other.strip_prefix(':').and_then(self::mode),
            },
            (None, None) => return Ok(None),
        };
        match mode {
            Some(mode) => Ok(Some(config.sandbox.policy(Some(mode)))),
            None => Err(Refusal::invalid(format!(
                "Invalid request: unknown variant `{}`, expected one of `read-only`, `workspace-write`, `danger-full-access`",
                self.sandbox
                    .as_ref()
                    .or(self.permissions.as_ref())
                    .map_or("", String::as_str),
            ))),
        }
    }
}

fn mode(word: &str) -> Option<SandboxMode> {
    Some(match word {
        "read-only" | "readOnly" => SandboxMode::ReadOnly,
        "workspace-write" | "workspaceWrite" => SandboxMode::WorkspaceWrite,
        "danger-full-access" | "dangerFullAccess" => SandboxMode::DangerFullAccess,
        _ => return None,
    })
}

/// The object form. One that is not understood is refused: to guess would be to guess what is safe.
fn whole(mut policy: Value) -> Result<SandboxPolicy, Refusal> {
    let kind = policy["type"].as_str().unwrap_or_default();
    let camel = match mode(kind) {
        Some(SandboxMode::ReadOnly) => "readOnly",
        Some(SandboxMode::WorkspaceWrite) => "workspaceWrite",
        Some(SandboxMode::DangerFullAccess) => "dangerFullAccess",
        _ => kind,
    };
    let camel = camel.to_owned();
    if let Some(object) = policy.as_object_mut() {
        object.insert("type".to_owned(), camel.into());
    }
    match serde_json::from_value(policy)? {
        SandboxPolicy::Unknown(policy) => Err(Refusal::invalid(format!(
            "Invalid request: unknown variant `{}`, expected one of `dangerFullAccess`, `readOnly`, `externalSandbox`, `workspaceWrite`",
            policy["type"].as_str().unwrap_or_default(),
        ))),
        known => Ok(known),
    }
}

fn approval(policy: &AskForApproval) -> Result<AskForApproval, Refusal> {
    let is_known = match &policy.0 {
        Value::String(word) => ["untrusted", "on-request", "never"].contains(&word.as_str()),
        Value::Object(object) => object.contains_key("granular"),
        _ => false,
    };
    match is_known {
        true => Ok(policy.clone()),
        false => Err(Refusal::invalid(format!(
            "Invalid request: unknown variant `{}`, expected one of `untrusted`, `on-request`, `granular`, `never`",
            policy.label()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(overrides: Value) -> Result<Settings, Refusal> {
        let settings = Settings {
            cwd: "/".to_owned(),
            model: "m".to_owned(),
            model_provider: "openai".to_owned(),
            sandbox: SandboxPolicy::ReadOnly(Default::default()),
            approval_policy: AskForApproval::on_request(),
            reasoning_effort: None,
            extra: serde_json::Map::new(),
        };
        let overrides: Overrides = serde_json::from_value(overrides).unwrap();
        overrides.apply(&settings, &Config::default(), Path::new("/"))
    }

    #[test]
    fn both_spellings_of_the_sandbox_are_taken() {
        for word in ["workspace-write", "workspaceWrite"] {
            let one = applied(json!({ "sandbox": word })).unwrap().sandbox;
            let other = applied(json!({ "sandboxPolicy": { "type": word, "networkAccess": true } })).unwrap();
            assert!(matches!(one, SandboxPolicy::WorkspaceWrite(_)), "{word}");
            assert!(
                matches!(other.sandbox, SandboxPolicy::WorkspaceWrite(it) if it.network_access),
                "{word}"
            );
        }
        let profile = applied(json!({ "permissions": ":workspace" })).unwrap();
        assert!(matches!(profile.sandbox, SandboxPolicy::WorkspaceWrite(_)));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_never_guessed() {
        for wrong in [
            json!({ "sandbox": "safe" }),
            json!({ "sandboxPolicy": { "type": "safe" } }),
            json!({ "sandboxPolicy": "read-only" }),
            json!({ "permissions": ":workspace", "sandbox": "read-only" }),
            json!({ "approvalPolicy": "on-failure" }),
            json!({ "modelProvider": "nope" }),
            json!({ "cwd": "/no/such/directory" }),
        ] {
            assert!(applied(wrong.clone()).is_err(), "{wrong}");
        }
        let nothing = json!({ "sandbox": null, "cwd": null, "model": null, "effort": null });
        assert_eq!(applied(nothing), applied(json!({})));
        assert_eq!(
            applied(json!({ "cwd": "tmp", "model": "n" })).unwrap().cwd,
            "/tmp"
        );
    }
}

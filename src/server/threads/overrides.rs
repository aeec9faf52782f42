//! What a client sets otherwise than the configuration, for a thread from now on.

use std::{collections::BTreeMap, path::Path};

use codex_protocol::{
    served::Overrides,
    v2::{AskForApproval, SandboxMode, SandboxPolicy},
};
use codex_threads::Settings;
use serde_json::Value;

use crate::{config::Config, refusal::Refusal};

/// The settings with these changes: first what the request sets in the configuration, then what it sets itself.
/// Relative directories are those of `base`.
pub(crate) fn apply(
    overrides: &Overrides,
    settings: &Settings,
    config: &Config,
    base: &Path,
) -> Result<Settings, Refusal> {
    let mut new = settings.clone();
    let overridden;
    let mut config = config;
    if let Some(keys) = &overrides.config {
        overridden = config
            .overridden(keys)
            .map_err(|it| Refusal::invalid(format!("failed to load configuration: {it}")))?;
        config = &overridden;
        configure(&mut new, keys, config)?;
    }
    if let Some(cwd) = overrides.cwd.as_deref().filter(|it| !it.is_empty()) {
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
    if let Some(model) = overrides.model.as_deref().filter(|it| !it.is_empty()) {
        new.model = model.to_owned();
    }
    if let Some(provider) = &overrides.model_provider {
        new.model_provider = known(provider, config)?;
    }
    if let Some(policy) = &overrides.approval_policy {
        new.approval_policy = approval(policy)?;
    }
    if let Some(policy) = sandbox(overrides, config)? {
        new.sandbox = policy;
    }
    if let Some(effort) = &overrides.effort {
        new.reasoning_effort = Some(effort.clone());
    }
    Ok(new)
}

/// Takes over what these keys set in the configuration. The others stay: a thread has settings of its own.
fn configure(
    settings: &mut Settings,
    keys: &BTreeMap<String, Value>,
    config: &Config,
) -> Result<(), Refusal> {
    let names = |name: &str| {
        let is_below = |key: &str| key.strip_prefix(name).is_some_and(|it| it.starts_with('.'));
        keys.keys().any(|key| key == name || is_below(key))
    };
    if names("model") {
        config.model().clone_into(&mut settings.model);
    }
    if names("model_provider") {
        settings.model_provider = known(config.provider_id(), config)?;
    }
    if names("model_reasoning_effort") {
        settings
            .reasoning_effort
            .clone_from(&config.model_reasoning_effort);
    }
    if names("approval_policy")
        && let Some(policy) = &config.approval_policy
    {
        settings.approval_policy = policy.clone();
    }
    if ["sandbox_mode", "sandbox_workspace_write", "sandbox"]
        .into_iter()
        .any(names)
    {
        settings.sandbox = config.sandbox.policy(None);
    }
    Ok(())
}

/// The id of a provider, if there is such a one.
pub(crate) fn known(provider: &str, config: &Config) -> Result<String, Refusal> {
    match config.provider(provider) {
        Some(_) => Ok(provider.to_owned()),
        None => Err(Refusal::invalid(format!(
            "failed to load configuration: Model provider `{provider}` not found"
        ))),
    }
}

fn sandbox(overrides: &Overrides, config: &Config) -> Result<Option<SandboxPolicy>, Refusal> {
    let (sandbox, permissions) = (overrides.sandbox.as_deref(), overrides.permissions.as_deref());
    if permissions.is_some() && (sandbox.is_some() || overrides.sandbox_policy.is_some()) {
        return Err(Refusal::invalid(
            "`permissions` cannot be combined with `sandbox`",
        ));
    }
    if let Some(policy) = overrides.sandbox_policy.as_ref().filter(|it| !it.is_null()) {
        return whole(policy.clone()).map(Some);
    }
    let mode = match (sandbox, permissions) {
        (Some(mode), _) => self::mode(mode),
        (None, Some(":workspace")) => Some(SandboxMode::WorkspaceWrite),
        (None, Some(profile)) => profile.strip_prefix(':').and_then(self::mode),
        (None, None) => return Ok(None),
    };
    match mode {
        Some(mode) => Ok(Some(config.sandbox.policy(Some(mode)))),
        None => Err(Refusal::invalid(format!(
            "Invalid request: unknown variant `{}`, expected one of `read-only`, `workspace-write`, `danger-full-access`",
            sandbox.or(permissions).unwrap_or_default(),
        ))),
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
        apply(&overrides, &settings, &Config::default(), Path::new("/"))
    }

    #[test]
    fn what_a_request_sets_in_the_configuration_changes_a_thread_and_nothing_else_of_it_does() {
        let new = applied(json!({ "config": { "model": "n", "model_reasoning_effort": "low" } })).unwrap();
        assert_eq!(
            (new.model.as_str(), new.reasoning_effort.as_deref()),
            ("n", Some("low"))
        );
        assert_eq!(
            (new.cwd.as_str(), new.approval_policy),
            ("/", AskForApproval::on_request())
        );
        let both = json!({ "model": "m2", "config": { "model": "n" } });
        assert_eq!(
            applied(both).unwrap().model,
            "m2",
            "what a request sets itself is nearer"
        );
        let never = applied(json!({ "config": { "approval_policy": "never" } })).unwrap();
        assert_eq!(never.approval_policy.label(), "never");
        let unknown = json!({ "config": { "model_provider": "nope" } });
        assert!(applied(unknown).is_err());
    }

    #[test]
    fn a_request_that_sets_anything_of_the_sandbox_in_the_configuration_gets_the_configured_one() {
        for mode in [
            json!({ "sandbox_mode": "workspace-write", "sandbox_workspace_write.network_access": true }),
            json!({ "sandbox.mode": "workspace-write", "sandbox.network_access": true }),
            json!({ "sandbox": { "mode": "workspace-write", "network_access": true } }),
        ] {
            let sandbox = applied(json!({ "config": mode })).unwrap().sandbox;
            assert!(
                matches!(&sandbox, SandboxPolicy::WorkspaceWrite(it) if it.network_access),
                "{mode}: {sandbox:?}"
            );
        }
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

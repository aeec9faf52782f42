//! What a command of the model finds around itself: its shell and its environment.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use crate::{config::Config, server::Setup};

/// Shells that take `-lc`.
const SHELLS: [&str; 5] = ["bash", "zsh", "sh", "dash", "ksh"];
/// Tried in this order where the user's own shell is none of them.
const USUAL_SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
/// Words in the name of a variable that holds a credential.
const SECRET_WORDS: [&str; 6] = ["KEY", "SECRET", "TOKEN", "PASSWORD", "PASSWD", "CREDENTIALS"];
/// What a command sees of an environment of which only the core is inherited.
const CORE: [&str; 10] = [
    "HOME", "LOGNAME", "PATH", "SHELL", "USER", "TMPDIR", "TEMP", "TMP", "LANG", "TERM",
];

/// `[shell_environment_policy]`, with the official keys that matter here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Policy {
    /// `all`, `core` or `none`.
    inherit: Option<String>,
    /// Keeps variables whose names tell that they hold a credential.
    ignore_default_excludes: bool,
    set: BTreeMap<String, String>,
}

/// The environment of the model's commands. Credentials stay out of it: what a command prints goes to the model.
pub(crate) fn environment(setup: &Setup, config: &Config) -> BTreeMap<String, String> {
    let policy = config.value.get("shell_environment_policy").cloned();
    let policy: Policy = policy
        .and_then(|it| serde_json::from_value(it).ok())
        .unwrap_or_default();
    let keys: Vec<&str> = config
        .providers
        .values()
        .filter_map(|it| it.env_key.as_deref())
        .collect();
    let is_kept = |name: &str| {
        let inherited = match policy.inherit.as_deref() {
            Some("none") => false,
            Some("core") => CORE.contains(&name),
            _ => true,
        };
        inherited && !keys.contains(&name) && (policy.ignore_default_excludes || !is_secret(name))
    };
    let mut environment: BTreeMap<String, String> = setup
        .environment
        .iter()
        .filter(|(name, _)| is_kept(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // A pager or a question for a password would wait for somebody who is not there.
    for (name, value) in [
        ("PAGER", "cat"),
        ("GIT_PAGER", "cat"),
        ("GIT_TERMINAL_PROMPT", "0"),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    environment.extend(policy.set);
    environment
}

fn is_secret(name: &str) -> bool {
    name.to_ascii_uppercase()
        .split('_')
        .any(|word| SECRET_WORDS.contains(&word) || word.ends_with("APIKEY"))
}

/// The user's shell, by its path.
pub(crate) fn shell(setup: &Setup) -> String {
    let of_user = setup.variable("SHELL").filter(|it| is_usable(it));
    of_user
        .or_else(|| USUAL_SHELLS.into_iter().find(|it| is_usable(it)))
        .unwrap_or("/bin/sh")
        .to_owned()
}

/// The name of a shell, as the model is told it.
pub(crate) fn shell_name(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn is_usable(path: &str) -> bool {
    let path = Path::new(path);
    let name = path.file_name().and_then(|it| it.to_str());
    path.is_absolute() && name.is_some_and(|it| SHELLS.contains(&it)) && path.exists()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn setup(variables: &[(&str, &str)]) -> Setup {
        Setup {
            codex_home: "/c".into(),
            cwd: "/".into(),
            environment: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            version: String::new(),
            sandbox_helper: "/x".into(),
            model: None,
        }
    }

    fn names(variables: &[(&str, &str)], value: Value) -> Vec<String> {
        let config = Config {
            value,
            ..Config::default()
        };
        let added = ["PAGER", "GIT_PAGER", "GIT_TERMINAL_PROMPT"];
        environment(&setup(variables), &config)
            .into_keys()
            .filter(|it| !added.contains(&it.as_str()))
            .collect()
    }

    #[test]
    fn credentials_do_not_reach_the_models_commands() {
        let variables = [
            ("PATH", "/bin"),
            ("OPENAI_API_KEY", "k"),
            ("github_token", "t"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("KEYBOARD", "de"),
            ("EDITOR", "vi"),
        ];
        assert_eq!(names(&variables, json!({})), ["EDITOR", "KEYBOARD", "PATH"]);
        let core = json!({ "shell_environment_policy": { "inherit": "core" } });
        assert_eq!(names(&variables, core), ["PATH"]);
        let set = json!({ "shell_environment_policy": { "inherit": "none", "set": { "A": "b" } } });
        assert_eq!(names(&variables, set), ["A"]);
        let all = json!({ "shell_environment_policy": { "ignore_default_excludes": true } });
        assert_eq!(names(&variables, all).len(), variables.len());
    }

    #[test]
    fn a_shell_that_does_not_speak_posix_is_not_used() {
        assert_eq!(shell(&setup(&[("SHELL", "/bin/sh")])), "/bin/sh");
        for other in ["/usr/bin/fish", "sh", "/no/such/bash"] {
            assert!(
                USUAL_SHELLS.contains(&shell(&setup(&[("SHELL", other)])).as_str()),
                "{other}"
            );
        }
        assert_eq!(shell_name("/usr/bin/zsh"), "zsh");
    }
}

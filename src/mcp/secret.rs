//! What must not be shown: values of the configuration and of the environment.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// A text that may be a secret. Wiped from memory when it goes; it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The environment of this process, out of which servers get what they are allowed to see. It has no `Debug`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, Secret>);

/// Variables that every program needs and that tell no secret; those that begin with `LC_` belong to them too.
const HANDED_ON: &[&str] = &[
    "HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
];
const HANDED_ON_PREFIX: &str = "LC_";

impl Environment {
    /// The environment as it is now. Variables that are not UTF-8 are left out.
    pub fn of_this_process() -> Environment {
        let known = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        known.collect()
    }

    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// What a program gets: the usual variables, those that `named` names, and `set` over both.
    pub(crate) fn for_program<'a>(
        &'a self,
        named: &'a [String],
        set: &'a BTreeMap<String, Secret>,
    ) -> BTreeMap<&'a str, &'a str> {
        let usual = |name: &str| HANDED_ON.contains(&name) || name.starts_with(HANDED_ON_PREFIX);
        let kept = self
            .0
            .iter()
            .filter(|(name, _)| usual(name) || named.contains(name));
        kept.chain(set)
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Environment {
        let variables = variables.into_iter();
        Environment(
            variables
                .map(|(name, value)| (name, Secret::new(value)))
                .collect(),
        )
    }
}

/// Shorter texts are no secrets, and replacing them would make a message unreadable.
const SECRET_BYTES_MIN: usize = 6;

/// Takes `secrets` out of a text that others wrote and people will read.
pub(crate) fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        if secret.len() >= SECRET_BYTES_MIN && text.contains(secret) {
            text = text.replace(secret, "[hidden]");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_the_usual_variables_and_what_is_named() {
        let ours = ["PATH", "LC_ALL", "OPENAI_API_KEY", "GITHUB_TOKEN"];
        let ours: Environment = ours
            .map(|name| (name.to_owned(), format!("of {name}")))
            .into_iter()
            .collect();
        let set = BTreeMap::from([("PATH".to_owned(), Secret::new("mine".to_owned()))]);
        let named = ["GITHUB_TOKEN".to_owned(), "MISSING".to_owned()];
        let got = ours.for_program(&named, &set);
        let expected = [
            ("GITHUB_TOKEN", "of GITHUB_TOKEN"),
            ("LC_ALL", "of LC_ALL"),
            ("PATH", "mine"),
        ];
        assert_eq!(got, BTreeMap::from(expected));
    }

    #[test]
    fn secrets_are_taken_out_of_texts() {
        let secrets = ["hunter2-token", "", "a"];
        assert_eq!(
            redact("bad hunter2-token, again hunter2-token", secrets),
            "bad [hidden], again [hidden]"
        );
    }
}

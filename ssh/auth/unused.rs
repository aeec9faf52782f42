//! What a login could not make use of, and why: it belongs to the text of a login that was refused. Pure.

use std::path::Path;

use super::{
    key::{Files, Private},
    plan::Method,
};
use crate::{
    config::settings::HostSettings,
    error::{Attempt, Outcome},
    host_key::Trust,
};

/// The keys that were looked for before the login.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    skipped: Vec<Attempt>,
}

impl Keys {
    /// `held` says whether the agent holds the key of a public half. `empty` names an agent that shows no key.
    pub(crate) fn new(
        files: &Files,
        held: impl Fn(&russh::keys::PublicKey) -> bool,
        empty: Option<&Path>,
    ) -> Keys {
        let mut skipped: Vec<Attempt> = files
            .unusable
            .iter()
            .map(|(path, why)| skip(Method::PublicKey, path.display().to_string(), why))
            .collect();
        let public_only = files.identities.iter().filter(|it| {
            it.private == Private::Missing && it.public.as_ref().is_some_and(|public| !held(public))
        });
        skipped.extend(public_only.map(|it| {
            let why = "only its public half is there, and no agent holds the private one";
            skip(Method::PublicKey, it.path.display().to_string(), why)
        }));
        let orphans = files.certificates.iter().filter(|(_, certificate)| {
            let public = russh::keys::PublicKey::from(certificate.public_key().clone());
            !held(&public) && !files.holds(&public)
        });
        skipped.extend(orphans.map(|(path, _)| {
            let why = "neither a file nor the agent has its private key";
            skip(Method::PublicKey, format!("certificate {}", path.display()), why)
        }));
        skipped.extend(empty.map(|socket| {
            let why = "it shows no keys (`ssh-add` adds one, `ssh-add -X` unlocks it)";
            skip(Method::PublicKey, format!("agent {}", socket.display()), why)
        }));
        Keys { skipped }
    }

    /// What was not tried of what the server `accepts`.
    pub(crate) fn untried(
        &self,
        settings: &HostSettings,
        trust: Trust,
        accepts: &[String],
        tried: &[Attempt],
    ) -> Vec<Attempt> {
        let accepted = |method: Method| accepts.iter().any(|it| it == method.name());
        let mut untried = Vec::new();
        if accepted(Method::PublicKey) {
            untried.extend(self.skipped.iter().cloned());
        }
        for method in [Method::PublicKey, Method::KeyboardInteractive, Method::Password] {
            let sent = tried
                .iter()
                .any(|it| it.method == method.name() && !matches!(it.outcome, Outcome::Skipped(_)));
            if accepted(method)
                && !sent
                && let Some(why) = off(settings, trust, method)
            {
                untried.push(skip(method, String::new(), &why));
            }
        }
        untried
    }
}

/// Why the method is not to be used.
fn off(settings: &HostSettings, trust: Trust, method: Method) -> Option<String> {
    let (keyword, on) = match method {
        Method::PublicKey => ("PubkeyAuthentication", settings.pubkey_authentication),
        Method::KeyboardInteractive => (
            "KbdInteractiveAuthentication",
            settings.kbd_interactive_authentication,
        ),
        Method::Password => ("PasswordAuthentication", settings.password_authentication),
    };
    if !on {
        return Some(format!("not tried: {keyword} is no"));
    }
    let preferred = &settings.preferred_authentications;
    if !preferred.iter().any(|it| it == method.name()) {
        return Some("not tried: PreferredAuthentications leaves it out".to_owned());
    }
    match method {
        Method::PublicKey => None,
        _ if settings.batch_mode => Some("not tried: BatchMode asks nobody".to_owned()),
        _ if trust != Trust::Full => {
            Some("not tried: the host key has changed, so nothing that is typed goes there".to_owned())
        }
        _ if settings.number_of_password_prompts == 0 => {
            Some("not tried: NumberOfPasswordPrompts is 0".to_owned())
        }
        _ => None,
    }
}

fn skip(method: Method, what: String, why: &str) -> Attempt {
    Attempt {
        method: method.name(),
        what,
        outcome: Outcome::Skipped(why.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Files, HostSettings, Keys, Trust};

    fn texts(settings: &HostSettings, trust: Trust, accepts: &[&str]) -> Vec<String> {
        let accepts: Vec<String> = accepts.iter().map(|it| (*it).to_owned()).collect();
        let keys = Keys::new(&Files::default(), |_| false, None);
        let untried = keys.untried(settings, trust, &accepts, &[]);
        untried.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn methods_that_the_configuration_keeps_from_being_tried_are_named_with_their_keyword() {
        let mut settings = HostSettings::plain("devbox", "me", 22);
        let both = ["password", "keyboard-interactive"];
        assert_eq!(texts(&settings, Trust::Full, &both), [""; 0]);
        let changed = texts(&settings, Trust::NoPasswords, &["password"]);
        assert!(changed[0].contains("the host key has changed"), "{changed:?}");
        settings.batch_mode = true;
        let batch = texts(&settings, Trust::Full, &both);
        assert_eq!(batch[0], "keyboard-interactive: not tried: BatchMode asks nobody");
        assert_eq!(batch.len(), 2);
        settings.password_authentication = false;
        settings.pubkey_authentication = false;
        settings
            .preferred_authentications
            .retain(|it| it != "keyboard-interactive");
        assert_eq!(
            texts(
                &settings,
                Trust::Full,
                &["publickey", "password", "keyboard-interactive"]
            ),
            [
                "publickey: not tried: PubkeyAuthentication is no",
                "keyboard-interactive: not tried: PreferredAuthentications leaves it out",
                "password: not tried: PasswordAuthentication is no",
            ]
        );
    }
}

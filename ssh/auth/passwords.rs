//! Passwords that a server has taken, for the next connections of this run: a reconnection after a cut, and one
//! more connection beside the first. They are in memory only, and wiped when they are dropped.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use zeroize::Zeroizing;

use crate::{config::settings::HostSettings, event::Prompt, limits};

/// What was typed for an account, and only for that one: no other host gets to see it.
#[derive(Default)]
pub(crate) struct Passwords {
    known: Mutex<HashMap<Account, Zeroizing<String>>>,
}

/// An account by the name that the user has for its host. The host's key is checked before it is asked for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    alias: String,
    user: String,
    host_name: String,
    port: u16,
    /// The text of a keyboard-interactive prompt; `None`: the method `password`.
    prompt: Option<String>,
}

impl Account {
    pub(crate) fn of(settings: &HostSettings) -> Account {
        Account {
            alias: settings.alias.clone(),
            user: settings.user.clone(),
            host_name: settings.host_name.clone(),
            port: settings.port,
            prompt: None,
        }
    }

    /// The same for a keyboard-interactive question, if it is nothing but one for a password. What is good for one
    /// time only, or is to be a new password, is never given again.
    pub(crate) fn of_prompts(settings: &HostSettings, prompts: &[Prompt]) -> Option<Account> {
        let [Prompt { text, echo: false }] = prompts else {
            return None;
        };
        let lower = text.to_lowercase();
        let mut words = lower.split(|it: char| !it.is_alphanumeric());
        let is_other = words
            .clone()
            .any(|it| ["time", "otp", "new", "code", "token", "current"].contains(&it));
        let is_password = words.rfind(|it| !it.is_empty()) == Some("password");
        (is_password && !is_other).then(|| Account {
            prompt: Some(text.clone()),
            ..Account::of(settings)
        })
    }
}

impl Passwords {
    pub(crate) fn of(&self, account: &Account) -> Option<Zeroizing<String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(account).cloned()
    }

    /// The server took it.
    pub(crate) fn remember(&self, account: Account, password: Zeroizing<String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if limits::PASSWORDS <= known.len() {
            known.clear();
        }
        known.insert(account, password);
    }

    /// The server takes it no more.
    pub(crate) fn forget(&self, account: &Account) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_hidden_question_for_the_password_is_answered_from_memory() {
        let settings = HostSettings::plain("host", "me".to_owned(), 22);
        let prompt = |text: &str, echo: bool| Prompt {
            text: text.to_owned(),
            echo,
        };
        for (prompts, expected) in [
            (vec![prompt("Password: ", false)], true),
            (vec![prompt("(me@host) Password: ", false)], true),
            (vec![prompt("me@host's password:", false)], true),
            (vec![prompt("Password: ", true)], false),
            (vec![prompt("One-time password: ", false)], false),
            (vec![prompt("One-time password (OATH) for `me': ", false)], false),
            (vec![prompt("New password: ", false)], false),
            (vec![prompt("Verification code: ", false)], false),
            (vec![prompt("Password: ", false), prompt("Code: ", false)], false),
            (vec![], false),
        ] {
            let account = Account::of_prompts(&settings, &prompts);
            assert_eq!(account.is_some(), expected, "{prompts:?}");
        }
    }

    #[test]
    fn an_account_has_its_own_password() {
        let passwords = Passwords::default();
        let mut settings = HostSettings::plain("host", "me".to_owned(), 22);
        let account = Account::of(&settings);
        passwords.remember(account.clone(), Zeroizing::new("secret".to_owned()));
        assert!(passwords.of(&account).is_some());
        settings.port = 2222;
        assert!(passwords.of(&Account::of(&settings)).is_none());
        passwords.forget(&account);
        assert!(passwords.of(&account).is_none());
    }
}

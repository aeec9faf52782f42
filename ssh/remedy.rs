//! What would make a server accept a login that it has refused.

use crate::error::{Attempt, Outcome};

/// `accepts` are the methods that the server would still take, `closing` are its last words when it ended the
/// connection.
pub(crate) fn let_in(alias: &str, tried: &[Attempt], accepts: &[String], closing: Option<&str>) -> String {
    let denied = |method: &str| {
        let mut of = tried.iter().filter(|it| it.method == method);
        of.any(|it| it.outcome == Outcome::Denied)
    };
    let typed = denied("password") || denied("keyboard-interactive");
    if closing.is_some_and(|it| it.contains("Too many authentication failures")) {
        return used_up(alias, tried, typed);
    }
    let any_denied = tried.iter().any(|it| it.outcome.is_denial());
    if closing.is_some_and(|it| !it.is_empty() || !any_denied) {
        return "the server took what was sent and ended the login then: the account may have expired or be closed to logins for now; the log of its sshd says why".to_owned();
    }
    if let Some(passed) = tried.iter().rposition(|it| it.outcome == Outcome::Partial) {
        return next_step(alias, tried, passed, accepts);
    }
    let takes = |method: &str| accepts.iter().any(|it| it == method);
    if denied("password") || denied("keyboard-interactive") && takes("keyboard-interactive") {
        return "check what was typed; an account that is locked, or may not log in there, is refused in the same words, and the log of the server's sshd says which it is".to_owned();
    }
    if takes("publickey")
        && !denied("publickey")
        && let Some(keyword) = off(tried)
    {
        return format!(
            "the server wants a key, and {keyword} of `{alias}` keeps keys from being offered: `codex hosts -G {alias}` shows the line"
        );
    }
    let batch = |it: &Attempt| matches!(&it.outcome, Outcome::Skipped(why) if why.contains("BatchMode"));
    let types = tried.iter().any(batch);
    if takes("publickey") && (types || accepts.len() == 1) {
        let batch = if types {
            "; without BatchMode you would be asked"
        } else {
            ""
        };
        // `ssh-copy-id` logs in itself, by another way than the key, and reads the same configuration.
        let copies = accepts
            .iter()
            .any(|it| it == "password" || it == "keyboard-interactive");
        let install = match copies {
            true => format!("`ssh-copy-id -o BatchMode=no {alias}`"),
            false => "somebody who can log in adds it to ~/.ssh/authorized_keys there".to_owned(),
        };
        let dated = |it: &Attempt| it.outcome == Outcome::Denied && it.what.ends_with(')');
        return match denied("publickey") {
            true if tried.iter().any(dated) => {
                "the server wants a key, and the certificate is not for this login: have it signed anew"
                    .to_owned()
            }
            true => format!(
                "the server wants another key: IdentityFile selects one; to install this one: {install}; if it is installed, the log of the server's sshd says what is wrong with it or with the account{batch}"
            ),
            false if tried.iter().any(is_unusable) => format!(
                "the server wants a key, and none of those that were looked for can be used: the text beside each says why; to install another one: {install}{batch}"
            ),
            false => format!(
                "the server wants a key, and there is none to offer: make one with ssh-keygen or name it with IdentityFile, load it with ssh-add; to install it: {install}{batch}"
            ),
        };
    }
    if types {
        return format!("without BatchMode you would be asked for what `{alias}` wants");
    }
    format!("compare with `ssh -v {alias}`")
}

/// What helps where a server takes no connection from here, and says so by `text`.
pub(crate) fn sent_away(text: &str) -> &'static str {
    match text.contains("Not allowed at this time") {
        true => {
            "logins from this address failed or were left unfinished (PerSourcePenalties in its sshd_config): each further one makes it longer, so correct what they failed for; the ban passes by itself"
        }
        false => "the server limits new connections: wait a minute before the next try",
    }
}

/// The server ended it for having been asked too often.
fn used_up(alias: &str, tried: &[Attempt], typed: bool) -> String {
    if typed {
        return "check what was typed; the server allows no more tries in one connection (MaxAuthTries)"
            .to_owned();
    }
    match tried.iter().filter(|it| it.method == "publickey").count() {
        0 => "the server allows fewer tries (MaxAuthTries in its sshd_config)".to_owned(),
        1 => format!(
            "this key used up the tries of the server (MaxAuthTries): name the right one for `{alias}` with IdentityFile and IdentitiesOnly yes"
        ),
        keys => format!(
            "too many keys for this server: {keys} used up its tries (MaxAuthTries): name the right one for `{alias}` with IdentityFile and IdentitiesOnly yes"
        ),
    }
}

/// The keyword of the configuration by which no key was offered.
fn off(tried: &[Attempt]) -> Option<&'static str> {
    let why = tried.iter().find_map(|it| match &it.outcome {
        Outcome::Skipped(why) if it.method == "publickey" && it.what.is_empty() => Some(why),
        _ => None,
    })?;
    ["PubkeyAuthentication", "PreferredAuthentications"]
        .into_iter()
        .find(|it| why.contains(it))
}

/// Whether it is a key that was found, or not found, to be of no use.
fn is_unusable(attempt: &Attempt) -> bool {
    attempt.method == "publickey"
        && !attempt.what.is_empty()
        && matches!(attempt.outcome, Outcome::Skipped(_))
}

/// The server wants several methods in a row, and took those up to `passed`.
fn next_step(alias: &str, tried: &[Attempt], passed: usize, accepts: &[String]) -> String {
    let steps: Vec<&str> = tried
        .iter()
        .filter(|it| it.outcome == Outcome::Partial)
        .map(|it| it.method)
        .collect();
    let (before, next) = (steps.join(" and "), accepts.join(" or "));
    let rest = tried.get(passed + 1..).unwrap_or_default();
    let refused = rest.iter().rfind(|it| it.outcome == Outcome::Denied);
    match refused.map(|it| it.method) {
        Some("publickey") => format!(
            "{before} passed, and the key that has to follow was refused: name the right one for `{alias}` with IdentityFile"
        ),
        Some(method) => format!("{before} passed, and {method} after it was refused: check what was typed"),
        None if accepts.iter().any(|it| it == "publickey") => format!(
            "{before} passed, and the server wants another key besides: name it for `{alias}` with IdentityFile"
        ),
        None => {
            format!("{before} passed, and the server wants {next} besides: connect where you can be asked")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_logs_in_itself_is_named_only_where_it_could() {
        let key = |outcome| Attempt {
            method: "publickey",
            what: "id_ed25519".to_owned(),
            outcome,
        };
        let batch = Attempt {
            method: "password",
            what: String::new(),
            outcome: Outcome::Skipped("BatchMode is set".to_owned()),
        };
        for tried in [
            vec![],
            vec![key(Outcome::Denied)],
            vec![key(Outcome::Skipped("no file".to_owned()))],
        ] {
            let only_keys = let_in("devbox", &tried, &["publickey".to_owned()], None);
            assert!(!only_keys.contains("ssh-copy-id"), "{only_keys}");
            assert!(only_keys.contains("authorized_keys"), "{only_keys}");
            let tried: Vec<Attempt> = tried.into_iter().chain([batch.clone()]).collect();
            let accepts = ["publickey", "password"].map(str::to_owned);
            let also_passwords = let_in("devbox", &tried, &accepts, None);
            assert!(
                also_passwords.contains("`ssh-copy-id -o BatchMode=no devbox`"),
                "{also_passwords}"
            );
        }
    }

    #[test]
    fn a_configuration_that_keeps_keys_from_being_offered_is_named() {
        for (why, keyword) in [
            ("not tried: PubkeyAuthentication is no", "PubkeyAuthentication"),
            (
                "not tried: PreferredAuthentications leaves it out",
                "PreferredAuthentications",
            ),
        ] {
            let tried = [Attempt {
                method: "publickey",
                what: String::new(),
                outcome: Outcome::Skipped(why.to_owned()),
            }];
            let hint = let_in("box", &tried, &["publickey".to_owned()], None);
            assert!(hint.contains(keyword) && !hint.contains("ssh-keygen"), "{hint}");
        }
    }

    #[test]
    fn used_up_tries_are_laid_to_what_used_them_up() {
        const CLOSING: Option<&str> = Some("Too many authentication failures");
        let denied = |method| Attempt {
            method,
            what: String::new(),
            outcome: Outcome::Denied,
        };
        let hint = |methods: &[&'static str]| {
            let tried: Vec<Attempt> = methods.iter().map(|it| denied(it)).collect();
            let_in("box", &tried, &[], CLOSING)
        };
        let typed = hint(&["publickey", "keyboard-interactive", "keyboard-interactive"]);
        assert!(
            typed.contains("what was typed") && typed.contains("MaxAuthTries"),
            "{typed}"
        );
        assert!(hint(&["publickey", "publickey"]).contains("too many keys"));
        assert!(hint(&["publickey"]).contains("this key used up"));
    }
}

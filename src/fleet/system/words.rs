//! What OpenSSH's client says when it fails, and which of our codes it means.
//!
//! The texts are those of OpenSSH 8.4 to 10 (`sshconnect.c`, `sshconnect2.c`, `packet.c`, `readconf.c`). A banner
//! stands between them and may hold anything, so what forbids another try is looked for first: a banner can stop
//! retries and never cause them.

use codex_hosts::{FailureKind, Phase};

const UNKNOWN_NAME: &str = "Could not resolve hostname";

/// What a line of it means, the first that is found.
const WORDS: &[(&str, FailureKind, Phase)] = {
    use FailureKind::{
        BadConfig, Forbidden, HostKeyChanged, HostKeyRevoked, HostKeyUnknown, Protocol, TimedOut,
        Unauthorized, Unreachable,
    };
    use Phase::{Authenticating, Connecting, Launching, Resolving};
    &[
        ("REVOKED HOST KEY DETECTED", HostKeyRevoked, Connecting),
        (
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            HostKeyChanged,
            Connecting,
        ),
        (
            "has changed and you have requested strict checking",
            HostKeyChanged,
            Connecting,
        ),
        ("Host key verification failed", HostKeyUnknown, Connecting),
        ("Bad configuration option", BadConfig, Resolving),
        ("bad configuration options", BadConfig, Resolving),
        ("Bad owner or permissions on", BadConfig, Resolving),
        ("Can't open user config file", BadConfig, Resolving),
        ("Permission denied (", Unauthorized, Authenticating),
        ("Too many authentication failures", Unauthorized, Authenticating),
        (
            "No supported authentication methods",
            Unauthorized,
            Authenticating,
        ),
        ("Unable to negotiate with", Protocol, Connecting),
        ("no matching ", Protocol, Connecting),
        ("administratively prohibited", Forbidden, Connecting),
        ("Session open refused by peer", Forbidden, Launching),
        ("exec request failed", Forbidden, Launching),
        ("shell request failed", Forbidden, Launching),
        ("timed out", TimedOut, Connecting),
        ("not responding", TimedOut, Connecting),
        (UNKNOWN_NAME, Unreachable, Resolving),
        ("Connection refused", Unreachable, Connecting),
        ("No route to host", Unreachable, Connecting),
        ("Network is unreachable", Unreachable, Connecting),
        ("Connection closed by", Unreachable, Connecting),
        ("Connection reset", Unreachable, Connecting),
        ("Broken pipe", Unreachable, Connecting),
        ("exchange_identification", Unreachable, Connecting),
    ]
};

/// The code and the phase that the client's own words stand for; `None` when they are of no known kind.
pub(super) fn meaning(said: &str) -> Option<(FailureKind, Phase)> {
    let found = WORDS.iter().find(|(words, ..)| said.contains(words));
    found.map(|&(_, kind, phase)| (kind, phase))
}

/// Why a login was refused, where the client says so on its way there (`ssh-pkcs11.c`, `ssh-keysign.c`), and what the
/// user can do; the first that is found.
const CAUSES: &[(&str, &str)] = &[
    (
        "PKCS#11 login failed: PIN locked",
        "the token has locked itself after wrong PINs: unlock it with its PUK, or ask who gave it out",
    ),
    (
        "PKCS#11 login failed: PIN ",
        "try again with the right PIN: the token refused this one, and locks itself after a few",
    ),
    (
        "pin required",
        "the token asks for its PIN, and here nobody can be asked: connect from a terminal",
    ),
    // Newer clients look into the file first.
    ("is not a PKCS11 library", NO_LIBRARY),
    ("dlopen ", NO_LIBRARY),
    (
        "ssh-keysign not enabled",
        "hostbased logins need `EnableSSHKeysign yes` in this machine's own file, which is /etc/ssh/ssh_config",
    ),
];

const NO_LIBRARY: &str = "correct PKCS11Provider: it names no library for PKCS#11 that can be loaded";

/// The hint for a refused login. Whoever lets nobody in without a ticket does not say that there is none.
fn refused(id: &str, said: &str) -> String {
    if let Some((_, hint)) = CAUSES.iter().find(|(words, _)| said.contains(words)) {
        return (*hint).to_owned();
    }
    let takes_tickets = |it: &str| it.contains("Permission denied (") && it.contains("gssapi-with-mic");
    match said.lines().any(takes_tickets) {
        true => format!(
            "for gssapi-with-mic a Kerberos ticket is needed: `klist` shows yours, `kinit` gets one; else compare with \
             `ssh -v {id}`"
        ),
        false => format!("compare with `ssh -v {id}`"),
    }
}

/// What the user can do, where that is not in the words themselves.
pub(super) fn hint(kind: FailureKind, id: &str, said: &str) -> Option<String> {
    Some(match kind {
        FailureKind::HostKeyUnknown => format!("run `ssh {id}` in a terminal and compare the fingerprint"),
        FailureKind::HostKeyChanged => {
            "find out why; `ssh-keygen -R` with the name that ssh's own words show forgets the old key"
                .to_owned()
        }
        FailureKind::HostKeyRevoked => "do not use this host: its key is marked as compromised".to_owned(),
        FailureKind::Unauthorized => refused(id, said),
        FailureKind::Protocol => format!("compare with `ssh -v {id}`"),
        FailureKind::Unreachable if said.contains(UNKNOWN_NAME) => {
            format!("check the name, or set HostName for `{id}` in the SSH configuration")
        }
        FailureKind::Unreachable | FailureKind::TimedOut => {
            format!("check that the host is up and that HostName and Port of `{id}` are right")
        }
        FailureKind::Cancelled => {
            "connect again and answer; a key that is in the agent (ssh-add) asks nothing".to_owned()
        }
        FailureKind::BadConfig => {
            format!("correct the SSH configuration: `ssh -G {id}` says what is wrong with it")
        }
        FailureKind::Forbidden => "ask the host's administrator".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_client_have_codes() {
        for (said, kind) in [
            (
                "ssh: Could not resolve hostname nope: Name or service not known",
                FailureKind::Unreachable,
            ),
            (
                "ssh: connect to host 127.0.0.1 port 1: Connection refused",
                FailureKind::Unreachable,
            ),
            (
                "ssh: connect to host 10.0.0.9 port 22: Connection timed out",
                FailureKind::TimedOut,
            ),
            ("Timeout, server devbox not responding.", FailureKind::TimedOut),
            (
                "me@devbox: Permission denied (publickey,password).",
                FailureKind::Unauthorized,
            ),
            (
                "Received disconnect from ::1 port 22:2: Too many authentication failures",
                FailureKind::Unauthorized,
            ),
            (
                "Unable to negotiate with ::1 port 22: no matching cipher found. Their offer: x",
                FailureKind::Protocol,
            ),
            (
                "No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.",
                FailureKind::HostKeyUnknown,
            ),
            (
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.",
                FailureKind::HostKeyChanged,
            ),
            (
                "@       WARNING: REVOKED HOST KEY DETECTED!               @\nHost key verification failed.",
                FailureKind::HostKeyRevoked,
            ),
            (
                "/c: line 1: Bad configuration option: nope\n/c: terminating, 1 bad configuration options",
                FailureKind::BadConfig,
            ),
            ("exec request failed on channel 0", FailureKind::Forbidden),
            (
                "kex_exchange_identification: Connection closed by remote host",
                FailureKind::Unreachable,
            ),
        ] {
            assert_eq!(meaning(said).map(|it| it.0), Some(kind), "{said}");
        }
        assert_eq!(meaning("bash: line 1: nope"), None);
    }

    #[test]
    fn a_refused_login_has_a_hint_for_its_cause() {
        let hint = |said: &str| hint(FailureKind::Unauthorized, "devbox", said).unwrap();
        let denied = "dev@devbox: Permission denied (publickey).";
        for (said, word) in [
            ("PKCS#11 login failed: PIN incorrect", "the right PIN"),
            ("PKCS#11 login failed: PIN length out of range", "the right PIN"),
            ("PKCS#11 login failed: PIN locked", "has locked itself"),
            ("pin required", "from a terminal"),
            (
                "provider /p11.so is not a PKCS11 library",
                "correct PKCS11Provider",
            ),
            ("dlopen /p11.so failed: cannot open", "correct PKCS11Provider"),
            (
                "ssh-keysign not enabled in /etc/ssh/ssh_config",
                "EnableSSHKeysign yes",
            ),
            ("Permission denied (publickey,gssapi-with-mic).", "`kinit`"),
        ] {
            let hint = hint(&format!("{said}\n{denied}"));
            assert!(hint.contains(word), "{said}: {hint}");
        }
        assert_eq!(hint(denied), "compare with `ssh -v devbox`");
    }

    #[test]
    fn a_name_that_nobody_knows_is_not_taken_for_a_host_that_is_down() {
        let hint = |said: &str| hint(FailureKind::Unreachable, "devbox", said).unwrap();
        let unknown = hint("ssh: Could not resolve hostname nope: Name or service not known");
        assert!(unknown.contains("set HostName for `devbox`"), "{unknown}");
        let down = hint("ssh: connect to host h port 1: Connection refused");
        assert!(down.contains("is up"), "{down}");
    }

    #[test]
    fn a_banner_cannot_turn_a_refusal_into_something_that_is_tried_again() {
        let said = "Connection refused, Connection timed out\nme@devbox: Permission denied (publickey).";
        assert_eq!(meaning(said).map(|it| it.0), Some(FailureKind::Unauthorized));
    }
}

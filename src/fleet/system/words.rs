//! What OpenSSH's client says when it fails, and which of our codes it means.
//!
//! The texts are those of OpenSSH 8.4 to 10 (`sshconnect.c`, `sshconnect2.c`, `packet.c`, `readconf.c`). A banner
//! stands between them and may hold anything, so what forbids another try is looked for first: a banner can stop
//! retries and never cause them.

use codex_hosts::{FailureKind, Phase};

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
        ("Could not resolve hostname", Unreachable, Resolving),
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

/// What the user can do, where that is not in the words themselves.
pub(super) fn hint(kind: FailureKind, id: &str) -> Option<String> {
    Some(match kind {
        FailureKind::HostKeyUnknown => format!("run `ssh {id}` in a terminal and compare the fingerprint"),
        FailureKind::HostKeyChanged => {
            "find out why; `ssh-keygen -R` with the name that ssh's own words show forgets the old key"
                .to_owned()
        }
        FailureKind::HostKeyRevoked => "do not use this host: its key is marked as compromised".to_owned(),
        FailureKind::Unauthorized | FailureKind::Protocol => format!("compare with `ssh -v {id}`"),
        FailureKind::Unreachable | FailureKind::TimedOut => {
            format!("check that the host is up and that HostName and Port of `{id}` are right")
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
    fn a_banner_cannot_turn_a_refusal_into_something_that_is_tried_again() {
        let said = "Connection refused, Connection timed out\nme@devbox: Permission denied (publickey).";
        assert_eq!(meaning(said).map(|it| it.0), Some(FailureKind::Unauthorized));
    }
}

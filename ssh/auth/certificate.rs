//! What a user certificate says about itself: servers refuse one without a reason. Pure.

use std::time::{Duration, SystemTime};

use russh::keys::{Certificate, ssh_key::certificate::CertType};

/// Critical options that OpenSSH's server follows (PROTOCOL.certkeys); with any other it refuses a certificate.
const KNOWN: [&str; 3] = ["force-command", "source-address", "verify-required"];

/// Why the certificate is of no use anywhere.
pub(super) fn unusable(certificate: &Certificate) -> Option<&'static str> {
    (certificate.cert_type() == CertType::Host).then_some("it is a certificate for hosts, not for users")
}

/// What may be the reason why a server refused it for this user, at `now`.
pub(super) fn remark(certificate: &Certificate, user: &str, now: SystemTime) -> Option<String> {
    let seconds = |it: SystemTime| it.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = seconds(now);
    let (after, before) = (certificate.valid_after(), certificate.valid_before());
    if Duration::from_secs(before) <= now {
        return Some(format!("it expired {} ago", span(now.as_secs() - before)));
    }
    if now < Duration::from_secs(after) {
        return Some(format!(
            "it is not valid yet: its time begins in {}",
            span(after - now.as_secs())
        ));
    }
    let principals = certificate.valid_principals();
    // OpenSSH takes one without names for nobody (sshd_config(5), AuthorizedPrincipalsFile).
    if principals.is_empty() {
        return Some("it names no user that it is for".to_owned());
    }
    if !principals.iter().any(|it| it == user) {
        return Some(format!("it is for {}, not for {user}", principals.join(", ")));
    }
    let options = certificate.critical_options();
    if let Some((name, _)) = options.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
        return Some(format!(
            "it has the critical option {name}, which the server has to know"
        ));
    }
    let source = options.iter();
    let source = source.into_iter().find(|(name, _)| *name == "source-address");
    source.map(|(_, addresses)| format!("it is for connections from {} only", addresses.trim()))
}

/// Seconds in the largest unit that fits.
fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_told_in_the_largest_unit_that_fits() {
        for (seconds, text) in [
            (59, "59 s"),
            (60, "1 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}

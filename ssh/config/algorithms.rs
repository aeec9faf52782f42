//! Algorithm lists: which names OpenSSH knows, and what `+`, `-` and `^` do to its defaults.
//!
//! Only for checking a configuration and for showing it as `ssh -G` does. What this client offers to a
//! server is decided where the session is made.

use super::{keywords::Family, pattern};

const CIPHERS: &str = "3des-cbc,aes128-cbc,aes192-cbc,aes256-cbc,aes128-ctr,aes192-ctr,aes256-ctr,\
    aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com";
const CIPHERS_DEFAULT: &str = "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,\
    aes128-ctr,aes192-ctr,aes256-ctr";

const KEX: &str = "diffie-hellman-group1-sha1,diffie-hellman-group14-sha1,diffie-hellman-group14-sha256,\
    diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group-exchange-sha1,\
    diffie-hellman-group-exchange-sha256,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,\
    mlkem768nistp256-sha256,curve25519-sha256,curve25519-sha256@libssh.org,sntrup761x25519-sha512,\
    sntrup761x25519-sha512@openssh.com,mlkem768x25519-sha256";
const KEX_DEFAULT: &str = "mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,\
    curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,\
    diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
    diffie-hellman-group14-sha256";

const MACS: &str = "hmac-sha1,hmac-sha1-96,hmac-sha2-256,hmac-sha2-512,hmac-md5,hmac-md5-96,\
    umac-64@openssh.com,umac-128@openssh.com,hmac-sha1-etm@openssh.com,hmac-sha1-96-etm@openssh.com,\
    hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-md5-etm@openssh.com,\
    hmac-md5-96-etm@openssh.com,umac-64-etm@openssh.com,umac-128-etm@openssh.com";
const MACS_DEFAULT: &str = "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,\
    hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,\
    hmac-sha2-256,hmac-sha2-512,hmac-sha1";

const KEYS: &str = "ssh-ed25519,ssh-ed25519-cert-v01@openssh.com,sk-ssh-ed25519@openssh.com,\
    sk-ssh-ed25519-cert-v01@openssh.com,ssh-mldsa44-ed25519,ssh-mldsa44-ed25519-cert,ecdsa-sha2-nistp256,\
    ecdsa-sha2-nistp256-cert-v01@openssh.com,ecdsa-sha2-nistp384,ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521,\
    ecdsa-sha2-nistp521-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,\
    sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,webauthn-sk-ecdsa-sha2-nistp256@openssh.com,\
    webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,ssh-rsa,ssh-rsa-cert-v01@openssh.com,rsa-sha2-256,\
    rsa-sha2-256-cert-v01@openssh.com,rsa-sha2-512,rsa-sha2-512-cert-v01@openssh.com";
const KEYS_DEFAULT: &str = "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,\
    ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,\
    sk-ssh-ed25519-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,\
    webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,\
    rsa-sha2-256-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,\
    ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,\
    webauthn-sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256";

const SIGNATURES: &str = "ssh-ed25519,sk-ssh-ed25519@openssh.com,ssh-mldsa44-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,\
    ecdsa-sha2-nistp521,sk-ecdsa-sha2-nistp256@openssh.com,webauthn-sk-ecdsa-sha2-nistp256@openssh.com,\
    ssh-rsa,rsa-sha2-256,rsa-sha2-512";
const SIGNATURES_DEFAULT: &str = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
    sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,webauthn-sk-ecdsa-sha2-nistp256@openssh.com,\
    rsa-sha2-512,rsa-sha2-256";

/// Known to releases before 10.0; still written in old files, and no reason to refuse them.
const RETIRED: &str = "ssh-dss,ssh-dss-cert-v01@openssh.com";

/// What a list starts from: OpenSSH's defaults and everything it can do.
fn tables(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::Cipher => (CIPHERS_DEFAULT, CIPHERS),
        Family::Kex => (KEX_DEFAULT, KEX),
        Family::Mac => (MACS_DEFAULT, MACS),
        Family::Key => (KEYS_DEFAULT, KEYS),
        Family::Signature => (SIGNATURES_DEFAULT, SIGNATURES),
    }
}

/// The first name in `list` that OpenSSH would refuse. What `-` takes away is not checked.
pub(crate) fn unknown_name(family: Family, list: &str) -> Option<&str> {
    if list.starts_with('-') {
        return None;
    }
    let names = list.strip_prefix(['+', '^']).unwrap_or(list);
    let patterns = matches!(family, Family::Key | Family::Signature);
    let known = |name: &str| {
        let all = tables(family).1.split(',');
        let mut all = all.chain(RETIRED.split(',').filter(|_| patterns));
        all.any(|it| it == name || (patterns && pattern::matches(name.trim_start_matches('!'), it)))
    };
    // OpenSSH looks no further than the first empty name, and wants a cipher or a MAC before it.
    let must_begin = matches!(family, Family::Cipher | Family::Mac) && names.starts_with(',');
    if names.is_empty() || must_begin {
        return Some(names);
    }
    names
        .split(',')
        .take_while(|it| !it.is_empty())
        .find(|it| !known(it))
}

/// Whether OpenSSH can make a list of what `list` says: nothing is negated, and something is left.
pub(crate) fn is_usable(family: Family, list: &str) -> bool {
    let negated = |it: &str| it.trim_start_matches(['+', '^']).starts_with('!');
    let retired = |it: &str| {
        RETIRED
            .split(',')
            .any(|name| name == it.trim_start_matches(['+', '^']))
    };
    if list.starts_with('-') || list.split(',').any(retired) {
        return true;
    }
    !list.split(',').any(negated) && !assemble(family, Some(list)).is_empty()
}

/// The whole list that `list` stands for; the default when it is `None`.
pub(crate) fn assemble(family: Family, list: Option<&str>) -> String {
    let (defaults, all) = tables(family);
    let Some(list) = list else {
        return defaults.to_owned();
    };
    if let Some(unwanted) = list.strip_prefix('-') {
        return defaults
            .split(',')
            .filter(|it| !pattern::list(unwanted, it))
            .collect::<Vec<_>>()
            .join(",");
    }
    let wanted = match (list.strip_prefix('+'), list.strip_prefix('^')) {
        (Some(more), _) => format!("{defaults},{more}"),
        (_, Some(first)) => format!("{first},{defaults}"),
        _ => list.to_owned(),
    };
    let mut names: Vec<&str> = Vec::new();
    for wanted in wanted.split(',') {
        for name in all.split(',').filter(|it| pattern::matches(wanted, it)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_change_the_defaults_and_names_replace_them() {
        let ciphers = |list| assemble(Family::Cipher, Some(list));
        assert!(ciphers("+aes128-cbc").ends_with(",aes256-ctr,aes128-cbc"));
        assert!(ciphers("^aes256-ctr").starts_with("aes256-ctr,chacha20"));
        assert_eq!(ciphers("-*@openssh.com"), "aes128-ctr,aes192-ctr,aes256-ctr");
        assert_eq!(ciphers("aes256-ctr,aes128-ctr"), "aes256-ctr,aes128-ctr");
        assert_eq!(assemble(Family::Kex, None), KEX_DEFAULT);
        assert_eq!(
            assemble(Family::Key, Some("ssh-rsa*")),
            "ssh-rsa,ssh-rsa-cert-v01@openssh.com"
        );
    }

    #[test]
    fn unknown_names_are_found() {
        assert_eq!(unknown_name(Family::Cipher, "aes128-ctr,rot13"), Some("rot13"));
        assert_eq!(unknown_name(Family::Cipher, "+aes*"), Some("aes*"));
        assert_eq!(unknown_name(Family::Key, "+ssh-*"), None);
        assert_eq!(unknown_name(Family::Key, "ssh-dss"), None);
        assert_eq!(unknown_name(Family::Mac, "-anything"), None);
        assert_eq!(unknown_name(Family::Mac, ""), Some(""));
    }
}

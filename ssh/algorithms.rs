//! Which algorithms are offered: russh's, in our order, as the configuration wants them.

use std::borrow::Cow;

use russh::{Preferred, cipher, compression, kex, keys::Algorithm, mac};

use crate::{config::settings::HostSettings, error::Failure, known_hosts::KnownHosts};

/// Post-quantum first, then what is cheap; group exchange costs 0.7 s of CPU and is left to those
/// who configure it, SHA-1 too.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G14_SHA256,
];
/// Markers, no algorithms: without them there is no strict key exchange (CVE-2023-48795), and the
/// server does not tell which RSA signatures it takes. A configured list never names them.
const KEX_MARKERS: &[kex::Name] = &[
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];
const KEX_ON_REQUEST: &[kex::Name] = &[
    kex::DH_G15_SHA512,
    kex::DH_G17_SHA512,
    kex::DH_GEX_SHA256,
    kex::DH_G14_SHA1,
    kex::DH_GEX_SHA1,
    kex::DH_G1_SHA1,
];
const GCM: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::AES_128_GCM];
const CHACHA: &[cipher::Name] = &[cipher::CHACHA20_POLY1305];
const CTR: &[cipher::Name] = &[cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR];
const CIPHERS_ON_REQUEST: &[cipher::Name] = &[cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC];
const MACS: &[mac::Name] = &[
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
];
const MACS_ON_REQUEST: &[mac::Name] = &[mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];
const HOST_KEYS: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];
/// SHA-1 signatures; OpenSSH dropped them from its defaults in 8.8.
const HOST_KEYS_ON_REQUEST: &[&str] = &["ssh-rsa"];
/// Keys of the user on FIDO tokens; the agent signs with them.
const SECURITY_KEYS: &[&str] = &["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"];
const CERTIFICATE: &str = "-cert-v01@openssh.com";
/// Their certificates' names.
const SECURITY_CERTIFICATES: &[&str] = &[
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
];

/// What to offer to this host. Fails when the configuration leaves nothing that we have.
pub(crate) fn preferred(settings: &HostSettings, known: &KnownHosts) -> Result<Preferred, Failure> {
    let ciphers: Vec<cipher::Name> = match has_aes() {
        true => [GCM, CHACHA, CTR].concat(),
        false => [CHACHA, GCM, CTR].concat(),
    };
    let mut kex = select(
        "KexAlgorithms",
        settings.kex_algorithms.as_deref(),
        KEX,
        KEX_ON_REQUEST,
    )?;
    kex.extend_from_slice(KEX_MARKERS);
    let (key, host_key_certificates) = host_keys(settings.host_key_algorithms.as_deref(), known)?;
    let (ciphers, macs) = protection(settings, &ciphers)?;
    Ok(Preferred {
        kex: Cow::Owned(kex),
        key: Cow::Owned(key),
        host_key_certificates: Cow::Owned(host_key_certificates),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Owned(macs),
        compression: Cow::Borrowed(match settings.compression {
            true => &[compression::ZLIB_LEGACY, compression::NONE],
            false => &[compression::NONE],
        }),
    })
}

/// The ciphers and the MACs. A `MACs` of which we have none leaves the ciphers that bring their own, to which it does
/// not matter.
fn protection(
    settings: &HostSettings,
    ciphers: &[cipher::Name],
) -> Result<(Vec<cipher::Name>, Vec<mac::Name>), Failure> {
    let mut ciphers = select(
        "Ciphers",
        settings.ciphers.as_deref(),
        ciphers,
        CIPHERS_ON_REQUEST,
    )?;
    match select("MACs", settings.macs.as_deref(), MACS, MACS_ON_REQUEST) {
        Ok(macs) => Ok((ciphers, macs)),
        Err(failure) => {
            ciphers.retain(|it| GCM.contains(it) || CHACHA.contains(it));
            match ciphers.is_empty() {
                true => Err(failure),
                false => Ok((ciphers, MACS.to_vec())),
            }
        }
    }
}

/// The algorithms of plain host keys and of certificates. The latter are offered only where an
/// authority is trusted: without one, a certificate could not be checked.
fn host_keys(
    configured: Option<&str>,
    known: &KnownHosts,
) -> Result<(Vec<Algorithm>, Vec<Algorithm>), Failure> {
    let certificates: Vec<String> = HOST_KEYS
        .iter()
        .map(|name| format!("{name}{CERTIFICATE}"))
        .collect();
    let plain = HOST_KEYS.iter().copied();
    let defaults: Vec<&str> = certificates.iter().map(String::as_str).chain(plain).collect();
    let names = select("HostKeyAlgorithms", configured, &defaults, HOST_KEYS_ON_REQUEST)?;
    let algorithms = |names: &mut dyn Iterator<Item = &str>| -> Vec<Algorithm> {
        names.filter_map(|name| Algorithm::new(name).ok()).collect()
    };
    let mut keys = algorithms(&mut names.iter().copied().filter(|it| !it.ends_with(CERTIFICATE)));
    let certified = match known.has_authority() {
        true => algorithms(&mut names.iter().filter_map(|name| name.strip_suffix(CERTIFICATE))),
        false => Vec::new(),
    };
    // The user's own order stands.
    if configured.is_none_or(|list| list.starts_with(['+', '-'])) {
        known.order(&mut keys);
    }
    Ok((keys, certified))
}

/// Of the host keys that a server has those that we cannot verify, and that OpenSSH's client can with this
/// `HostKeyAlgorithms`: a FIDO token signs more than what it is given.
pub(crate) fn beyond(configured: Option<&str>, theirs: &[String]) -> Vec<&'static str> {
    let beyond = [SECURITY_KEYS, SECURITY_CERTIFICATES].concat();
    let chosen = select("HostKeyAlgorithms", configured, &beyond, &[]).unwrap_or_default();
    let has = |name: &&'static str| theirs.iter().any(|it| it == name);
    chosen.into_iter().filter(has).collect()
}

/// Whether an algorithm is one of certificates.
pub(crate) fn is_certificate(algorithm: &str) -> bool {
    algorithm.ends_with(CERTIFICATE)
}

/// Whether we have keys of this type at all.
pub(crate) fn is_known(key_type: &str) -> bool {
    HOST_KEYS.contains(&key_type) || SECURITY_KEYS.contains(&key_type)
}

/// The signature algorithms that `PubkeyAcceptedAlgorithms` lets us use, without certificates' names.
pub(crate) fn signatures(configured: Option<&str>) -> Result<Vec<String>, Failure> {
    let names = [HOST_KEYS, SECURITY_KEYS].concat();
    let names = select("PubkeyAcceptedAlgorithms", configured, &names, &[])?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// The signatures that `CASignatureAlgorithms` lets an authority put under a host's certificate. A list that leaves none
/// is no error: plain keys do not need one.
pub(crate) fn authority_signatures(configured: Option<&str>) -> Vec<&'static str> {
    let names = [HOST_KEYS, SECURITY_KEYS].concat();
    select("CASignatureAlgorithms", configured, &names, &[]).unwrap_or_default()
}

/// Applies a list of ssh_config(5): a plain list replaces the defaults, `+` adds, `-` removes, `^`
/// puts first; `*` and `?` match several names. Names that we do not have are left out.
fn select<T: AsRef<str> + Copy + PartialEq>(
    keyword: &'static str,
    configured: Option<&str>,
    defaults: &[T],
    on_request: &[T],
) -> Result<Vec<T>, Failure> {
    let Some(list) = configured else {
        return Ok(defaults.to_vec());
    };
    let all = [defaults, on_request].concat();
    let (mode, patterns) = match list.split_at_checked(1) {
        Some((mode @ ("+" | "-" | "^"), rest)) => (mode, rest),
        _ => ("", list),
    };
    let mut named: Vec<T> = Vec::new();
    for pattern in patterns.split(',').map(str::trim) {
        let fits = |it: &&T| crate::known_hosts::matches(pattern, it.as_ref());
        let new: Vec<T> = all
            .iter()
            .filter(fits)
            .filter(|it| !named.contains(it))
            .copied()
            .collect();
        named.extend(new);
    }
    let others = defaults.iter().filter(|it| !named.contains(it)).copied();
    let selected: Vec<T> = match mode {
        "+" => {
            let added = named.iter().filter(|it| !defaults.contains(it)).copied();
            defaults.iter().copied().chain(added).collect()
        }
        "-" => others.collect(),
        "^" => named.iter().copied().chain(others).collect(),
        _ => named,
    };
    if selected.is_empty() {
        return Err(Failure::NoAlgorithmLeft {
            keyword,
            list: list.to_owned(),
            ours: all.iter().map(|it| it.as_ref().to_owned()).collect(),
        });
    }
    Ok(selected)
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::{host_keys, preferred, select};
    use crate::{config::settings::HostSettings, known_hosts::KnownHosts};

    const DEFAULTS: &[&str] = &["aes256-gcm", "aes128-gcm", "chacha"];
    const ON_REQUEST: &[&str] = &["aes128-cbc"];

    #[test]
    fn lists_change_the_defaults_as_in_ssh_config() {
        for (list, expected) in [
            ("chacha,aes128-gcm", "chacha,aes128-gcm"),
            ("unknown,chacha", "chacha"),
            ("+aes128-cbc", "aes256-gcm,aes128-gcm,chacha,aes128-cbc"),
            ("+chacha", "aes256-gcm,aes128-gcm,chacha"),
            ("-aes*", "chacha"),
            ("^chacha", "chacha,aes256-gcm,aes128-gcm"),
            ("^aes128-cbc,chacha", "aes128-cbc,chacha,aes256-gcm,aes128-gcm"),
            ("aes128-*", "aes128-gcm,aes128-cbc"),
        ] {
            let selected = select("Ciphers", Some(list), DEFAULTS, ON_REQUEST).unwrap();
            assert_eq!(selected.join(","), expected, "{list}");
        }
        let error = select("Ciphers", Some("3des"), DEFAULTS, ON_REQUEST).unwrap_err();
        assert!(
            error.to_string().starts_with("Ciphers 3des: leaves none"),
            "{error}"
        );
    }

    #[test]
    fn macs_that_we_do_not_have_leave_the_ciphers_that_need_none() {
        let mut settings = HostSettings::plain("box", "me", 22);
        settings.macs = Some("umac-64@openssh.com".to_owned());
        let offered = preferred(&settings, &KnownHosts::default()).unwrap();
        assert!(!offered.cipher.is_empty());
        let is_whole = |it: &&str| it.contains("gcm") || it.contains("poly1305");
        assert!(offered.cipher.iter().all(|it| is_whole(&it.as_ref())));
        settings.ciphers = Some("aes128-ctr".to_owned());
        let error = preferred(&settings, &KnownHosts::default()).unwrap_err();
        assert!(error.to_string().starts_with("MACs umac-64"), "{error}");
    }

    #[test]
    fn sha1_host_keys_are_offered_only_on_request_and_certificates_only_with_an_authority() {
        let names = |list| {
            let (keys, certificates) = host_keys(list, &KnownHosts::default()).unwrap();
            assert!(certificates.is_empty());
            keys.iter().map(|key| key.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert!(!names(None).contains(&"ssh-rsa".to_owned()));
        assert_eq!(names(None).len(), 6);
        assert!(names(Some("+ssh-rsa")).contains(&"ssh-rsa".to_owned()));
    }
}

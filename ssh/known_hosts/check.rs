//! Whether a key is the one that a host is known to have.

use std::{
    io,
    path::{Path, PathBuf},
};

use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey};

use super::{
    entry_name,
    parse::{Line, Marker, parse},
    revoked::Revoked,
};
use crate::{
    algorithms::{self, is_certificate},
    config::settings::HostSettings,
    limits,
};

/// The lines of all files that are about one host.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    /// The name looked for, as `ssh-keygen -F` and `-R` want it.
    pub entry: String,
    lines: Vec<Known>,
    /// The same for the name without its port, which OpenSSH accepts where there is no other.
    portless: Vec<Known>,
    /// Files that exist and could not be read.
    pub problems: Vec<(PathBuf, String)>,
    /// What `CheckHostIP` will ask about, once the address is known.
    all: Vec<(PathBuf, Line)>,
    revoked: Revoked,
    /// How authorities may sign: of what was not loaded for a host, nothing is taken.
    authority_signatures: Vec<&'static str>,
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub struct Known {
    pub file: PathBuf,
    /// Counts from 1.
    pub line: usize,
    pub key: PublicKey,
    marker: Marker,
}

impl Known {
    /// Whether it signs the certificates of hosts and is no host's key.
    pub fn is_authority(&self) -> bool {
        self.marker == Marker::CertAuthority
    }
}

/// What the files say about a key.
#[derive(Clone, Debug)]
pub enum Verdict {
    Known {
        file: PathBuf,
        line: usize,
    },
    /// The host has no key at all.
    Unknown,
    /// The host has other keys, of this type or of another. As in OpenSSH, a host that is known by other types only is
    /// no new one: their algorithms were offered first, and who has none of its keys can show a key of any other type.
    Changed {
        known: Vec<Known>,
    },
    Revoked {
        file: PathBuf,
        /// `None`: the file is a binary list.
        line: Option<usize>,
    },
}

impl KnownHosts {
    /// Nothing is known of it yet.
    pub(crate) fn of(entry: &str) -> KnownHosts {
        KnownHosts {
            entry: entry.to_owned(),
            ..KnownHosts::default()
        }
    }

    /// Reads the user's files, then the global ones. A missing file is normal.
    ///
    /// Blocks on the disk.
    pub fn load(settings: &HostSettings) -> KnownHosts {
        let (entry, portless) = match &settings.host_key_alias {
            Some(alias) => (alias.to_ascii_lowercase(), None),
            None => {
                let portless = entry_name(&settings.host_name, 22);
                let entry = entry_name(&settings.host_name, settings.port);
                (entry, (settings.port != 22).then_some(portless))
            }
        };
        let mut hosts = KnownHosts {
            entry,
            ..KnownHosts::default()
        };
        let users = settings.user_known_hosts_files.iter();
        for file in users.chain(&settings.global_known_hosts_files) {
            match read(file) {
                Ok(bytes) => {
                    let lines = parse(&bytes);
                    hosts.take(file, &lines, portless.as_deref());
                    if settings.host_keys.check_ip {
                        hosts
                            .all
                            .extend(lines.into_iter().map(|line| (file.clone(), line)));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => hosts.problems.push((file.clone(), error.to_string())),
            }
        }
        hosts.revoked = Revoked::load(&settings.host_keys.revoked_files);
        let signatures = settings.host_keys.ca_signature_algorithms.as_deref();
        hosts.authority_signatures = algorithms::authority_signatures(signatures);
        hosts
    }

    /// Adds what a `KnownHostsCommand` said; `program` stands for the file.
    pub(crate) fn add_output(&mut self, program: &Path, output: &[u8]) {
        self.take(program, &parse(output), None);
    }

    /// What the files say about `key` at an address, whatever name led there.
    pub(crate) fn check_address(&self, entry: &str, key: &PublicKey) -> Verdict {
        let mut hosts = KnownHosts::of(entry);
        for (file, line) in &self.all {
            hosts.take(file, std::slice::from_ref(line), None);
        }
        hosts.check(key)
    }

    /// Why no key can be accepted at all: what is revoked is not known.
    pub(crate) fn unknown_revocations(&self) -> Option<&str> {
        self.revoked.unusable.as_deref()
    }

    /// Where `RevokedHostKeys` names a key, or its certificate.
    pub(crate) fn revoked_by_file(
        &self,
        key: &PublicKey,
        certificate: Option<&Certificate>,
    ) -> Option<(PathBuf, Option<usize>)> {
        let certified = || {
            let certificate = certificate?;
            let authority = PublicKey::from(certificate.signature_key().clone());
            let listed = || {
                self.revoked
                    .find_certificate(certificate)
                    .map(|file| (file, None))
            };
            self.revoked.find(&authority).or_else(listed)
        };
        self.revoked.find(key).or_else(certified)
    }

    fn take(&mut self, file: &Path, lines: &[Line], portless: Option<&str>) {
        for line in lines {
            let known = || Known {
                file: file.to_owned(),
                line: line.number,
                key: line.key.clone(),
                marker: line.marker,
            };
            if line.is_about(&self.entry) {
                self.lines.push(known());
            }
            if portless.is_some_and(|name| line.is_about(name)) {
                self.portless.push(known());
            }
        }
    }

    pub fn check(&self, key: &PublicKey) -> Verdict {
        if let Some((file, line)) = self.revoked.find(key) {
            return Verdict::Revoked { file, line };
        }
        let same = |known: &&Known| known.key.key_data() == key.key_data();
        let all = || self.lines.iter().chain(&self.portless);
        let revoked = |known: &&Known| known.marker == Marker::Revoked && same(known);
        if let Some(known) = all().find(revoked) {
            return Verdict::Revoked {
                file: known.file.clone(),
                line: Some(known.line),
            };
        }
        let plain = |known: &&Known| known.marker == Marker::None;
        if let Some(known) = self.lines.iter().filter(plain).find(same) {
            return Verdict::Known {
                file: known.file.clone(),
                line: known.line,
            };
        }
        let known: Vec<Known> = self.lines.iter().filter(plain).cloned().collect();
        if !known.is_empty() {
            return Verdict::Changed { known };
        }
        if let Some(known) = self.portless.iter().filter(plain).find(same) {
            return Verdict::Known {
                file: known.file.clone(),
                line: known.line,
            };
        }
        Verdict::Unknown
    }

    /// Whether an authority is trusted to certify this host.
    pub fn has_authority(&self) -> bool {
        self.authorities().next().is_some()
    }

    /// Whether the authority that signed the certificate is trusted to certify this host.
    pub(crate) fn trusts(&self, certificate: &Certificate) -> bool {
        let authority = certificate.signature_key();
        self.authorities().any(|it| it.key.key_data() == authority)
    }

    fn authorities(&self) -> impl Iterator<Item = &Known> {
        let all = self.lines.iter().chain(&self.portless);
        all.filter(|known| known.marker == Marker::CertAuthority)
    }

    /// Checks a host certificate (OpenSSH's `PROTOCOL.certkeys`) against the trusted authorities.
    /// `principal` is the host's name without a port, `now` is in seconds since 1970.
    pub fn check_certificate(
        &self,
        certificate: &Certificate,
        principal: &str,
        now: u64,
    ) -> Result<Verdict, &'static str> {
        use russh::keys::ssh_key::certificate::CertType;
        let key = PublicKey::from(certificate.public_key().clone());
        let authority = PublicKey::from(certificate.signature_key().clone());
        for key in [&key, &authority] {
            if let revoked @ Verdict::Revoked { .. } = self.check(key) {
                return Ok(revoked);
            }
        }
        if let Some(file) = self.revoked.find_certificate(certificate) {
            return Ok(Verdict::Revoked { file, line: None });
        }
        let same = |known: &&Known| known.key.key_data() == authority.key_data();
        let Some(known) = self.authorities().find(same) else {
            return Err("its certificate is signed by an authority that is not trusted for it");
        };
        if certificate.cert_type() != CertType::Host {
            return Err("its certificate is for users, not for hosts");
        }
        if certificate.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
            return Err("its certificate is signed with SHA-1");
        }
        let signature = certificate.signature().algorithm();
        if !self.authority_signatures.contains(&signature.as_str()) {
            return Err("its certificate is signed in a way that CASignatureAlgorithms excludes");
        }
        let principals = certificate.valid_principals();
        // One for every host there is would be one key to impersonate them all.
        if principals.is_empty() {
            return Err("its certificate names no host");
        }
        // As in OpenSSH: our name is in lower case, the certificate's names are taken as they are.
        let principal = principal.to_ascii_lowercase();
        if !principals.contains(&principal) {
            return Err("its certificate is for other names");
        }
        if certificate.critical_options().iter().next().is_some() {
            return Err("its certificate has critical options, and hosts know none");
        }
        if now < certificate.valid_after() {
            return Err("its certificate is not valid yet");
        }
        if now >= certificate.valid_before() {
            return Err("its certificate has expired");
        }
        let fingerprint = authority.fingerprint(HashAlg::Sha256);
        if certificate.validate_at(now, [&fingerprint]).is_err() {
            return Err("the signature of its certificate is wrong");
        }
        Ok(Verdict::Known {
            file: known.file.clone(),
            line: known.line,
        })
    }

    /// What vouches for the host by this algorithm: keys of its type, or the authorities where it is one of
    /// certificates.
    pub(crate) fn vouching(&self, algorithm: &str) -> impl Iterator<Item = &Known> {
        let wanted = match is_certificate(algorithm) {
            true => Marker::CertAuthority,
            false => Marker::None,
        };
        let is_fit = move |known: &&Known| {
            known.marker == wanted && (known.is_authority() || known.key.algorithm().as_str() == algorithm)
        };
        self.lines.iter().filter(is_fit)
    }

    /// Puts the types of the known keys first: a server with several keys then shows one of those.
    pub fn order(&self, algorithms: &mut [Algorithm]) {
        let usable = |known: &&Known| known.marker == Marker::None;
        let first = match self.lines.iter().any(|known| usable(&known)) {
            true => &self.lines,
            false => &self.portless,
        };
        let known: Vec<Algorithm> = first.iter().filter(usable).map(|it| it.key.algorithm()).collect();
        algorithms.sort_by_key(|algorithm| !known.contains(&plain(algorithm)));
    }
}

/// The type of the keys that an algorithm works with: three algorithms share RSA keys.
fn plain(algorithm: &Algorithm) -> Algorithm {
    match algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
        other => other.clone(),
    }
}

/// As OpenSSH names it to users.
pub(crate) fn key_type(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Ed25519 => "ED25519".to_owned(),
        Algorithm::Rsa { .. } => "RSA".to_owned(),
        Algorithm::Dsa => "DSA".to_owned(),
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256 | EcdsaCurve::NistP384 | EcdsaCurve::NistP521,
        } => "ECDSA".to_owned(),
        other => other.as_str().to_owned(),
    }
}

pub(super) fn read(file: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    let read = crate::file::open(file)?
        .take(limits::KNOWN_HOSTS_FILE)
        .read_to_end(&mut bytes)? as u64;
    // A cut file could hide a revocation.
    if read == limits::KNOWN_HOSTS_FILE {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(bytes)
}

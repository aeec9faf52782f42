//! Key files: what can be known about them without a passphrase, and opening them with one.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use russh::keys::{
    Algorithm, Certificate, Error as KeyError, PrivateKey, PublicKey, decode_secret_key, ssh_key,
};
use zeroize::Zeroizing;

use super::{pem, public::Public};
use crate::{config::settings::HostSettings, file, limits};

/// An `IdentityFile`.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) path: PathBuf,
    /// The public half, from the file itself or from the `.pub` file beside it.
    pub(crate) public: Option<PublicKey>,
    pub(crate) private: Private,
}

/// What stands in the private file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Private {
    /// There is only a public half: an agent may hold the key.
    Missing,
    Plain,
    Encrypted,
    /// And why it is of no use.
    Unusable(String),
}

/// What the configuration names, as far as it exists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    pub(crate) identities: Vec<Identity>,
    pub(crate) certificates: Vec<(PathBuf, Certificate)>,
    /// `IdentityFile`s and `CertificateFile`s that hold nothing to log in with, and why.
    pub(crate) unusable: Vec<(PathBuf, String)>,
    pub(crate) notices: Vec<String>,
}

impl Files {
    /// Reads all of them. Blocks on the disk.
    pub(crate) fn load(settings: &HostSettings) -> Files {
        let mut files = Files::default();
        for path in &settings.identity_files {
            match files.identity(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if settings.identity_files_configured {
                        files.is_unusable("key file", path, "it is missing");
                    }
                }
                Err(error) => files.is_unusable("key file", path, &error.to_string()),
            }
            let beside = with_suffix(path, "-cert.pub");
            // As in OpenSSH: who names certificates has named all of them.
            if settings.certificate_files.is_empty() && beside.exists() {
                files.certificate_file(&beside);
            }
        }
        for path in &settings.certificate_files {
            files.certificate_file(path);
        }
        files
    }

    /// Whether one of the key files has this private key.
    pub(crate) fn holds(&self, public: &PublicKey) -> bool {
        self.identities.iter().any(|it| {
            it.private != Private::Missing
                && it
                    .public
                    .as_ref()
                    .is_some_and(|own| own.key_data() == public.key_data())
        })
    }

    fn is_unusable(&mut self, what: &str, path: &Path, why: &str) {
        self.notices.push(match why {
            "it is missing" => format!("{what} {} is missing", path.display()),
            why => format!("reading {what} {}: {why}", path.display()),
        });
        self.unusable.push((path.to_owned(), why.to_owned()));
    }

    fn certificate_file(&mut self, path: &Path) {
        match read(path).map(|text| Public::parse(&text)) {
            Ok(Some(Public::Certificate(it))) => self.certificate(path, *it),
            Ok(Some(Public::Key(_))) => {
                self.is_unusable("certificate", path, "it is a public key, and no certificate");
            }
            Ok(None) => self.is_unusable("certificate", path, "it is no certificate that can be read"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.is_unusable("certificate", path, "it is missing");
            }
            Err(error) => self.is_unusable("certificate", path, &error.to_string()),
        }
    }

    /// The same one may be named, and lie beside its key, too.
    fn certificate(&mut self, path: &Path, certificate: Certificate) {
        if self.certificates.iter().all(|it| it.1 != certificate) {
            self.certificates.push((path.to_owned(), certificate));
        }
    }

    /// Reads an `IdentityFile`, which may also name a certificate. `NotFound` when neither half exists.
    fn identity(&mut self, path: &Path) -> io::Result<()> {
        let text = match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let public = self.beside(path).ok_or(error)?;
                self.identities.push(Identity {
                    path: path.to_owned(),
                    public: Some(public),
                    private: Private::Missing,
                });
                return Ok(());
            }
            text => text?,
        };
        if text.contains("PRIVATE KEY-----") {
            let beside = self.beside(path);
            self.identities.push(Identity::of(path, &text, beside));
            return Ok(());
        }
        // The public half alone may be named, to choose one of the agent's keys.
        match Public::parse(&text) {
            Some(Public::Key(key)) => self.identities.push(Identity {
                path: path.to_owned(),
                public: Some(key),
                private: Private::Missing,
            }),
            Some(Public::Certificate(it)) => self.certificate(path, *it),
            None => return Err(io::Error::other(foreign(&text))),
        }
        Ok(())
    }

    /// The public half beside a key file. Some authorities write the certificate in its place.
    fn beside(&mut self, path: &Path) -> Option<PublicKey> {
        let path = with_suffix(path, ".pub");
        let public = Public::parse(&read(&path).ok()?)?;
        let key = public.key();
        if let Public::Certificate(it) = public {
            self.certificate(&path, *it);
        }
        Some(key)
    }
}

impl Identity {
    /// What stands in a private key file. `beside` is the public half beside it.
    fn of(path: &Path, text: &str, beside: Option<PublicKey>) -> Identity {
        let identity = |public, private| Identity {
            path: path.to_owned(),
            public,
            private,
        };
        if let Some(why) = exposed(path) {
            return identity(beside, Private::Unusable(why));
        }
        if is_openssh(text) {
            return match PrivateKey::from_openssh(text.trim()) {
                Ok(key) => {
                    let private = match key.is_encrypted() {
                        _ if is_security_key(&key.algorithm()) => Private::Unusable(
                            "a security key works only through the agent: add it with ssh-add".to_owned(),
                        ),
                        true => Private::Encrypted,
                        false => Private::Plain,
                    };
                    identity(Some(key.public_key().clone()), private)
                }
                Err(error) => identity(beside, Private::Unusable(damaged(&error))),
            };
        }
        match decode_secret_key(text, None) {
            Ok(key) => identity(Some(key.public_key().clone()), Private::Plain),
            Err(_) if text.contains("ENCRYPTED") && pem::is_readable(text) => {
                identity(beside, Private::Encrypted)
            }
            Err(_) if text.contains("ENCRYPTED") => {
                let why = format!(
                    "it is encrypted in a way that this program cannot undo: `ssh-keygen -p -f {}` writes it anew",
                    path.display()
                );
                identity(beside, Private::Unusable(why))
            }
            Err(_) if text.contains("BEGIN DSA") => {
                let why = "it is a DSA key, which no server takes any more";
                identity(beside, Private::Unusable(why.to_owned()))
            }
            Err(error) => identity(beside, Private::Unusable(damaged(&error))),
        }
    }
}

/// What a file holds that is no key of OpenSSH's or OpenSSL's.
fn foreign(text: &str) -> &'static str {
    if text.starts_with("PuTTY-User-Key-File") {
        "it is no key in a known format but one of PuTTY: puttygen exports it (-O private-openssh)"
    } else if text.contains("BEGIN SSH2") {
        "it is no key in a known format but one of RFC 4716: ssh-keygen -i imports it"
    } else if text.is_empty() {
        "it is no key: the file is empty"
    } else {
        "it is no key in a known format"
    }
}

fn damaged(error: &dyn std::fmt::Display) -> String {
    format!("it cannot be read as a key, and may be cut ({error})")
}

/// OpenSSH uses no private key of ours that others can read, since they may have used it, too.
fn exposed(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let data = std::fs::metadata(path).ok()?;
    let own = data.uid() == nix::unistd::getuid().as_raw();
    let others = data.mode() & 0o077 != 0;
    (own && others).then(|| format!("others can read it: chmod 600 {}", path.display()))
}

/// Why a key was not opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    WrongPassphrase,
    Unusable(String),
}

/// Opens a key file. Derives a key from the passphrase, which takes a tenth of a second and more:
/// call it where blocking is allowed.
pub(crate) fn open(path: &Path, passphrase: Option<&Zeroizing<String>>) -> Result<PrivateKey, OpenError> {
    let text = read(path).map_err(|error| OpenError::Unusable(error.to_string()))?;
    if !is_openssh(&text) && text.contains("ENCRYPTED") {
        // russh takes the encrypted bytes of the older formats for a key that is broken.
        let Some(passphrase) = passphrase else {
            return Err(OpenError::WrongPassphrase);
        };
        if let Some(opened) = pem::decrypt(&text, passphrase) {
            let plain = opened.map_err(|_| OpenError::WrongPassphrase)?;
            return decode_secret_key(&plain, None).map_err(|_| OpenError::WrongPassphrase);
        }
    }
    let opened = decode_secret_key(&text, passphrase.map(|it| it.as_str()));
    opened.map_err(|error| match error {
        KeyError::KeyIsEncrypted => OpenError::WrongPassphrase,
        KeyError::SshKey(ssh_key::Error::Crypto) => OpenError::WrongPassphrase,
        // The older formats show a wrong passphrase as garbage inside.
        _ if passphrase.is_some() && !is_openssh(&text) => OpenError::WrongPassphrase,
        other => OpenError::Unusable(other.to_string()),
    })
}

pub(crate) fn is_security_key(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256)
}

fn is_openssh(text: &str) -> bool {
    text.contains("BEGIN OPENSSH PRIVATE KEY")
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    file::open(path)?
        .take(limits::KEY_FILE)
        .read_to_string(&mut text)
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => io::Error::other("it is no key in a known format: it is no text"),
            _ => error,
        })?;
    // Editors put one before the text, and readers of keys want their first line first.
    let trimmed = text.trim_start_matches(|it: char| it == '\u{feff}' || it.is_whitespace());
    let before = text.len() - trimmed.len();
    text.drain(..before);
    if let Some(end) = private_end(&text) {
        text.truncate(end);
    }
    Ok(text)
}

/// Where the private key in a text ends: notes and other keys may follow, which OpenSSH does not read.
fn private_end(text: &str) -> Option<usize> {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        end += line.len();
        if line.starts_with("-----END ") && line.contains("PRIVATE KEY-----") {
            return Some(end);
        }
    }
    None
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

//! Key files: what can be known about them without a passphrase, and opening them with one.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use russh::keys::{
    Algorithm, Certificate, Error as KeyError, PrivateKey, PublicKey, decode_secret_key, load_public_key,
    ssh_key,
};
use zeroize::Zeroizing;

use super::pem;
use crate::{config::settings::HostSettings, limits};

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
    /// `IdentityFile`s that hold nothing to log in with, and why.
    pub(crate) unusable: Vec<(PathBuf, String)>,
    pub(crate) notices: Vec<String>,
}

impl Files {
    /// Reads all of them. Blocks on the disk.
    pub(crate) fn load(settings: &HostSettings) -> Files {
        let mut files = Files::default();
        for path in &settings.identity_files {
            match Identity::load(path) {
                Ok(identity) => files.identities.push(identity),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if settings.identity_files_configured {
                        files
                            .notices
                            .push(format!("key file {} is missing", path.display()));
                        files.unusable.push((path.clone(), "it is missing".to_owned()));
                    }
                }
                Err(error) => {
                    files
                        .notices
                        .push(format!("reading key file {}: {error}", path.display()));
                    files.unusable.push((path.clone(), error.to_string()));
                }
            }
            let beside = with_suffix(path, "-cert.pub");
            if beside.exists() {
                files.certificate(&beside);
            }
        }
        for path in &settings.certificate_files {
            files.certificate(path);
        }
        files
    }

    fn certificate(&mut self, path: &Path) {
        let read = read(path).map_err(|error| error.to_string());
        let parsed =
            read.and_then(|text| Certificate::from_openssh(text.trim()).map_err(|error| error.to_string()));
        match parsed {
            Ok(certificate) => self.certificates.push((path.to_owned(), certificate)),
            Err(error) => {
                self.notices
                    .push(format!("reading certificate {}: {error}", path.display()));
            }
        }
    }
}

impl Identity {
    /// `NotFound` when neither half exists.
    fn load(path: &Path) -> io::Result<Identity> {
        let beside = || load_public_key(with_suffix(path, ".pub")).ok();
        let identity = |public, private| Identity {
            path: path.to_owned(),
            public,
            private,
        };
        let text = match read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let public = beside().ok_or(error)?;
                return Ok(identity(Some(public), Private::Missing));
            }
            Err(error) => return Err(error),
        };
        if !text.contains("PRIVATE KEY-----") {
            // The public half alone may be named, to choose one of the agent's keys.
            return match load_public_key(path) {
                Ok(public) => Ok(identity(Some(public), Private::Missing)),
                Err(_) => Err(io::Error::other(foreign(&text))),
            };
        }
        if let Some(why) = exposed(path) {
            return Ok(identity(beside(), Private::Unusable(why)));
        }
        if is_openssh(&text) {
            return match PrivateKey::from_openssh(text.trim()) {
                Ok(key) => {
                    let private = match key.is_encrypted() {
                        _ if is_security_key(&key.algorithm()) => Private::Unusable(
                            "a security key works only through the agent: add it with ssh-add".to_owned(),
                        ),
                        true => Private::Encrypted,
                        false => Private::Plain,
                    };
                    Ok(identity(Some(key.public_key().clone()), private))
                }
                Err(error) => Ok(identity(beside(), Private::Unusable(damaged(&error)))),
            };
        }
        Ok(match decode_secret_key(&text, None) {
            Ok(key) => identity(Some(key.public_key().clone()), Private::Plain),
            Err(_) if text.contains("ENCRYPTED") => identity(beside(), Private::Encrypted),
            Err(_) if text.contains("BEGIN DSA") => identity(
                beside(),
                Private::Unusable("it is a DSA key, which no server takes any more".to_owned()),
            ),
            Err(error) => identity(beside(), Private::Unusable(damaged(&error))),
        })
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
    File::open(path)?
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
    Ok(text)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

//! The key that a user has stored with us, and which credential is used.
//!
//! A variable of the environment wins over the stored key. The official CLI's login is neither read nor
//! written.
//!
//! The key is kept in the keyring of the user's session where there is one that is unlocked, else in the file
//! `login.json`. The file is there in both cases and says which it is: who has no login never asks a keyring,
//! and what is started outside a session can tell where the key is that it cannot read.

#[cfg(target_os = "macos")]
mod keychain;
mod keyring;
#[cfg(target_os = "linux")]
mod secret_service;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use codex_agent::model::Secret;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

pub use keyring::KeyringError;

use crate::{private, server::Setup};
use keyring::Keyring;

/// The variable that makes a login needless.
pub(crate) const KEY_VARIABLE: &str = "OPENAI_API_KEY";
/// Keys are a few hundred bytes.
const KEY_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("the API key is empty")]
    Empty,
    #[error("the API key is longer than {KEY_BYTES_MAX} bytes")]
    TooLong,
    #[error("the API key holds characters that an HTTP header cannot")]
    Characters,
    #[error("storing the API key in {}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("reading the login in {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("the login in {} is not in our format", .0.display())]
    Format(PathBuf),
    /// The key is in a keyring that does not give it.
    #[error("the API key is in the system keyring")]
    Keyring(#[source] KeyringError),
    #[error("the API key is in the system keyring, and this session has none (no DBUS_SESSION_BUS_ADDRESS)")]
    NoKeyring,
    #[error("the API key is no longer in the system keyring")]
    Gone,
}

impl LoginError {
    /// What the user can do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            LoginError::Keyring(KeyringError::Locked) => Some("unlock the keyring, or set OPENAI_API_KEY"),
            LoginError::Keyring(_) | LoginError::NoKeyring | LoginError::Gone | LoginError::Format(_) => {
                Some(
                    "run `codex login --with-api-key` again where the app-server runs, or set OPENAI_API_KEY",
                )
            }
            _ => None,
        }
    }
}

/// Where a stored key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The keyring of the user's session.
    Keyring,
    /// A file that only its user can read.
    File(PathBuf),
}

/// Where the key comes from that would be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `OPENAI_API_KEY`.
    Environment,
    /// Stored by `codex login`.
    Stored(Place),
}

/// What became of a key that was to be stored.
#[derive(Debug)]
pub struct Kept {
    pub place: Place,
    /// Why it is not in the keyring; `None` also where this session has no keyring.
    pub why_no_keyring: Option<KeyringError>,
}

/// The login of one `$CODEX_HOME`: `login.json` of mode 0600 in a directory of mode 0700, and maybe an entry in a
/// keyring.
pub struct Logins {
    file: PathBuf,
    keyring: Option<Keyring>,
    /// Held while the file is written.
    writing: Mutex<()>,
    /// What a keyring gave, and the state of the file that sent us there: each turn needs the key.
    given: Mutex<Option<(Stamp, Secret)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<SystemTime>);

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    /// The key is in the keyring.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    in_keyring: bool,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.api_key.zeroize();
    }
}

impl Logins {
    /// The login of a server. Nothing is read yet.
    pub fn of(setup: &Setup) -> Logins {
        let own_folder = setup.own_folder();
        let keyring = Keyring::of_session(&setup.environment, &own_folder);
        Logins::new(&own_folder, keyring)
    }

    fn new(own_folder: &Path, keyring: Option<Keyring>) -> Logins {
        Logins {
            file: own_folder.join("login.json"),
            keyring,
            writing: Mutex::new(()),
            given: Mutex::new(None),
        }
    }

    /// The stored key and its place. Asks the keyring if the key is there, which takes at most 3 s. Blocking.
    pub fn look(&self) -> Result<Option<(Secret, Place)>, LoginError> {
        let stamp = self.stamp();
        let Some(mut stored) = self.read()? else {
            return Ok(None);
        };
        if let Some(key) = stored.api_key.take() {
            return Ok(Some((Secret::new(key), Place::File(self.file.clone()))));
        }
        if let Some((known, key)) = &*self.given.lock().unwrap_or_else(PoisonError::into_inner)
            && *known == stamp
        {
            return Ok(Some((key.clone(), Place::Keyring)));
        }
        let keyring = self.keyring.as_ref().ok_or(LoginError::NoKeyring)?;
        let mut key = keyring
            .get()
            .map_err(LoginError::Keyring)?
            .ok_or(LoginError::Gone)?;
        let key = Secret::new(std::mem::take(&mut *key));
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some((stamp, key.clone()));
        Ok(Some((key, Place::Keyring)))
    }

    /// The stored key. One that cannot be read counts as none. Blocking, as [`Logins::look`].
    pub fn key(&self) -> Option<Secret> {
        match self.look() {
            Ok(found) => found.map(|(key, _)| key),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the login could not be read");
                None
            }
        }
    }

    /// Where the key comes from that would be used for OpenAI, if there is one. Asks no keyring. Blocking, and
    /// short.
    pub fn origin(&self, environment_key: Option<&str>) -> Option<Origin> {
        if environment_key.is_some() {
            return Some(Origin::Environment);
        }
        let stored = self.read().ok().flatten()?;
        Some(Origin::Stored(match stored.in_keyring {
            true => Place::Keyring,
            false => Place::File(self.file.clone()),
        }))
    }

    /// Stores a key, in place of another: in the keyring, or else in the file. Blocking.
    pub fn store(&self, key: Zeroizing<String>) -> Result<Kept, LoginError> {
        let key = key.trim();
        if key.is_empty() {
            return Err(LoginError::Empty);
        }
        if KEY_BYTES_MAX < key.len() {
            return Err(LoginError::TooLong);
        }
        if !key.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(LoginError::Characters);
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let set = self.keyring.as_ref().map(|it| it.set(key));
        if matches!(set, Some(Ok(()))) {
            self.write(&Stored {
                api_key: None,
                in_keyring: true,
            })?;
            return Ok(Kept {
                place: Place::Keyring,
                why_no_keyring: None,
            });
        }
        self.write(&Stored {
            api_key: Some(key.to_owned()),
            in_keyring: false,
        })?;
        Ok(Kept {
            place: Place::File(self.file.clone()),
            why_no_keyring: set.and_then(Result::err),
        })
    }

    /// Forgets the stored key, wherever it is. Says whether there was one. Blocking.
    ///
    /// # Errors
    ///
    /// The file cannot be removed, or the key is in a keyring that does not let it go; the file then stays and
    /// still says so.
    pub fn forget(&self) -> Result<bool, LoginError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let in_keyring = self.read().ok().flatten().is_some_and(|it| it.in_keyring);
        let removed = match self.keyring.as_ref().map(Keyring::remove) {
            Some(Ok(removed)) => removed,
            Some(Err(error)) if in_keyring => return Err(LoginError::Keyring(error)),
            None if in_keyring => return Err(LoginError::NoKeyring),
            // Nothing of ours is known to be there.
            Some(Err(_)) | None => false,
        };
        match fs::remove_file(&self.file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(removed),
            Err(source) => Err(LoginError::Io {
                file: self.file.clone(),
                source,
            }),
        }
    }

    fn read(&self) -> Result<Option<Stored>, LoginError> {
        let file = || self.file.clone();
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoginError::Read { file: file(), source }),
        };
        // The error would quote the file.
        let stored = serde_json::from_str::<Stored>(&text).map_err(|_| LoginError::Format(file()))?;
        match stored.api_key.is_some() || stored.in_keyring {
            true => Ok(Some(stored)),
            false => Err(LoginError::Format(file())),
        }
    }

    fn write(&self, stored: &Stored) -> Result<(), LoginError> {
        let failed = |source| LoginError::Io {
            file: self.file.clone(),
            source,
        };
        let text = serde_json::to_vec(stored)
            .map(Zeroizing::new)
            .map_err(|error| failed(error.into()))?;
        private::replace(&self.file, &text).map_err(failed)
    }

    fn stamp(&self) -> Stamp {
        let metadata = fs::metadata(&self.file).ok();
        Stamp(metadata.and_then(|it| it.modified().ok()))
    }
}

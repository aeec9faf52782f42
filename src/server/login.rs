//! The key that a user has stored with us, and which credential is used.
//!
//! A variable of the environment wins over the stored key. The official CLI's login is neither read nor
//! written.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use codex_agent::model::Secret;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::private;

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
}

/// Where the key comes from that would be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `OPENAI_API_KEY`.
    Environment,
    /// Stored by `codex login`.
    Stored,
}

/// The key in our own folder: a file of mode 0600 in a directory of mode 0700.
pub struct Logins {
    file: PathBuf,
    /// Held while the file is written.
    writing: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    api_key: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.api_key.zeroize();
    }
}

impl Logins {
    /// The logins of this server; `own_folder` is [`crate::Setup::own_folder`].
    pub fn new(own_folder: &Path) -> Logins {
        Logins {
            file: own_folder.join("login.json"),
            writing: Mutex::new(()),
        }
    }

    /// The stored key. A file that cannot be read counts as none. Blocking.
    pub fn key(&self) -> Option<Secret> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %self.file.display(), %error, "the login could not be read");
                return None;
            }
        };
        // The error would quote the file.
        let Ok(mut stored) = serde_json::from_str::<Stored>(&text) else {
            tracing::warn!(file = %self.file.display(), "the login is not in our format");
            return None;
        };
        Some(Secret::new(std::mem::take(&mut stored.api_key)))
    }

    /// Where the key comes from that would be used for OpenAI, if there is one.
    pub fn origin(&self, environment_key: Option<&str>) -> Option<Origin> {
        match environment_key {
            Some(_) => Some(Origin::Environment),
            None => self.key().map(|_| Origin::Stored),
        }
    }

    /// Stores a key, in place of another. Blocking.
    pub fn store(&self, key: Zeroizing<String>) -> Result<(), LoginError> {
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
        let failed = |source| LoginError::Io {
            file: self.file.clone(),
            source,
        };
        let stored = Stored {
            api_key: key.to_owned(),
        };
        let text = serde_json::to_vec(&stored)
            .map(Zeroizing::new)
            .map_err(|error| failed(error.into()))?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        private::replace(&self.file, &text).map_err(failed)
    }

    /// Forgets the stored key. Says whether there was one. Blocking.
    pub fn forget(&self) -> Result<bool, LoginError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_file(&self.file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(LoginError::Io {
                file: self.file.clone(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_kept_for_its_user_alone_until_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let logins = Logins::new(&home.path().join("own"));
        assert!(logins.key().is_none());
        logins.store(Zeroizing::new(" key-1\n".to_owned())).unwrap();
        assert_eq!(logins.key().unwrap().expose(), "key-1");
        let mode = fs::metadata(home.path().join("own/login.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(logins.origin(Some("x")), Some(Origin::Environment));
        assert_eq!(logins.origin(None), Some(Origin::Stored));
        assert!(logins.forget().unwrap() && !logins.forget().unwrap());
        assert!(logins.origin(None).is_none());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_quoted() {
        let home = tempfile::tempdir().unwrap();
        let logins = Logins::new(home.path());
        let refused = |key: &str| {
            logins
                .store(Zeroizing::new(key.to_owned()))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(refused(" "), "the API key is empty");
        assert!(!refused("secret\nkey").contains("secret"));
    }
}

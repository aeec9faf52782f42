//! The keyring of the user's session: the Secret Service on Linux, the keychain on macOS.
//!
//! It belongs to the desktop: it may be absent, locked, or waiting for a dialogue that nobody sees. So no call
//! takes longer than [`PATIENCE`], and a keyring that is locked is left locked.

use std::{collections::BTreeMap, path::Path, sync::Arc, sync::mpsc, thread, time::Duration};

use zeroize::Zeroizing;

/// What one call may take. A keyring that is unlocked answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// What our entries are called, in every keyring.
pub(super) const SERVICE: &str = "codex-server";

/// Why a keyring did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Nobody serves one in this session.
    #[error("this session has no keyring: {0}")]
    Absent(String),
    /// It has to be unlocked by its user first.
    #[error("the system keyring is locked")]
    Locked,
    /// It did not answer.
    #[error("the system keyring did not answer within {} s", PATIENCE.as_secs())]
    Late,
    /// It refused, or it is not well.
    #[error("the system keyring failed: {0}")]
    Failed(String),
}

/// A place for secrets, each under the name of an account. The calls may block for any time.
pub(super) trait Vault: Send + Sync {
    /// The secret, if there is one.
    fn get(&self, account: &str) -> Result<Option<Zeroizing<String>>, KeyringError>;
    /// Keeps a secret, in place of another.
    fn set(&self, account: &str, secret: &str) -> Result<(), KeyringError>;
    /// Forgets the secret. Says whether there was one.
    fn remove(&self, account: &str) -> Result<bool, KeyringError>;
}

/// One entry of a keyring. Clones are the same entry.
#[derive(Clone)]
pub(super) struct Keyring {
    vault: Arc<dyn Vault>,
    /// The folder that the login belongs to: each `$CODEX_HOME` has its own.
    account: String,
    patience: Duration,
}

impl Keyring {
    /// The session's, if its environment says that there may be one. Nothing is asked yet.
    pub(super) fn of_session(environment: &BTreeMap<String, String>, own_folder: &Path) -> Option<Keyring> {
        let vault = session_vault(environment)?;
        Some(Keyring::new(vault, own_folder))
    }

    fn new(vault: Arc<dyn Vault>, own_folder: &Path) -> Keyring {
        Keyring {
            vault,
            account: own_folder.display().to_string(),
            patience: PATIENCE,
        }
    }

    pub(super) fn get(&self) -> Result<Option<Zeroizing<String>>, KeyringError> {
        self.bounded(|vault, account| vault.get(account))
    }

    pub(super) fn set(&self, secret: &str) -> Result<(), KeyringError> {
        let secret = Zeroizing::new(secret.to_owned());
        self.bounded(move |vault, account| vault.set(account, &secret))
    }

    pub(super) fn remove(&self) -> Result<bool, KeyringError> {
        self.bounded(|vault, account| vault.remove(account))
    }

    /// Does it on a thread of its own, which is left alone if it hangs: it holds nothing of ours.
    fn bounded<T: Send + 'static>(
        &self,
        act: impl FnOnce(&dyn Vault, &str) -> Result<T, KeyringError> + Send + 'static,
    ) -> Result<T, KeyringError> {
        let (vault, account) = (Arc::clone(&self.vault), self.account.clone());
        let (done, outcome) = mpsc::sync_channel(1);
        let work = move || {
            // Nobody waits any more if it was late.
            _ = done.send(act(vault.as_ref(), &account));
        };
        let started = thread::Builder::new().name("keyring".to_owned()).spawn(work);
        started.map_err(|error| KeyringError::Failed(error.to_string()))?;
        match outcome.recv_timeout(self.patience) {
            Ok(outcome) => outcome,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(KeyringError::Late),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(KeyringError::Failed("it panicked".to_owned())),
        }
    }
}

/// Without the address of a session bus there is no attempt: the libraries' other ways to one may start programs.
#[cfg(target_os = "linux")]
fn session_vault(environment: &BTreeMap<String, String>) -> Option<Arc<dyn Vault>> {
    let address = environment.get("DBUS_SESSION_BUS_ADDRESS")?;
    let vault = super::secret_service::SecretServiceVault::at(address)?;
    Some(Arc::new(vault))
}

#[cfg(target_os = "macos")]
fn session_vault(_: &BTreeMap<String, String>) -> Option<Arc<dyn Vault>> {
    Some(Arc::new(super::keychain::Keychain))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn session_vault(_: &BTreeMap<String, String>) -> Option<Arc<dyn Vault>> {
    None
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// How a keyring in memory behaves.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(in crate::login) enum Mood {
        Open,
        Locked,
        Hanging,
    }

    /// A keyring in memory.
    pub(in crate::login) struct Fake {
        pub(in crate::login) mood: Mutex<Mood>,
        entries: Mutex<BTreeMap<String, String>>,
    }

    impl Fake {
        pub(in crate::login) fn keyring(mood: Mood, own_folder: &Path) -> (Arc<Fake>, Keyring) {
            let fake = Arc::new(Fake {
                mood: Mutex::new(mood),
                entries: Mutex::default(),
            });
            let keyring = Keyring {
                patience: Duration::from_millis(200),
                ..Keyring::new(fake.clone(), own_folder)
            };
            (fake, keyring)
        }

        fn entries(&self) -> Result<std::sync::MutexGuard<'_, BTreeMap<String, String>>, KeyringError> {
            let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
            match mood {
                Mood::Open => Ok(self.entries.lock().unwrap_or_else(PoisonError::into_inner)),
                Mood::Locked => Err(KeyringError::Locked),
                // As a dialogue that nobody answers.
                Mood::Hanging => loop {
                    thread::park();
                },
            }
        }
    }

    impl Vault for Fake {
        fn get(&self, account: &str) -> Result<Option<Zeroizing<String>>, KeyringError> {
            Ok(self.entries()?.get(account).cloned().map(Zeroizing::new))
        }

        fn set(&self, account: &str, secret: &str) -> Result<(), KeyringError> {
            self.entries()?.insert(account.to_owned(), secret.to_owned());
            Ok(())
        }

        fn remove(&self, account: &str) -> Result<bool, KeyringError> {
            Ok(self.entries()?.remove(account).is_some())
        }
    }

    #[test]
    fn a_keyring_that_hangs_is_waited_for_only_so_long() {
        let (_fake, keyring) = Fake::keyring(Mood::Hanging, Path::new("/own"));
        assert!(matches!(keyring.get(), Err(KeyringError::Late)));
        assert!(matches!(keyring.set("key"), Err(KeyringError::Late)));
        assert!(matches!(keyring.remove(), Err(KeyringError::Late)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_the_address_of_a_session_bus_nothing_is_tried() {
        let address = |it: Option<&str>| {
            let variable = it.map(|it| ("DBUS_SESSION_BUS_ADDRESS".to_owned(), it.to_owned()));
            Keyring::of_session(&variable.into_iter().collect(), Path::new("/own")).is_some()
        };
        assert!(!address(None));
        assert!(!address(Some("")));
        assert!(!address(Some("autolaunch:")), "would start a bus");
        assert!(!address(Some("unixexec:path=true")), "would start a program");
        assert!(address(Some("unix:path=/run/user/1000/bus")));
    }
}

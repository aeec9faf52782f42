//! Keys that have been opened, for all hosts of a run. They are in memory only.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use russh::keys::PrivateKey;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::key::{OpenError, open};
use crate::{error::Failure, limits};

/// One slot a key file. A slot is locked while its passphrase is asked for, so that hosts that need
/// the same key ask once.
#[derive(Default)]
pub(crate) struct Keyring {
    slots: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    key: Option<(Arc<PrivateKey>, Version)>,
}

/// Tells a replaced file from the one that was opened.
type Version = Option<(SystemTime, u64)>;

/// What came of opening a key.
pub(crate) enum Opened {
    Key(Arc<PrivateKey>),
    /// Not opened, and why. The login goes on without it.
    Not(String),
}

impl Keyring {
    /// The key in `path`. `ask` gets the number of the attempt, from 1, and gives the passphrase; an
    /// empty one skips the key. Without `ask` an encrypted key is skipped.
    pub(crate) async fn open<Asked>(
        &self,
        path: &Path,
        ask: Option<impl Fn(u32) -> Asked>,
    ) -> Result<Opened, Failure>
    where
        Asked: Future<Output = Result<Zeroizing<String>, Failure>>,
    {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(path.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        let version = version(path);
        if let Some((key, known)) = &slot.key
            && *known == version
        {
            return Ok(Opened::Key(Arc::clone(key)));
        }
        slot.key = None;
        let mut attempt = 0;
        let mut passphrase = None;
        loop {
            match try_open(path, passphrase.take()).await {
                Ok(key) => {
                    let key = Arc::new(key);
                    slot.key = Some((Arc::clone(&key), version));
                    return Ok(Opened::Key(key));
                }
                Err(OpenError::Unusable(why)) => return Ok(Opened::Not(why)),
                Err(OpenError::WrongPassphrase) => {}
            }
            let Some(ask) = &ask else {
                return Ok(Opened::Not(
                    "it has a passphrase and BatchMode asks nobody".to_owned(),
                ));
            };
            if attempt == limits::PASSPHRASE_TRIES {
                return Ok(Opened::Not(format!("wrong passphrase, {attempt} times")));
            }
            attempt += 1;
            let typed = ask(attempt).await?;
            if typed.is_empty() {
                return Ok(Opened::Not("no passphrase given".to_owned()));
            }
            passphrase = Some(typed);
        }
    }
}

async fn try_open(path: &Path, passphrase: Option<Zeroizing<String>>) -> Result<PrivateKey, OpenError> {
    let path = path.to_owned();
    let opened = spawn_blocking(move || open(&path, passphrase.as_ref())).await;
    opened.unwrap_or_else(|error| Err(OpenError::Unusable(error.to_string())))
}

fn version(path: &Path) -> Version {
    let data = std::fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

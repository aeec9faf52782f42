//! A keyring behind D-Bus: GNOME Keyring, KWallet, KeePassXC, by freedesktop.org's *Secret Service API*.
//!
//! `dbus-secret-service` with libdbus compiled in: it needs no library of the host, so that a static program
//! has it too. It adds 0.9 MB to a release, where `secret-service` over `zbus` (the back end of the crate
//! `keyring`) adds 3 MB, and it can be told never to open a dialogue.

use std::collections::HashMap;

use dbus_secret_service::{EncryptionType, Error, SecretService};
use zeroize::Zeroizing;

use super::keyring::{KeyringError, SERVICE, Vault};

/// A server has nobody in front of it who could answer a dialogue.
const PROMPT_PATIENCE_S: u64 = 0;

/// The service on the session bus of this process.
pub(super) struct SecretServiceVault(());

impl SecretServiceVault {
    /// `address` is that of the session bus, which libdbus takes from the environment by itself. Only sockets
    /// are taken (D-Bus specification, *Server Addresses*): other addresses name programs to start.
    pub(super) fn at(address: &str) -> Option<SecretServiceVault> {
        let is_socket = address.split(';').all(|it| it.starts_with("unix:"));
        is_socket.then_some(SecretServiceVault(()))
    }
}

fn connect() -> Result<SecretService, KeyringError> {
    // Encrypted on the bus too: its monitors see every message.
    SecretService::connect_with_max_prompt_timeout(EncryptionType::Dh, PROMPT_PATIENCE_S)
        .map_err(|error| KeyringError::Absent(error.to_string()))
}

fn told(error: Error) -> KeyringError {
    match error {
        Error::Locked | Error::Prompt => KeyringError::Locked,
        error => KeyringError::Failed(error.to_string()),
    }
}

fn attributes(account: &str) -> HashMap<&str, &str> {
    HashMap::from([("service", SERVICE), ("account", account)])
}

impl Vault for SecretServiceVault {
    fn get(&self, account: &str) -> Result<Option<Zeroizing<String>>, KeyringError> {
        let service = connect()?;
        let found = service.search_items(attributes(account)).map_err(told)?;
        let Some(item) = found.unlocked.first() else {
            return match found.locked.is_empty() {
                true => Ok(None),
                false => Err(KeyringError::Locked),
            };
        };
        let mut secret = Zeroizing::new(item.get_secret().map_err(told)?);
        String::from_utf8(std::mem::take(&mut *secret))
            .map(|it| Some(Zeroizing::new(it)))
            .map_err(|_| KeyringError::Failed("its entry is not a text".to_owned()))
    }

    fn set(&self, account: &str, secret: &str) -> Result<(), KeyringError> {
        let service = connect()?;
        let collection = service.get_default_collection().map_err(told)?;
        if collection.is_locked().map_err(told)? {
            return Err(KeyringError::Locked);
        }
        let label = "Codex API key";
        let (attributes, secret) = (attributes(account), secret.as_bytes());
        let created = collection.create_item(label, attributes, secret, true, "text/plain");
        created.map(drop).map_err(told)
    }

    fn remove(&self, account: &str) -> Result<bool, KeyringError> {
        let service = connect()?;
        let found = service.search_items(attributes(account)).map_err(told)?;
        for item in &found.unlocked {
            item.delete().map_err(told)?;
        }
        match (found.locked.is_empty(), found.unlocked.is_empty()) {
            (false, _) => Err(KeyringError::Locked),
            (true, none) => Ok(!none),
        }
    }
}

//! The keychain of macOS.

use security_framework::{base::Error, passwords};
use zeroize::Zeroizing;

use super::keyring::{KeyringError, SERVICE, Vault};

/// `errSecItemNotFound` of Security.framework's `SecBase.h`.
const NOT_FOUND: i32 = -25300;
/// `errSecInteractionNotAllowed`: it is locked, and nobody can be asked.
const INTERACTION_NOT_ALLOWED: i32 = -25308;

/// The user's default keychain.
pub(super) struct Keychain;

fn failed(error: Error) -> KeyringError {
    match error.code() {
        INTERACTION_NOT_ALLOWED => KeyringError::Locked,
        _ => KeyringError::Failed(error.to_string()),
    }
}

impl Vault for Keychain {
    fn get(&self, account: &str) -> Result<Option<Zeroizing<String>>, KeyringError> {
        match passwords::get_generic_password(SERVICE, account) {
            Ok(secret) => String::from_utf8(secret)
                .map(|it| Some(Zeroizing::new(it)))
                .map_err(|_| KeyringError::Failed("its entry is not a text".to_owned())),
            Err(error) if error.code() == NOT_FOUND => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn set(&self, account: &str, secret: &str) -> Result<(), KeyringError> {
        passwords::set_generic_password(SERVICE, account, secret.as_bytes()).map_err(failed)
    }

    fn remove(&self, account: &str) -> Result<bool, KeyringError> {
        match passwords::delete_generic_password(SERVICE, account) {
            Ok(()) => Ok(true),
            Err(error) if error.code() == NOT_FOUND => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

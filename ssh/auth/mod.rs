//! Logging in.

mod add;
mod agent;
mod asked;
mod certificate;
mod conversation;
mod key;
mod keyring;
mod login;
mod memory;
mod offers;
mod passwords;
mod pem;
mod plan;
mod public;
mod signer;
mod unused;

pub(crate) use keyring::Keyring;
pub(crate) use login::{LoggedIn, Login, login};
pub(crate) use memory::Memory;
pub(crate) use passwords::Passwords;

//! The way in: fresh keys, and an SSH configuration that knows these hosts and nothing else.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ring::rand::{SecureRandom, SystemRandom};
use russh::keys::{
    PrivateKey, PublicKey,
    ssh_key::{LineEnding, private::Ed25519Keypair},
};
use zeroize::Zeroizing;

use crate::DemoError;

/// Who logs in.
pub(crate) const USER: &str = "demo";

/// The files that a near side needs.
pub(crate) struct Access {
    config: PathBuf,
    /// The key that every host lets in.
    pub(crate) user: PublicKey,
}

/// A host that can be reached.
pub(crate) struct Door<'a> {
    pub(crate) alias: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) key: &'a PublicKey,
}

/// A new Ed25519 key.
pub(crate) fn new_key(comment: &str) -> Result<PrivateKey, DemoError> {
    let seed = Zeroizing::new(random::<32>()?);
    PrivateKey::new(Ed25519Keypair::from_seed(&seed).into(), comment)
        .map_err(|it| DemoError::Keys(it.to_string()))
}

/// A word that nobody can guess.
pub(crate) fn new_word() -> Result<String, DemoError> {
    Ok(random::<16>()?.iter().map(|it| format!("{it:02x}")).collect())
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], DemoError> {
    let mut bytes = [0; LENGTH];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| DemoError::Keys("the system has no random numbers".to_owned()))?;
    Ok(bytes)
}

impl Access {
    /// Makes the user's key and writes the files into `folder`, which only this user can enter.
    pub(crate) fn write(folder: &Path, key: &PrivateKey, doors: &[Door<'_>]) -> Result<Access, DemoError> {
        let text = config(folder, doors)?;
        let failed = |source| DemoError::Folder {
            path: folder.to_owned(),
            source,
        };
        let secret = key
            .to_openssh(LineEnding::LF)
            .map_err(|it| DemoError::Keys(it.to_string()))?;
        private(&folder.join(IDENTITY), secret.as_bytes()).map_err(failed)?;
        let mut known = String::new();
        for Door { address, key, .. } in doors {
            let key = key.to_openssh().map_err(|it| DemoError::Keys(it.to_string()))?;
            known.push_str(&format!("[{}]:{} {key}\n", address.ip(), address.port()));
        }
        private(&folder.join(KNOWN_HOSTS), known.as_bytes()).map_err(failed)?;
        let config = folder.join("config");
        private(&config, text.as_bytes()).map_err(failed)?;
        let user = key.public_key().clone();
        Ok(Access { config, user })
    }

    pub(crate) fn config(&self) -> &Path {
        &self.config
    }
}

const IDENTITY: &str = "id_ed25519";
const KNOWN_HOSTS: &str = "known_hosts";

/// Everything is said, so that nothing is left to defaults that would look into the user's own files or ask
/// the user's agent. See ssh_config(5).
fn config(folder: &Path, doors: &[Door<'_>]) -> Result<String, DemoError> {
    let (identity, known) = (
        quoted(&folder.join(IDENTITY))?,
        quoted(&folder.join(KNOWN_HOSTS))?,
    );
    let mut text = String::from("# Of `codex connect --demo`; removed with it.\n");
    for Door { alias, address, .. } in doors {
        let (ip, port) = (address.ip(), address.port());
        text.push_str(&format!(
            "\n\
             Host {alias}\n    \
             HostName {ip}\n    \
             Port {port}\n    \
             User {USER}\n    \
             IdentityFile {identity}\n    \
             IdentitiesOnly yes\n    \
             IdentityAgent none\n    \
             UserKnownHostsFile {known}\n    \
             GlobalKnownHostsFile none\n    \
             StrictHostKeyChecking yes\n    \
             PreferredAuthentications publickey\n"
        ));
    }
    Ok(text)
}

/// A path as a quoted argument in which `%` and `$` mean themselves.
fn quoted(path: &Path) -> Result<String, DemoError> {
    let refused = || DemoError::Path(path.to_owned());
    let text = path.to_str().ok_or_else(refused)?;
    // `${NAME}` is an environment variable; there is no way to write it otherwise.
    if text.contains(['"', '\\', '\n', '\r']) || text.contains("${") {
        return Err(refused());
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

fn private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_files_are_private_and_name_only_this_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (user, host) = (new_key("user").unwrap(), new_key("host").unwrap());
        let door = Door {
            alias: "demo-api",
            address: "127.0.0.1:4022".parse().unwrap(),
            key: host.public_key(),
        };
        let access = Access::write(folder.path(), &user, &[door]).unwrap();
        for name in ["config", IDENTITY, KNOWN_HOSTS] {
            let mode = folder.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let text = fs::read_to_string(access.config()).unwrap();
        assert!(
            !text.contains('~') && text.contains("IdentityAgent none"),
            "{text}"
        );
        let identity = format!("IdentityFile \"{}\"", folder.path().join(IDENTITY).display());
        assert!(text.contains(&identity), "{text}");
        let known = fs::read_to_string(folder.path().join(KNOWN_HOSTS)).unwrap();
        assert!(known.starts_with("[127.0.0.1]:4022 ssh-ed25519 AAAA"), "{known}");
        let read = PrivateKey::read_openssh_file(folder.path().join(IDENTITY)).unwrap();
        assert_eq!(read.public_key(), &access.user);
        assert_ne!(user.public_key(), host.public_key(), "keys are random");
    }

    #[test]
    fn a_path_means_itself_or_is_refused() {
        assert_eq!(quoted(Path::new("/a b/100%")).unwrap(), "\"/a b/100%%\"");
        for path in ["/a\"b", "/a\\b", "/${HOME}", "/a\nb"] {
            assert!(
                matches!(quoted(Path::new(path)), Err(DemoError::Path(_))),
                "{path}"
            );
        }
    }
}

//! `RevokedHostKeys`: keys that no host may have.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use russh::keys::{Certificate, PublicKey, parse_public_key_base64};

use super::{
    check::read,
    krl::{self, RevocationList},
};

/// The keys of all files.
#[derive(Clone, Debug, Default)]
pub(super) struct Revoked {
    keys: Vec<(PathBuf, usize, PublicKey)>,
    lists: Vec<(PathBuf, Arc<RevocationList>)>,
    /// Why a file tells nothing: then no key can be trusted, as in OpenSSH.
    pub(super) unusable: Option<String>,
}

impl Revoked {
    pub(super) fn load(files: &[PathBuf]) -> Revoked {
        let mut revoked = Revoked::default();
        for file in files {
            if let Err(why) = revoked.take(file) {
                let text = format!("RevokedHostKeys {}: {why}", file.display());
                revoked.unusable.get_or_insert(text);
            }
        }
        revoked
    }

    fn take(&mut self, file: &Path) -> Result<(), String> {
        let bytes = read(file).map_err(|error| error.to_string())?;
        if bytes.starts_with(krl::MAGIC) {
            let list = RevocationList::parse(&bytes)?;
            self.lists.push((file.to_owned(), Arc::new(list)));
            return Ok(());
        }
        let text = String::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(first) = words.next().filter(|it| !it.starts_with('#')) else {
                continue;
            };
            let key = words.next().and_then(|it| parse_public_key_base64(it).ok());
            let key = key.filter(|it| it.algorithm().as_str() == first);
            let key = key.ok_or_else(|| format!("line {} is no public key", index + 1))?;
            self.keys.push((file.to_owned(), index + 1, key));
        }
        Ok(())
    }

    /// Where a key is revoked: a file, and its line if it has lines.
    pub(super) fn find(&self, key: &PublicKey) -> Option<(PathBuf, Option<usize>)> {
        let same = self.keys.iter().find(|it| it.2.key_data() == key.key_data());
        if let Some((file, line, _)) = same {
            return Some((file.clone(), Some(*line)));
        }
        let (file, _) = self.lists.iter().find(|(_, list)| list.has_key(key))?;
        Some((file.clone(), None))
    }

    /// The list that revokes a certificate by its number or its name.
    pub(super) fn find_certificate(&self, certificate: &Certificate) -> Option<PathBuf> {
        let (file, _) = self
            .lists
            .iter()
            .find(|(_, list)| list.has_certificate(certificate))?;
        Some(file.clone())
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::{Algorithm, PrivateKey, key::safe_rng};

    use super::Revoked;

    #[test]
    fn listed_keys_are_found_and_what_cannot_be_read_says_so() {
        let key = || PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        let (bad, good) = (key().public_key().clone(), key().public_key().clone());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("revoked");
        std::fs::write(&file, format!("# lost\n\n{}\n", bad.to_openssh().unwrap())).unwrap();
        let revoked = Revoked::load(std::slice::from_ref(&file));
        assert_eq!(revoked.find(&bad), Some((file.clone(), Some(3))));
        assert_eq!(revoked.find(&good), None);
        assert_eq!(revoked.unusable, None);
        for content in [&b"SSHKRL\n\0\x01"[..], b"ssh-ed25519 AAAA", b"\xff"] {
            std::fs::write(&file, content).unwrap();
            assert!(Revoked::load(std::slice::from_ref(&file)).unusable.is_some());
        }
        assert!(Revoked::load(&[dir.path().join("missing")]).unusable.is_some());
    }
}

//! Key pairs, generated when a test needs them and never real.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The passphrase of encrypted keys.
pub const KEY_PASSPHRASE: &str = "a passphrase for tests";

/// A key pair in two files, `PATH` and `PATH.pub`.
#[derive(Debug, Clone)]
pub struct Key {
    path: PathBuf,
}

impl Key {
    /// Generates an Ed25519 pair named `name` in `folder`, encrypted if there is a passphrase.
    pub fn generate(folder: &Path, name: &str, passphrase: Option<&str>) -> Key {
        let path = folder.join(name);
        let output = Command::new("ssh-keygen")
            .args([
                "-q",
                "-t",
                "ed25519",
                "-C",
                name,
                "-N",
                passphrase.unwrap_or_default(),
                "-f",
            ])
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "ssh-keygen: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Key { path }
    }

    /// A pair whose private half is somewhere else: only `PATH.pub` is there.
    pub(crate) fn at(path: PathBuf) -> Key {
        Key { path }
    }

    /// The file of the private key.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public key as a line: algorithm, key in base64, comment.
    pub fn public(&self) -> String {
        fs::read_to_string(self.path.with_extension("pub")).unwrap()
    }

    /// The public key's algorithm and base64, without the comment: the tail of a known_hosts line.
    pub fn known(&self) -> String {
        self.public()
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The fingerprint as OpenSSH prints it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.path.with_extension("pub"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().nth(1).unwrap().to_owned()
    }
}

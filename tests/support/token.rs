//! A PKCS#11 token without hardware: SoftHSM's, with its objects in a folder of its own.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Key, skip};

/// What unlocks a [`Token`].
pub const TOKEN_PIN: &str = "4711-0815";

/// Where Debian puts the library that programs load.
const LIBRARY: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The administrator's PIN, which no test types.
const OFFICER_PIN: &str = "officer-0000";

/// A token that holds one key; dropping it removes it.
pub struct Token {
    key: Key,
    folder: tempfile::TempDir,
}

impl Token {
    /// The name that the token tells of itself.
    pub const LABEL: &str = "key ring";

    /// A token with a new ECDSA key, whose private half is nowhere else.
    pub fn new() -> Token {
        let folder = tempfile::Builder::new().prefix("codex-token-").tempdir().unwrap();
        let objects = folder.path().join("objects");
        fs::create_dir(&objects).unwrap();
        let settings = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            objects.display()
        );
        fs::write(folder.path().join("softhsm2.conf"), settings).unwrap();
        let path = folder.path().join("key");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ecdsa", "-N", "", "-C", "token", "-m", "PKCS8", "-f"]);
        run(keygen.arg(&path));
        let token = Token {
            key: Key::at(path.clone()),
            folder,
        };
        token.util(&["--init-token", "--free", "--so-pin", OFFICER_PIN, "--label"]);
        token.util(&[
            "--import",
            &path.display().to_string(),
            "--id",
            "01",
            "--label",
            "login",
            "--token",
        ]);
        fs::remove_file(&path).unwrap();
        token
    }

    /// The public half, for [`crate::HostOptions::authorize`]; there is no file of the private one.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The library that loads the token in the environment of [`Token::environment`].
    pub fn library() -> &'static str {
        LIBRARY
    }

    /// What a program needs beside [`crate::Client::environment`] so that the library finds the token.
    pub fn environment(&self) -> (String, String) {
        let settings: PathBuf = self.folder.path().join("softhsm2.conf");
        ("SOFTHSM2_CONF".to_owned(), settings.display().to_string())
    }

    /// Runs SoftHSM's own tool; the last of the words stands before the token's name.
    fn util(&self, words: &[&str]) {
        let mut util = Command::new("softhsm2-util");
        util.args(words).args([Token::LABEL, "--pin", TOKEN_PIN]);
        run(util.envs([self.environment()]));
    }
}

impl Default for Token {
    fn default() -> Token {
        Token::new()
    }
}

/// Why there can be no token here, or nothing when there can.
pub(crate) fn lack() -> Option<String> {
    skip::missing(&["softhsm2-util"])
        .or_else(|| (!Path::new(LIBRARY).exists()).then(|| format!("there is no {LIBRARY}")))
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

//! Adds a key to a `known_hosts` file.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ring::rand::{SecureRandom, SystemRandom};
use russh::keys::PublicKey;

use super::parse::hash_name;

/// The length of OpenSSH's salts: that of a SHA-1 digest.
const SALT: usize = 20;

#[derive(Debug, thiserror::Error)]
#[error("recording the host key in {}: {source}", .file.display())]
pub struct WriteError {
    pub file: PathBuf,
    pub(super) source: io::Error,
}

/// One writer at a time in this process: a file that is being replaced must not lose what another host
/// adds meanwhile.
pub(super) static WRITING: Mutex<()> = Mutex::new(());

/// Appends a line with `key` for `name`. A missing file is created for its user alone, a missing
/// directory too.
///
/// The line is one write in append mode, so that lines of several programs do not mix. Blocks on the
/// disk.
pub fn add(file: &Path, name: &str, key: &PublicKey, hashed: bool) -> Result<(), WriteError> {
    let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    append(file, name, key, hashed).map_err(|source| WriteError {
        file: file.to_owned(),
        source,
    })
}

/// A line for `known_hosts`, with its end.
pub(super) fn line(name: &str, key: &PublicKey, hashed: bool) -> io::Result<String> {
    let name = match hashed {
        true => {
            let mut salt = [0; SALT];
            let random = SystemRandom::new();
            random
                .fill(&mut salt)
                .map_err(|_| io::Error::other("no random numbers"))?;
            hash_name(&salt, name)
        }
        false => name.to_owned(),
    };
    let mut key = key.clone();
    key.set_comment("");
    let key = key.to_openssh().map_err(io::Error::other)?;
    Ok(format!("{name} {}\n", key.trim_end()))
}

fn append(file: &Path, name: &str, key: &PublicKey, hashed: bool) -> io::Result<()> {
    let line = line(name, key, hashed)?;
    if let Some(directory) = file.parent().filter(|it| !it.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut options = OpenOptions::new();
    let mut output = options
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)?;
    let newline = match ends_open(&mut output)? {
        true => "\n",
        false => "",
    };
    output.write_all(format!("{newline}{line}").as_bytes())
}

/// Whether the last line lacks its end; another line would become a part of it.
fn ends_open(file: &mut std::fs::File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

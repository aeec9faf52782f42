//! `UpdateHostKeys`: what a known host's list of its own keys changes in the user's files.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::PoisonError,
};

use russh::keys::PublicKey;

use super::{
    check::read,
    parse::{Line, Marker, parse},
    write::{WRITING, WriteError, line},
};

/// What to change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Update {
    /// Announced and not known: to be proved, then added.
    pub(crate) new: Vec<PublicKey>,
    /// Known and not announced any more.
    pub(crate) gone: Vec<PublicKey>,
}

/// The names under which a host's keys stand in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnNames {
    One,
    /// `CheckHostIP`: its address besides, in lines of its own.
    AndAddress,
}

impl Update {
    /// Compares the files with what the server announced. As in OpenSSH, nothing changes where somebody has arranged the
    /// files by hand: the host is known by a pattern, which stands for other hosts as well, by an authority or by its
    /// name without the port, one of its keys is revoked, or stands for another name (`own_names`: the address of
    /// `CheckHostIP` is none).
    pub(crate) fn of(files: &[PathBuf], entry: &str, announced: &[PublicKey], own_names: OwnNames) -> Update {
        let lines = files.iter().filter_map(|file| read(file).ok());
        let lines: Vec<Line> = lines.flat_map(|bytes| parse(&bytes)).collect();
        let (own, others): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|it| it.is_about(entry));
        let is_arranged = |it: &&Line| it.has_patterns() || it.marker != Marker::None;
        if own.is_empty() || own.iter().any(is_arranged) {
            return Update::default();
        }
        let keys = || own.iter().map(|it| &it.key).chain(announced);
        if own_names == OwnNames::One && others.iter().any(|it| keys().any(|key| same(key, &it.key))) {
            return Update::default();
        }
        let known = |key: &PublicKey| own.iter().any(|it| same(&it.key, key));
        let is_announced = |key: &PublicKey| announced.iter().any(|it| same(it, key));
        Update {
            new: announced.iter().filter(|it| !known(it)).cloned().collect(),
            gone: own
                .iter()
                .filter(|it| it.is_only_about(entry) && !is_announced(&it.key))
                .map(|it| it.key.clone())
                .collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

fn same(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}

/// Carries out an update: the first file gets the new keys, all of them lose the old ones.
///
/// Each file is replaced in one step. Blocks on the disk.
pub(crate) fn replace(
    files: &[PathBuf],
    entry: &str,
    update: &Update,
    hashed: bool,
) -> Result<(), WriteError> {
    let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    for (index, file) in files.iter().enumerate() {
        let new: &[PublicKey] = if index == 0 { &update.new } else { &[] };
        rewrite(file, entry, new, &update.gone, hashed).map_err(|source| WriteError {
            file: file.clone(),
            source,
        })?;
    }
    Ok(())
}

fn rewrite(file: &Path, entry: &str, new: &[PublicKey], gone: &[PublicKey], hashed: bool) -> io::Result<()> {
    let old = match read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let lines = parse(&old);
    // Another session may have added the key since the comparison.
    let known = |key: &PublicKey| lines.iter().any(|it| it.is_about(entry) && same(&it.key, key));
    let leaves = |it: &&Line| {
        it.marker == Marker::None && it.is_only_about(entry) && gone.iter().any(|key| same(key, &it.key))
    };
    let leaving: Vec<usize> = lines.iter().filter(leaves).map(|it| it.number).collect();
    let mut text: Vec<u8> = Vec::with_capacity(old.len());
    for (index, line) in old.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if !leaving.contains(&(index + 1)) {
            text.extend_from_slice(line);
        }
    }
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    for key in new.iter().filter(|key| !known(key)) {
        text.extend_from_slice(line(entry, key, hashed)?.as_bytes());
    }
    if text == old {
        return Ok(());
    }
    // A link stays a link: what it leads to is replaced.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mode = fs::metadata(&target).map_or(0o600, |it| it.permissions().mode() & 0o777);
    let mut beside = target.clone().into_os_string();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write(&beside, &text, mode).and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        // It is ours and of no use.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write(file: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut output = options.write(true).create_new(true).mode(mode).open(file)?;
    output.write_all(text)?;
    output.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use russh::keys::{Algorithm, PrivateKey, PublicKey, key::safe_rng};

    use super::{
        OwnNames::{AndAddress, One},
        Update, replace,
    };

    fn key() -> PublicKey {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        key.public_key().clone()
    }

    fn text(key: &PublicKey) -> String {
        key.to_openssh().unwrap().trim().to_owned()
    }

    #[test]
    fn new_keys_come_old_ones_go_and_everything_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let (kept, old, shared, new, another) = (key(), key(), key(), key(), key());
        let before = format!(
            "# mine\nhost {}\nhost {}\nhost,other {}\nother {}",
            text(&kept),
            text(&old),
            text(&shared),
            text(&another)
        );
        fs::write(&file, &before).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let announced = [kept.clone(), new.clone()];
        let update = Update::of(std::slice::from_ref(&link), "host", &announced, One);
        assert_eq!((update.new.len(), update.gone.len()), (1, 1));
        replace(std::slice::from_ref(&link), "host", &update, false).unwrap();
        let after = fs::read_to_string(&file).unwrap();
        let expected = format!(
            "# mine\nhost {}\nhost,other {}\nother {}\nhost {}\n",
            text(&kept),
            text(&shared),
            text(&another),
            text(&new)
        );
        assert_eq!(after, expected);
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(Update::of(&[file], "host", &announced, One).is_empty());
    }

    #[test]
    fn files_that_somebody_has_arranged_by_hand_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let (own, old, new) = (key(), key(), key());
        let of = |lines: &[(&str, &PublicKey)], names| {
            let line = |(names, key): &(&str, &PublicKey)| format!("{names} {}\n", text(key));
            fs::write(&file, lines.iter().map(line).collect::<String>()).unwrap();
            let announced = [own.clone(), new.clone()];
            Update::of(std::slice::from_ref(&file), "[a.example]:2", &announced, names)
        };
        let name = "[a.example]:2";
        for lines in [
            vec![("[*.example]:2", &own)],
            vec![("a.example", &own)],
            vec![(name, &own), ("@cert-authority [a.example]:2", &old)],
            vec![(name, &own), ("@revoked [a.example]:2", &old)],
            vec![(name, &own), ("b.example", &own)],
            vec![(name, &own), ("b.example", &new)],
            vec![(name, &own), (name, &old), ("b.example", &old)],
        ] {
            assert!(of(&lines, One).is_empty(), "{lines:?}");
        }
        let address = vec![(name, &own), ("[192.0.2.7]:2", &own)];
        assert!(of(&address, One).is_empty());
        assert_eq!(of(&address, AndAddress).new.len(), 1);
        let strange = vec![(name, &own), ("@cert-authority b.example", &old)];
        assert_eq!(of(&strange, One).new.len(), 1);
    }
}

//! Files that belong to the user alone.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Replaces a file as a whole: readers see the old content or the new one. A file that is there keeps its
/// mode; a new one is for the user alone, and so are the directories that it needs.
pub(crate) fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let parent = file.parent().filter(|it| !it.as_os_str().is_empty());
    let parent = parent.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    directory(parent)?;
    let mode = fs::metadata(file).map_or(0o600, |it| it.permissions().mode() & 0o777);
    let draft = draft(file);
    let written = write(&draft, content, mode).and_then(|()| fs::rename(&draft, file));
    if written.is_err() {
        // The error is told; the draft is worth nothing.
        _ = fs::remove_file(&draft);
    }
    written
}

/// Makes a directory and its parents; those that are new are for the user alone.
pub(crate) fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn draft(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    name.into()
}

fn write(file: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // Left by a process with our number that was killed.
    _ = fs::remove_file(file);
    let mut draft = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    draft.set_permissions(fs::Permissions::from_mode(mode))?;
    draft.write_all(content)?;
    draft.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_private_and_an_old_one_keeps_its_mode() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a/b");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        replace(&file, b"1").unwrap();
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&file, b"2").unwrap();
        assert_eq!(
            (mode(&file), fs::read(&file).unwrap().as_slice()),
            (0o644, &b"2"[..])
        );
        assert_eq!(
            fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1,
            "no draft is left"
        );
    }
}

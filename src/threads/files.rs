//! Directories and files of the right modes, and the lock that makes a writer the only one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Creates a directory and its parents, ours alone. One that exists keeps its mode.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(path)
}

pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// A new file in memory, which is gone when it is closed (memfd_create(2)).
#[cfg(target_os = "linux")]
pub(crate) fn create_in_memory(path: &Path) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};

    let name = path.file_name().unwrap_or_default();
    let file = memfd_create(name, MemfdFlags::CLOEXEC)?;
    fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file.into())
}

/// A new file without a name, which is gone when it is closed: there are no files in memory here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn create_in_memory(path: &Path) -> io::Result<File> {
    let file = create_new(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

pub(crate) fn open_or_create_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)
}

pub(crate) fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).open(path)
}

/// Makes a new or renamed name in this directory last over a loss of power.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Takes the exclusive lock, or says that somebody else has it. The operating system gives it back when the
/// file is closed, also by `kill -9` (flock(2)).
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the open file is still what the path names: it may have been removed before it was locked.
pub(crate) fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

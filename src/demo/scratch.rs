//! The folder that holds everything of one run and goes with it.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::DemoError;

/// How the folders of all runs begin.
const PREFIX: &str = "codex-demo-";
/// Held locked by the process whose folder it is.
const LOCK: &str = "lock";
/// Folders of killed runs that are removed at one start; the others wait for the next.
const SWEPT_MAX: usize = 16;

/// A folder that only this user can enter. It is removed when this is dropped; if the process is killed
/// first, by the next run.
pub(crate) struct Scratch {
    folder: TempDir,
    /// The kernel lets the lock go with the process, however that ends: flock(2).
    _lock: File,
}

impl Scratch {
    /// Makes a folder inside `parent`, and removes those of runs that were killed.
    pub(crate) fn new(parent: &Path) -> Result<Scratch, DemoError> {
        let failed = |source| DemoError::Folder {
            path: parent.to_owned(),
            source,
        };
        // Canonical: commands are shown paths without links, and those of sandboxes have none.
        let parent = parent.canonicalize().map_err(failed)?;
        let scratch = Scratch::make(&parent).map_err(failed)?;
        if let Err(error) = sweep(&parent, scratch.path()) {
            tracing::debug!(%error, "folders of killed demonstrations are left behind");
        }
        Ok(scratch)
    }

    fn make(parent: &Path) -> io::Result<Scratch> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let unfinished = folder.path().join("lock.new");
        let lock = File::create(&unfinished)?;
        lock.lock()?;
        // Only now others may look whether it is locked.
        fs::rename(unfinished, folder.path().join(LOCK))?;
        Ok(Scratch { folder, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders of this user whose processes are gone. `own` tells which user that is.
fn sweep(parent: &Path, own: &Path) -> io::Result<()> {
    let user = own.symlink_metadata()?.uid();
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        name.starts_with(PREFIX)
            && path.as_path() != own
            && path
                .symlink_metadata()
                .is_ok_and(|it| it.is_dir() && it.uid() == user)
    };
    let entries = fs::read_dir(parent)?.filter_map(|it| Some(it.ok()?.path()));
    for folder in entries.filter(is_ours).take(SWEPT_MAX) {
        // Without a lock it is just being made.
        let Ok(lock) = File::open(folder.join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(parent.path()).unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn folders_of_killed_runs_are_removed_and_those_of_others_stay() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str, with_lock: bool| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            if with_lock {
                fs::write(path.join(LOCK), "").unwrap();
            }
            path
        };
        let killed = folder("codex-demo-killed", true);
        let (beginning, other) = (folder("codex-demo-beginning", false), folder("other", true));
        let alive = Scratch::new(parent.path()).unwrap();
        assert!(!killed.exists());
        let second = Scratch::new(parent.path()).unwrap();
        for kept in [
            &beginning,
            &other,
            &alive.path().to_owned(),
            &second.path().to_owned(),
        ] {
            assert!(kept.exists(), "{}", kept.display());
        }
    }
}

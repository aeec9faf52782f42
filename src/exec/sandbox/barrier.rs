//! Keeps a name from being created: an empty directory stands in its place while sandboxes run.
//!
//! Bubblewrap can cover only what exists. The directory is shared by all sandboxes that need it, holds a shared
//! lock for each, and is removed by the last. Its mode is its mark: one that a crash left behind is recognised
//! and removed by the next sandbox there.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, Stat, chmod, flock, fstat, mkdir, open, rmdir, statat},
    io::Errno,
};

/// Sticky and for its owner alone: a mode that nobody gives to such a directory.
const MARK: u32 = 0o1700;
/// What a directory gets that somebody put to use meanwhile, for example by `git init`.
const ORDINARY: u32 = 0o755;
/// The directory may vanish between two steps when its last user leaves, each time by another sandbox's end.
const ATTEMPTS_MAX: usize = 64;

/// A name that is kept from being created. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Barrier {
    path: PathBuf,
    lock: OwnedFd,
}

/// What stands at a protected path.
#[derive(Debug)]
pub(crate) enum Standing {
    Barrier(Barrier),
    /// Something of the user's.
    Occupied,
    /// Nothing, and this user cannot create anything there.
    OutOfReach,
}

impl Barrier {
    /// Puts a barrier up, or joins the one that stands.
    pub(crate) fn raise(path: &Path) -> io::Result<Standing> {
        for _ in 0..ATTEMPTS_MAX {
            // Marked from its first moment: Linux takes the sticky bit here (mkdir(2)).
            match mkdir(path, Mode::from_raw_mode(MARK)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOENT) => {
                    return Ok(Standing::OutOfReach);
                }
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let lock = match open(path, flags, Mode::empty()) {
                Ok(lock) => lock,
                Err(Errno::NOENT) => continue,
                Err(Errno::ACCESS | Errno::NOTDIR | Errno::LOOP) => return Ok(Standing::Occupied),
                Err(error) => return Err(error.into()),
            };
            if !is_marked(&fstat(&lock)?) {
                return Ok(Standing::Occupied);
            }
            flock(&lock, FlockOperation::LockShared)?;
            let barrier = Barrier {
                path: path.to_owned(),
                lock,
            };
            if barrier.stands() {
                return Ok(Standing::Barrier(barrier));
            }
        }
        Err(io::Error::other(format!(
            "`{}` keeps appearing and vanishing",
            path.display()
        )))
    }

    /// Whether the locked directory is still the one at the path.
    fn stands(&self) -> bool {
        match (
            fstat(&self.lock),
            statat(rustix::fs::CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW),
        ) {
            (Ok(locked), Ok(found)) => (locked.st_dev, locked.st_ino) == (found.st_dev, found.st_ino),
            _ => false,
        }
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        // Whoever gets the exclusive lock is the last: Linux gives up a shared lock before it tries to convert it.
        if flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_err() || !self.stands() {
            return;
        }
        if rmdir(&self.path).is_err() {
            let _ = chmod(&self.path, Mode::from_raw_mode(ORDINARY));
        }
    }
}

fn is_marked(stat: &Stat) -> bool {
    stat.st_mode & 0o7777 == MARK && stat.st_uid == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn raise(path: &Path) -> Barrier {
        match Barrier::raise(path).unwrap() {
            Standing::Barrier(barrier) => barrier,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_of_several_takes_the_barrier_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".git");
        let (first, second) = (raise(&path), raise(&path));
        drop(first);
        assert!(path.is_dir(), "one still needs it");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_crash_left_is_taken_over_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".git");
        let crashed = raise(&path);
        let lock = crashed.lock.try_clone().unwrap();
        std::mem::forget(crashed);
        drop(lock);
        // The forgotten descriptor still holds its lock; a new one may join and must not remove.
        drop(raise(&path));
        assert!(path.is_dir());
        // As a fresh process would see it: marked and without a lock.
        fs::remove_dir(&path).unwrap();
        mkdir(&path, Mode::from_raw_mode(MARK)).unwrap();
        drop(raise(&path));
        assert!(!path.exists());
    }

    #[test]
    fn what_belongs_to_the_user_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".git");
        fs::create_dir(&path).unwrap();
        assert!(matches!(Barrier::raise(&path).unwrap(), Standing::Occupied));
        assert!(path.is_dir());
        fs::remove_dir(&path).unwrap();
        let barrier = raise(&path);
        fs::write(path.join("HEAD"), "ref: refs/heads/main").unwrap();
        drop(barrier);
        assert!(path.join("HEAD").exists(), "put to use meanwhile");
        assert!(!is_marked(
            &statat(rustix::fs::CWD, &path, AtFlags::empty()).unwrap()
        ));
        assert!(matches!(
            Barrier::raise(&directory.path().join("no/such")).unwrap(),
            Standing::OutOfReach
        ));
    }

    #[test]
    fn many_at_once_leave_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".git");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..200).for_each(|_| assert!(raise(&path).stands())));
            }
        });
        assert!(!path.exists());
    }
}

//! The folder of this user's state: its owner and modes, whether it can be written, the room on its disk.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::{Access, access, statvfs};

use super::finding::Finding;

/// Logs of threads and a release of this program fit into this; less is told.
const ROOM_WANTED: u64 = 1 << 30;
/// With less the next turn may not be kept.
const ROOM_NEEDED: u64 = 64 << 20;

/// `$CODEX_HOME` itself.
pub(super) fn home(folder: &Path) -> Finding {
    let stage = "home";
    let shown = folder.display();
    match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::fine(
            stage,
            format!("{shown} does not exist yet; it is made when it is needed"),
        ),
        Err(error) => Finding::broken(
            stage,
            format!("{shown} cannot be read: {error}"),
            "set CODEX_HOME to a folder of your own",
        ),
        Ok(it) if !it.is_dir() => Finding::broken(
            stage,
            format!("{shown} is not a folder"),
            "set CODEX_HOME to a folder of your own",
        ),
        Ok(it) if it.uid() != rustix::process::geteuid().as_raw() => Finding::warning(
            stage,
            format!("{shown} belongs to the user with the number {}", it.uid()),
            "set CODEX_HOME to a folder of your own",
        ),
        Ok(it) if it.permissions().mode() & 0o022 != 0 => Finding::warning(
            stage,
            format!(
                "{shown} can be written by others (mode {:03o}), who could change what is run",
                it.permissions().mode() & 0o777
            ),
            format!("chmod go-w '{shown}'"),
        ),
        Ok(it) => Finding::fine(
            stage,
            format!("{shown}, mode {:03o}", it.permissions().mode() & 0o777),
        ),
    }
}

/// The folder of our own inside it. Nothing is written: that would leave traces.
pub(super) fn writable(own_folder: &Path) -> Finding {
    let existing = existing(own_folder);
    match access(&existing, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if existing == own_folder => {
            Finding::fine("state", format!("{} can be written", own_folder.display()))
        }
        Ok(()) => Finding::fine(
            "state",
            format!("{} can be made in {}", own_folder.display(), existing.display()),
        ),
        Err(error) => Finding::broken(
            "state",
            format!("{} cannot be written: {error}", existing.display()),
            "make it writable for you, or set CODEX_HOME to a folder that is",
        ),
    }
}

/// The room on the disk of the state.
pub(super) fn room(own_folder: &Path) -> Finding {
    let existing = existing(own_folder);
    let free = match statvfs(&existing) {
        Ok(it) => it.f_bavail.saturating_mul(it.f_frsize),
        Err(error) => {
            return Finding::warning(
                "disk",
                format!("the room for {} is not known: {error}", existing.display()),
                "look with `df`",
            );
        }
    };
    let text = format!("{} MiB are free for {}", free >> 20, own_folder.display());
    let fix = "free some space: threads that cannot be written end";
    match free {
        ..ROOM_NEEDED => Finding::broken("disk", text, fix),
        ROOM_NEEDED..ROOM_WANTED => Finding::warning("disk", text, fix),
        ROOM_WANTED.. => Finding::fine("disk", text),
    }
}

/// The clock, against the only time that is known without a network: this program was there before now.
pub(super) fn clock(program: &Path, now: SystemTime) -> Finding {
    let seconds = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |it| it.as_secs());
    let made = fs::metadata(program).and_then(|it| it.modified());
    let shown = httpdate::fmt_http_date(now);
    let finding = match made {
        Ok(made) if now < made => Finding::broken(
            "clock",
            format!("the clock is behind: it says {shown}, when this program was not there yet"),
            "set the clock: certificates are checked against it",
        ),
        _ => Finding::fine("clock", format!("{shown}, which can be")),
    };
    finding.details(serde_json::json!({ "unixSeconds": seconds }))
}

/// The folder, or the nearest one above it that exists.
fn existing(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find(|it| it.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::doctor::finding::Verdict;

    #[test]
    fn a_home_that_others_may_write_is_told_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode: u32| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            home(dir.path())
        };
        assert_eq!(mode(0o755).verdict, Verdict::Fine);
        let open = mode(0o775);
        assert_eq!(open.verdict, Verdict::Warning);
        assert!(open.fix.unwrap().starts_with("chmod go-w "));
        assert_eq!(home(&dir.path().join("none")).verdict, Verdict::Fine);
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(home(&dir.path().join("file")).verdict, Verdict::Broken);
    }

    #[test]
    fn a_clock_before_the_program_was_made_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(clock(dir.path(), now).verdict, Verdict::Fine);
        let before = SystemTime::now() - Duration::from_secs(86_400);
        assert_eq!(clock(dir.path(), before).verdict, Verdict::Broken);
    }

    #[test]
    fn the_state_need_not_exist_to_be_examined_and_is_not_made_by_it() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("a/b");
        assert_eq!(writable(&own).verdict, Verdict::Fine);
        assert!(matches!(
            room(&own).verdict,
            Verdict::Fine | Verdict::Warning | Verdict::Broken
        ));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

//! Confines the calling process with Landlock: file access by rules on paths (landlock(7)).

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};
use rustix::fs::{Mode, OFlags};

use super::rules::{Missing, Protected, Rules};

/// The oldest version that holds a policy: before it, `truncate` empties files which the rules protect.
const OLDEST: ABI = ABI::V3;
/// Rules of one sandbox. A directory that must be granted entry by entry and has more is refused.
const RULES_MAX: usize = 8192;
/// Devices that hold nothing of anybody.
const DEVICES: [&str; 7] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
];

/// Rules that cannot be put into force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LandlockError {
    #[error("making Landlock rules")]
    Ruleset(#[from] landlock::RulesetError),
    #[error("more than {RULES_MAX} entries beside protected ones, at `{}`", .0.display())]
    TooMany(PathBuf),
    #[error("listing `{}`", .0.display())]
    List(PathBuf, #[source] std::io::Error),
}

/// Prepares rules, which `restrict_self` then puts into force with system calls alone.
///
/// Landlock adds rights to whole trees and cannot take them from a branch. So a directory that contains
/// something protected is granted entry by entry: what exists stays writable, but no new entry can be made
/// directly in it.
pub(crate) fn prepare(rules: &Rules, terminal: Option<&Path>) -> Result<RulesetCreated, LandlockError> {
    let mut handled = AccessFs::from_write(OLDEST);
    if !rules.hidden.is_empty() {
        handled |= AccessFs::ReadFile;
    }
    let created = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(handled)?
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    let mut grants = Grants { created, count: 0 };
    let writing = AccessFs::from_write(OLDEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let stands = |entry: &&Protected| entry.missing == Missing::Barred || entry.path.exists();
    let without: Vec<&Path> = rules
        .protected
        .iter()
        .filter(stands)
        .map(|entry| &*entry.path)
        .collect();
    let hidden: Vec<&Path> = rules.hidden.iter().map(|path| &**path).collect();
    for root in &rules.writable {
        grants.grant(root, writing, &[&without[..], &hidden[..]].concat())?;
    }
    for device in DEVICES.iter().map(Path::new).chain(terminal) {
        grants.grant(device, writing, &[])?;
    }
    if !hidden.is_empty() {
        grants.grant(Path::new("/"), AccessFs::ReadFile.into(), &hidden)?;
    }
    Ok(grants.created)
}

struct Grants {
    created: RulesetCreated,
    count: usize,
}

impl Grants {
    fn grant(
        &mut self,
        path: &Path,
        access: BitFlags<AccessFs>,
        except: &[&Path],
    ) -> Result<(), LandlockError> {
        if except.contains(&path) {
            return Ok(());
        }
        // A link that another command puts here meanwhile must not lead the grant elsewhere.
        let Ok(descriptor) = rustix::fs::open(
            path,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        ) else {
            return Ok(());
        };
        if !except.iter().any(|inner| inner.starts_with(path)) {
            return self.add(path, &descriptor, access);
        }
        let entries = fs::read_dir(path).map_err(|error| LandlockError::List(path.to_owned(), error))?;
        for entry in entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        {
            self.grant(&entry.path(), access, except)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        path: &Path,
        descriptor: &OwnedFd,
        access: BitFlags<AccessFs>,
    ) -> Result<(), LandlockError> {
        self.count += 1;
        if self.count > RULES_MAX {
            return Err(LandlockError::TooMany(path.to_owned()));
        }
        let is_directory = rustix::fs::fstat(descriptor)
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
        let fitting = if is_directory {
            access
        } else {
            access & AccessFs::from_file(OLDEST)
        };
        (&mut self.created).add_rule(PathBeneath::new(descriptor, fitting))?;
        Ok(())
    }
}

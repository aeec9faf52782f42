//! Which files are read, how they are trusted and where `Include` leads.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    glob,
    parse::{Item, parse},
    problem::{ConfigError, Origin, Problems, Severity},
    world::World,
};

/// Files inside files, as in OpenSSH. A file that includes itself ends here.
pub const INCLUDE_DEPTH_MAX: u32 = 16;

/// Files that one question opens, counted each time they are included: a file that includes itself
/// twice would otherwise be read 65,536 times before the depth ends it.
pub const FILES_MAX: usize = 4_096;

/// Write permission for group or others, which OpenSSH does not accept.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The same where the group is the owner's alone, as Debian's OpenSSH sees it: the umask of such accounts is 002, and
/// nobody more can write.
const WRITABLE_BY_STRANGERS: u32 = 0o002;

/// The configuration files in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    pub(super) files: Vec<Source>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) scope: Scope,
    /// Named explicitly: it must be readable, and its owner is not checked (as with `ssh -F`).
    pub(super) explicit: bool,
}

/// Whose file it is: decides where relative `Include` paths start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    User,
    System,
}

impl Sources {
    /// `~/.ssh/config`, then `/etc/ssh/ssh_config`. Either may be missing.
    pub fn default_for(world: &dyn World) -> Sources {
        let user = world.home().join(".ssh/config");
        let system = world.system_dir().join("ssh_config");
        Sources {
            files: vec![
                Source {
                    path: user,
                    scope: Scope::User,
                    explicit: false,
                },
                Source {
                    path: system,
                    scope: Scope::System,
                    explicit: false,
                },
            ],
        }
    }

    /// One file instead of the default ones, like `ssh -F`. The system's file is not read either, and
    /// the name `none` is that of no file.
    pub fn file(path: impl Into<PathBuf>) -> Sources {
        let path = path.into();
        if path.as_os_str().eq_ignore_ascii_case("none") {
            return Sources::none();
        }
        Sources {
            files: vec![Source {
                path,
                scope: Scope::User,
                explicit: true,
            }],
        }
    }

    /// No file at all, like `ssh -F none`.
    pub fn none() -> Sources {
        Sources { files: Vec::new() }
    }
}

/// How a file was reached.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) scope: Scope,
    pub(super) depth: u32,
    /// The `Include` line; `None` for the files of [`Sources`].
    pub(super) included_by: Option<Origin>,
    explicit: bool,
}

impl Reach {
    pub(super) fn source(source: &Source) -> Reach {
        Reach {
            scope: source.scope,
            depth: 0,
            included_by: None,
            explicit: source.explicit,
        }
    }

    pub(super) fn include(&self, by: &Origin) -> Reach {
        Reach {
            scope: self.scope,
            depth: self.depth + 1,
            included_by: Some(by.clone()),
            explicit: false,
        }
    }
}

/// Reads each file once, however often it is included or passed over.
#[derive(Default)]
pub(super) struct Files {
    parsed: BTreeMap<PathBuf, Rc<[Item]>>,
    opened: usize,
}

impl Files {
    /// The items of a file; `None` when there is nothing to read, which is reported unless it is normal.
    pub(super) fn open(
        &mut self,
        path: &Path,
        reach: &Reach,
        in_effect: bool,
        world: &mut dyn World,
        problems: &mut Problems,
    ) -> Result<Option<Rc<[Item]>>, ConfigError> {
        let here = reach.included_by.clone().unwrap_or_else(|| Origin::new(path, 0));
        self.opened += 1;
        if self.opened > FILES_MAX || reach.depth > INCLUDE_DEPTH_MAX {
            let message = match reach.depth > INCLUDE_DEPTH_MAX {
                true => format!("includes are nested deeper than {INCLUDE_DEPTH_MAX}"),
                false => format!("more than {FILES_MAX} files are included"),
            };
            problems.add(&here, Severity::Error, in_effect, message);
            return Ok(None);
        }
        if let Some(known) = self.parsed.get(path) {
            return Ok(Some(Rc::clone(known)));
        }
        let file = match world.read(path) {
            Ok(file) => file,
            // A directory opens and holds no lines, as far as OpenSSH can see.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory && !reach.explicit => return Ok(None),
            Err(source) if reach.explicit => {
                return Err(ConfigError::Unreadable {
                    file: path.to_owned(),
                    source,
                });
            }
            Err(error) if reach.included_by.is_none() => {
                if error.kind() != io::ErrorKind::NotFound {
                    let message = format!("cannot be read: {error}");
                    problems.add(&here, Severity::Warning, true, message);
                }
                return Ok(None);
            }
            // A link that leads nowhere, which OpenSSH passes over.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = format!("there is no {}", path.display());
                problems.add(&here, Severity::Warning, in_effect, message);
                return Ok(None);
            }
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                problems.add(&here, Severity::Error, in_effect, message);
                return Ok(None);
            }
        };
        // OpenSSH trusts the file of `-F` and the system's own, but nothing that they include.
        let checked = reach.included_by.is_some() || (reach.scope == Scope::User && !reach.explicit);
        let owned = file.owner == 0 || file.owner == world.uid();
        let writable = match file.private_group {
            true => WRITABLE_BY_STRANGERS,
            false => WRITABLE_BY_OTHERS,
        };
        if checked && (!owned || file.mode & writable != 0) {
            return Err(ConfigError::Permissions {
                file: path.to_owned(),
            });
        }
        let (items, faults) = parse(&file.bytes);
        for fault in faults {
            let severity = if fault.fatal {
                Severity::Error
            } else {
                Severity::Warning
            };
            problems.add(&Origin::new(path, fault.line), severity, in_effect, fault.message);
        }
        let items: Rc<[Item]> = items.into();
        self.parsed.insert(path.to_owned(), Rc::clone(&items));
        Ok(Some(items))
    }
}

/// The files that one argument of `Include` names, after tokens and variables are gone.
pub(super) fn include_paths(text: &str, scope: Scope, world: &mut dyn World) -> Result<Vec<PathBuf>, String> {
    if text.starts_with('~') && scope == Scope::System {
        return Err(format!(
            "{text:?}: a file of the system cannot include from a home"
        ));
    }
    let pattern = match text.strip_prefix('~') {
        Some(rest) => {
            let (user, path) = rest.split_once('/').unwrap_or((rest, ""));
            let home = if user.is_empty() {
                Some(world.home())
            } else {
                world.home_of(user)
            };
            // The home of nobody is a pattern that hits nothing, which is no error.
            let Some(home) = home else { return Ok(Vec::new()) };
            format!("{}/{path}", glob::escape(&home))
        }
        None if text.starts_with('/') => text.to_owned(),
        None if scope == Scope::User => format!("{}/.ssh/{text}", glob::escape(&world.home())),
        None => format!("{}/{text}", glob::escape(&world.system_dir())),
    };
    Ok(world.glob(&pattern))
}

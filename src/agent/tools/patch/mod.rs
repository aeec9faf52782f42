//! `apply_patch`: parsed, computed in memory as a whole, and only then written.
//!
//! [`plan`] reads files and decides everything; [`Plan::changes`] is what the user is shown, and [`apply`] writes it,
//! or undoes what it wrote.

mod disk;
mod locate;
mod parse;

pub use disk::Disk;
pub use parse::{Change, Line, Patch, Section, SyntaxError, parse};

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use codex_protocol::v2::{FileUpdate, FileUpdateChange, PatchChangeKind, WholeFile};

use crate::ports::FileContent;

/// The largest file that is patched, in bytes: its content is held in memory and shown as a diff.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a diff may take; a coarser one is shown after that.
const DIFF_PATIENCE: Duration = Duration::from_millis(500);

/// The files a patch is about. Paths are absolute and without `..`.
pub trait Files {
    /// The content; nothing when there is no such file. A file that is no UTF-8 is an error.
    fn read(&mut self, path: &Path) -> io::Result<Option<String>>;
    /// Creates or replaces the file, whole or not at all, with the folders above it.
    fn write(&mut self, path: &Path, content: &str) -> io::Result<()>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// Why a patch cannot be applied. Nothing was changed. The model reads the text.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    #[error("the patch is not understood: {0}")]
    Syntax(#[from] SyntaxError),
    #[error("reading {path}: {error}", path = .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("there is no file {}", .0.display())]
    Missing(PathBuf),
    #[error("{} exists already, a file cannot be moved there", .0.display())]
    Occupied(PathBuf),
    #[error("{path} has no such lines{after}:\n{lines}", path = .path.display())]
    NotFound {
        path: PathBuf,
        after: String,
        lines: String,
    },
    #[error("{} was changed by somebody else since the patch was shown", .0.display())]
    Changed(PathBuf),
    #[error("writing {path}: {error}; nothing of the patch was kept", path = .path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("writing {path}: {error}; and {left} could not be restored", path = .path.display())]
    HalfWritten {
        path: PathBuf,
        error: io::Error,
        left: String,
    },
}

/// What a patch will do, decided in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// As the protocol shows it, in the order of the patch.
    pub changes: Vec<FileUpdateChange>,
    /// Every file that will differ.
    pub files: Vec<FileContent>,
}

impl Plan {
    /// Every file that the patch touches, by absolute path; a moved one has two.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|it| Path::new(&it.path))
    }
}

/// Computes what the patch does to the files as they are. Relative paths are those of `cwd`.
pub fn plan(text: &str, cwd: &Path, files: &mut dyn Files) -> Result<Plan, PatchError> {
    let patch = parse(text)?;
    let mut overlay = Overlay {
        files,
        seen: BTreeMap::new(),
    };
    let mut changes = Vec::with_capacity(patch.changes.len());
    for change in &patch.changes {
        changes.push(overlay.change(cwd, change)?);
    }
    let files = overlay
        .seen
        .into_iter()
        .filter(|(_, (before, after))| before != after)
        .map(|(path, (before, after))| FileContent {
            path: path.to_string_lossy().into_owned(),
            before,
            after,
        })
        .collect();
    Ok(Plan { changes, files })
}

/// Writes what was planned, all of it or nothing. A file that is no longer as it was planned for is an error.
pub fn apply(plan: &Plan, files: &mut dyn Files) -> Result<(), PatchError> {
    for file in &plan.files {
        let path = PathBuf::from(&file.path);
        match files.read(&path) {
            Ok(content) if content == file.before => {}
            Ok(_) => return Err(PatchError::Changed(path)),
            Err(error) => return Err(PatchError::Read { path, error }),
        }
    }
    for (index, file) in plan.files.iter().enumerate() {
        let Err(error) = put(files, &file.path, file.after.as_deref()) else {
            continue;
        };
        let path = PathBuf::from(&file.path);
        let undo = |file: &FileContent| {
            put(files, &file.path, file.before.as_deref())
                .err()
                .map(|_| file.path.clone())
        };
        let left: Vec<String> = plan.files[..index].iter().rev().filter_map(undo).collect();
        return Err(match left.is_empty() {
            true => PatchError::Write { path, error },
            false => PatchError::HalfWritten {
                path,
                error,
                left: left.join(", "),
            },
        });
    }
    Ok(())
}

fn put(files: &mut dyn Files, path: &str, content: Option<&str>) -> io::Result<()> {
    match content {
        Some(content) => files.write(Path::new(path), content),
        None => files.remove(Path::new(path)),
    }
}

/// The files as they are and as the changes so far leave them.
struct Overlay<'a> {
    files: &'a mut dyn Files,
    seen: BTreeMap<PathBuf, (Option<String>, Option<String>)>,
}

impl Overlay<'_> {
    fn content(&mut self, path: &Path) -> Result<Option<String>, PatchError> {
        if let Some((_, after)) = self.seen.get(path) {
            return Ok(after.clone());
        }
        let read = self.files.read(path);
        let content = read.map_err(|error| PatchError::Read {
            path: path.to_owned(),
            error,
        })?;
        self.seen
            .insert(path.to_owned(), (content.clone(), content.clone()));
        Ok(content)
    }

    fn set(&mut self, path: &Path, content: Option<String>) {
        if let Some((_, after)) = self.seen.get_mut(path) {
            *after = content;
        }
    }

    fn change(&mut self, cwd: &Path, change: &Change) -> Result<FileUpdateChange, PatchError> {
        let path = absolute(cwd, change.path());
        let before = self.content(&path)?;
        match change {
            Change::Add { content, .. } => {
                self.set(&path, Some(content.clone()));
                // Models also "add" a file that exists in order to write it anew.
                Ok(match before {
                    None => shown(&path, PatchChangeKind::Add(WholeFile {}), content.clone()),
                    Some(before) => updated(&path, None, &before, content),
                })
            }
            Change::Delete { .. } => {
                let before = before.ok_or_else(|| PatchError::Missing(path.clone()))?;
                self.set(&path, None);
                Ok(shown(&path, PatchChangeKind::Delete(WholeFile {}), before))
            }
            Change::Update {
                move_to, sections, ..
            } => {
                let before = before.ok_or_else(|| PatchError::Missing(path.clone()))?;
                let after = locate::updated(&before, sections).map_err(|missing| missing.in_file(&path))?;
                let target = move_to
                    .as_ref()
                    .map(|it| absolute(cwd, it))
                    .filter(|it| *it != path);
                let diff = updated(&path, target.as_deref(), &before, &after);
                if let Some(target) = target {
                    if self.content(&target)?.is_some() {
                        return Err(PatchError::Occupied(target));
                    }
                    self.set(&path, None);
                    self.set(&target, Some(after));
                } else {
                    self.set(&path, Some(after));
                }
                Ok(diff)
            }
        }
    }
}

fn shown(path: &Path, kind: PatchChangeKind, diff: String) -> FileUpdateChange {
    FileUpdateChange {
        path: path.to_string_lossy().into_owned(),
        kind,
        diff,
    }
}

fn updated(path: &Path, target: Option<&Path>, before: &str, after: &str) -> FileUpdateChange {
    let move_path = target.map(|it| it.to_string_lossy().into_owned());
    shown(
        path,
        PatchChangeKind::Update(FileUpdate { move_path }),
        hunks(before, after),
    )
}

/// The hunks of a unified diff with three lines of context, without a file header.
pub fn hunks(before: &str, after: &str) -> String {
    let diff = similar::TextDiff::configure()
        .timeout(DIFF_PATIENCE)
        .diff_lines(before, after);
    diff.unified_diff().context_radius(3).to_string()
}

/// The path with `.` and `..` resolved by name, as nothing is known about links here.
fn absolute(cwd: &Path, path: &str) -> PathBuf {
    let mut absolute = PathBuf::new();
    for part in cwd.join(path).components() {
        match part {
            Component::ParentDir => {
                absolute.pop();
            }
            Component::CurDir => {}
            part => absolute.push(part),
        }
    }
    absolute
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

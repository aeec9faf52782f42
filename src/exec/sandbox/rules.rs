//! What a sandbox policy means in one place: which paths, which network.

use std::{
    fs,
    path::{Path, PathBuf},
};

use codex_protocol::v2::{NetworkSandbox, SandboxPolicy, WorkspaceWrite};
use serde::{Deserialize, Serialize};

/// Entries of a writable root that stay read-only: writing to them would run code outside the sandbox later
/// (hooks and settings of git, our own configuration).
const PROTECTED_NAMES: [&str; 2] = [".git", ".codex"];
/// A `.git` file holds one line with a path; a longer one is none.
const GIT_FILE_BYTES_MAX: u64 = 8 * 1024;

/// Where a command runs, as far as its policy depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The working directory, absolute.
    pub cwd: &'a Path,
    /// `TMPDIR` of the command's environment.
    pub tmpdir: Option<&'a Path>,
    /// What must not be read, absolute.
    pub hidden: &'a [PathBuf],
}

/// Whether and how a command is confined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// The policy wants none, or somebody else provides it.
    None,
    Rules(Rules),
}

/// What a confined command may do. Everything may be read but `hidden`; nothing may be written but
/// `writable`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Directories, canonical, none inside another.
    pub writable: Vec<PathBuf>,
    /// Exceptions inside `writable`.
    pub protected: Vec<Protected>,
    /// Canonical and existing.
    pub hidden: Vec<PathBuf>,
    /// Internet sockets. Unix sockets are never granted by a policy.
    pub network: bool,
}

/// A path inside a writable root that is read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protected {
    pub path: PathBuf,
    pub missing: Missing,
}

/// What holds while a protected path does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// It must not be created.
    Barred,
    /// It may be created: in a directory that all programs share, barring the name would disturb them.
    Creatable,
}

/// A policy that cannot be held here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("sandbox policy `{0}` is unknown")]
    UnknownPolicy(String),
    #[error("writable root `{0}` is not absolute")]
    Relative(String),
    #[error("`{}` is a symbolic link inside a writable root and cannot be protected", .0.display())]
    ProtectedLink(PathBuf),
    #[error("no mechanism on this host can open single unix sockets to a command")]
    UnixSockets,
    #[error("no mechanism on this host can enforce sandbox policy `{policy}`: {reasons}")]
    NoMechanism {
        policy: String,
        reasons: String,
        fix: String,
    },
}

impl Refusal {
    /// What the user can do.
    pub fn hint(&self) -> String {
        match self {
            Refusal::UnknownPolicy(_) => {
                "use `readOnly`, `workspaceWrite`, `dangerFullAccess` or `externalSandbox`".to_owned()
            }
            Refusal::Relative(_) => "give writable roots as absolute paths".to_owned(),
            Refusal::ProtectedLink(path) => {
                format!(
                    "replace `{}` by a directory, or for git by a file with a `gitdir:` line",
                    path.display()
                )
            }
            Refusal::UnixSockets => "leave the list of unix sockets empty; they are closed then".to_owned(),
            Refusal::NoMechanism { fix, .. } => fix.clone(),
        }
    }
}

impl Confinement {
    /// Works out what a policy means in a place. Looks at the file system; writes nothing.
    pub fn resolve(policy: &SandboxPolicy, place: Place<'_>) -> Result<Confinement, Refusal> {
        let mut rules = match policy {
            SandboxPolicy::DangerFullAccess(_) | SandboxPolicy::ExternalSandbox(_) => {
                return Ok(Confinement::None);
            }
            SandboxPolicy::ReadOnly(network) => Rules {
                writable: Vec::new(),
                protected: Vec::new(),
                hidden: Vec::new(),
                network: is_granted(network),
            },
            SandboxPolicy::WorkspaceWrite(workspace) => workspace_rules(workspace, place)?,
            SandboxPolicy::Unknown(_) => return Err(Refusal::UnknownPolicy(policy.tag().to_owned())),
        };
        rules.hidden = place
            .hidden
            .iter()
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        Ok(Confinement::Rules(rules))
    }
}

impl Rules {
    /// Whether a file of this path may be written: links are followed as far as the path exists. For what this
    /// process writes itself in place of a command.
    pub fn may_write(&self, path: &Path) -> bool {
        let Some(target) = followed(path) else {
            return false;
        };
        let is_within = |place: &Path| target.starts_with(place);
        self.writable.iter().any(|root| is_within(root))
            && !self.protected.iter().any(|entry| is_within(&entry.path))
            && !self.hidden.iter().any(|hidden| is_within(hidden))
    }
}

/// Where a write to this path would end up: links are followed where the path exists, and what does not exist is
/// taken by its words. `None`: it cannot be told, as with a link to nowhere.
fn followed(path: &Path) -> Option<PathBuf> {
    let mut missing = Vec::new();
    for place in path.ancestors() {
        match place.symlink_metadata() {
            Ok(_) => {
                let mut target = place.canonicalize().ok()?;
                target.extend(missing.iter().rev());
                return Some(target);
            }
            Err(_) => missing.push(place.file_name()?.to_owned()),
        }
    }
    None
}

fn is_granted(network: &NetworkSandbox) -> bool {
    network.network_access == true || network.network_access == "enabled"
}

/// A writable root before links are followed.
struct Root {
    given: PathBuf,
    missing: Missing,
}

fn workspace_rules(workspace: &WorkspaceWrite, place: Place<'_>) -> Result<Rules, Refusal> {
    let mut roots = vec![Root {
        given: place.cwd.to_owned(),
        missing: Missing::Barred,
    }];
    for root in &workspace.writable_roots {
        let given = PathBuf::from(root);
        if !given.is_absolute() {
            return Err(Refusal::Relative(root.clone()));
        }
        roots.push(Root {
            given,
            missing: Missing::Barred,
        });
    }
    if !workspace.exclude_slash_tmp {
        roots.push(Root {
            given: "/tmp".into(),
            missing: Missing::Creatable,
        });
    }
    if !workspace.exclude_tmpdir_env_var
        && let Some(tmpdir) = place.tmpdir.filter(|path| path.is_absolute())
    {
        roots.push(Root {
            given: tmpdir.to_owned(),
            missing: Missing::Creatable,
        });
    }
    let canonical = canonical_roots(&roots);
    let mut protected = Vec::new();
    for (root, missing) in &canonical {
        protect(root, *missing, &mut protected)?;
    }
    let is_inner = |root: &Path| {
        canonical
            .iter()
            .any(|(other, _)| other != root && root.starts_with(other))
    };
    let mut writable: Vec<PathBuf> = canonical
        .iter()
        .map(|(root, _)| root.clone())
        .filter(|root| !is_inner(root))
        .collect();
    writable.sort();
    writable.dedup();
    // Git directories that a `.git` file names may lie anywhere; outside they are read-only anyway.
    protected.retain(|entry| writable.iter().any(|root| entry.path.starts_with(root)));
    protected.sort_by(|a, b| a.path.cmp(&b.path));
    protected.dedup_by(|a, b| a.path == b.path);
    Ok(Rules {
        writable,
        protected,
        hidden: Vec::new(),
        network: workspace.network_access,
    })
}

/// Follows the roots' links. A root that is given inside another one was writable for earlier commands, which
/// may have put a link in its place: it counts only while it still leads to somewhere inside.
fn canonical_roots(roots: &[Root]) -> Vec<(PathBuf, Missing)> {
    let mut found: Vec<(PathBuf, Missing)> = Vec::new();
    for root in roots {
        let Ok(canonical) = root.given.canonicalize() else {
            continue;
        };
        let outer: Vec<PathBuf> = roots
            .iter()
            .filter(|other| other.given != root.given && root.given.starts_with(&other.given))
            .filter_map(|other| other.given.canonicalize().ok())
            .collect();
        let is_led_astray = !outer.is_empty() && !outer.iter().any(|outer| canonical.starts_with(outer));
        if is_led_astray || !canonical.is_dir() {
            continue;
        }
        match found.iter_mut().find(|(path, _)| *path == canonical) {
            Some((_, missing)) if root.missing == Missing::Barred => *missing = Missing::Barred,
            Some(_) => {}
            None => found.push((canonical, root.missing)),
        }
    }
    found
}

fn protect(root: &Path, missing: Missing, protected: &mut Vec<Protected>) -> Result<(), Refusal> {
    for name in PROTECTED_NAMES {
        let path = root.join(name);
        let kind = fs::symlink_metadata(&path).ok().map(|data| data.file_type());
        if kind.is_some_and(|kind| kind.is_symlink()) {
            match missing {
                Missing::Barred => return Err(Refusal::ProtectedLink(path)),
                // Anybody can put a link into a shared directory; that must not stop all sandboxes.
                Missing::Creatable => continue,
            }
        }
        if kind.is_some_and(|kind| kind.is_file())
            && let Some(target) = git_directory(&path)
        {
            protected.push(Protected {
                path: target,
                missing: Missing::Creatable,
            });
        }
        protected.push(Protected { path, missing });
    }
    Ok(())
}

/// Follows the `gitdir:` line of a worktree or submodule (gitrepository-layout(5)).
fn git_directory(file: &Path) -> Option<PathBuf> {
    if fs::metadata(file).ok()?.len() > GIT_FILE_BYTES_MAX {
        return None;
    }
    let text = fs::read_to_string(file).ok()?;
    let target = text.strip_prefix("gitdir:")?.trim();
    file.parent()?.join(target).canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    fn rules(policy: serde_json::Value, cwd: &Path, tmpdir: Option<&Path>) -> Result<Confinement, Refusal> {
        let policy: SandboxPolicy = serde_json::from_value(policy).unwrap();
        Confinement::resolve(
            &policy,
            Place {
                cwd,
                tmpdir,
                hidden: &[],
            },
        )
    }

    fn confined(policy: serde_json::Value, cwd: &Path) -> Rules {
        match rules(policy, cwd, None).unwrap() {
            Confinement::Rules(rules) => rules,
            Confinement::None => panic!("not confined"),
        }
    }

    /// A directory that is not below `/tmp`, which is a writable root itself.
    fn scratch() -> tempfile::TempDir {
        tempfile::Builder::new()
            .prefix("codex-rules")
            .tempdir_in("/var/tmp")
            .unwrap()
    }

    #[test]
    fn a_policy_of_a_newer_version_is_refused_and_not_taken_for_full_access() {
        let refusal = rules(json!({"type": "fromTheFuture"}), Path::new("/"), None).unwrap_err();
        assert_eq!(refusal, Refusal::UnknownPolicy("fromTheFuture".to_owned()));
        assert!(!refusal.hint().is_empty());
    }

    #[test]
    fn read_only_writes_nowhere_and_has_a_network_only_if_it_says_so() {
        let plain = confined(json!({"type": "readOnly"}), Path::new("/tmp"));
        assert!(plain.writable.is_empty() && !plain.network);
        assert!(
            confined(
                json!({"type": "readOnly", "networkAccess": true}),
                Path::new("/tmp")
            )
            .network
        );
    }

    #[test]
    fn a_workspace_is_its_directory_its_roots_and_the_temporary_directories() {
        let (cwd, root, tmpdir) = (scratch(), scratch(), scratch());
        let policy = json!({"type": "workspaceWrite", "writableRoots": [root.path(), "/no/such/root"]});
        let Confinement::Rules(rules) = rules(policy, cwd.path(), Some(tmpdir.path())).unwrap() else {
            panic!()
        };
        let mut expected: Vec<PathBuf> = [cwd.path(), root.path(), tmpdir.path(), Path::new("/tmp")]
            .map(|path| path.canonicalize().unwrap())
            .into();
        expected.sort();
        assert_eq!(rules.writable, expected);
        let missing = |path: PathBuf| {
            rules
                .protected
                .iter()
                .find(|entry| entry.path == path)
                .map(|entry| entry.missing)
        };
        assert_eq!(missing(cwd.path().join(".git")), Some(Missing::Barred));
        assert_eq!(missing(root.path().join(".codex")), Some(Missing::Barred));
        assert_eq!(missing(tmpdir.path().join(".git")), Some(Missing::Creatable));
        let without = json!({"type": "workspaceWrite", "excludeSlashTmp": true, "excludeTmpdirEnvVar": true});
        assert_eq!(confined(without, cwd.path()).writable, [cwd.path().to_owned()]);
    }

    #[test]
    fn what_this_process_writes_itself_is_held_to_the_same_rules() {
        let cwd = scratch();
        let inside = |name: &str| cwd.path().join(name);
        fs::create_dir(inside(".git")).unwrap();
        symlink("/etc", inside("out")).unwrap();
        symlink("/etc/not-there", inside("dangling")).unwrap();
        let rules = confined(
            json!({"type": "workspaceWrite", "excludeSlashTmp": true}),
            cwd.path(),
        );
        assert!(rules.may_write(&inside("new/file")) && rules.may_write(&inside("file")));
        for outside in [
            "out/file",
            "dangling",
            ".git/hooks/pre-commit",
            ".codex/config.toml",
        ] {
            assert!(!rules.may_write(&inside(outside)), "{outside}");
        }
        assert!(!rules.may_write(Path::new("/etc/file")));
        assert!(!confined(json!({"type": "readOnly"}), cwd.path()).may_write(&inside("file")));
    }

    #[test]
    fn a_root_that_an_earlier_command_replaced_by_a_link_grants_nothing() {
        let cwd = scratch();
        symlink("/etc", cwd.path().join("root")).unwrap();
        let policy = json!({"type": "workspaceWrite", "writableRoots": [cwd.path().join("root")],
            "excludeSlashTmp": true});
        let rules = confined(policy, cwd.path());
        assert_eq!(rules.writable, [cwd.path().to_owned()]);
        assert!(!rules.protected.iter().any(|entry| entry.path.starts_with("/etc")));
    }

    #[test]
    fn the_directory_behind_a_git_file_is_protected_and_a_link_is_refused() {
        let cwd = scratch();
        fs::create_dir_all(cwd.path().join("real/worktrees/a")).unwrap();
        fs::write(cwd.path().join(".git"), "gitdir: real/worktrees/a\n").unwrap();
        let policy = json!({"type": "workspaceWrite"});
        let rules = confined(policy.clone(), cwd.path());
        assert!(
            rules
                .protected
                .iter()
                .any(|entry| entry.path == cwd.path().join("real/worktrees/a"))
        );
        fs::remove_file(cwd.path().join(".git")).unwrap();
        symlink("real", cwd.path().join(".git")).unwrap();
        assert!(matches!(
            self::rules(policy, cwd.path(), None),
            Err(Refusal::ProtectedLink(_))
        ));
    }

    #[test]
    fn relative_roots_are_refused() {
        let policy = json!({"type": "workspaceWrite", "writableRoots": ["src"]});
        assert!(matches!(
            rules(policy, Path::new("/"), None),
            Err(Refusal::Relative(_))
        ));
    }
}

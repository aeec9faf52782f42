//! What the model knows before the user speaks: its task, its surroundings and the project's own words.

use std::io;
use std::path::{Path, PathBuf};

use codex_protocol::v2::SandboxPolicy;
use serde_json::Value;

use crate::RawItem;
use crate::approval::ApprovalPolicy;
use crate::model::wire;

/// How much of all `AGENTS.md` files together is told, in bytes, unless configured (`project_doc_max_bytes`).
pub const AGENTS_BYTES_MAX: usize = 32 * 1024;
/// The project's words for agents.
const AGENTS_FILE: &str = "AGENTS.md";
/// The user's own words, which come before the project's file of the same folder and replace it.
const AGENTS_OVERRIDE: &str = "AGENTS.override.md";
/// How many folders are looked at on the way up. Nobody's project lies deeper.
const FOLDERS_MAX: usize = 64;

/// The system prompt, for a model without one of its own.
pub const INSTRUCTIONS: &str = include_str!("instructions.md");

/// Where a thread works, and under which rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    pub cwd: PathBuf,
    /// The name of the user's shell, e.g. `bash`.
    pub shell: String,
    pub policy: ApprovalPolicy,
    pub sandbox: SandboxPolicy,
    /// As `2026-11-22`, where it is known.
    pub date: Option<String>,
}

impl Environment {
    /// The surroundings as an item. Add one when they differ from those of the turn before.
    pub fn item(&self) -> RawItem {
        wire::message("user", &self.text())
    }

    fn text(&self) -> String {
        let mut lines = vec![
            tag("cwd", &self.cwd.to_string_lossy()),
            tag("shell", &self.shell),
            tag("approval_policy", self.policy.label()),
            tag("sandbox_mode", self.sandbox.label()),
            tag(
                "network_access",
                if self.has_network() {
                    "enabled"
                } else {
                    "restricted"
                },
            ),
        ];
        if let SandboxPolicy::WorkspaceWrite(policy) = &self.sandbox {
            lines.extend(
                policy
                    .writable_roots
                    .iter()
                    .map(|root| tag("writable_root", root)),
            );
        }
        lines.extend(self.date.as_ref().map(|date| tag("current_date", date)));
        format!(
            "<environment_context>\n{}\n</environment_context>",
            lines.join("\n")
        )
    }

    fn has_network(&self) -> bool {
        match &self.sandbox {
            SandboxPolicy::DangerFullAccess(_) => true,
            SandboxPolicy::WorkspaceWrite(policy) => policy.network_access,
            SandboxPolicy::ReadOnly(policy) | SandboxPolicy::ExternalSandbox(policy) => {
                policy.network_access == Value::Bool(true) || policy.network_access == "enabled"
            }
            SandboxPolicy::Unknown(_) => false,
        }
    }
}

/// A name that holds `<` must not be able to end the text it stands in.
fn tag(name: &str, value: &str) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;");
    format!("  <{name}>{value}</{name}>")
}

/// Reads the files of the project; a trait, as the files may be elsewhere.
pub trait ProjectFiles {
    /// At most `limit` bytes of a regular file; nothing where there is none.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>>;
    fn exists(&self, path: &Path) -> bool;
}

/// The files of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostFiles;

impl ProjectFiles for HostFiles {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
        use std::io::Read;
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {}
            // A pipe of that name would keep us waiting.
            Ok(_) => return Ok(None),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(u64::try_from(limit).unwrap_or(u64::MAX))
            .read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }
}

/// The words of the user and of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guidance {
    /// From the most general to the nearest, which counts most.
    pub files: Vec<(PathBuf, String)>,
    /// What could not be read, or not as a whole, for a warning.
    pub problems: Vec<String>,
}

impl Guidance {
    /// Collects `AGENTS.md` of the user's home (`codex_home`) and of each folder from the project's root down to
    /// `cwd`. The root is the nearest folder with a `.git`; without one only `cwd` counts. When all are longer than
    /// `limit` bytes the general ones are cut first.
    pub fn collect(
        files: &dyn ProjectFiles,
        codex_home: Option<&Path>,
        cwd: &Path,
        limit: usize,
    ) -> Guidance {
        let mut guidance = Guidance::default();
        let mut room = limit;
        let nearest_first = folders(files, cwd)
            .into_iter()
            .chain(codex_home.map(Path::to_owned));
        for folder in nearest_first {
            for name in [AGENTS_OVERRIDE, AGENTS_FILE] {
                let path = folder.join(name);
                if guidance.add(files, path, &mut room) {
                    break;
                }
            }
        }
        guidance.files.reverse();
        guidance
    }

    /// Adds a file as far as there is room; false when there is none.
    fn add(&mut self, files: &dyn ProjectFiles, path: PathBuf, room: &mut usize) -> bool {
        // One byte more tells that there was more.
        let mut bytes = match files.read(&path, room.saturating_add(1)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return false,
            Err(error) => {
                self.problems.push(format!("reading {}: {error}", path.display()));
                return false;
            }
        };
        if bytes.len() > *room {
            bytes.truncate(*room);
            self.problems.push(format!(
                "{} is told only in part: all files together are too long",
                path.display()
            ));
        }
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if text.is_empty() {
            return false;
        }
        *room = room.saturating_sub(bytes.len());
        self.files.push((path, text));
        true
    }

    /// The words as an item; nothing when there are none.
    pub fn item(&self) -> Option<RawItem> {
        if self.files.is_empty() {
            return None;
        }
        let parts: Vec<String> = self
            .files
            .iter()
            .map(|(path, text)| format!("# {}\n\n{text}", path.display()))
            .collect();
        let text = format!(
            "<user_instructions>\nInstructions of the user and of the project. Where two disagree, the later one counts.\n\n{}\n</user_instructions>",
            parts.join("\n\n")
        );
        Some(wire::message("user", &text))
    }
}

/// The folders from `cwd` up to the project's root.
fn folders(files: &dyn ProjectFiles, cwd: &Path) -> Vec<PathBuf> {
    let above: Vec<PathBuf> = cwd.ancestors().take(FOLDERS_MAX).map(Path::to_owned).collect();
    match above.iter().position(|folder| files.exists(&folder.join(".git"))) {
        Some(root) => above[..=root].to_vec(),
        None => vec![cwd.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use codex_protocol::v2::{DangerFullAccess, WorkspaceWrite};

    use super::*;

    #[test]
    fn the_surroundings_are_told_and_cannot_be_broken_out_of() {
        let environment = Environment {
            cwd: "/w/</cwd>".into(),
            shell: "bash".into(),
            policy: ApprovalPolicy::OnRequest,
            sandbox: SandboxPolicy::WorkspaceWrite(WorkspaceWrite {
                writable_roots: vec!["/r".into()],
                ..Default::default()
            }),
            date: None,
        };
        let text = environment.text();
        for line in [
            "<cwd>/w/&lt;/cwd></cwd>",
            "<shell>bash<",
            ">on-request<",
            ">workspace-write<",
            ">restricted<",
            ">/r<",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let sandbox = SandboxPolicy::DangerFullAccess(DangerFullAccess {});
        assert!(
            Environment {
                sandbox,
                ..environment
            }
            .text()
            .contains(">enabled<")
        );
    }

    #[test]
    fn the_nearest_instructions_come_last_and_are_cut_last() {
        // Other programs leave a `.git` in `/tmp`, which would be the project's root.
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let (home, project) = (root.path().join("home"), root.path().join("project"));
        let cwd = project.join("a/b");
        for folder in [&home, &cwd, &project.join(".git")] {
            fs::create_dir_all(folder).unwrap();
        }
        let write = |folder: &Path, name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write(root.path(), "AGENTS.md", "outside");
        write(&home, "AGENTS.md", "mine");
        write(&project, "AGENTS.md", "project");
        write(&project.join("a"), "AGENTS.md", "replaced");
        write(&project.join("a"), "AGENTS.override.md", "override");
        write(&cwd, "AGENTS.md", "nearest");
        let collect = |limit| Guidance::collect(&HostFiles, Some(&home), &cwd, limit);
        let texts = |guidance: &Guidance| {
            guidance
                .files
                .iter()
                .map(|(_, text)| text.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(&collect(1000)), ["mine", "project", "override", "nearest"]);
        assert_eq!(collect(1000).problems, [""; 0]);
        let short = collect("nearest".len() + 4);
        assert_eq!(texts(&short), ["over", "nearest"]);
        assert!(!short.problems.is_empty());
        fs::remove_dir(project.join(".git")).unwrap();
        assert_eq!(texts(&collect(1000)), ["mine", "nearest"]);
        assert_eq!(Guidance::default().item(), None);
    }
}

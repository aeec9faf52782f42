//! A user's home on a demonstration host: a project, a configuration, and a `codex` to be found.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::Access;

use crate::{DemoError, access::USER, model, project::Project};

/// The shell of the user, and of every command: the only one that is everywhere.
pub(crate) const SHELL: &str = "/bin/sh";
/// The directory for temporary files, in the home.
const TEMPORARY: &str = ".tmp";
/// Where programs are searched if nobody says.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// What holds commands to the rules of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Containment {
    /// This machine's sandbox works: the project is read-only, a patch has to be allowed.
    Sandbox,
    /// It does not: everything that is not known to be safe has to be allowed.
    Questions,
}

impl Containment {
    /// In a few words, for the user.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Containment::Sandbox => "commands run in a read-only sandbox",
            Containment::Questions => {
                "no sandbox works on this machine, so you are asked before commands run"
            }
        }
    }
}

/// A home that exists.
pub(crate) struct Home {
    pub(crate) folder: PathBuf,
    /// What processes on the host are given. Nothing of this process's own: no key can be in it.
    pub(crate) environment: BTreeMap<String, String>,
    /// The line with which `codex app-server` asks to be served; random.
    pub(crate) call: String,
}

impl Home {
    /// Makes a home at `folder`, which does not exist.
    pub(crate) fn make(
        folder: PathBuf,
        project: &Project,
        containment: Containment,
        search_path: Option<&str>,
        call: String,
    ) -> Result<Home, DemoError> {
        let failed = |source| DemoError::Folder {
            path: folder.clone(),
            source,
        };
        let program = Home::write(&folder, project, containment, &call).map_err(failed)?;
        // The file's mode says yes; a mount may say no.
        if rustix::fs::access(&program, Access::EXEC_OK).is_err() {
            return Err(DemoError::NotExecutable(folder));
        }
        let text = |path: &Path| path.display().to_string();
        let bin = text(program.parent().unwrap_or(&folder));
        let environment = [
            ("HOME", text(&folder)),
            ("PATH", format!("{bin}:{}", search_path.unwrap_or(SEARCH_PATH))),
            ("SHELL", SHELL.to_owned()),
            ("USER", USER.to_owned()),
            ("LOGNAME", USER.to_owned()),
            ("TMPDIR", text(&folder.join(TEMPORARY))),
        ];
        Ok(Home {
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            folder,
            call,
        })
    }

    /// Writes all files; returns the path of `codex`.
    fn write(folder: &Path, project: &Project, containment: Containment, call: &str) -> io::Result<PathBuf> {
        project.write(&folder.join(project.name))?;
        let bin = folder.join(".local/bin");
        fs::create_dir_all(&bin)?;
        let program = bin.join("codex");
        fs::write(&program, codex(call))?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        // The system's own start-up files may set PATH anew; this one is read after them.
        fs::write(
            folder.join(".profile"),
            "PATH=\"$HOME/.local/bin:$PATH\"\nexport PATH\n",
        )?;
        let codex_home = folder.join(".codex");
        fs::create_dir(&codex_home)?;
        fs::write(codex_home.join("config.toml"), config(containment))?;
        fs::create_dir(folder.join(TEMPORARY))?;
        Ok(program)
    }

    pub(crate) fn codex_home(&self) -> PathBuf {
        self.folder.join(".codex")
    }
}

/// The program that a near side finds and starts. It cannot serve, but it can say that it was started: the
/// host then serves in its place, inside its own process, and nothing is left behind when that ends.
fn codex(call: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Has this connection served by the app-server inside `codex connect --demo`.\n\
         case $1 in\n    \
         app-server) printf '%s\\n' '{call}' ;;\n    \
         *) echo 'this host is a demonstration: its codex knows nothing but app-server' >&2; exit 2 ;;\n\
         esac\n"
    )
}

fn config(containment: Containment) -> String {
    let name = model::NAME;
    let (approval, sandbox) = match containment {
        Containment::Sandbox => ("on-request", "read-only"),
        Containment::Questions => ("untrusted", "danger-full-access"),
    };
    format!(
        "# The model is a script inside this program; no provider is ever asked.\n\
         model = \"{name}\"\n\
         model_provider = \"{name}\"\n\
         approval_policy = \"{approval}\"\n\
         sandbox_mode = \"{sandbox}\"\n\
         \n\
         [model_providers.{name}]\n\
         name = \"Scripted demonstration\"\n\
         base_url = \"http://127.0.0.1:9/\"\n"
    )
}

//! The arguments of bubblewrap for a set of rules (bwrap(1)).

use std::{
    ffi::OsString,
    os::{fd::RawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    rules::{Missing, Protected},
    spec::Spec,
};

/// Where bubblewrap is looked for. Not in `PATH`, which may name directories that a sandboxed command writes.
pub(crate) const PROGRAMS: [&str; 4] = [
    "/usr/bin/bwrap",
    "/usr/local/bin/bwrap",
    "/bin/bwrap",
    "/run/current-system/sw/bin/bwrap",
];

/// What a host lets bubblewrap do, from best to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Variant {
    /// Its own namespaces of everything, and a `/proc` that shows only its own processes.
    Whole,
    /// As `Whole` with the host's `/proc`, as inside containers that mask parts of it. The user namespace keeps
    /// foreign processes out of reach.
    SharedProc,
    /// Without a user namespace: root where user namespaces are turned off.
    WithoutUserNamespace,
}

impl Variant {
    pub(crate) const ALL: [Variant; 3] = [Variant::Whole, Variant::SharedProc, Variant::WithoutUserNamespace];
}

/// Who runs the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

/// The numbers of the descriptors which bubblewrap inherits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    pub(crate) seccomp: RawFd,
    pub(crate) status: RawFd,
}

/// Returns the options, which are read from a descriptor and so stay out of the process table. `protected` are
/// those of the protected paths that exist.
pub(crate) fn options(
    spec: &Spec,
    variant: Variant,
    user: User,
    protected: &[PathBuf],
    descriptors: Descriptors,
) -> Vec<OsString> {
    let mut options = Options(Vec::new());
    options.namespaces(variant, spec.rules.network);
    let root = Path::new("/");
    let whole = spec.rules.writable.iter().any(|path| path == root);
    options.mount(if whole { "--bind" } else { "--ro-bind" }, root);
    options.words(&["--dev", "/dev"]);
    match variant {
        Variant::Whole | Variant::WithoutUserNamespace => {
            options.words(&["--proc", "/proc"]);
            // The kernel's settings belong to root, who may write them there even without capabilities.
            if user == User::Root {
                options.words(&["--remount-ro", "/proc"]);
            }
        }
        Variant::SharedProc => options.mount("--ro-bind", Path::new("/proc")),
    }
    for path in spec.rules.writable.iter().filter(|path| *path != root) {
        options.mount("--bind", path);
    }
    for path in protected {
        // In a directory that all programs share it may go at any moment, and may as well not be there.
        let is_shared = |it: &Protected| it.path == *path && it.missing == Missing::Creatable;
        let may_go = spec.rules.protected.iter().any(is_shared);
        options.mount(if may_go { "--ro-bind-try" } else { "--ro-bind" }, path);
    }
    for path in &spec.rules.hidden {
        if path.is_dir() {
            options.words(&["--perms", "0000", "--tmpfs"]);
        } else {
            options.words(&["--ro-bind", "/dev/null"]);
        }
        options.0.push(path.into());
    }
    options.words(&["--chdir"]);
    options.0.push(spec.cwd.clone().into());
    options.words(&["--clearenv"]);
    for (name, value) in &spec.environment {
        options.words(&["--setenv", name, value]);
    }
    options.words(&["--seccomp", &descriptors.seccomp.to_string()]);
    options.words(&["--json-status-fd", &descriptors.status.to_string()]);
    options.0
}

/// Returns options as `--args` reads them: each ended by a NUL.
pub(crate) fn terminated(options: &[OsString]) -> Vec<u8> {
    options
        .iter()
        .flat_map(|option| [option.as_bytes(), b"\0"].concat())
        .collect()
}

struct Options(Vec<OsString>);

impl Options {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn mount(&mut self, how: &str, path: &Path) {
        self.0.extend([OsString::from(how), path.into(), path.into()]);
    }

    fn namespaces(&mut self, variant: Variant, network: bool) {
        // As root bubblewrap would leave all capabilities in place.
        self.words(&["--die-with-parent", "--cap-drop", "ALL"]);
        self.words(&[
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ]);
        match variant {
            Variant::Whole | Variant::SharedProc => self.words(&["--unshare-user"]),
            Variant::WithoutUserNamespace => {}
        }
        if !network {
            self.words(&["--unshare-net"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Rules, spec::Enforcement};

    #[test]
    fn protected_and_hidden_paths_are_mounted_after_what_they_are_cut_from() {
        let rules = Rules {
            writable: vec!["/work".into()],
            protected: Vec::new(),
            hidden: vec!["/etc/passwd".into(), "/etc".into()],
            network: false,
        };
        let spec = Spec {
            enforcement: Enforcement::Landlock,
            rules,
            program: "/bin/true".into(),
            argv: vec!["true".to_owned()],
            cwd: "/work".into(),
            environment: [("A".to_owned(), "b c".to_owned())].into(),
            terminal: None,
        };
        let descriptors = Descriptors {
            seccomp: 5,
            status: 6,
        };
        let options = options(
            &spec,
            Variant::Whole,
            User::Root,
            &["/work/.git".into()],
            descriptors,
        );
        let line = options.join(" ".as_ref()).into_string().unwrap();
        assert_eq!(
            line,
            "--die-with-parent --cap-drop ALL --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try \
             --unshare-user --unshare-net --ro-bind / / --dev /dev --proc /proc --remount-ro /proc --bind /work /work \
             --ro-bind /work/.git /work/.git --ro-bind /dev/null /etc/passwd --perms 0000 --tmpfs /etc \
             --chdir /work --clearenv --setenv A b c --seccomp 5 --json-status-fd 6"
        );
        assert_eq!(terminated(&["a".into(), "b".into()]), b"a\0b\0");
    }
}

//! What this host can enforce, found out by doing it.

use std::{fs, io, path::Path};

use super::rules::Rules;

/// A way to hold a command to its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// Linux namespaces by bubblewrap, with a seccomp filter.
    Bubblewrap,
    /// Landlock rules and a seccomp filter, put into force by our own helper.
    Landlock,
    /// `sandbox-exec` of macOS.
    Seatbelt,
}

impl Mechanism {
    /// Its name for people.
    pub fn label(self) -> &'static str {
        match self {
            Mechanism::Bubblewrap => "bubblewrap",
            Mechanism::Landlock => "landlock + seccomp",
            Mechanism::Seatbelt => "seatbelt",
        }
    }
}

/// Whether a mechanism works here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A command was run in it and could not do what it must not do.
    Works {
        /// What it cannot prevent, or prevents beyond the policy; each a sentence fragment.
        limits: Vec<String>,
    },
    Fails {
        /// Why, as the system said it.
        reason: String,
        /// What the user can do.
        fix: String,
    },
}

/// One mechanism's examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub mechanism: Mechanism,
    pub outcome: Outcome,
}

/// What this host can enforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// In the order of preference.
    pub findings: Vec<Finding>,
    #[cfg(target_os = "linux")]
    pub(crate) enforcement: Option<super::spec::Enforcement>,
}

impl Preflight {
    /// Returns the mechanism that sandboxed commands run in, or `None` if they are refused.
    pub fn chosen(&self) -> Option<Mechanism> {
        self.findings
            .iter()
            .find(|finding| matches!(finding.outcome, Outcome::Works { .. }))
            .map(|finding| finding.mechanism)
    }

    /// Returns why nothing works and what to do, each mechanism's joined.
    pub fn complaints(&self) -> (String, String) {
        let failed = self.findings.iter().filter_map(|finding| match &finding.outcome {
            Outcome::Fails { reason, fix } => {
                Some((format!("{}: {reason}", finding.mechanism.label()), fix.clone()))
            }
            Outcome::Works { .. } => None,
        });
        let (reasons, fixes): (Vec<String>, Vec<String>) = failed.unzip();
        (reasons.join("; "), fixes.join("; or "))
    }
}

/// The rules under which a mechanism is tried: nothing may be written, no network.
fn strictest() -> Rules {
    Rules {
        writable: Vec::new(),
        protected: Vec::new(),
        hidden: Vec::new(),
        network: false,
    }
}

/// Tries from inside a sandbox what the strictest rules deny. Returns the exit code: 0 if all was denied.
pub(crate) fn probe(directory: &Path) -> i32 {
    const CONTAINED: i32 = 0;
    const WRITES: i32 = 31;
    const UNIX_SOCKETS: i32 = 32;
    const PRIVILEGES: i32 = 33;
    let file = directory.join(format!(".codex-probe-{}", std::process::id()));
    if fs::File::create(&file).is_ok() {
        let _ = fs::remove_file(&file);
        return WRITES;
    }
    match std::os::unix::net::UnixStream::connect(directory.join("no such socket")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        // Seatbelt denies the connection where there is one; it lets sockets be made.
        Err(_) if cfg!(target_os = "macos") => {}
        _ => return UNIX_SOCKETS,
    }
    if may_gain_privileges() {
        PRIVILEGES
    } else {
        CONTAINED
    }
}

#[cfg(target_os = "linux")]
fn may_gain_privileges() -> bool {
    !rustix::thread::no_new_privs().unwrap_or(false)
}

#[cfg(not(target_os = "linux"))]
fn may_gain_privileges() -> bool {
    false
}

pub(crate) use platform::examine;

#[cfg(target_os = "linux")]
mod platform {
    use std::path::{Path, PathBuf};

    use super::{Finding, Mechanism, Outcome, Preflight, strictest};
    use crate::{
        runner::trial,
        sandbox::{SANDBOX_MODE, helper::PROBE},
        sandbox::{
            bubblewrap::{PROGRAMS, Variant},
            spec::{Enforcement, Spec},
        },
    };

    /// Tries each mechanism with the helper. `only` leaves the others out.
    pub(crate) async fn examine(helper: &Path, directory: &Path, only: Option<Mechanism>) -> Preflight {
        let mut preflight = Preflight {
            findings: Vec::new(),
            enforcement: None,
        };
        for mechanism in [Mechanism::Bubblewrap, Mechanism::Landlock] {
            if only.is_some_and(|only| only != mechanism) {
                continue;
            }
            let found = match mechanism {
                Mechanism::Bubblewrap => bubblewrap(helper, directory).await,
                _ => landlock(helper, directory).await,
            };
            let outcome = match found {
                Ok((enforcement, limits)) => {
                    preflight.enforcement.get_or_insert(enforcement);
                    Outcome::Works { limits }
                }
                Err((reason, fix)) => Outcome::Fails { reason, fix },
            };
            preflight.findings.push(Finding { mechanism, outcome });
        }
        preflight
    }

    type Found = Result<(Enforcement, Vec<String>), (String, String)>;

    async fn bubblewrap(helper: &Path, directory: &Path) -> Found {
        let Some(program) = PROGRAMS
            .iter()
            .map(PathBuf::from)
            .find(|program| program.is_file())
        else {
            let reason = format!("no `bwrap` at {}", PROGRAMS.join(", "));
            return Err((reason, "install the package `bubblewrap`".to_owned()));
        };
        let mut reasons = Vec::new();
        for variant in Variant::ALL {
            let enforcement = Enforcement::Bubblewrap {
                program: program.clone(),
                variant,
            };
            match try_out(helper, directory, enforcement.clone()).await {
                Ok(()) => {
                    let limit = match variant {
                        Variant::Whole => return Ok((enforcement, Vec::new())),
                        Variant::SharedProc => "other processes can be seen in /proc, not touched",
                        Variant::WithoutUserNamespace => "runs without a user namespace",
                    };
                    return Ok((enforcement, vec![limit.to_owned()]));
                }
                Err(reason) => reasons.push(reason),
            }
        }
        // The first variant asks for the most and so fails for the reason that the user can change.
        let reason = reasons.into_iter().next().unwrap_or_default();
        let fix = "allow user namespaces for bwrap (sysctl `kernel.unprivileged_userns_clone=1` or \
                   `user.max_user_namespaces`, or an AppArmor profile with `userns` for /usr/bin/bwrap)";
        Err((reason, fix.to_owned()))
    }

    async fn landlock(helper: &Path, directory: &Path) -> Found {
        let limits = [
            "no new entries directly in a directory that holds `.git` or `.codex`, or could",
            "modes, owners and times of the user's own files can be changed anywhere",
            "beside files that must not be read, those made later cannot be read either",
            "other processes can be seen in /proc, not touched",
        ];
        match try_out(helper, directory, Enforcement::Landlock).await {
            Ok(()) => Ok((Enforcement::Landlock, limits.map(str::to_owned).into())),
            Err(reason) => {
                let fix = "use Linux 6.2 or newer with `landlock` in the kernel's `lsm=` list";
                Err((reason, fix.to_owned()))
            }
        }
    }

    async fn try_out(helper: &Path, directory: &Path, enforcement: Enforcement) -> Result<(), String> {
        // `/proc/self/exe` would be another program inside.
        let program = helper
            .canonicalize()
            .map_err(|error| format!("finding `{}`: {error}", helper.display()))?;
        let word = |path: &Path| {
            path.to_str()
                .map(str::to_owned)
                .ok_or("the helper's path is not UTF-8".to_owned())
        };
        let spec = Spec {
            enforcement,
            rules: strictest(),
            argv: vec![
                word(&program)?,
                SANDBOX_MODE.to_owned(),
                PROBE.to_owned(),
                word(directory)?,
            ],
            program,
            cwd: "/".into(),
            environment: Default::default(),
            terminal: None,
        };
        trial(helper, spec).await
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::path::Path;

    use super::{Finding, Mechanism, Outcome, Preflight, strictest};
    use crate::sandbox::{SANDBOX_MODE, SEATBELT_PROGRAM, helper::PROBE, seatbelt_profile};

    /// Tries `sandbox-exec` with the helper.
    pub(crate) async fn examine(helper: &Path, directory: &Path, only: Option<Mechanism>) -> Preflight {
        if only.is_some_and(|only| only != Mechanism::Seatbelt) {
            return Preflight { findings: Vec::new() };
        }
        let mut command = tokio::process::Command::new(SEATBELT_PROGRAM);
        command.args(seatbelt_profile(&strictest(), &[]).arguments());
        command
            .arg("--")
            .arg(helper)
            .args([SANDBOX_MODE, PROBE])
            .arg(directory);
        let outcome = match command.output().await {
            Ok(output) if output.status.success() => Outcome::Works { limits: Vec::new() },
            Ok(output) => failed(format!(
                "{}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => failed(format!("running `{SEATBELT_PROGRAM}`: {error}")),
        };
        Preflight {
            findings: vec![Finding {
                mechanism: Mechanism::Seatbelt,
                outcome,
            }],
        }
    }

    fn failed(reason: String) -> Outcome {
        Outcome::Fails {
            reason,
            fix: format!("use a macOS that has `{SEATBELT_PROGRAM}`"),
        }
    }
}

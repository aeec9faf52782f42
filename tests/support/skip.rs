//! Skips a reader can see: a missing part is announced, and is an error where it was demanded.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::{machine, namespace, network, official, realm, token};

/// Names the parts whose absence is an error, separated by commas: `ssh,sshd,official,tmux,fish`.
const REQUIRED: &str = "CODEX_TESTS_REQUIRE";

/// A part of the outside world a test may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// OpenSSH's client programs: `ssh`, `ssh-keygen`, `ssh-agent`, `ssh-add`.
    Ssh,
    /// OpenSSH's `sshd`, and the right to start it inside a mount namespace of its own.
    Sshd,
    /// What a login with a password needs: [`Part::Sshd`] as root, so that PAM can check it.
    Pam,
    /// [`crate::Network`]: iproute2, and the right to make network namespaces and devices in them.
    Network,
    /// The pinned official `codex` in `.deps`.
    Official,
    /// tmux 3 or later.
    Tmux,
    /// The fish shell.
    Fish,
    /// The Z shell.
    Zsh,
    /// Debian's POSIX shell.
    Dash,
    /// The C shell `tcsh`.
    Tcsh,
    /// The Korn shell `mksh`.
    Mksh,
    /// A keyring for a session bus: GNOME Keyring and D-Bus.
    SecretService,
    /// A Kerberos realm of one's own: MIT's KDC, its tools and `kinit`.
    Kerberos,
    /// A PKCS#11 token: SoftHSM.
    Token,
    /// A machine that vouches for its users: `ssh-keysign`, and root, who can give it another `/etc/ssh`.
    Keysign,
    /// A busybox that needs no libraries.
    Busybox,
}

impl Part {
    /// The part's name in `CODEX_TESTS_REQUIRE`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Ssh => "ssh",
            Part::Sshd => "sshd",
            Part::Pam => "pam",
            Part::Network => "network",
            Part::Official => "official",
            Part::Tmux => "tmux",
            Part::Fish => "fish",
            Part::Zsh => "zsh",
            Part::Dash => "dash",
            Part::Tcsh => "tcsh",
            Part::Mksh => "mksh",
            Part::SecretService => "secret-service",
            Part::Kerberos => "kerberos",
            Part::Token => "token",
            Part::Keysign => "keysign",
            Part::Busybox => "busybox",
        }
    }

    /// Why the part cannot be used here, or nothing when it can.
    fn lack(self) -> Option<String> {
        match self {
            Part::Ssh => ["ssh", "ssh-keygen", "ssh-agent", "ssh-add"]
                .into_iter()
                .find_map(|name| missing(&[name])),
            Part::Sshd => namespace::lack(),
            Part::Pam => namespace::lack().or_else(pam_lack),
            Part::Network => network::lack(),
            Part::Official => official::lack(),
            Part::Tmux => missing(&["tmux"]),
            Part::Fish => missing(&["fish"]),
            Part::Zsh => missing(&["zsh"]),
            Part::Dash => missing(&["dash"]),
            Part::Tcsh => missing(&["tcsh"]),
            Part::Mksh => missing(&["mksh"]),
            Part::SecretService => ["dbus-daemon", "gnome-keyring-daemon"]
                .into_iter()
                .find_map(|name| missing(&[name])),
            Part::Kerberos => realm::lack(),
            Part::Token => token::lack(),
            Part::Keysign => machine::lack(),
            Part::Busybox => busybox().err(),
        }
    }
}

/// True when the part can be used. Otherwise says on standard error which test is skipped and why, and answers
/// false; `tests/run` installs every part.
///
/// # Panics
///
/// When the part is missing and `CODEX_TESTS_REQUIRE` names it.
pub fn available(part: Part) -> bool {
    let Some(reason) = part.lack() else { return true };
    let required = std::env::var(REQUIRED).unwrap_or_default();
    if let Some(complaint) = complaint(part, &reason, &required) {
        panic!("{complaint}");
    }
    let thread = std::thread::current();
    // The print macros are captured in a passing test, and a skip nobody sees is a lie.
    let text = format!("skipped: {}: {reason}\n", thread.name().unwrap_or("a test"));
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    false
}

/// Returns from the test, visibly, unless every named [`Part`] can be used: `require!(Sshd, Official);`.
#[macro_export]
macro_rules! require {
    ($($part:ident),+ $(,)?) => {
        $(if !$crate::available($crate::Part::$part) { return; })+
    };
}

/// Why none of these programs can be run, or nothing when one can.
pub(crate) fn missing(names: &[&str]) -> Option<String> {
    match names.iter().any(|name| program(name).is_some()) {
        true => None,
        false => Some(format!("{} is not installed", names.join(" or "))),
    }
}

/// Where a busybox is that runs in a folder without libraries, or why there is none.
pub fn busybox() -> Result<std::path::PathBuf, String> {
    let file = program("busybox").ok_or("busybox is not installed")?;
    let bytes = std::fs::read(&file).map_err(|error| format!("reading {}: {error}", file.display()))?;
    // The name of a loader stands right behind the headers.
    let (head, loader) = (&bytes[..bytes.len().min(4096)], b"/ld-linux");
    match head.windows(loader.len()).any(|it| it == loader) {
        true => Err(format!("{} needs libraries", file.display())),
        false => Ok(file),
    }
}

/// Where a program is, looking also where Debian keeps those of the administrator.
pub(crate) fn program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrators)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// What to panic with when a missing part is among the required ones.
fn complaint(part: Part, reason: &str, required: &str) -> Option<String> {
    let is_required = required.split(',').any(|name| name.trim() == part.name());
    is_required.then(|| format!("{} is required by {REQUIRED}, but {reason}", part.name()))
}

fn pam_lack() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("PAM checks passwords only for an sshd that runs as root".into());
    }
    let found = Command::new("find")
        .args(["/lib", "/usr/lib"])
        .args(["-name", "pam_oath.so"])
        .output()
        .is_ok_and(|found| !found.stdout.is_empty());
    match found && Path::new("/etc/pam.d").is_dir() {
        true => None,
        false => Some("libpam-oath is not installed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_is_an_error_only_where_its_whole_name_is_required() {
        assert_eq!(complaint(Part::Ssh, "it is gone", "sshd, tmux"), None);
        assert_eq!(complaint(Part::Ssh, "it is gone", ""), None);
        let text = complaint(Part::Sshd, "it is gone", "ssh, sshd").unwrap();
        assert_eq!(text, "sshd is required by CODEX_TESTS_REQUIRE, but it is gone");
    }

    #[test]
    fn a_program_nobody_has_is_missing() {
        assert_eq!(
            missing(&["no-such-program"]).as_deref(),
            Some("no-such-program is not installed")
        );
        assert_eq!(missing(&["no-such-program", "sh"]), None);
    }
}

//! The near side as a machine that vouches for its users: an `/etc/ssh` of its own, seen by one program and its
//! children.
//!
//! ssh-keysign(8) reads the keys of the machine and `EnableSSHKeysign` from there and from nowhere else. The folder
//! is mounted in a namespace that ends with its last process, so that nothing of the real one is changed.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Client, Key, namespace, skip};

/// A machine with a host key; dropping it removes its files.
pub struct Machine {
    key: Key,
    folder: tempfile::TempDir,
}

/// The arguments: the folder, the program, its arguments.
const SCRIPT: &str = r#"
mount --bind "$1/ssh" /etc/ssh && mount --bind "$1/hosts" /etc/hosts || exit 125
shift
exec "$@"
"#;

impl Machine {
    /// The machine's name; hosts see it as [`Machine::USER`]'s.
    pub const NAME: &str = "near.example";

    /// Who starts its programs.
    pub const USER: &str = "root";

    /// A machine that may vouch (`EnableSSHKeysign`), or may not.
    pub fn new(may_vouch: bool) -> Machine {
        let folder = tempfile::Builder::new()
            .prefix("codex-machine-")
            .tempdir()
            .unwrap();
        let ssh = folder.path().join("ssh");
        fs::create_dir(&ssh).unwrap();
        let word = if may_vouch { "yes" } else { "no" };
        fs::write(ssh.join("ssh_config"), format!("EnableSSHKeysign {word}\n")).unwrap();
        fs::write(
            folder.path().join("hosts"),
            format!("127.0.0.1 {} localhost\n", Machine::NAME),
        )
        .unwrap();
        let key = Key::generate(&ssh, "ssh_host_ed25519_key", None);
        Machine { key, folder }
    }

    /// The machine's host key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// As [`Client::command`], on this machine.
    pub fn command(&self, client: &Client, program: impl AsRef<Path>) -> Command {
        let mut command = client.command("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "--",
                "sh",
                "-c",
                SCRIPT,
                "sh",
            ])
            .arg(self.folder.path())
            .arg(program.as_ref());
        command
    }
}

/// Why no machine can vouch here, or nothing when one can.
pub(crate) fn lack() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can give ssh-keysign another /etc/ssh".into());
    }
    // Where Debian and Fedora put what only `ssh` starts.
    let places = ["/usr/lib/openssh/ssh-keysign", "/usr/libexec/openssh/ssh-keysign"];
    namespace::lack().or_else(|| skip::missing(&["ssh"])).or_else(|| {
        match places.iter().any(|it| Path::new(it).exists()) {
            true => None,
            false => Some("there is no ssh-keysign".into()),
        }
    })
}

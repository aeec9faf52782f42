//! A process tree in namespaces of its own: private account files, and an end that leaves nobody behind.
//!
//! The first process of a PID namespace takes all others with it when it ends, however they detached
//! themselves (pid_namespaces(7)). Here it is a shell that reads a pipe whose other end the test holds: a test
//! that is killed cleans up as well.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::{accounts, skip};

/// A running namespace; dropping it ends all of its processes.
pub(crate) struct Namespace {
    unshare: Child,
}

/// One process inside, as seen from outside.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// Its number inside the innermost namespace.
    pub(crate) inner: i32,
    pub(crate) name: String,
}

/// Prepares the mounts, starts sshd and waits for the end of its own input. An sshd that ends by itself leaves
/// the file `sshd.ended`. The arguments: the host's folder, the home directory, the folder of the official package
/// and the node program (or empty), the sshd program, and the words in front of it.
const SCRIPT: &str = r#"
set -e
folder=$1 home=$2 official=$3 node=$4 sshd=$5
shift 5
for name in passwd group shadow; do mount --bind "$folder/$name" "/etc/$name"; done
if [ -e "$folder/pam" ]; then mount --bind "$folder/pam" /etc/pam.d/sshd; fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd
if [ -n "$official" ]; then
    mkdir -p /run/official/node_modules
    mount --rbind "$official" /run/official/node_modules
    : > /run/node
    mount --bind "$node" /run/node
fi
mount --bind "$folder/bin" /usr/local/bin
# Codex keeps files below /tmp under names made of the user only, and two hosts are not to share them.
mount -t tmpfs -o mode=1777 tmpfs /tmp
if [ -e "$folder/setup" ]; then . "$folder/setup"; fi
{
    "$@" "$sshd" -D -f "$folder/sshd_config" -E "$folder/sshd.log" || :
    : > "$folder/sshd.ended"
} </dev/null &
read -r _ || :
"#;

impl Namespace {
    /// Starts the host in `folder`; what goes wrong before sshd runs is in `folder/namespace.log`.
    pub(crate) fn start(folder: &Path, home: &Path, official: Option<(&Path, &Path)>) -> Namespace {
        let log = File::create(folder.join("namespace.log")).unwrap();
        let mut command = unshare();
        command.args(["sh", "-c", SCRIPT, "sh"]).arg(folder).arg(home);
        match official {
            Some((package, node)) => command.arg(package).arg(node),
            None => command.args(["", ""]),
        };
        command.arg(skip::program("sshd").unwrap());
        if !rustix::process::geteuid().is_root() {
            let (user, group) = (accounts::number(), accounts::group());
            command.args(["unshare", "--user"]);
            command
                .arg(format!("--map-user={user}"))
                .arg(format!("--map-group={group}"))
                .arg("--");
        }
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Namespace {
            unshare: command.spawn().unwrap(),
        }
    }

    /// True when the namespace has come to its end.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.unshare.try_wait().unwrap().is_some()
    }

    /// All processes inside, children after parents.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
        for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
            if let Some((parent, process)) = read_status(&entry.path()) {
                children.entry(parent).or_default().push(process);
            }
        }
        let mut found = Vec::new();
        let mut parents = vec![i32::try_from(self.unshare.id()).unwrap()];
        while let Some(parent) = parents.pop() {
            for process in children.remove(&parent).into_iter().flatten() {
                parents.push(process.pid.as_raw_pid());
                found.push(process);
            }
        }
        found
    }

    /// Sends the signal to every process inside until a look around finds nobody new. The first process, which
    /// only watches over the others, is spared: stopped it could not clean up after a test that was killed.
    pub(crate) fn signal_all(&self, signal: Signal) {
        let mut done = HashSet::new();
        loop {
            let before = done.len();
            for process in self.processes() {
                if process.inner != 1 && done.insert(process.pid.as_raw_pid()) {
                    // Gone in the meantime is as good.
                    let _ = kill_process(process.pid, signal);
                }
            }
            if done.len() == before {
                return;
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Only SIGKILL ends a stopped process, and the first process of the namespace takes the others along.
        if let Some(first) = self.processes().first() {
            let _ = kill_process(first.pid, Signal::KILL);
        }
        let _ = self.unshare.wait();
    }
}

/// Why no namespace can be made here, or nothing when one can.
pub(crate) fn lack() -> Option<String> {
    static LACK: OnceLock<Option<String>> = OnceLock::new();
    let find = || {
        skip::missing(&["sshd"])
            .or_else(|| skip::missing(&["unshare"]))
            .or_else(|| {
                let output = unshare()
                    .args(["mount", "-t", "tmpfs", "tmpfs", "/run"])
                    .output()
                    .unwrap();
                let reason = String::from_utf8_lossy(&output.stderr);
                let text = format!(
                    "a mount namespace for sshd is refused ({}); run as root",
                    reason.trim()
                );
                (!output.status.success()).then_some(text)
            })
    };
    LACK.get_or_init(find).clone()
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command
}

fn read_status(folder: &Path) -> Option<(i32, Process)> {
    folder.file_name()?.to_str()?.parse::<i32>().ok()?;
    let text = fs::read_to_string(folder.join("status")).ok()?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    // Ended, and nobody has asked how: that is the business of a host's first process, which is none here.
    if field("State:")?.starts_with('Z') {
        return None;
    }
    let numbers = field("NSpid:")?;
    let pid = Pid::from_raw(numbers.split_whitespace().next()?.parse().ok()?)?;
    let inner = numbers.split_whitespace().last()?.parse().ok()?;
    let name = field("Name:")?.to_owned();
    Some((field("PPid:")?.parse().ok()?, Process { pid, inner, name }))
}

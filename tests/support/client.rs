//! The near side: a home directory with keys, `ssh_config` and `known_hosts`, and a hermetic environment.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Host, KEY_PASSPHRASE, Key, wait};

/// What `known_hosts` says about a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Its key, under `[127.0.0.1]:PORT`.
    Yes,
    /// Its key, under a hashed name.
    Hashed,
    /// Nothing.
    No,
    /// Another key: the host's key has changed.
    Changed,
}

/// An alias of `ssh_config`.
#[derive(Debug, Clone)]
pub struct Alias {
    name: String,
    port: u16,
    user: String,
    known: Known,
    host_key: Key,
    identity: Option<PathBuf>,
    lines: String,
}

impl Alias {
    /// An alias for the host: known, logging in with the client's plain key.
    pub fn new(name: &str, host: &Host) -> Alias {
        Alias {
            name: name.into(),
            port: host.port(),
            user: host.user().into(),
            known: Known::Yes,
            host_key: host.key().clone(),
            identity: None,
            lines: String::new(),
        }
    }

    /// What `known_hosts` says about it.
    pub fn known(mut self, known: Known) -> Alias {
        self.known = known;
        self
    }

    /// The key to log in with.
    pub fn identity(mut self, key: &Key) -> Alias {
        self.identity = Some(key.path().to_owned());
        self
    }

    /// The aliases to jump through, separated by commas.
    pub fn jump(self, aliases: &str) -> Alias {
        self.line(&format!("ProxyJump {aliases}"))
    }

    /// A line for this alias's block of `ssh_config(5)`; it wins over the ones written by default.
    pub fn line(mut self, line: &str) -> Alias {
        self.lines += &format!("    {line}\n");
        self
    }
}

/// The near side's home; dropping it removes it.
pub struct Client {
    home: tempfile::TempDir,
    key: Key,
    encrypted: Key,
}

impl Client {
    /// A home with two keys, an empty `~/.ssh/config` and an empty `~/.ssh/known_hosts`.
    pub fn new() -> Client {
        let home = tempfile::Builder::new()
            .prefix("codex-client-")
            .tempdir()
            .unwrap();
        let ssh = home.path().join(".ssh");
        fs::create_dir(&ssh).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(ssh.join("config"), "").unwrap();
        fs::write(ssh.join("known_hosts"), "").unwrap();
        let key = Key::generate(&ssh, "id_ed25519", None);
        let encrypted = Key::generate(&ssh, "id_encrypted", Some(KEY_PASSPHRASE));
        Client { home, key, encrypted }
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The plain key, `~/.ssh/id_ed25519`.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The key `~/.ssh/id_encrypted`, encrypted with [`KEY_PASSPHRASE`].
    pub fn encrypted_key(&self) -> &Key {
        &self.encrypted
    }

    /// `~/.ssh/config`.
    pub fn config(&self) -> PathBuf {
        self.home().join(".ssh/config")
    }

    /// `~/.ssh/known_hosts`.
    pub fn known_hosts(&self) -> PathBuf {
        self.home().join(".ssh/known_hosts")
    }

    /// Appends the alias to `ssh_config` and what is known of its host to `known_hosts`.
    pub fn add(&self, alias: &Alias) {
        let known_hosts = self.known_hosts();
        let identity = alias.identity.as_deref().unwrap_or(self.key.path());
        // ssh(1) takes `~` from the password database, not from HOME, so that every path is absolute.
        let block = format!(
            "Host {}\n{}    HostName 127.0.0.1\n    Port {}\n    User {}\n    IdentityFile {}\n    \
             IdentitiesOnly yes\n    UserKnownHostsFile {}\n\n",
            alias.name,
            alias.lines,
            alias.port,
            alias.user,
            identity.display(),
            known_hosts.display()
        );
        append(&self.config(), &block);
        let name = format!("[127.0.0.1]:{}", alias.port);
        match alias.known {
            Known::No => {}
            Known::Yes => append(&known_hosts, &format!("{name} {}\n", alias.host_key.known())),
            Known::Changed => append(&known_hosts, &format!("{name} {}\n", self.key.known())),
            Known::Hashed => append(&known_hosts, &hashed(&name, &alias.host_key)),
        }
    }

    /// Appends lines to `ssh_config`, for what [`Alias`] cannot say.
    pub fn append_config(&self, text: &str) {
        append(&self.config(), text);
    }

    /// A command with an environment of only `HOME`, `PATH`, `TERM` and `LANG`, in the home directory.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .envs(self.environment())
            .current_dir(self.home());
        command
    }

    /// The environment of [`Client::command`], for [`crate::Tmux`].
    pub fn environment(&self) -> Vec<(String, String)> {
        let home = self.home().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        [
            ("HOME", home.as_str()),
            ("PATH", &path),
            ("TERM", "xterm-256color"),
            ("LANG", "C.UTF-8"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// OpenSSH's own client, reading this home's configuration; aliases and commands are arguments to add.
    pub fn ssh(&self) -> Command {
        let mut command = self.command("ssh");
        command.arg("-F").arg(self.config());
        command
    }

    /// An agent that holds the keys. Encrypted ones are unlocked with [`KEY_PASSPHRASE`].
    pub fn agent(&self, keys: &[&Key]) -> Agent {
        let socket = self.home().join("agent.sock");
        let mut command = self.command("ssh-agent");
        command
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let agent = Agent {
            child: command.spawn().unwrap(),
            socket,
        };
        wait::until("the agent's socket", wait::DEADLINE, || {
            agent.socket.exists().then_some(())
        });
        let askpass = self.answers("agent-askpass", &[KEY_PASSPHRASE]);
        for key in keys {
            let mut add = self.command("ssh-add");
            add.env("SSH_AUTH_SOCK", &agent.socket)
                .env("SSH_ASKPASS", &askpass);
            add.env("SSH_ASKPASS_REQUIRE", "force")
                .arg(key.path())
                .stdin(Stdio::null());
            let output = add.output().unwrap();
            assert!(
                output.status.success(),
                "ssh-add: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        agent
    }

    /// A program for `SSH_ASKPASS` that gives these answers one after the other, and the last one for ever. The
    /// questions are in the file `PROGRAM.asked`, one a line.
    pub fn answers(&self, name: &str, answers: &[&str]) -> PathBuf {
        let program = self.home().join(name);
        let base = program.display();
        fs::write(format!("{base}.answers"), answers.join("\n") + "\n").unwrap();
        let text = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$1\" >> '{base}.asked'\n\
             n=$(wc -l < '{base}.asked')\nlast=$(wc -l < '{base}.answers')\n\
             [ \"$n\" -le \"$last\" ] || n=$last\nsed -n \"${{n}}p\" '{base}.answers'\n"
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        program
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

/// A running `ssh-agent`; dropping it ends it.
pub struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    /// The value for `SSH_AUTH_SOCK`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

fn append(file: &Path, text: &str) {
    OpenOptions::new()
        .append(true)
        .open(file)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// A known_hosts line with a hashed name, as `ssh-keygen -H` writes it.
fn hashed(name: &str, key: &Key) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    fs::write(&file, format!("{name} {}\n", key.known())).unwrap();
    let output = Command::new("ssh-keygen").arg("-Hf").arg(&file).output().unwrap();
    assert!(
        output.status.success(),
        "ssh-keygen -H: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::read_to_string(&file).unwrap()
}

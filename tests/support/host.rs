//! A host: a real `sshd` with its own host key, port, user, login shell, home directory and `codex`.
//!
//! Hosts are private: each `sshd` runs in namespaces of its own, with its own `/etc/passwd`, `/tmp`, `/run` and
//! `/usr/local/bin`. Nothing of the machine's configuration is changed, and ending a host ends every process that
//! was started on it. A home directory has the same path on the host and outside.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::ffi::OsString;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Signal, kill_process};

use crate::namespace::Namespace;
use crate::{Key, Model, SecurityKey, accounts, official, skip, wait};

pub use crate::accounts::AUTHENTICATOR_CODES;

/// The password of the user of every host whose [`Login`] asks for one.
pub const PASSWORD: &str = "the password of dev";

/// How often another port is tried when somebody else was faster.
const PORT_ATTEMPTS: usize = 5;

/// The login shell of a host's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    Dash,
    /// A C shell: no POSIX syntax, and start-up files of its own.
    Tcsh,
    /// A Korn shell.
    Mksh,
    /// Bash that may not run programs by their path, nor be replaced by one.
    Restricted,
    /// What an account has that nobody may use: it says so and ends.
    Nologin,
    /// The same without a word.
    False,
}

impl Shell {
    fn program(self) -> String {
        let name = match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
            Shell::Dash => "dash",
            Shell::Tcsh => "tcsh",
            Shell::Mksh => "mksh",
            Shell::Restricted => "rbash",
            Shell::Nologin => "nologin",
            Shell::False => "false",
        };
        let program = skip::program(name).unwrap_or_else(|| panic!("{name} is not installed"));
        program.display().to_string()
    }

    /// The file every shell that sshd starts reads, if there is one.
    fn rc(self) -> Option<&'static str> {
        match self {
            Shell::Bash | Shell::Restricted => Some(".bashrc"),
            Shell::Tcsh => Some(".tcshrc"),
            Shell::Zsh => Some(".zshenv"),
            Shell::Fish => Some(".config/fish/config.fish"),
            Shell::Dash | Shell::Mksh | Shell::Nologin | Shell::False => None,
        }
    }

    /// The file only a login shell reads.
    fn profile(self) -> &'static str {
        match self {
            Shell::Tcsh => ".login",
            Shell::Zsh => ".zprofile",
            Shell::Fish => ".config/fish/conf.d/login.fish",
            _ => ".profile",
        }
    }
}

/// How one gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// An authorized key, and nothing else is offered.
    Key,
    /// [`PASSWORD`] through the `password` method. Needs [`crate::Part::Pam`].
    Password,
    /// Two prompts through `keyboard-interactive`: [`PASSWORD`], then one of [`AUTHENTICATOR_CODES`]. Needs
    /// [`crate::Part::Pam`].
    TwoPrompts,
}

/// Which `codex` is on the host.
#[derive(Debug, Clone)]
pub enum Codex {
    /// The pinned official one in `/usr/local/bin`: every shell finds it.
    Official,
    /// The pinned official one in `~/.local/bin`: only a login shell finds it.
    OfficialInProfile,
    /// This executable text in `/usr/local/bin/codex`, which may start the pinned official one as
    /// `/run/official/node_modules/.bin/codex`.
    AroundOfficial(String),
    /// None.
    Absent,
    /// This executable text in `/usr/local/bin/codex`.
    Script(String),
    /// This program as `/usr/local/bin/codex`.
    Program(PathBuf),
}

/// What a host is to be like.
#[derive(Debug, Clone)]
pub struct HostOptions {
    shell: Shell,
    login: Login,
    codex: Codex,
    authorized: Vec<String>,
    config_toml: Option<String>,
    rc: String,
    profile: String,
    banner: Option<Vec<u8>>,
    forwarding: bool,
    sshd: String,
    home: OsString,
    setup: Option<String>,
    token: Option<(Key, PathBuf)>,
}

impl Default for HostOptions {
    fn default() -> HostOptions {
        HostOptions {
            shell: Shell::Bash,
            login: Login::Key,
            codex: Codex::Official,
            authorized: Vec::new(),
            config_toml: None,
            rc: String::new(),
            profile: String::new(),
            banner: None,
            forwarding: true,
            sshd: String::new(),
            home: "home".into(),
            setup: None,
            token: None,
        }
    }
}

impl HostOptions {
    /// Bash, login by key, the official codex, forwarding allowed.
    pub fn new() -> HostOptions {
        HostOptions::default()
    }

    /// The login shell.
    pub fn shell(mut self, shell: Shell) -> HostOptions {
        self.shell = shell;
        self
    }

    /// How one gets in.
    pub fn login(mut self, login: Login) -> HostOptions {
        self.login = login;
        self
    }

    /// Which `codex` is there.
    pub fn codex(mut self, codex: Codex) -> HostOptions {
        self.codex = codex;
        self
    }

    /// Lets the holder of this key in.
    pub fn authorize(mut self, key: &Key) -> HostOptions {
        self.authorized.push(key.public());
        self
    }

    /// The model that the host's codex asks.
    pub fn model(self, model: &Model) -> HostOptions {
        self.config_toml(&model.config_toml())
    }

    /// The text of `~/.codex/config.toml`.
    pub fn config_toml(mut self, text: &str) -> HostOptions {
        self.config_toml = Some(text.into());
        self
    }

    /// Lines of the login shell's language for the file that every shell reads: `.bashrc`, `.zshenv`,
    /// `config.fish`. Dash has none.
    pub fn rc(mut self, text: &str) -> HostOptions {
        self.rc += text;
        self
    }

    /// Lines of the login shell's language for the file that only a login shell reads.
    pub fn profile(mut self, text: &str) -> HostOptions {
        self.profile += text;
        self
    }

    /// What sshd sends before anybody has logged in.
    pub fn banner(mut self, text: impl AsRef<[u8]>) -> HostOptions {
        self.banner = Some(text.as_ref().into());
        self
    }

    /// Whether the host may be jumped through.
    pub fn forwarding(mut self, allowed: bool) -> HostOptions {
        self.forwarding = allowed;
        self
    }

    /// A line for `sshd_config(5)`; it wins over what the other options say.
    pub fn sshd(mut self, line: &str) -> HostOptions {
        self.sshd += line;
        self.sshd.push('\n');
        self
    }

    /// The name of the home directory; `passwd(5)` keeps it from having a colon or a newline.
    pub fn home(mut self, name: impl Into<OsString>) -> HostOptions {
        self.home = name.into();
        self
    }

    /// The token that holds the host's own key, which is the only one then. It has to stay as long as the host, and
    /// its folder must not be below `/tmp`, which is private on hosts.
    pub fn host_key(mut self, token: &SecurityKey) -> HostOptions {
        self.token = Some((token.key().clone(), token.socket().to_owned()));
        self
    }

    /// Lines of POSIX sh that the host's root runs before sshd starts, e.g. mounts; `$home` is the home directory.
    pub fn setup(mut self, lines: &str) -> HostOptions {
        self.setup = Some(lines.into());
        self
    }
}

/// A host that is up; dropping it ends all of its processes and removes its files.
pub struct Host {
    options: HostOptions,
    port: u16,
    namespace: Option<Namespace>,
    key: Key,
    folder: tempfile::TempDir,
}

impl Host {
    /// Starts a host and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// When it cannot; ask [`crate::available`] for [`crate::Part::Sshd`] first.
    pub fn start(options: HostOptions) -> Host {
        // Codex may write below /tmp without asking, and homes are not there.
        let folder = tempfile::Builder::new()
            .prefix("codex-host-")
            .tempdir_in("/var/tmp")
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let key = match &options.token {
            Some((key, _)) => key.clone(),
            None => Key::generate(folder.path(), "host_key", None),
        };
        let mut host = Host {
            options,
            port: 0,
            namespace: None,
            key,
            folder,
        };
        host.write_accounts();
        host.write_home();
        host.write_codex();
        for _ in 0..PORT_ATTEMPTS {
            host.port = free_port();
            host.write_sshd_config();
            if host.try_start() {
                return host;
            }
        }
        panic!("sshd does not start:\n{}", host.log());
    }

    /// The port on 127.0.0.1; the same for the host's whole life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user to log in as.
    pub fn user(&self) -> &'static str {
        accounts::USER
    }

    /// The user's home directory; the same path on the host and here.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join(&self.options.home)
    }

    /// The folder `~/work`, which is there from the start.
    pub fn work(&self) -> PathBuf {
        self.home().join("work")
    }

    /// The host's own key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What sshd logged, and why it did not start if it did not.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read(self.folder.path().join(name)).unwrap_or_default();
        let bytes = [read("namespace.log"), read("sshd.log")].concat();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes a file below the home directory, owned by the user.
    pub fn write(&self, path: &str, text: &str) {
        let file = self.home().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        self.own(&file);
    }

    /// The text of a file below the home directory, if it is there.
    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.home().join(path)).ok()
    }

    /// Stops every process of the host in its tracks, as SIGSTOP does: connections stay open and say nothing.
    pub fn pause(&self) {
        self.running().signal_all(Signal::STOP);
    }

    /// Lets the host go on after [`Host::pause`].
    pub fn resume(&self) {
        self.running().signal_all(Signal::CONT);
    }

    /// Kills what sshd has running per connection; the listening sshd stays, and so do the programs that were
    /// started on the host, as far as they outlive their connection.
    pub fn kill_sessions(&self) {
        self.signal_sessions(Signal::KILL);
    }

    /// Stops what sshd has running per connection, as a network does that has forgotten them: they stay open and
    /// say nothing, and new ones work.
    pub fn pause_sessions(&self) {
        self.signal_sessions(Signal::STOP);
    }

    fn signal_sessions(&self, signal: Signal) {
        let listener = fs::read_to_string(self.folder.path().join("sshd.pid")).unwrap();
        let listener: i32 = listener.trim().parse().unwrap();
        for process in self.running().processes() {
            if process.name.starts_with("sshd") && process.inner != listener {
                // Its parent's end may have taken it along.
                let _ = kill_process(process.pid, signal);
            }
        }
    }

    /// The names of the processes that run on the host, in no order: `sshd`, `node`, `codex`, …
    pub fn processes(&self) -> Vec<String> {
        self.running()
            .processes()
            .into_iter()
            .map(|process| process.name)
            .collect()
    }

    /// Kills the programs of this name that run on the host.
    pub fn kill(&self, name: &str) {
        for process in self.running().processes() {
            if process.name == name {
                // Its parent's end may have taken it along.
                let _ = kill_process(process.pid, Signal::KILL);
            }
        }
    }

    /// Ends every process of the host; its files stay. New connections are refused.
    pub fn stop(&mut self) {
        self.namespace = None;
    }

    /// Starts the host again on the same port after [`Host::stop`].
    ///
    /// # Panics
    ///
    /// When sshd does not come up.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "sshd does not start again:\n{}", self.log());
    }

    /// Gives a file and the folders around it, up to the home directory, to the user.
    fn own(&self, file: &Path) {
        let home = self.home();
        for part in file.ancestors().take_while(|part| part.starts_with(&home)) {
            chown(part, Some(accounts::number()), Some(accounts::group())).unwrap();
        }
    }

    fn running(&self) -> &Namespace {
        self.namespace
            .as_ref()
            .unwrap_or_else(|| panic!("the host is stopped"))
    }

    fn try_start(&mut self) -> bool {
        let package = repository_package(&self.options.codex);
        let node = package.as_ref().and_then(|_| skip::program("node"));
        let official = package.as_deref().zip(node.as_deref());
        let [pid_file, end_file] = ["sshd.pid", "sshd.ended"].map(|name| self.folder.path().join(name));
        for file in [&pid_file, &end_file] {
            let _ = fs::remove_file(file);
        }
        if let Some(lines) = &self.options.setup {
            fs::write(self.folder.path().join("setup"), lines).unwrap();
        }
        let mut namespace = Namespace::start(self.folder.path(), &self.home(), official);
        let address = ("127.0.0.1", self.port);
        let is_up = wait::until_or(
            "sshd's start",
            wait::DEADLINE,
            || {
                if namespace.has_ended() || end_file.exists() {
                    return Some(false);
                }
                // A port that answers may be somebody else's; the file is written when sshd listens.
                (pid_file.is_file() && TcpStream::connect(address).is_ok()).then_some(true)
            },
            || self.log(),
        );
        self.namespace = is_up.then_some(namespace);
        is_up
    }

    fn write_accounts(&self) {
        let folder = self.folder.path();
        let password = (self.options.login != Login::Key).then_some(PASSWORD);
        accounts::write(folder, &self.home(), &self.options.shell.program(), password);
        if password.is_some() {
            accounts::write_pam(folder, self.options.login == Login::TwoPrompts);
        }
    }

    fn write_home(&self) {
        let options = &self.options;
        fs::create_dir_all(self.work()).unwrap();
        self.own(&self.work());
        self.write(".ssh/authorized_keys", &options.authorized.concat());
        if let Some(rc) = options.shell.rc() {
            self.write(rc, &options.rc);
        }
        let mut profile = options.profile.clone();
        if matches!(options.codex, Codex::OfficialInProfile) {
            profile += match options.shell {
                Shell::Fish => "set -gx PATH $HOME/.local/bin $PATH\n",
                Shell::Tcsh => "setenv PATH \"$HOME/.local/bin:$PATH\"\n",
                _ => "PATH=\"$HOME/.local/bin:$PATH\"\n",
            };
        }
        if options.shell == Shell::Fish {
            profile = format!("if status is-login\n{profile}end\n");
        }
        self.write(options.shell.profile(), &profile);
        self.write(
            ".codex/config.toml",
            options.config_toml.as_deref().unwrap_or_default(),
        );
    }

    fn write_codex(&self) {
        let bin = self.folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        match &self.options.codex {
            Codex::Absent => {}
            // The user of the host need not have a way to where the program was built.
            Codex::Program(program) => _ = fs::copy(program, bin.join("codex")).unwrap(),
            Codex::AroundOfficial(text) => {
                official::official();
                symlink("/run/node", bin.join("node")).unwrap();
                fs::write(bin.join("codex"), text).unwrap();
                fs::set_permissions(bin.join("codex"), fs::Permissions::from_mode(0o755)).unwrap();
            }
            Codex::Script(text) => {
                fs::write(bin.join("codex"), text).unwrap();
                fs::set_permissions(bin.join("codex"), fs::Permissions::from_mode(0o755)).unwrap();
            }
            Codex::Official | Codex::OfficialInProfile => {
                official::official();
                symlink("/run/node", bin.join("node")).unwrap();
                let mut place = bin.clone();
                if matches!(self.options.codex, Codex::OfficialInProfile) {
                    place = self.home().join(".local/bin");
                    fs::create_dir_all(&place).unwrap();
                    self.own(&place);
                }
                match std::env::var_os(SUBSTITUTE) {
                    Some(program) => _ = fs::copy(program, place.join("codex")).unwrap(),
                    None => symlink("/run/official/node_modules/.bin/codex", place.join("codex")).unwrap(),
                }
            }
        }
    }

    fn write_sshd_config(&self) {
        let folder = self.folder.path();
        let options = &self.options;
        let mut text = options.sshd.clone();
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        let mut line = |keyword: &str, value: &str| text += &format!("{keyword} {value}\n");
        line("ListenAddress", "127.0.0.1");
        line("Port", &self.port.to_string());
        line("HostKey", &self.key.path().display().to_string());
        if let Some((_, socket)) = &options.token {
            line("HostKeyAgent", &socket.display().to_string());
        }
        line("PidFile", &folder.join("sshd.pid").display().to_string());
        line("StrictModes", "no");
        line("LogLevel", "VERBOSE");
        line("UseDNS", "no");
        line("PrintMotd", "no");
        line("MaxStartups", "100");
        line("UsePAM", yes(options.login != Login::Key));
        line("PubkeyAuthentication", "yes");
        line("PasswordAuthentication", yes(options.login == Login::Password));
        line(
            "KbdInteractiveAuthentication",
            yes(options.login == Login::TwoPrompts),
        );
        line("AllowTcpForwarding", yes(options.forwarding));
        if let Some(banner) = &options.banner {
            fs::write(folder.join("banner"), banner).unwrap();
            line("Banner", &folder.join("banner").display().to_string());
        }
        fs::write(folder.join("sshd_config"), text).unwrap();
    }
}

/// The variable that names a program which stands on every host in place of the official one: the same tests, run on
/// another server.
const SUBSTITUTE: &str = "CODEX_TESTS_SUBSTITUTE";

fn repository_package(codex: &Codex) -> Option<PathBuf> {
    let is_official = matches!(
        codex,
        Codex::Official | Codex::OfficialInProfile | Codex::AroundOfficial(_)
    );
    is_official.then(|| official::repository().join(".deps/node_modules"))
}

/// A port nobody listens on, outside the range that connections are given by the kernel: it has to stay free
/// while the host is stopped.
pub(crate) fn free_port() -> u16 {
    const RANGE: std::ops::Range<u16> = 12_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 199).unwrap() * 100;
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (RANGE.end - RANGE.start);
        let port = RANGE.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

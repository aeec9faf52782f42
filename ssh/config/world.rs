//! Everything the configuration may ask about the machine it is read on.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    net::{IpAddr, ToSocketAddrs as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A larger file is not a configuration: ten thousand hosts take about one mebibyte.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// `Match exec` programs are asked while somebody waits; one that takes longer counts as failed.
pub const EXEC_TIME_MAX: Duration = Duration::from_secs(5);

/// The longest pause between two looks at a running `Match exec` program.
const EXEC_POLL_MAX: Duration = Duration::from_millis(20);

/// A file with what OpenSSH checks before it trusts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    pub bytes: Vec<u8>,
    /// User id of the owner.
    pub owner: u32,
    /// Permission bits.
    pub mode: u32,
    /// Of a file that its group may write, whether that group is the owner's private one: with the owner's name, and
    /// nobody else in it.
    pub private_group: bool,
}

/// The machine, as far as the configuration can see it. [`SystemWorld`] is the real one.
pub trait World {
    /// Reads at most [`FILE_BYTES_MAX`]; more is an error.
    fn read(&mut self, path: &Path) -> io::Result<ConfigFile>;
    /// Files that match a glob(7) pattern, sorted by name; empty when there are none.
    fn glob(&mut self, pattern: &str) -> Vec<PathBuf>;
    /// Runs a `Match exec` command with the user's shell; true when it ends with status zero.
    /// An error says why it could not run or did not end within [`EXEC_TIME_MAX`].
    fn run(&mut self, command: &str) -> io::Result<bool>;
    /// Whether the resolver knows `name`: for `CanonicalizeHostname` only.
    fn resolves(&mut self, name: &str) -> bool;
    fn env(&self, name: &str) -> Option<String>;
    /// The names of all environment variables, for the patterns of `SendEnv`.
    fn env_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn home(&self) -> PathBuf;
    /// The home of another user, for `~name/`.
    fn home_of(&self, user: &str) -> Option<PathBuf>;
    fn local_user(&self) -> String;
    fn uid(&self) -> u32;
    /// This machine's name, as gethostname(2) says it.
    fn host_name(&self) -> String;
    /// The TCP port of a service name.
    fn service_port(&self, name: &str) -> Option<u16>;
    /// Addresses of interfaces that are up, for `Match localnetwork`.
    fn local_addresses(&self) -> Vec<IpAddr>;
    /// Where the system's configuration lies; `/etc/ssh`.
    fn system_dir(&self) -> PathBuf {
        PathBuf::from("/etc/ssh")
    }
}

/// The machine this program runs on.
#[derive(Debug, Default)]
pub struct SystemWorld {
    /// Variables that hide those of the process.
    env: BTreeMap<String, Option<String>>,
    is_listing: bool,
}

impl SystemWorld {
    pub fn new() -> SystemWorld {
        SystemWorld::default()
    }

    /// A world in which nothing is run and nobody is asked: for lists of hosts. `Match exec` does not
    /// match there, and names are not looked up.
    pub fn for_listing() -> SystemWorld {
        SystemWorld {
            is_listing: true,
            ..SystemWorld::default()
        }
    }

    /// Sets or hides one environment variable for this world only.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: Option<&str>) -> SystemWorld {
        self.env.insert(name.to_owned(), value.map(str::to_owned));
        self
    }
}

impl World for SystemWorld {
    fn read(&mut self, path: &Path) -> io::Result<ConfigFile> {
        let file = crate::file::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file of exactly the limit from a longer one.
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let message = format!("larger than {} MiB", FILE_BYTES_MAX >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(ConfigFile {
            bytes,
            owner: about.uid(),
            mode: about.mode() & 0o7777,
            private_group: about.mode() & 0o020 != 0 && is_private(about.gid(), about.uid()),
        })
    }

    fn glob(&mut self, pattern: &str) -> Vec<PathBuf> {
        super::glob::files(pattern)
    }

    fn run(&mut self, command: &str) -> io::Result<bool> {
        if self.is_listing {
            return Ok(false);
        }
        let shell = self
            .env("SHELL")
            .filter(|it| !it.is_empty())
            .unwrap_or_else(|| "/bin/sh".to_owned());
        let mut shell = Command::new(shell);
        for (name, value) in &self.env {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        run_shell(&mut shell, command, EXEC_TIME_MAX)
    }

    fn resolves(&mut self, name: &str) -> bool {
        !self.is_listing
            && (name, 0)
                .to_socket_addrs()
                .is_ok_and(|mut it| it.next().is_some())
    }

    fn env(&self, name: &str) -> Option<String> {
        match self.env.get(name) {
            Some(value) => value.clone(),
            None => std::env::var(name).ok(),
        }
    }

    fn env_names(&self) -> Vec<String> {
        let own = std::env::vars_os().filter_map(|it| it.0.into_string().ok());
        let mut names: Vec<String> = own.chain(self.env.keys().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// `HOME` when it is absolute, else the password database. OpenSSH asks the database only; the
    /// variable comes first here because everything else this program keeps for the user follows it,
    /// and containers and tests set it. A relative `HOME` would read files of whoever owns the
    /// working directory.
    fn home(&self) -> PathBuf {
        let named = self.env("HOME").map(PathBuf::from).filter(|it| it.is_absolute());
        named
            .or_else(|| account().map(|it| it.dir))
            .unwrap_or_else(|| PathBuf::from("/"))
    }

    fn home_of(&self, user: &str) -> Option<PathBuf> {
        nix::unistd::User::from_name(user).ok().flatten().map(|it| it.dir)
    }

    fn local_user(&self) -> String {
        let named = account().map(|it| it.name);
        // A container may run a user id that no database knows.
        named
            .or_else(|| self.env("USER"))
            .unwrap_or_else(|| self.uid().to_string())
    }

    fn uid(&self) -> u32 {
        nix::unistd::getuid().as_raw()
    }

    fn host_name(&self) -> String {
        nix::unistd::gethostname()
            .map(|it| it.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    fn service_port(&self, name: &str) -> Option<u16> {
        let services = std::fs::read_to_string("/etc/services").ok()?;
        services.lines().find_map(|line| service(line, name))
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
            return Vec::new();
        };
        let up = interfaces.filter(|it| it.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP));
        up.filter_map(|it| it.address)
            .filter_map(|it| {
                let four = it.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
                four.or_else(|| it.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
            })
            .collect()
    }
}

fn account() -> Option<nix::unistd::User> {
    nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten()
}

/// Whether this group is the private one of this user. What cannot be found out is a no.
fn is_private(group: u32, owner: u32) -> bool {
    let user = nix::unistd::User::from_uid(owner.into()).ok().flatten();
    let group = nix::unistd::Group::from_gid(group.into()).ok().flatten();
    let (Some(user), Some(group)) = (user, group) else {
        return false;
    };
    // Others may have it as their own group, which does not name them.
    let Ok(accounts) = std::fs::read_to_string("/etc/passwd") else {
        return false;
    };
    user.gid == group.gid
        && user.name == group.name
        && group.mem.iter().all(|it| *it == user.name)
        && !shares(&accounts, group.gid.as_raw(), owner)
}

/// Whether a line of passwd(5) has this group and another user.
fn shares(accounts: &str, group: u32, owner: u32) -> bool {
    accounts.lines().any(|line| {
        let mut fields = line.split(':').skip(2).map(str::parse);
        let (user, own) = (fields.next(), fields.next());
        own == Some(Ok(group)) && user != Some(Ok(owner))
    })
}

/// The TCP port on one line of services(5), if the line is about `name`.
fn service(line: &str, name: &str) -> Option<u16> {
    let line = line.split('#').next()?;
    let mut words = line.split_whitespace();
    let (first, port) = (words.next()?, words.next()?);
    let port = port.strip_suffix("/tcp")?.parse().ok()?;
    (first == name || words.any(|it| it == name)).then_some(port)
}

/// OpenSSH leaves stderr open; here a terminal interface may own it.
fn run_shell(shell: &mut Command, command: &str, limit: Duration) -> io::Result<bool> {
    let mut child = shell
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let (end, mut pause) = (Instant::now() + limit, Duration::from_millis(1));
    loop {
        if let Some(status) = child.try_wait()? {
            let ended = || io::Error::other(format!("ended by {status}"));
            return status.code().map(|it| it == 0).ok_or_else(ended);
        }
        if Instant::now() >= end {
            break;
        }
        std::thread::sleep(pause);
        pause = EXEC_POLL_MAX.min(pause * 2);
    }
    // The group, because the shell's own children would outlive it.
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let killed = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    killed.map_err(io::Error::from).or_else(|_| child.kill())?;
    child.wait()?;
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("did not end within {} s", limit.as_secs()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_shared_by_whoever_has_it_as_their_own() {
        let accounts =
            "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\nother:x:1001:1000::/:/bin/sh\n";
        let alone = "me:x:1000:1000::/home/me:/bin/sh\nother:x:1001:1001::/:/bin/sh\nnonsense\n:::\n";
        assert!(super::shares(accounts, 1000, 1000));
        assert!(!super::shares(alone, 1000, 1000) && super::shares(alone, 1000, 1001));
    }

    #[test]
    fn a_command_that_does_not_end_is_stopped_with_its_children() {
        let begun = Instant::now();
        let outcome = run_shell(
            &mut Command::new("/bin/sh"),
            "sleep 60 & sleep 60",
            Duration::from_millis(50),
        );
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn the_exit_status_of_a_command_is_its_answer() {
        let run = |shell, command| run_shell(&mut Command::new(shell), command, EXEC_TIME_MAX);
        assert!(run("/bin/sh", "exit 0").unwrap());
        assert!(!run("/bin/sh", "exit 3").unwrap());
        assert!(run("/no/such/shell", "exit 0").is_err());
        assert!(run("/bin/sh", "kill -9 $$").is_err());
    }

    #[test]
    fn service_lines_know_names_and_aliases_of_tcp() {
        assert_eq!(service("ssh  22/tcp  # SSH", "ssh"), Some(22));
        assert_eq!(service("www 80/tcp http", "http"), Some(80));
        assert_eq!(service("domain 53/udp", "domain"), None);
        assert_eq!(service("# ssh 22/tcp", "ssh"), None);
    }

    #[test]
    fn a_relative_home_is_not_believed() {
        let world = SystemWorld::new().with_env("HOME", Some("."));
        assert!(world.home().is_absolute());
        let world = SystemWorld::new().with_env("HOME", Some("/somewhere"));
        assert_eq!(world.home(), PathBuf::from("/somewhere"));
    }
}

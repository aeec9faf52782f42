//! The installed `ssh -G` is asked the same questions, and our answers must be its answers.
//!
//! `ORACLE_SEEDS` sets how many random configurations are compared (100 by default), `ORACLE_FIRST` the
//! first of them. Where OpenSSH refuses a configuration, we must at least report an error in it; where
//! it accepts one, we must report none.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is a failed test"
)]
#![expect(clippy::print_stdout, reason = "a skipped comparison must be seen")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use codex_ssh::config::{ConfigError, Query, Resolved, Severity, Sources, SystemWorld, resolve};

/// Settings that every release answers alike, whatever its defaults.
const KEYS: &[&str] = &[
    "addkeystoagent",
    "addressfamily",
    "batchmode",
    "bindaddress",
    "certificatefile",
    "compression",
    "connecttimeout",
    "connectionattempts",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "escapechar",
    "forwardagent",
    "globalknownhostsfile",
    "hashknownhosts",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "kbdinteractiveauthentication",
    "localforward",
    "loglevel",
    "numberofpasswordprompts",
    "passwordauthentication",
    "port",
    "preferredauthentications",
    "proxycommand",
    "proxyjump",
    "pubkeyauthentication",
    "rekeylimit",
    "remotecommand",
    "remoteforward",
    "requesttty",
    "sendenv",
    "serveralivecountmax",
    "serveraliveinterval",
    "setenv",
    "stricthostkeychecking",
    "tcpkeepalive",
    "updatehostkeys",
    "user",
    "userknownhostsfile",
    "verifyhostkeydns",
];

/// The release of the installed `ssh`, as (major, minor); `None` without one.
fn installed() -> Option<(u32, u32)> {
    let out = Command::new("ssh").arg("-V").output().ok();
    let text = out
        .map(|it| String::from_utf8_lossy(&it.stderr).into_owned())
        .unwrap_or_default();
    let number = text
        .strip_prefix("OpenSSH_")
        .and_then(|it| it.split(['p', ' ', ',']).next());
    let version = number.and_then(|it| it.split_once('.'));
    let version = version.and_then(|it| Some((it.0.parse().ok()?, it.1.parse().ok()?)));
    if version.is_none() {
        let required = std::env::var("CODEX_TESTS_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|it| it.trim() == "ssh"),
            "ssh is required and not installed"
        );
        println!("SKIPPED: there is no OpenSSH client to compare with");
    }
    version
}

/// What one question is asked with.
struct Asked<'a> {
    config: &'a Path,
    host: &'a str,
    user: Option<&'a str>,
    port: Option<u16>,
}

impl Asked<'_> {
    fn theirs(&self) -> Output {
        let mut ssh = Command::new("ssh");
        ssh.arg("-G").arg("-F").arg(self.config);
        ssh.args(self.user.iter().flat_map(|it| ["-l", it]));
        if let Some(port) = self.port {
            ssh.args(["-p", &port.to_string()]);
        }
        ssh.env("SHELL", "/bin/sh")
            .env("ORACLE", "value")
            .env_remove("SSH_AUTH_SOCK");
        ssh.arg(self.host).output().unwrap()
    }

    fn ours(&self) -> Result<Resolved, ConfigError> {
        let account = nix::unistd::User::from_uid(nix::unistd::getuid())
            .unwrap()
            .unwrap();
        let mut world = SystemWorld::new()
            .with_env("HOME", account.dir.to_str())
            .with_env("SHELL", Some("/bin/sh"))
            .with_env("ORACLE", Some("value"))
            .with_env("SSH_AUTH_SOCK", None);
        let query = Query {
            host: self.host.to_owned(),
            user: self.user.map(str::to_owned),
            port: self.port,
        };
        resolve(&query, &Sources::file(self.config), &mut world)
    }

    /// Says what differs; `Ok(false)` when both refuse.
    fn compare(&self, keys: &[&str]) -> Result<bool, String> {
        let theirs = self.theirs();
        let ours = self.ours();
        if !theirs.status.success() {
            let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
            return match ours {
                Err(_) => Ok(false),
                Ok(it) if it.problems.iter().any(|it| it.severity == Severity::Error) => Ok(false),
                Ok(_) => Err(format!("OpenSSH refuses and we see no error: {said}")),
            };
        }
        let ours = ours.map_err(|it| format!("we refuse what OpenSSH takes: {it}"))?;
        if let Some(problem) = ours.problems.iter().find(|it| it.severity == Severity::Error) {
            return Err(format!("we see an error where OpenSSH sees none: {problem}"));
        }
        let mut theirs = table(&String::from_utf8_lossy(&theirs.stdout), keys);
        let ours = table(&ours.dump(), keys);
        // Debian's default interval in batch mode is its own.
        let value = |it: &BTreeMap<String, Vec<String>>, key: &str| it.get(key).map(|it| it.concat());
        if value(&theirs, "batchmode").as_deref() == Some("yes")
            && value(&theirs, "serveraliveinterval").as_deref() == Some("300")
            && value(&ours, "serveraliveinterval").as_deref() == Some("0")
        {
            theirs.insert("serveraliveinterval".to_owned(), vec!["0".to_owned()]);
        }
        if theirs == ours {
            return Ok(true);
        }
        let differ = |it: &&&str| theirs.get(**it) != ours.get(**it);
        let lines = keys
            .iter()
            .filter(differ)
            .map(|it| format!("{it}: OpenSSH {:?}, we {:?}", theirs.get(*it), ours.get(*it)));
        Err(lines.collect::<Vec<_>>().join("\n"))
    }
}

fn table(dump: &str, keys: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in dump.lines().filter_map(|it| it.split_once(' ')) {
        if keys.contains(&key) {
            table.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    table
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Lines that decide where a connection goes.
#[rustfmt::skip]
const ROUTE_LINES: &[&str] = &[
    "HostName=h1", "HostName h2", "HostName %h.example", "hostname \"h3\"", "HostName h4 # comment",
    "HostName 10.0.0.5", "HostName 2001:DB8::1", "HostName H5", "HostName %%x", "User u1", "\tUser  u2",
    "User \"u1\"", "User 'u2'", "User u#3", "port 22", "Port 2222", "Port  2022 ", "Port \"2200\"",
    "Port ssh", "ProxyJump = j1", "ProxyJump j2:2200", "ProxyJump u@j3,j4", "ProxyJump none",
    "ProxyJump j5 # comment", "ProxyJump 10.0.0.1", "ProxyCommand nc %h %p", "ProxyCommand none",
    "ProxyCommand=a \"b c\" # d", "BindAddress 10.0.0.9", "AddressFamily inet", "HostKeyAlias KA",
    "ProxyJump ssh://u@j6:22", "HostName 10.1", "HostName h6.",
];

/// Lines about everything else.
#[rustfmt::skip]
const OTHER_LINES: &[&str] = &[
    "IdentityFile ~/.ssh/k1", "IdentityFile \"~/my keys/k 2\"", "IdentityFile %d/k3", "IdentityFile none",
    "IdentityFile2 k4", "CertificateFile ~/c1", "CertificateFile c2", "IdentitiesOnly yes",
    "IdentitiesOnly FALSE", "IdentityAgent none", "IdentityAgent SSH_AUTH_SOCK", "IdentityAgent $ORACLE",
    "IdentityAgent ~/%r.sock", "IdentityAgent ${ORACLE}/x", "UserKnownHostsFile ~/kh1 /dev/null",
    "UserKnownHostsFile none", "UserKnownHostsFile %d/%n \"k h\"", "GlobalKnownHostsFile /etc/k1",
    "GlobalKnownHostsFile none", "StrictHostKeyChecking yes", "StrictHostKeyChecking accept-new",
    "StrictHostKeyChecking off", "StrictHostKeyChecking ASK", "ConnectTimeout 10", "ConnectTimeout 1m30s",
    "ConnectTimeout none", "ServerAliveInterval 2m", "ServerAliveInterval 0", "ServerAliveCountMax 5",
    "ServerAliveInterval 1h30", "TCPKeepAlive no", "KeepAlive yes", "BatchMode yes", "Compression yes",
    "PasswordAuthentication no", "ChallengeResponseAuthentication no", "PubkeyAuthentication unbound",
    "DSAAuthentication no", "NumberOfPasswordPrompts 1", "PreferredAuthentications publickey,password",
    "HashKnownHosts yes", "SendEnv LANG LC_*", "SendEnv -LC_* FOO", "SetEnv A=1 B=\"two words\" A=2",
    "SetEnv C=3", "RemoteCommand tmux new \"main 1\"", "RemoteCommand none", "RequestTTY force",
    "ControlPath ~/.ssh/cm-%r@%h:%p", "ControlPath none", "ControlPersist 10m", "ControlPersist yes",
    "AddKeysToAgent confirm 30m", "AddKeysToAgent 1h", "AddKeysToAgent ask", "ForwardAgent yes",
    "LocalForward 8080 localhost:80", "LocalForward [::1]:81 h:82", "RemoteForward 9000 [::1]:90",
    "DynamicForward 1080", "RemoteForward 1081", "RekeyLimit 1G 1h", "RekeyLimit 512M",
    "RekeyLimit default none", "EscapeChar none", "EscapeChar ^A", "LogLevel verbose",
    "VerifyHostKeyDNS ask", "UpdateHostKeys no", "ConnectionAttempts 3", "Protocol 2", "Cipher blowfish",
    "UseRoaming no", "RSAAuthentication yes", "IgnoreUnknown Foo*,bar", "Tunnel ethernet", "IPQoS af21 cs1",
    "PermitLocalCommand yes",
];

/// Lines that OpenSSH refuses, wherever they stand.
#[rustfmt::skip]
const BAD_LINES: &[&str] = &[
    "Port 0", "Port 65536", "Port 22 23", "Compression maybe", "FooBar x", "User", "User \"\"", "User 'u",
    "Match", "Match host", "Match colour red", "Match all all", "ConnectTimeout soon", "ProxyJump u@",
    "ProxyJump j:0", "IdentityFile a b", "SetEnv A", "Ciphers rot13", "StrictHostKeyChecking perhaps",
    "UserKnownHostsFile a none", "LocalForward 80", "IdentityAgent ${UNSET_HERE}",
    "NumberOfPasswordPrompts -1", "EscapeChar abc", "AddKeysToAgent yes 5m", "HostKeyAlgorithms ssh-xyz",
    "Host \"\"",
];

/// xorshift: the same seed gives the same configuration on every machine.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn host_line(&mut self) -> String {
        let word = self.pick(&["Host", "host", "HOST", "Host=", "\tHost", "\"Host\""]);
        let one = self.pick(&[
            "a", "b", "*", "!a", "?", "a*", "!b*", "\"a\"", "'b'", "h1", "A", "h*",
        ]);
        let two = self.pick(&[
            "", " a", " b", " ab", " *b", " !ab", " # b", " c#", "\tc", " !c *",
        ]);
        format!("{word} {one}{two}")
    }

    fn match_line(&mut self) -> String {
        let line = match self.below(7) {
            0 => self.pick(&[
                "Match all",
                "Match final",
                "Match final all",
                "match FINAL host *",
                "Match canonical",
            ]),
            1 => self.pick(&[
                "Match user u1",
                "Match !user u?",
                "Match user=u*,!u2",
                "Match localuser *",
            ]),
            2 => self.pick(&[
                "Match exec true",
                "Match exec \"exit 1\"",
                "Match !exec false",
                "Match exec \"test %h = h1\"",
            ]),
            3 => self.pick(&[
                "Match exec \"test %n = a\"",
                "Match exec \"test %r-%p = u1-22\"",
                "Match exec \"test %k = ka\"",
            ]),
            4 => self.pick(&[
                "Match originalhost a",
                "Match originalhost b,ab",
                "Match originalhost !a,*",
                "Match Host A",
            ]),
            _ => {
                let negation = self.pick(&["", "", "!"]);
                let equals = self.pick(&["=", " "]);
                let hosts = self.pick(&["a", "b,ab", "*,!a", "h1", "h?", "!h1,*", "*.example", "c"]);
                let more = self.pick(&[
                    "",
                    "",
                    " user u1",
                    " !user u?",
                    " exec true",
                    " exec false",
                    " final",
                    " # tail",
                ]);
                return format!("Match {negation}host{equals}{hosts}{more}");
            }
        };
        line.to_owned()
    }

    fn config(&mut self, includes: &[String]) -> String {
        let mut text = String::new();
        for _ in 0..self.below(14) + 1 {
            let line = match self.below(40) {
                0..=7 => self.host_line(),
                8..=12 => self.match_line(),
                13..=15 if !includes.is_empty() => {
                    let path = includes[self.below(includes.len())].clone();
                    let word = self.pick(&["Include", "include", "Include =", " Include"]);
                    if self.below(3) == 0 {
                        format!("{word} \"{path}\" # c")
                    } else {
                        format!("{word} {path}")
                    }
                }
                16..=25 => self.pick(ROUTE_LINES).to_owned(),
                26..=27 => self
                    .pick(&["", "# comment", "   ", "\t# x", "# FooBaz", "", "BAR z"])
                    .to_owned(),
                28 if self.below(6) == 0 => self.pick(BAD_LINES).to_owned(),
                _ => self.pick(OTHER_LINES).to_owned(),
            };
            // Not in every file: `FooBaz` is refused unless it is ignored.
            text.push_str(self.pick(&["", "", "  ", "\t"]));
            text.push_str(&line);
            text.push_str(self.pick(&["\n", "\n", "\n", "\r\n", " \t\n"]));
        }
        text
    }
}

/// Answers that changed between releases are no questions to an old one.
fn comparable(text: &str, version: (u32, u32)) -> bool {
    let jump_off = text.to_ascii_lowercase().contains("proxyjump none");
    let command = text.to_ascii_lowercase().contains("proxycommand");
    version >= (10, 0) || !(jump_off && command)
}

#[test]
fn random_configurations_mean_what_they_mean_to_openssh() {
    let Some(version) = installed() else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let (first, count) = (
        number("ORACLE_FIRST").unwrap_or(1),
        number("ORACLE_SEEDS").unwrap_or(100),
    );
    let dir = tempfile::tempdir().unwrap();
    let (mut compared, mut refused, mut failures) = (0_u32, 0_u32, Vec::new());
    for seed in first..first + count {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let root = dir.path().join(seed.to_string());
        let at = |name: &str| root.join(name).display().to_string();
        let files: Vec<(PathBuf, String)> = vec![
            (root.join("d/2.conf"), rng.config(&[])),
            (
                root.join("d/1.conf"),
                rng.config(&[at("d/2.conf"), at("missing")]),
            ),
            (
                root.join("config"),
                rng.config(&[at("d/1.conf"), at("d/*.conf"), at("d/[12].conf"), at("d/*")]),
            ),
        ];
        files.iter().for_each(|it| write(&it.0, &it.1));
        let whole: String = files
            .iter()
            .map(|it| format!("--- {}\n{}", it.0.display(), it.1))
            .collect();
        if !comparable(&whole, version) {
            continue;
        }
        for (index, host) in ["a", "b", "ab", "c"].into_iter().enumerate() {
            let given = index == 3 && seed % 4 == 0;
            let config = &root.join("config");
            let asked = Asked {
                config,
                host,
                user: given.then_some("u1"),
                port: given.then_some(2299),
            };
            match asked.compare(KEYS) {
                Ok(true) => compared += 1,
                Ok(false) => refused += 1,
                Err(difference) => failures.push(format!("seed {seed} host {host}\n{difference}\n{whole}")),
            }
        }
        fs::remove_dir_all(&root).unwrap();
    }
    println!("{compared} answers compared, {refused} refused by both");
    let shown = failures
        .iter()
        .take(3)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n==========\n");
    assert!(
        failures.is_empty(),
        "{} differences, the first:\n{shown}",
        failures.len()
    );
    assert!(refused <= compared, "too few of the configurations are accepted");
}

/// A question of its own: what is asked, in which configuration, and which settings are compared.
struct Case {
    host: &'static str,
    config: &'static str,
    keys: &'static [&'static str],
}

const fn case(host: &'static str, config: &'static str, keys: &'static [&'static str]) -> Case {
    Case { host, config, keys }
}

/// What random configurations seldom reach. `@/` stands for the folder of the included files.
#[rustfmt::skip]
const CASES: &[Case] = &[
    case("a", "HostName %h.lab\nMatch host a.lab\n User m\n", &["hostname", "user"]),
    case("AB", "Host ab\n User no\nMatch host ab\n User m\nMatch originalhost ab\n Port 23\n", &["hostname", "user", "port"]),
    case("10.1", "Host 10.*\n User u\n", &["hostname", "user"]),
    case("a", "SendEnv A B\nMatch final\n SendEnv C -B\n", &["sendenv"]),
    case("a", "LocalForward 80 h:80\nLocalForward 80 h:80\nMatch final\n", &["localforward"]),
    case("a", "ClearAllForwardings yes\nLocalForward 80 h:80\n", &["localforward", "clearallforwardings"]),
    case("a", "RemoteForward 0 h:80\nRemoteForward /a/b /c/d\nDynamicForward [::]:1080\n", &["remoteforward", "dynamicforward"]),
    case("a", "ForwardAgent no\nForwardAgent /sock\n", &["forwardagent"]),
    case("a", "RekeyLimit 1G\nRekeyLimit 2G 1h\n", &["rekeylimit"]),
    case("a", "ConnectTimeout none\nConnectTimeout 5\n", &["connecttimeout"]),
    case("a", "ControlPath /tmp/%h-%k-%i-%L-%%\nHostKeyAlias KK\n", &["controlpath", "hostkeyalias"]),
    case("a", "RemoteCommand echo %h %n %p %r %u # kept\n", &["remotecommand"]),
    case("a", "ProxyCommand sh -c \"it is %h\" 'q'\nProxyJump j\n", &["proxycommand", "proxyjump"]),
    case("a", "ProxyCommand it's\n", &["proxycommand"]),
    case("a", "ProxyJump ssh://bob@[::1]:22\n", &["proxyjump"]),
    case("a", "ProxyJump a\n", &["proxyjump"]),
    case("a", "ProxyJump b,\n", &["proxyjump"]),
    case("a", "HostName %n.lab\n", &["hostname"]),
    case("a", "UserKnownHostsFile ~root/x /etc/%h\n", &["userknownhostsfile", "updatehostkeys"]),
    case("a", "UserKnownHostsFile ~/.ssh/known_hosts\n", &["userknownhostsfile", "updatehostkeys"]),
    case("a", "IgnoreUnknown FOO\nfoo bar\nUser u\n", &["user"]),
    case("a", "foo bar\nIgnoreUnknown foo\n", &["user"]),
    case("a", "Host a\n\tUser\tx\x0c\n", &["user"]),
    case("a", "\u{feff}User x\n", &["user"]),
    case("a", "User a\"b c\"d\nPreferredAuthentications \"publickey\"\n", &["user", "preferredauthentications"]),
    case("a", "Host !a b *\n User x\nHost * !a\n User y\n", &["user"]),
    case("a", "Host b\n Include @/final\nMatch canonical\n User second\n", &["user", "port"]),
    case("a", "Include @/host\nUser late\n", &["user", "port"]),
    case("a", "Include @/self\n", &["user"]),
    case("a", "CanonicalizeHostname yes\nCanonicalDomains invalid\nMatch canonical\n User c\n", &["hostname", "user"]),
    case("a", "ControlMaster autoask\nTunnel point-to-point\nRequestTTY yes\n", &["controlmaster", "tunnel", "requesttty"]),
    case("a", "TunnelDevice 0:any\nStreamLocalBindMask 0111\nSyslogFacility local3\n", &["tunneldevice", "streamlocalbindmask", "syslogfacility"]),
    case("a", "CanonicalDomains Example.COM. b.c\nCanonicalizeMaxDots 2\n", &["canonicaldomains", "canonicalizemaxdots"]),
    case("a", "PermitRemoteOpen h:80 [::1]:*\nFingerprintHash md5\nLogVerbose a b\n", &["permitremoteopen", "fingerprinthash", "logverbose"]),
    case("a", "MACs hmac-sha2-256,hmac-sha2-512\nPubkeyAcceptedKeyTypes ssh-rsa*\n", &["macs", "pubkeyacceptedalgorithms"]),
    case("a", "Match exec \"exit 0\" host a\n User m\nMatch !exec \"exit 0\"\n Port 9\n", &["user", "port"]),
];

#[test]
fn cases_of_their_own_mean_what_they_mean_to_openssh() {
    if installed().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inc");
    write(&inner.join("final"), "Match final\n User never\n");
    write(&inner.join("host"), "Host zz\n Port 7\n");
    write(
        &inner.join("self"),
        format!("User u\nInclude {}/self\n", inner.display()),
    );
    let config = &dir.path().join("config");
    let mut failures = Vec::new();
    for it in CASES {
        write(config, it.config.replace("@/", &format!("{}/", inner.display())));
        let asked = Asked {
            config,
            host: it.host,
            user: None,
            port: None,
        };
        if let Err(difference) = asked.compare(it.keys) {
            failures.push(format!("{}{difference}\n", it.config));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

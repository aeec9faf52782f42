//! The interpreter against a machine that is made of maps.

mod completeness;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    settings::{IdentityAgent, JumpHost, StrictHostKeyChecking, Via},
    *,
};

/// A machine of one user, `me`, whose home is `/home/me`.
#[derive(Default)]
struct Machine {
    files: BTreeMap<PathBuf, ConfigFile>,
    env: BTreeMap<String, String>,
    names: BTreeSet<String>,
    /// What was run, in order.
    ran: Vec<String>,
    read: usize,
}

impl Machine {
    fn with(files: &[(&str, &str)]) -> Machine {
        let mut machine = Machine::default();
        files
            .iter()
            .for_each(|it| machine.put(it.0, it.1.as_bytes(), 0o600));
        machine
    }

    fn put(&mut self, path: &str, bytes: &[u8], mode: u32) {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/home/me/.ssh/{path}")
        };
        self.files.insert(
            path.into(),
            ConfigFile {
                bytes: bytes.to_owned(),
                owner: 1000,
                mode,
                private_group: false,
            },
        );
    }

    fn ask(&mut self, host: &str) -> Resolved {
        self.try_ask(host).unwrap()
    }

    fn try_ask(&mut self, host: &str) -> Result<Resolved, ConfigError> {
        let sources = Sources::default_for(self);
        resolve(&Query::parse(host).unwrap(), &sources, self)
    }
}

impl World for Machine {
    fn read(&mut self, path: &Path) -> io::Result<ConfigFile> {
        self.read += 1;
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&mut self, pattern: &str) -> Vec<PathBuf> {
        let hits = |it: &&PathBuf| super::pattern::matches(pattern, it.to_str().unwrap());
        self.files.keys().filter(hits).cloned().collect()
    }

    /// `yes` succeeds, `hang` does not end, everything else fails.
    fn run(&mut self, command: &str) -> io::Result<bool> {
        self.ran.push(command.to_owned());
        match command {
            "hang" => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(command.starts_with("yes")),
        }
    }

    fn resolves(&mut self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn env_names(&self) -> Vec<String> {
        self.env.keys().cloned().collect()
    }

    fn home(&self) -> PathBuf {
        "/home/me".into()
    }

    fn home_of(&self, user: &str) -> Option<PathBuf> {
        (user == "other").then(|| "/home/other".into())
    }

    fn local_user(&self) -> String {
        "me".to_owned()
    }

    fn uid(&self) -> u32 {
        1000
    }

    fn host_name(&self) -> String {
        "desk".to_owned()
    }

    fn service_port(&self, name: &str) -> Option<u16> {
        (name == "ssh").then_some(22)
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        vec!["192.168.7.9".parse().unwrap()]
    }
}

fn errors(resolved: &Resolved) -> Vec<String> {
    let errors = resolved
        .problems
        .iter()
        .filter(|it| it.severity == Severity::Error);
    errors.map(|it| format!("{it} [{}]", it.in_effect)).collect()
}

#[test]
fn without_any_file_the_defaults_of_openssh_hold() {
    let settings = Machine::default().ask("devbox").settings;
    assert_eq!(
        (settings.host_name.as_str(), settings.user.as_str(), settings.port),
        ("devbox", "me", 22)
    );
    assert_eq!(settings.route, Via::Direct);
    assert_eq!(settings.identity_files[0], Path::new("/home/me/.ssh/id_rsa"));
    assert_eq!(settings.identity_files[3], Path::new("/home/me/.ssh/id_ed25519"));
    assert!(!settings.identity_files_configured);
    assert_eq!(settings.identity_agent, IdentityAgent::Off);
    assert_eq!(
        settings.user_known_hosts_files[0],
        Path::new("/home/me/.ssh/known_hosts")
    );
    assert_eq!(
        settings.global_known_hosts_files[0],
        Path::new("/etc/ssh/ssh_known_hosts")
    );
    assert_eq!(settings.strict_host_key_checking, StrictHostKeyChecking::Ask);
    assert_eq!(
        (settings.connect_timeout, settings.server_alive_interval),
        (None, None)
    );
    assert_eq!(settings.number_of_password_prompts, 3);
    assert_eq!(settings.preferred_authentications[2], "publickey");
    assert!(settings.tcp_keep_alive && settings.pubkey_authentication && !settings.compression);
}

#[test]
fn values_become_types_and_know_their_lines() {
    let config = "Host gpu\n HostName %h.lab\n User alice\n Port 2222\n ProxyJump bob@b1:2200,b2\n \
        IdentityFile ~/.ssh/%r@%h\n CertificateFile ~other/c\n ConnectTimeout 1m30s\n ServerAliveInterval 0\n \
        StrictHostKeyChecking accept-new\n UserKnownHostsFile none\n Ciphers +aes128-cbc\n SetEnv A=%n B=2\n \
        IdentityAgent $SOCK\n HostKeyAlias GPU\n";
    let mut machine = Machine::with(&[
        ("config", config),
        ("/etc/ssh/ssh_config", "Host *\n HashKnownHosts yes\n"),
    ]);
    machine.env.insert("SOCK".to_owned(), "/run/agent".to_owned());
    let resolved = machine.ask("gpu");
    assert_eq!(errors(&resolved), [""; 0]);
    let settings = &resolved.settings;
    assert_eq!((settings.host_name.as_str(), settings.port), ("gpu.lab", 2222));
    let hop = |host: &str, user: Option<&str>, port| JumpHost {
        host: host.to_owned(),
        user: user.map(str::to_owned),
        port,
    };
    assert_eq!(
        settings.route,
        Via::Jump(vec![hop("b1", Some("bob"), Some(2200)), hop("b2", None, None)])
    );
    assert_eq!(
        settings.identity_files,
        [Path::new("/home/me/.ssh/alice@gpu.lab")]
    );
    assert_eq!(settings.certificate_files, [Path::new("/home/other/c")]);
    assert_eq!(settings.connect_timeout, Some(Duration::from_secs(90)));
    assert_eq!(settings.server_alive_interval, Some(Duration::ZERO));
    assert_eq!(
        settings.strict_host_key_checking,
        StrictHostKeyChecking::AcceptNew
    );
    assert!(settings.user_known_hosts_files.is_empty());
    assert_eq!(settings.ciphers.as_deref(), Some("+aes128-cbc"));
    assert_eq!(
        settings.set_env,
        [
            ("A".to_owned(), "gpu".to_owned()),
            ("B".to_owned(), "2".to_owned())
        ]
    );
    assert_eq!(
        settings.identity_agent,
        IdentityAgent::Socket("/run/agent".into())
    );
    assert_eq!(settings.host_key_alias.as_deref(), Some("gpu"));
    assert!(settings.hash_known_hosts);
    assert_eq!(resolved.origins["port"].to_string(), "/home/me/.ssh/config:4");
    assert_eq!(
        resolved.origins["hashknownhosts"].to_string(),
        "/etc/ssh/ssh_config:2"
    );
}

#[test]
fn what_the_query_says_wins() {
    let mut machine = Machine::with(&[("config", "User u\nPort 2222\nMatch user bob\nHostName h\n")]);
    let resolved = machine.ask("bob@devbox:2299");
    let settings = resolved.settings;
    assert_eq!(
        (settings.user.as_str(), settings.port, settings.host_name.as_str()),
        ("bob", 2299, "h")
    );
    assert!(!resolved.origins.contains_key("user"));
}

#[test]
fn a_proxy_command_is_expanded_and_loses_to_an_earlier_jump() {
    let mut machine = Machine::with(&[(
        "config",
        "Host a\n ProxyCommand nc %h %p %r\nHost *\n ProxyJump j\n ProxyCommand late\n",
    )]);
    assert_eq!(
        machine.ask("a").settings.route,
        Via::Command("nc a 22 me".to_owned())
    );
    assert!(matches!(machine.ask("b").settings.route, Via::Jump(_)));
    let resolved = machine.try_ask("j");
    assert!(resolved.unwrap_err().to_string().contains("through itself"));
}

#[test]
fn a_proxy_command_with_a_wrong_token_is_shown_and_refuses_the_connection() {
    let mut machine = Machine::with(&[("config", "Host a\n ProxyCommand nc %h %d\n")]);
    let resolved = machine.ask("a");
    assert!(resolved.dump().contains("\nproxycommand nc %h %d\n"));
    let refusal = resolved.refusal.unwrap().to_string();
    assert!(refusal.contains("%d is not a token here"), "{refusal}");
    assert!(machine.ask("b").refusal.is_none());
}

#[test]
fn programs_run_only_where_their_answer_can_count() {
    let config =
        "Host a\n Include inc\nMatch host b exec yes-%n\n User m\nMatch exec no exec yes-2\n Port 9\n";
    let mut machine = Machine::with(&[("config", config), ("inc", "Match exec yes-inc\n User i\n")]);
    assert_eq!(machine.ask("a").settings.user, "i");
    assert_eq!(std::mem::take(&mut machine.ran), ["yes-inc", "no"]);
    assert_eq!(machine.ask("b").settings.user, "m");
    assert_eq!(std::mem::take(&mut machine.ran), ["yes-b", "no"]);
    let sources = Sources::default_for(&machine);
    aliases(&sources, &mut machine).unwrap();
    assert_eq!(machine.ran, [""; 0]);
}

#[test]
fn a_program_that_does_not_end_is_a_warning_and_no_match() {
    let mut machine = Machine::with(&[("config", "Match exec hang\n User x\n")]);
    let resolved = machine.ask("a");
    assert_eq!(resolved.settings.user, "me");
    assert!(
        resolved.problems[0]
            .to_string()
            .contains("config:1: match exec \"hang\"")
    );
}

#[test]
fn a_final_in_an_unreachable_file_still_asks_for_the_second_pass() {
    let config = "Host b\n Include inc\nMatch canonical\n User second\nHost *\n User first-never\n";
    let mut machine = Machine::with(&[("config", config), ("inc", "Match final\n Port 9\n")]);
    let settings = machine.ask("a").settings;
    assert_eq!((settings.user.as_str(), settings.port), ("first-never", 22));
    let mut machine = Machine::with(&[
        ("config", "Host b\n Include inc\nMatch canonical\n User second\n"),
        ("inc", "Match final\n"),
    ]);
    assert_eq!(machine.ask("a").settings.user, "second");
}

#[test]
fn a_broken_block_hides_no_other_host() {
    let config = "Host bad\n Port 99999\n Compression maybe\nHost 'bad\n User stray\nMatch colour red\n User stray\n\
        Host good\n Nonsense x\n User u\n User é\nHost\n Port 1\n";
    let mut machine = Machine::with(&[("config", config)]);
    let resolved = machine.ask("good");
    assert_eq!(
        (resolved.settings.user.as_str(), resolved.settings.port),
        ("u", 22)
    );
    let found = errors(&resolved);
    let starts = |it: &&str| {
        found
            .iter()
            .any(|line| line.starts_with(&format!("/home/me/.ssh/config:{it}:")))
    };
    assert!(["2", "3", "4", "6", "9", "12"].iter().all(starts), "{found:#?}");
    let in_effect: Vec<_> = resolved
        .problems
        .iter()
        .filter(|it| it.in_effect && it.severity == Severity::Error)
        .collect();
    assert!(
        in_effect.iter().any(|it| it.line == 9) && in_effect.iter().all(|it| it.line > 3),
        "{in_effect:#?}"
    );
    let refused = machine.try_ask("bad").unwrap_err().to_string();
    assert!(
        refused.starts_with("/home/me/.ssh/config:2: port: \"99999\" is not a port"),
        "{refused}"
    );
}

#[test]
fn an_unknown_keyword_is_an_error_unless_it_is_ignored() {
    let config =
        "IgnoreUnknown UseKey*,foo\nUseKeychainX yes\nFOO x\nBar y\nProtocol 2\nVerifyHostKeyDNS yes\n";
    let resolved = Machine::with(&[("config", config)]).ask("a");
    assert_eq!(
        errors(&resolved),
        ["/home/me/.ssh/config:4: unknown keyword \"bar\" [true]"]
    );
    let severity = |line| {
        resolved
            .problems
            .iter()
            .find(|it| it.line == line)
            .map(|it| it.severity)
    };
    assert_eq!(severity(5), Some(Severity::Note));
    assert_eq!(severity(6), Some(Severity::Warning));
    let warning = resolved
        .problems
        .iter()
        .find(|it| it.line == 6)
        .unwrap()
        .to_string();
    assert!(
        warning.starts_with("/home/me/.ssh/config:6: verifyhostkeydns is not supported"),
        "{warning}"
    );
}

#[test]
fn files_that_others_can_write_are_refused_and_missing_ones_are_not() {
    let mut machine = Machine::default();
    machine.put("config", b"User x", 0o620);
    let error = machine.try_ask("a").unwrap_err();
    assert!(matches!(&error, ConfigError::Permissions { file } if file.ends_with(".ssh/config")));
    assert!(error.hint().contains("chmod go-w"));
    machine.put("config", b"Include inc", 0o600);
    machine.put("inc", b"User x", 0o602);
    assert!(matches!(
        machine.try_ask("a"),
        Err(ConfigError::Permissions { .. })
    ));
    // In the owner's private group nobody else can write, and everybody can where others may.
    for (mode, is_read) in [(0o660, true), (0o662, false)] {
        machine.put("config", b"User x", mode);
        let path = PathBuf::from("/home/me/.ssh/config");
        machine.files.get_mut(&path).unwrap().private_group = true;
        assert_eq!(machine.try_ask("a").is_ok(), is_read, "{mode:o}");
    }
    // The file of -F is not checked, but it must be there.
    machine.put("other", b"User x", 0o666);
    let query = Query::host("a");
    let resolved = resolve(&query, &Sources::file("/home/me/.ssh/other"), &mut machine).unwrap();
    assert_eq!(resolved.settings.user, "x");
    let missing = resolve(&query, &Sources::file("/nowhere"), &mut machine).unwrap_err();
    assert!(
        missing.to_string().starts_with("cannot read /nowhere"),
        "{missing}"
    );
    assert_eq!(
        resolve(&query, &Sources::none(), &mut machine)
            .unwrap()
            .settings
            .user,
        "me"
    );
}

#[test]
fn cycles_end_at_the_depth_and_at_the_number_of_files() {
    let mut machine = Machine::with(&[("config", "User u\nInclude config\nInclude config\nPort 7\n")]);
    let resolved = machine.ask("a");
    assert_eq!(
        (resolved.settings.user.as_str(), resolved.settings.port),
        ("u", 7)
    );
    assert!(errors(&resolved).iter().any(|it| it.contains("deeper than 16")));
    assert!(
        errors(&resolved)
            .iter()
            .any(|it| it.contains("more than 4096 files"))
    );
    assert!(machine.read <= 2, "each file is read once");
}

#[test]
fn names_are_canonicalized_only_when_asked() {
    let config = "CanonicalDomains lab.example other\nHost a\n CanonicalizeHostname yes\nHost a.lab.example\n User canon\n";
    let mut machine = Machine::with(&[("config", config)]);
    machine.names.insert("a.lab.example.".to_owned());
    let settings = machine.ask("a").settings;
    assert_eq!(
        (settings.host_name.as_str(), settings.user.as_str()),
        ("a.lab.example", "canon")
    );
    assert_eq!(machine.ask("b").settings.host_name, "b");
}

#[test]
fn criteria_of_newer_releases_are_known() {
    let config = "Tag work\nMatch tagged work localnetwork 192.168.0.0/16 version OpenSSH_1* sessiontype shell\n User m\n\
        Match command \"\"\n Port 9\nMatch tagged=\"\"\n Port 10\n";
    let resolved = Machine::with(&[("config", config)]).ask("a");
    assert_eq!(errors(&resolved), [""; 0]);
    assert_eq!(
        (resolved.settings.user.as_str(), resolved.settings.port),
        ("m", 9)
    );
}

#[test]
fn a_refused_connection_says_why_only_for_its_host() {
    let mut machine = Machine::with(&[("config", "Host old\n RefuseConnection \"moved to new\"\n")]);
    assert!(
        machine
            .try_ask("old")
            .unwrap_err()
            .to_string()
            .ends_with("config:2: refuseconnection: moved to new")
    );
    assert_eq!(machine.ask("new").settings.host_name, "new");
}

#[test]
fn aliases_are_the_literal_names_in_order_with_their_lines() {
    let config = "Host a *.lab b !c\nInclude inc*\nMatch host m\nHost b \"d\" e,f\nHost 'open\nHost g # h\n";
    let mut machine = Machine::with(&[
        ("config", config),
        ("inc1", "Host i\n"),
        ("/etc/ssh/ssh_config", "Host s\n"),
    ]);
    let sources = Sources::default_for(&machine);
    let (found, problems) = aliases(&sources, &mut machine).unwrap();
    let names: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.line)).collect();
    assert_eq!(
        names,
        [("a", 1), ("b", 1), ("i", 1), ("d", 4), ("g", 6), ("s", 1)]
    );
    assert!(found[2].file.ends_with("inc1"));
    assert_eq!(problems.iter().map(|it| it.line).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn ten_thousand_hosts_are_listed_while_one_looks() {
    let host = |it| format!("Host h{it}\n HostName 10.0.0.{it}\n User u\n Port 2222\n\n");
    let config: String = (0..10_000).map(host).collect();
    let mut machine = Machine::with(&[("config", &config)]);
    let sources = Sources::default_for(&machine);
    let begun = Instant::now();
    let (found, _) = aliases(&sources, &mut machine).unwrap();
    assert_eq!(found.len(), 10_000);
    // Ten times what an optimized build needs; a quadratic walk would take minutes.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Lines that reach deep into the interpreter, with arbitrary words in them.
fn line() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let keyword = prop::sample::select(
        super::keywords::KEYWORDS
            .iter()
            .map(|it| it.name)
            .collect::<Vec<_>>(),
    );
    let plain = prop::sample::select(vec![
        "a",
        "*",
        "yes",
        "none",
        "1h",
        "22",
        "+aes128-ctr,aes128-ctr",
        "^a,,b",
        "%h%",
        "${X",
        "a:1",
        "host=a",
        "all",
        "final",
    ]);
    let word = prop_oneof![plain.prop_map(str::to_owned), "\\PC{0,8}"];
    (keyword, prop::collection::vec(word, 0..4)).prop_map(|it| format!("{} {}", it.0, it.1.join(" ")))
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_the_interpreter(bytes: Vec<u8>) {
        let mut machine = Machine::default();
        machine.put("config", &bytes, 0o600);
        drop(machine.try_ask("a").map(|it| it.dump()));
    }

    #[test]
    fn no_lines_break_the_interpreter(lines in proptest::collection::vec(line(), 0..12)) {
        let mut machine = Machine::with(&[("config", &lines.join("\n"))]);
        drop(machine.try_ask("a").map(|it| it.dump()));
        let sources = Sources::default_for(&machine);
        drop(aliases(&sources, &mut machine));
    }
}

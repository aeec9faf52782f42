//! One question to both: the OpenSSH client and our resolver, and what differs between the answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Output},
    sync::LazyLock,
};

use codex_ssh::config::{ConfigError, Query, Resolved, Severity, Sources, SystemWorld, resolve};

/// Lists whose defaults grow from release to release. What a configuration adds or takes away is
/// compared; names that only one of the two knows by default are not.
const ALGORITHMS: &[&str] = &[
    "casignaturealgorithms",
    "ciphers",
    "hostbasedacceptedalgorithms",
    "hostkeyalgorithms",
    "kexalgorithms",
    "macs",
    "pubkeyacceptedalgorithms",
];

/// Algorithms that came or went between the releases, as far as patterns find them.
const NOT_EVERYWHERE: &[&str] = &["ssh-dss", "ssh-mldsa44", "webauthn-sk", "mlkem768"];

/// The client that is asked: `ORACLE_SSH`, else the installed one.
fn client() -> Command {
    Command::new(std::env::var_os("ORACLE_SSH").unwrap_or_else(|| "ssh".into()))
}

/// The release of the client that is asked, as (major, minor); `None` without one.
pub(crate) fn release() -> Option<(u32, u32)> {
    static RELEASE: LazyLock<Option<(u32, u32)>> = LazyLock::new(|| {
        let out = client().arg("-V").output().ok()?;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        let number = text.strip_prefix("OpenSSH_")?.split(['p', ' ', ',']).next()?;
        let (major, minor) = number.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    if RELEASE.is_none() {
        let required = std::env::var("CODEX_TESTS_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|it| it.trim() == "ssh"),
            "ssh is required and not installed"
        );
        println!("SKIPPED: there is no OpenSSH client to compare with");
    }
    *RELEASE
}

/// Keyword to the values of its lines.
type Answer = BTreeMap<String, Vec<String>>;

/// What one question is asked with.
pub(crate) struct Asked<'a> {
    pub(crate) config: &'a Path,
    /// As on a command line: a name, `user@name` or `ssh://user@name:port`.
    pub(crate) destination: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) port: Option<u16>,
}

/// What both said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    BothRefuse,
}

impl Asked<'_> {
    fn theirs(&self) -> Output {
        let mut ssh = client();
        ssh.arg("-G").arg("-F").arg(self.config);
        ssh.args(self.user.iter().flat_map(|it| ["-l", it]));
        if let Some(port) = self.port {
            ssh.args(["-p", &port.to_string()]);
        }
        ssh.env("SHELL", "/bin/sh")
            .env("ORACLE", "value")
            .env_remove("SSH_AUTH_SOCK");
        ssh.arg(self.destination).output().unwrap()
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
        let mut query = Query::parse(self.destination).unwrap();
        if let Some(user) = self.user {
            query.user = Some(user.to_owned());
        }
        query.port = self.port.or(query.port);
        resolve(&query, &Sources::file(self.config), &mut world)
    }

    /// Says what differs. Where OpenSSH refuses a configuration, we must at least report an error in it;
    /// where it accepts one, we must report none.
    pub(crate) fn compare(&self) -> Result<Verdict, String> {
        let theirs = self.theirs();
        let ours = self.ours();
        if !theirs.status.success() {
            let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
            return match ours {
                Err(_) => Ok(Verdict::BothRefuse),
                Ok(it) if it.problems.iter().any(|it| it.severity == Severity::Error) => {
                    Ok(Verdict::BothRefuse)
                }
                Ok(_) => Err(format!("OpenSSH refuses and we see no error: {said}")),
            };
        }
        let ours = ours.map_err(|it| format!("we refuse what OpenSSH takes: {it}"))?;
        if let Some(problem) = ours.problems.iter().find(|it| it.severity == Severity::Error) {
            return Err(format!("we see an error where OpenSSH sees none: {problem}"));
        }
        differences(answer(&theirs.stdout), answer(ours.dump().as_bytes()))
    }
}

fn answer(dump: &[u8]) -> Answer {
    let mut answer = Answer::new();
    for line in String::from_utf8_lossy(dump).lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        // One release prints `true` for a flag that others print as `yes`.
        let value = match (keyword, value) {
            ("tcpkeepalive", "true") => "yes",
            ("tcpkeepalive", "false") => "no",
            // Debian's name of a level.
            ("loglevel", "SILENT") => "QUIET",
            _ => value,
        };
        let values = answer.entry(keyword.to_ascii_lowercase()).or_default();
        values.push(value.to_owned());
    }
    answer
}

/// What each says about a host of which the configuration says nothing.
fn defaults() -> &'static (Answer, Answer) {
    static DEFAULTS: LazyLock<(Answer, Answer)> = LazyLock::new(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let asked = Asked {
            config: file.path(),
            destination: "a",
            user: None,
            port: None,
        };
        let ours = asked.ours().unwrap().dump();
        (answer(&asked.theirs().stdout), answer(ours.as_bytes()))
    });
    &DEFAULTS
}

/// A value is the same when both print it or when both print their own default.
fn differences(mut theirs: Answer, ours: Answer) -> Result<Verdict, String> {
    let (their_defaults, our_defaults) = defaults();
    // Debian's default interval in batch mode is its own.
    if theirs.get("batchmode").is_some_and(|it| it == &["yes"])
        && theirs.get("serveraliveinterval").is_some_and(|it| it == &["300"])
        && ours.get("serveraliveinterval").is_some_and(|it| it == &["0"])
    {
        theirs.insert("serveraliveinterval".to_owned(), vec!["0".to_owned()]);
    }
    hide_phantoms(&mut theirs);
    let mut keywords: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    // Only some builds have it, and an old release has words of its own for it.
    keywords.retain(|it| !it.starts_with("gssapi"));
    let mut found = Vec::new();
    for keyword in keywords {
        let (their, our) = (theirs.get(keyword), ours.get(keyword));
        let usual = their == their_defaults.get(keyword) && our == our_defaults.get(keyword);
        if their == our || usual {
            continue;
        }
        if ALGORITHMS.contains(&keyword.as_str()) {
            let common = |list: Option<&Vec<String>>| comparable(keyword, list);
            if common(their) == common(our) {
                continue;
            }
        }
        found.push(format!("{keyword}: OpenSSH {their:?}, we {our:?}"));
    }
    match found.is_empty() {
        true => Ok(Verdict::Same),
        false => Err(found.join("\n")),
    }
}

/// OpenSSH prints a local forwarding to a socket a second time, as the dynamic one that it is not.
fn hide_phantoms(answer: &mut Answer) {
    let local = answer.get("localforward").cloned().unwrap_or_default();
    let Some(dynamic) = answer.get_mut("dynamicforward") else {
        return;
    };
    dynamic.retain(|listen| {
        let target = |it: &String| it.strip_prefix(&format!("{listen} ")).map(str::to_owned);
        !local.iter().filter_map(target).any(|it| !it.starts_with('['))
    });
    if dynamic.is_empty() {
        answer.remove("dynamicforward");
    }
}

/// The names of a list without those that only one release has by default; sorted, because the order of
/// the defaults changed.
fn comparable(keyword: &str, list: Option<&Vec<String>>) -> Vec<String> {
    let names = |answer: &Answer| -> BTreeSet<String> {
        let list = answer.get(keyword).map(|it| it.concat()).unwrap_or_default();
        list.split(',').map(str::to_owned).collect()
    };
    let (their_defaults, our_defaults) = defaults();
    let (theirs, ours) = (names(their_defaults), names(our_defaults));
    let list = list.map(|it| it.concat()).unwrap_or_default();
    let mut names: Vec<String> = list
        .split(',')
        .filter(|it| theirs.contains(*it) == ours.contains(*it))
        .filter(|it| !NOT_EVERYWHERE.iter().any(|name| it.starts_with(name)))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names
}

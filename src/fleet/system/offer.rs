//! The system's `ssh` as the way out: what is missing, whether it would help, and whether the user wants it.

use std::{env, path::Path, process::Stdio};

use codex_hosts::{Failure, FailureKind, HostId, Phase, Question};
use codex_ssh::{Answer, Route, config::Query};
use tokio::{process::Command, sync::oneshot, time::timeout};

use super::{Asking, System, held, login::hop};
use crate::{
    attempt::{FromAttempt, Reporter},
    limits,
    run::FleetConfig,
    transport::{Need, Transport, What},
};

/// Explains what is missing and asks whether the system's `ssh` shall go on in this run; `Ok` when it shall.
/// `failure` is what our own SSH came to, if it was tried.
pub(crate) async fn offer(
    id: &HostId,
    config: &FleetConfig,
    transport: Transport,
    (need, route): (&Need, &Route),
    failure: Option<Failure>,
    reporter: &Reporter,
) -> Result<(), Failure> {
    let system = &config.system;
    let missing = need.text(route);
    let was_tried = failure.is_some();
    let failure = failure.unwrap_or_else(|| Failure {
        kind: FailureKind::Unauthorized,
        phase: Some(Phase::Resolving),
        message: match need.what {
            What::Pkcs11(_) => format!("{missing}, and neither a file nor an agent has another key"),
            _ => format!("{missing}, and the configuration allows no other login"),
        },
        hint: None,
        stderr: None,
    });
    let all = need.explained(route);
    let explained = |rest: &str| Failure {
        hint: Some(format!("{all}: {rest}")),
        ..failure.clone()
    };
    if !is_in_path("ssh") {
        return Err(explained(
            "the system's `ssh` may, and there is none in PATH; install OpenSSH's client",
        ));
    }
    if !would_help(id, system, need, route).await {
        return Err(failure);
    }
    let setting = format!(
        "`transport = \"system\"` below `[hosts.{}]` in hosts.toml",
        toml_key(&id.0)
    );
    if transport == Transport::Builtin {
        return Err(explained(&format!(
            "`transport = \"builtin\"` keeps the system's `ssh` from being used; {setting} uses it"
        )));
    }
    let refusal = explained(&format!(
        "{setting} uses the system's `ssh`{}",
        second_way(need, &failure)
    ));
    if system.asking != Asking::User || need.after_refusal {
        return Err(refusal);
    }
    let Some(settings) = route.hops.get(need.hop) else {
        return Err(refusal);
    };
    let cause = if was_tried {
        cause(need, &failure)
    } else {
        String::new()
    };
    let text = format!(
        "{cause}{all}.\nGo on with the system's ssh, until this program \
         ends? ({setting} makes it the rule.)"
    );
    let question = Question::Confirm {
        hop: hop(route, need.hop, settings),
        text,
    };
    let (answering, answer) = oneshot::channel();
    reporter.send(FromAttempt::Question(question, answering)).await;
    match answer.await {
        Ok(Answer::Accept) => {
            held(&system.agreed).insert(id.clone());
            Ok(())
        }
        _ => Err(refusal),
    }
}

/// What our own SSH came to, where what is missing does not say it all.
fn cause(need: &Need, failure: &Failure) -> String {
    match need.what {
        What::Algorithms { .. } | What::Configured { .. } | What::Words(_) => String::new(),
        _ => format!("{}.\n", failure.message),
    }
}

/// What helps as well, if anything does.
fn second_way(need: &Need, failure: &Failure) -> String {
    match (&need.what, &failure.hint) {
        (What::Words(_), Some(hint)) => format!("; or {hint}"),
        (What::HostKeys(_), _) => "; `transport = \"builtin\"` goes by its other key".to_owned(),
        _ => String::new(),
    }
}

/// Whether the system's `ssh` may have it: of algorithms it says so itself.
async fn would_help(id: &HostId, system: &System, need: &Need, route: &Route) -> bool {
    // A jump host has a client of its own.
    let client = match route.hops.get(need.hop) {
        Some(hop) if need.hop + 1 < route.hops.len() => &hop.alias,
        _ => &id.0,
    };
    match &need.what {
        What::Algorithms { keyword, theirs } => {
            let is_theirs = |ours: &str| theirs.iter().any(|it| it == ours);
            system.has_one(client, keyword, is_theirs).await
        }
        // A list with nothing that it has ends the client with an error.
        What::Configured { keyword, .. } => system.has_one(client, keyword, |_| true).await,
        What::HostKeys(algorithms) => {
            let is_known = |ours: &str| algorithms.contains(&ours);
            system.has_one(client, "hostkeyalgorithms", is_known).await
        }
        What::Pkcs11(_) | What::Logins(_) | What::SecurityKey(_) | What::Words(_) => true,
    }
}

impl System {
    /// Whether one of the algorithms that the client would take for this host fits, as `ssh -G` says.
    async fn has_one(&self, name: &str, keyword: &str, fits: impl Fn(&str) -> bool) -> bool {
        let Ok(query) = Query::parse(name) else {
            return false;
        };
        let mut words = self.destination(&query);
        words.extend(["-G".to_owned(), "--".to_owned(), query.host.clone()]);
        let Some(said) = run(&words, |it| it.stdout).await else {
            return false;
        };
        has_one(&said, keyword, fits)
    }
}

/// Whether a line of `ssh -G` has an algorithm that fits.
fn has_one(said: &str, keyword: &str, fits: impl Fn(&str) -> bool) -> bool {
    let line = said
        .lines()
        .find_map(|it| it.strip_prefix(keyword)?.strip_prefix(' '));
    line.is_some_and(|it| {
        let mut names = it.split(',').map(str::trim).filter(|it| !it.is_empty());
        names.any(fits)
    })
}

/// What `ssh -V` says of itself, e.g. `OpenSSH_9.2p1 …`; `None` when there is no `ssh`.
pub(crate) async fn version() -> Option<String> {
    let said = run(&["-V".to_owned()], |it| it.stderr).await?;
    said.lines().next().map(str::to_owned)
}

async fn run(words: &[String], take: fn(std::process::Output) -> Vec<u8>) -> Option<String> {
    let output = Command::new("ssh")
        .args(words)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(limits::SYSTEM_QUERY_PATIENCE, output).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&take(output)).into_owned())
}

fn is_in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_program = |it: &Path| {
        use std::os::unix::fs::PermissionsExt;
        it.metadata()
            .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&path).any(|it| is_program(&it.join(program)))
}

/// A name as a key of TOML: bare, or quoted.
fn toml_key(name: &str) -> String {
    let is_bare = |it: char| it.is_ascii_alphanumeric() || "-_".contains(it);
    match name.chars().all(is_bare) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_counts_only_in_its_own_line() {
        let said = "ciphers x\nkexalgorithms a,sntrup761x25519-sha512@openssh.com\nkexalgorithmsx b\n";
        let has = |keyword: &str, wanted: &str| has_one(said, keyword, |it| it == wanted);
        assert!(has("kexalgorithms", "sntrup761x25519-sha512@openssh.com"));
        assert!(!has("kexalgorithms", "b"));
        assert!(!has("ciphers", "a"));
        assert!(has_one(said, "ciphers", |_| true));
        assert!(!has_one(said, "macs", |_| true));
        assert!(!has_one("macs \n", "macs", |_| true));
    }

    #[test]
    fn names_are_keys_of_toml() {
        assert_eq!(toml_key("dev-box_1"), "dev-box_1");
        assert_eq!(toml_key("me@h:22"), "\"me@h:22\"");
        assert_eq!(toml_key("a\"b"), "\"a\\\"b\"");
    }
}

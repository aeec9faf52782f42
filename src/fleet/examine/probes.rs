//! Questions to a host that a connection by itself does not need answered. Each is one short command.

use std::time::{Duration, Instant, SystemTime};

use bytes::Buf;
use codex_ssh::Session;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    Outcome, Teller,
    commands::{Begun, Commands, Ran, ended},
};
use crate::server::chain;

/// For the programs that a probe needs: start-up files may leave a PATH on which nothing is, as the launch knows too.
const TOOLS: &str = "PATH=$PATH:/usr/local/bin:/usr/bin:/bin;";

/// Bytes that are moved to see how fast it goes.
const BULK_BYTES: u64 = 1 << 20;
/// A line of 64 kbit/s moves them in two minutes, and nobody waits for that.
const BULK_PATIENCE: Duration = Duration::from_secs(20);
/// Round trips that are measured.
const PINGS: usize = 5;
const PING_PATIENCE: Duration = Duration::from_secs(5);
/// Clocks further apart confuse tokens, certificates and the order of threads.
const SKEW_MAX_S: u64 = 60;

/// What a server calls itself.
pub(super) struct Version(String);

impl Version {
    /// The official one calls itself `codex-cli`.
    pub(super) fn is_ours(&self) -> bool {
        self.0.starts_with("codex ")
    }
}

/// How long a short command takes, and what the clock says.
pub(super) async fn exec(commands: &mut Commands, teller: &Teller) {
    let (start, sent) = (Instant::now(), SystemTime::now());
    match commands.run(&format!("{TOOLS} date +%s")).await {
        Ok(Ran::Printed(text)) => {
            let received = SystemTime::now();
            let outcome = Outcome::Fine("commands can be run".to_owned());
            teller.step("exec", start, outcome).await;
            let outcome = clock(&text, seconds(sent), seconds(received));
            teller.step("clock", start, outcome).await;
        }
        Ok(Ran::Never(_)) => {
            let outcome = Outcome::Poor {
                text: "no command is run but the one that starts codex: another runs in the place of each, or none"
                    .to_owned(),
                fix:
                    "look for ForceCommand in the host's sshd_config, and `command=` in its authorized_keys: \
                      no more can be found out behind them"
                        .to_owned(),
            };
            teller.step("exec", start, outcome).await;
            teller
                .step("clock", start, not_run("the clock is not to be asked"))
                .await;
        }
        Err(error) => {
            let text = format!("starting a second command: {}", chain(&error));
            teller.step("exec", start, no_second(text)).await;
        }
    }
}

/// What no command can find out. `what` says so; why is told by the stage `exec`, which comes first.
pub(super) fn not_run(what: &str) -> Outcome {
    Outcome::Skipped(format!(
        "{what} behind a forced command: another one runs in the place of what would tell, or none"
    ))
}

/// Where the server could be started.
pub(super) fn no_second(text: String) -> Outcome {
    Outcome::Poor {
        text,
        fix: "raise MaxSessions in the host's sshd_config".to_owned(),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |it| it.as_secs())
}

/// Its clock was read at some moment between `sent` and `received`.
fn clock(printed: &str, sent: u64, received: u64) -> Outcome {
    let there = printed.lines().rev().find_map(|it| it.trim().parse::<u64>().ok());
    let Some(there) = there else {
        return Outcome::Poor {
            text: "`date +%s` does not tell the time there".to_owned(),
            fix: "run `date +%s` on the host, and look at what it prints".to_owned(),
        };
    };
    let (behind, ahead) = (sent.saturating_sub(there), there.saturating_sub(received));
    let text = match (behind, ahead) {
        (0, 0) => "the clocks agree".to_owned(),
        (0, ahead) => format!("its clock is {ahead} s ahead of this one"),
        (behind, _) => format!("its clock is {behind} s behind this one"),
    };
    match behind.max(ahead) {
        ..=SKEW_MAX_S => Outcome::Fine(text),
        _ => Outcome::Poor {
            text,
            fix: "set the clock of one of the two, e.g. with NTP".to_owned(),
        },
    }
}

/// Which program serves.
pub(super) async fn version(commands: &mut Commands, path: &str, teller: &Teller) -> Version {
    let start = Instant::now();
    let Some(word) = quoted(path) else {
        let outcome = Outcome::Fine(format!("{path}; its version is not to be asked"));
        teller.step("codex", start, outcome).await;
        return Version(String::new());
    };
    // What the server's start-up files have set is not known to this command: a server that is a script may
    // need another program from there.
    let printed = match commands.run(&format!("{word} --version")).await {
        Ok(Ran::Printed(text)) => text,
        Ok(Ran::Never(_)) => {
            let outcome = not_run(&format!("{path}; its version is not to be asked"));
            teller.step("codex", start, outcome).await;
            return Version(String::new());
        }
        Err(error) => {
            let text = format!("{path}; asking for its version: {}", chain(&error));
            teller.step("codex", start, no_second(text)).await;
            return Version(String::new());
        }
    };
    let line = printed
        .lines()
        .rev()
        .map(str::trim)
        .find(|it| it.starts_with("codex"));
    let version = Version(line.unwrap_or_default().to_owned());
    let text = match (version.0.as_str(), version.is_ours()) {
        ("", _) => format!("{path}; it tells its version only to a login shell"),
        (line, true) => format!("{path}, {line}, this program"),
        (line, false) => format!("{path}, {line}, the official one"),
    };
    teller.step("codex", start, Outcome::Fine(text)).await;
    version
}

/// What the host can enforce, as its own doctor says it.
pub(super) async fn sandbox(commands: &mut Commands, path: &str, teller: &Teller) {
    let start = Instant::now();
    let Some(word) = quoted(path) else { return };
    let ran = commands.run(&format!("{word} doctor --json")).await;
    if let Ok(Ran::Never(_)) = ran {
        let outcome = not_run("what the host can enforce is not to be asked");
        return teller.step("sandbox", start, outcome).await;
    }
    let printed = ran.map(Ran::text).unwrap_or_default();
    let found = printed
        .lines()
        .filter_map(|it| serde_json::from_str::<Value>(it).ok())
        .find(|it| it["stage"] == "sandbox");
    let told = |name: &str| found.as_ref().and_then(|it| it[name].as_str()).map(str::to_owned);
    let outcome = match (told("verdict").as_deref(), told("text")) {
        (Some("ok"), Some(text)) => Outcome::Fine(text),
        (Some(_), Some(text)) => Outcome::Poor {
            text,
            fix: told("fix").unwrap_or_else(|| "run `codex doctor` on the host".to_owned()),
        },
        _ => Outcome::Poor {
            text: "the host's codex does not say what it can enforce".to_owned(),
            fix: "update codex on the host".to_owned(),
        },
    };
    teller.step("sandbox", start, outcome).await;
}

pub(super) async fn round_trip(session: &Session, teller: &Teller) {
    let start = Instant::now();
    let mut times = Vec::new();
    for _ in 0..PINGS {
        if let Ok(time) = session.ping(PING_PATIENCE).await {
            times.push(time);
        }
    }
    times.sort_unstable();
    let outcome = match (times.first(), times.get(times.len() / 2)) {
        (Some(least), Some(median)) => {
            let [least, median] = [least, median].map(|it| it.as_secs_f64() * 1000.0);
            Outcome::Fine(format!("{median:.1} ms, at best {least:.1} ms"))
        }
        _ => Outcome::Poor {
            text: "the connection does not answer any more".to_owned(),
            fix: "look at the network between the two".to_owned(),
        },
    };
    teller.step("round-trip", start, outcome).await;
}

/// Moves a megabyte to here.
pub(super) async fn bandwidth(commands: &mut Commands, teller: &Teller) {
    let start = Instant::now();
    let outcome = match bulk(commands).await {
        Ok(Moved { bytes, took, .. }) if BULK_BYTES / 64 <= bytes => {
            let rate = rate_of(bytes as f64 / took.as_secs_f64().max(1e-6));
            Outcome::Fine(format!("{rate}, by {bytes} bytes of zeros"))
        }
        Ok(moved) => moved.too_few(),
        Err(outcome) => outcome,
    };
    teller.step("bandwidth", start, outcome).await;
}

/// Bytes in a second, in a unit in which it is not nothing.
fn rate_of(bytes: f64) -> String {
    match bytes {
        1e5.. => format!("{:.1} MB/s", bytes / 1e6),
        _ => format!("{:.1} kB/s", bytes / 1e3),
    }
}

/// What arrived of the megabyte.
struct Moved {
    bytes: u64,
    took: Duration,
    /// The host sent no more, as opposed to more slowly than anybody waits.
    ended: bool,
}

impl Moved {
    fn too_few(&self) -> Outcome {
        let bytes = self.bytes;
        match self.ended {
            true => Outcome::Poor {
                text: format!("the host sent {bytes} bytes of 1 MiB of zeros"),
                fix: "run `head -c 9 /dev/zero | wc -c` on the host, which prints 9".to_owned(),
            },
            false => Outcome::Poor {
                text: format!(
                    "{bytes} bytes of 1 MiB of zeros arrived within {} s",
                    BULK_PATIENCE.as_secs()
                ),
                fix: "look at the network between the two".to_owned(),
            },
        }
    }
}

/// The host waits for a line before it sends: the start of its shell is no matter of the network, and what has
/// arrived before anybody reads it would seem to have taken no time.
async fn bulk(commands: &mut Commands) -> Result<Moved, Outcome> {
    let script = format!("{TOOLS} head -n 1 > /dev/null; head -c {BULK_BYTES} /dev/zero");
    let begun = commands.begin_with_input(&script).await;
    let Begun { mut process, printed } =
        begun.map_err(|error| no_second(format!("starting to move 1 MiB of zeros: {}", chain(&error))))?;
    let Some(printed) = printed else {
        return Err(not_run("not measurable"));
    };
    let mut bytes = printed.remaining() as u64;
    let pinged = commands.session().ping(PING_PATIENCE).await;
    let there_and_back = pinged.map_err(|error| Outcome::Poor {
        text: format!("moving 1 MiB of zeros: {}", chain(&error)),
        fix: "look at the network between the two".to_owned(),
    })?;
    let began = Instant::now();
    // Where the input has ended nobody waits for it.
    _ = process.write_all(b"\n").await;
    _ = process.flush().await;
    let mut buffer = vec![0; 64 << 10];
    let read = async {
        while bytes < BULK_BYTES {
            match process.read(&mut buffer).await {
                Ok(count @ 1..) => bytes += count as u64,
                _ => break,
            }
        }
    };
    // A slow line has moved less, which is as good a measure.
    let ended_by_itself = timeout(BULK_PATIENCE, read).await.is_ok();
    let took = began.elapsed();
    ended(process.exit()).await;
    // A round trip that was longer by chance must not swallow the time of the bytes.
    let took = took.saturating_sub(there_and_back).max(took / 2);
    Ok(Moved {
        bytes,
        took,
        ended: ended_by_itself,
    })
}

/// A path as a word of a script; `None` where a login shell might not pass it on unchanged.
fn quoted(path: &str) -> Option<String> {
    let is_plain = |it: char| !it.is_control() && !"'!\\\"$`".contains(it);
    path.chars().all(is_plain).then(|| format!("\"{path}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_has_a_rate_too() {
        let said = [0.0, 29_500.0, 99_000.0, 100_000.0, 195e6].map(rate_of);
        assert_eq!(
            said,
            ["0.0 kB/s", "29.5 kB/s", "99.0 kB/s", "0.1 MB/s", "195.0 MB/s"]
        );
    }

    #[test]
    fn clocks_are_compared_whatever_was_printed_before_the_time() {
        assert_eq!(
            clock("motd 7\n1000\n", 999, 1001),
            Outcome::Fine("the clocks agree".to_owned())
        );
        assert_eq!(
            clock("970", 1000, 1001),
            Outcome::Fine("its clock is 30 s behind this one".to_owned())
        );
        assert!(
            matches!(clock("9000", 1000, 1001), Outcome::Poor { text, .. } if text.contains("7999 s ahead"))
        );
        assert!(matches!(clock("no time", 1, 2), Outcome::Poor { .. }));
    }

    #[test]
    fn only_a_path_that_every_shell_reads_alike_is_put_into_a_command() {
        assert_eq!(quoted("/home/a b/codex").as_deref(), Some("\"/home/a b/codex\""));
        for path in [
            "/it's/codex",
            "/a\n/codex",
            "/a!b",
            "/a\\b",
            "/a$b",
            "/a`b",
            "/a\"b",
        ] {
            assert_eq!(quoted(path), None, "{path}");
        }
    }
}

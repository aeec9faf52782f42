//! Why there is no connection.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    event::Hop,
    remedy::{let_in, sent_away},
};

/// The remedy that a failed connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The configuration asks for something that cannot be done.
    Config,
    Resolve,
    /// Nothing answers there, or it sends us away for now.
    Unreachable,
    TimedOut,
    /// What answers is not an SSH server that we can speak with.
    Protocol,
    HostKeyUnknown,
    HostKeyChanged,
    HostKeyRevoked,
    Unauthorized,
    /// The user ended it.
    Cancelled,
    /// The server does not allow it, e.g. forwarding to the next hop.
    Refused,
}

/// A connection that was not made: which hop, what was tried, why it failed.
#[derive(Clone, Debug)]
pub struct ConnectError {
    /// Counts from the first hop of the route, which is 0.
    pub index: usize,
    pub hop: Hop,
    kind: Arc<Failure>,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(out)
    }
}

impl std::error::Error for ConnectError {
    // The text is the failure's, so the chain goes on behind it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

impl ConnectError {
    pub(crate) fn new(index: usize, hop: Hop, kind: Failure) -> ConnectError {
        ConnectError {
            index,
            hop,
            kind: Arc::new(kind),
        }
    }

    pub fn class(&self) -> Class {
        self.kind.class()
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(self.kind.hint(&self.hop))
    }

    /// Every login that was tried, in order; empty when it did not come to that.
    pub fn tried(&self) -> &[Attempt] {
        match &*self.kind {
            Failure::Unauthorized { tried, .. } | Failure::Illegible { tried, .. } => tried,
            _ => &[],
        }
    }

    pub fn kind(&self) -> &Failure {
        &self.kind
    }

    /// Whether nobody answered: the network, or the machine, was not there or gave no answer in time. Else somebody
    /// has sent us away, and will not like to see us again in a hurry.
    pub fn is_silence(&self) -> bool {
        matches!(
            *self.kind,
            Failure::Resolve { .. } | Failure::Unreachable { .. } | Failure::TimedOut { .. }
        )
    }

    /// Whether the name of the hop means nothing to whoever was asked for its addresses: this machine, or the jump host
    /// before it.
    pub fn is_unknown_name(&self) -> bool {
        match &*self.kind {
            Failure::Resolve { .. } => true,
            Failure::Unreachable { source, .. } if 0 < self.index => {
                let said = source.to_string();
                UNKNOWN_NAMES.iter().any(|it| said.contains(it))
            }
            _ => false,
        }
    }

    /// Whether the connection was a `ProxyCommand`'s to make, and it gave none.
    pub fn is_program(&self) -> bool {
        matches!(*self.kind, Failure::Proxy { .. })
    }
}

/// What the sshd of a jump host says of a name that it does not know: the texts of gai_strerror(3) in glibc, musl and
/// the BSDs, for `EAI_NONAME`, `EAI_NODATA` and `EAI_AGAIN`.
const UNKNOWN_NAMES: [&str; 4] = [
    "not known",
    "No address associated",
    "name resolution",
    "does not resolve",
];

/// What OpenSSH's client says, as a `ProxyCommand`, when a host on the way has refused its login.
const REFUSED_LOGINS: [&str; 3] = [
    "Permission denied (",
    "Too many authentication failures",
    "No supported authentication methods",
];

/// Whether a program of the user, which says this, has been refused as OpenSSH's client is: each try of it is a login.
pub fn is_refused_login(said: &str) -> bool {
    REFUSED_LOGINS.iter().any(|it| said.contains(it))
}

/// One login that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The name of the method in RFC 4252 and 4256.
    pub method: &'static str,
    /// For a key: its comment or path, and fingerprint. Else empty.
    pub what: String,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Accepted, and the server wants another method too.
    Partial,
    Denied,
    /// Denied before anything was asked: no answer of the user's was wrong.
    Unasked,
    /// Not sent or not answered, and why.
    Skipped(String),
}

impl Outcome {
    /// Whether the server said no.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(self, Outcome::Denied | Outcome::Unasked)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.method)?;
        if !self.what.is_empty() {
            write!(out, " {}", self.what)?;
        }
        match &self.outcome {
            Outcome::Accepted => out.write_str(": accepted"),
            Outcome::Partial => out.write_str(": accepted, more is needed"),
            Outcome::Denied => out.write_str(": denied"),
            Outcome::Unasked => out.write_str(": denied without a question"),
            Outcome::Skipped(why) => write!(out, ": {why}"),
        }
    }
}

/// A key in `known_hosts` that is not the one that the server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    pub file: PathBuf,
    /// Counts from 1.
    pub line: usize,
    pub key_type: String,
    pub fingerprint: String,
}

/// What of a server's words the library under this client cannot read. Other clients can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// A banner, a question of the login or a good-bye: each is a text in a packet, and which one it was is not told.
    Text,
    /// The identification, which has bytes that are no UTF-8.
    Identification,
    /// The identification, which is longer than RFC 4253, 4.2 allows.
    LongIdentification,
}

impl Words {
    fn remedy(self) -> &'static str {
        match self {
            Words::Text => "save, on the server, the file that Banner in its sshd_config names as UTF-8",
            Words::Identification | Words::LongIdentification => {
                "make VersionAddendum in the server's sshd_config short and ASCII"
            }
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Words::Text => "its banner, question or good-bye is not UTF-8",
            Words::Identification => "its identification is not UTF-8",
            Words::LongIdentification => "its identification has more than 255 bytes",
        })
    }
}

impl KnownKey {
    /// Two short lines for who is asked about a key while the host is known by this one.
    pub fn as_another(&self) -> String {
        let (file, line) = (self.file.display(), self.line);
        format!("known by another key: {}\n  in {file}:{line}", self.key_type)
    }
}

/// What happened. Every text stands alone: it names what was tried and with what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    #[error("{0}")]
    Config(String),
    /// A list of the configuration names nothing that this client has; another client may have it.
    #[error("{keyword} {list}: leaves none of what this client has ({})", .ours.join(","))]
    NoAlgorithmLeft {
        /// As ssh_config(5) spells it.
        keyword: &'static str,
        /// As it is configured: it may begin with `+`, `-` or `^` and hold patterns.
        list: String,
        ours: Vec<String>,
    },
    #[error("resolving {host}: {source}")]
    Resolve { host: String, source: io::Error },
    /// A keyword that leaves no way out of this machine: `BindAddress`, `BindInterface`, `AddressFamily`.
    #[error("{keyword} {value}: {source}")]
    Bind {
        keyword: &'static str,
        value: String,
        source: io::Error,
    },
    #[error("connecting to {target}: {source}")]
    Unreachable { target: String, source: io::Error },
    #[error("{step}: no answer within {}", Seconds(*.limit))]
    TimedOut { step: String, limit: Duration },
    #[error("{step}: the server closed the connection{}", Quoted(.text))]
    Closed { step: String, text: String },
    /// The end came while the user was being asked, e.g. by sshd's `LoginGraceTime`.
    #[error("waiting for {what}: the server closed the connection after {waited} s{}", Quoted(.text))]
    Impatient {
        what: String,
        /// Whole seconds since the question.
        waited: u64,
        text: String,
    },
    #[error("{target} does not speak SSH{}", Quoted(.text))]
    NotSsh { target: String, text: String },
    /// sshd's `MaxStartups` or `PerSourcePenalties`.
    #[error("{target} sends new connections away{}", Quoted(.text))]
    SentAway { target: String, text: String },
    #[error("no common {kind} with {target}: it offers {}, we accept {}", .theirs.join(","), .ours.join(","))]
    NoCommonAlgorithm {
        target: String,
        kind: &'static str,
        ours: Vec<String>,
        theirs: Vec<String>,
    },
    #[error("{step}: {source}")]
    Protocol {
        step: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Before the session stands; other clients may get in.
    #[error("{step}: the server's words cannot be read: {what}")]
    Illegible {
        step: String,
        what: Words,
        tried: Vec<Attempt>,
    },
    #[error("the host key of {target} is not known ({key_type} {fingerprint}): {why}")]
    HostKeyUnknown {
        target: String,
        key_type: String,
        fingerprint: String,
        why: String,
    },
    /// The server has a key that is known, and of a type that only other clients can verify.
    #[error("{target} is known by a host key that this client cannot verify ({}), and its {key_type} key {fingerprint} is not known", Known(.known))]
    HostKeyBeyond {
        target: String,
        key_type: String,
        fingerprint: String,
        /// The keys of the server, and the authorities that have signed certificates of hosts.
        known: Vec<KnownKey>,
        /// What the server has of it, as `HostKeyAlgorithms` names it.
        algorithms: Vec<&'static str>,
    },
    #[error("the host key of {target} has changed: it sent {key_type} {fingerprint}, known is {}", Known(.known))]
    HostKeyChanged {
        target: String,
        key_type: String,
        fingerprint: String,
        known: Vec<KnownKey>,
        /// The name in `known_hosts`, as `ssh-keygen -R` wants it.
        entry: String,
    },
    #[error("the host key of {target} is revoked by {} ({key_type} {fingerprint})", place(.file, *.line))]
    HostKeyRevoked {
        target: String,
        key_type: String,
        fingerprint: String,
        file: PathBuf,
        /// `None`: a binary list has no lines.
        line: Option<usize>,
    },
    #[error("the RSA host key of {target} has fewer than {bits} bits, the least that RequiredRSASize allows")]
    HostKeyTooShort { target: String, bits: u32 },
    #[error("KnownHostsCommand `{command}`: {why}")]
    KnownHostsCommand { command: String, why: String },
    #[error("logging in as {user}: {}", Tried(.tried, .accepts, .closing.as_deref()))]
    Unauthorized {
        user: String,
        tried: Vec<Attempt>,
        /// Methods that the server would still accept.
        accepts: Vec<String>,
        /// The server's last words, when it ended the connection.
        closing: Option<String>,
    },
    #[error("{0}: cancelled")]
    Cancelled(String),
    #[error("{via} refuses to forward to {target}{}", Quoted(.text))]
    ForwardingRefused {
        via: String,
        target: String,
        text: String,
    },
    #[error("proxy command `{command}`: {ending}{}", Quoted(.stderr))]
    Proxy {
        command: String,
        ending: String,
        stderr: String,
    },
}

impl Failure {
    pub fn class(&self) -> Class {
        match self {
            Failure::Config(_) | Failure::NoAlgorithmLeft { .. } | Failure::KnownHostsCommand { .. } => {
                Class::Config
            }
            Failure::Resolve { .. } | Failure::Bind { .. } => Class::Resolve,
            Failure::Proxy { stderr, .. } if is_refused_login(stderr) => Class::Unauthorized,
            Failure::Unreachable { .. }
            | Failure::Closed { .. }
            | Failure::SentAway { .. }
            | Failure::Proxy { .. } => Class::Unreachable,
            // The next question would find the same limit, so that it is not asked without an end.
            Failure::TimedOut { .. } | Failure::Impatient { .. } => Class::TimedOut,
            Failure::NotSsh { .. }
            | Failure::NoCommonAlgorithm { .. }
            | Failure::HostKeyTooShort { .. }
            | Failure::Illegible { .. }
            | Failure::Protocol { .. } => Class::Protocol,
            Failure::HostKeyUnknown { .. } | Failure::HostKeyBeyond { .. } => Class::HostKeyUnknown,
            Failure::HostKeyChanged { .. } => Class::HostKeyChanged,
            Failure::HostKeyRevoked { .. } => Class::HostKeyRevoked,
            Failure::Unauthorized { .. } => Class::Unauthorized,
            Failure::Cancelled(_) => Class::Cancelled,
            Failure::ForwardingRefused { .. } => Class::Refused,
        }
    }

    fn hint(&self, hop: &Hop) -> String {
        let alias = &hop.alias;
        match self {
            Failure::Bind { keyword, .. } => format!("correct {keyword} of `{alias}` in the configuration"),
            Failure::Resolve { .. } => {
                format!("check the name, or set HostName for `{alias}` in the SSH configuration")
            }
            Failure::Unreachable { .. } => {
                format!("check that the host is up and that HostName and Port of `{alias}` are right")
            }
            Failure::TimedOut { .. } => format!(
                "check that the host is up and that HostName and Port of `{alias}` are right; ConnectTimeout gives a slow one more time"
            ),
            Failure::NotSsh { .. } => format!("check Port of `{alias}` in the SSH configuration"),
            Failure::SentAway { text, .. } => sent_away(text).to_owned(),
            Failure::HostKeyUnknown { .. } => format!(
                "compare the fingerprint with one from a trusted source, then accept it (`ssh {alias}` records it too)"
            ),
            Failure::HostKeyBeyond { .. } => format!(
                "`ssh {alias}` can verify the known key: compare what it says before another key is trusted"
            ),
            Failure::HostKeyChanged { known, entry, .. } => forget(known, entry),
            Failure::HostKeyRevoked { .. } => {
                "do not use this host: its key is marked as compromised".to_owned()
            }
            Failure::Impatient { .. } => {
                "answer sooner: the server bounds the time of a login (LoginGraceTime in its sshd_config)"
                    .to_owned()
            }
            Failure::Unauthorized {
                tried,
                accepts,
                closing,
                ..
            } => let_in(alias, tried, accepts, closing.as_deref()),
            Failure::ForwardingRefused { via, .. } => {
                format!(
                    "the sshd of {via} needs AllowTcpForwarding yes, and nothing against it: DisableForwarding, a PermitOpen without this target, `restrict` or `permitopen` at the key"
                )
            }
            Failure::NoCommonAlgorithm { .. } => {
                format!("check Ciphers, MACs, KexAlgorithms and HostKeyAlgorithms of `{alias}`")
            }
            Failure::HostKeyTooShort { .. } => {
                "give the host a longer or an Ed25519 key, or lower RequiredRSASize for it".to_owned()
            }
            Failure::KnownHostsCommand { .. } => {
                "run the command by hand: host keys are trusted only when it ends with status 0".to_owned()
            }
            Failure::Config(_) | Failure::NoAlgorithmLeft { .. } => {
                format!(
                    "correct the SSH configuration: `codex hosts -G {alias}` says which line decides what"
                )
            }
            Failure::Closed { .. } => {
                format!(
                    "see whether `ssh {alias}` gets further; the log of the server's sshd says why it closed"
                )
            }
            Failure::Protocol { .. } => format!("compare with `ssh -v {alias}`"),
            Failure::Illegible { what, .. } => what.remedy().to_owned(),
            Failure::Cancelled(_) => {
                "connect again and answer; a key that is in the agent (ssh-add) asks nothing".to_owned()
            }
            Failure::Proxy { .. } => {
                format!(
                    "run the ProxyCommand of `{alias}` by hand: the server's identification (SSH-2.0-…) is what it prints first"
                )
            }
        }
    }
}

/// How the known keys of a host that has another one now are removed.
fn forget(known: &[KnownKey], entry: &str) -> String {
    let mut files: Vec<&Path> = known.iter().map(|key| key.file.as_path()).collect();
    files.dedup();
    let command = |file: &Path| {
        let file = shell_word(&file.to_string_lossy());
        format!("ssh-keygen -f {file} -R {}", shell_word(entry))
    };
    let commands: Vec<String> = files.into_iter().map(command).collect();
    format!(
        "if the host was set up anew, remove the old key: {}",
        commands.join(" && ")
    )
}

/// Quotes what a shell would take apart.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `: “text”` when there is a text.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim() {
            "" => Ok(()),
            text => write!(out, ": {text:?}"),
        }
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A limit may be what is left of a longer one, to the nanosecond; people gave it in seconds.
        let seconds = self.0.as_secs_f64();
        match seconds < 0.1 {
            true => write!(out, "{:.0} ms", seconds * 1e3),
            false => write!(out, "{} s", (seconds * 10.0).round() / 10.0),
        }
    }
}

struct Known<'a>(&'a [KnownKey]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let (file, line) = (key.file.display(), key.line);
            write!(
                out,
                "{comma}{} {} in {file}:{line}",
                key.key_type, key.fingerprint
            )?;
        }
        Ok(())
    }
}

struct Tried<'a>(&'a [Attempt], &'a [String], Option<&'a str>);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried(tried, accepts, closing) = *self;
        match tried {
            [] => out.write_str("nothing to log in with")?,
            tried => {
                let tried: Vec<String> = tried.iter().map(Attempt::to_string).collect();
                out.write_str(&tried.join("; "))?;
            }
        }
        if !accepts.is_empty() {
            write!(out, "; the server accepts {}", accepts.join(","))?;
        }
        match closing {
            Some(text) => write!(out, "; the server closed the connection{}", Quoted(text)),
            None => Ok(()),
        }
    }
}

/// Why a command did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The server opens no further channel, e.g. because of `MaxSessions`.
    #[error("opening a channel: refused by the server{}", Quoted(.text))]
    ChannelRefused { text: String },
    /// The server runs no commands for this user.
    #[error("starting the command: refused by the server")]
    CommandRefused,
    #[error("{step}: no answer within {}", Seconds(*.limit))]
    TimedOut { step: &'static str, limit: Duration },
    #[error("starting a command: {0}")]
    Closed(crate::session::Closed),
}

/// Why no answer came to a ping.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    #[error("ping: no answer within {}", Seconds(*.limit))]
    TimedOut { limit: Duration },
    #[error("ping: {0}")]
    Closed(crate::session::Closed),
}

/// A file, and the line in it where there is one.
fn place(file: &Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Seconds};

    #[test]
    fn limits_are_told_as_people_give_them() {
        for (micros, told) in [
            (5_000_000, "5 s"),
            (996_651, "1 s"),
            (2_540_000, "2.5 s"),
            (99_000, "99 ms"),
            (120_000_000, "120 s"),
        ] {
            assert_eq!(Seconds(Duration::from_micros(micros)).to_string(), told);
        }
    }
}

//! Why a connection ended, classified by what can be done about it.

use std::fmt;

use crate::connection::Phase;

/// Why an attempt, or a connection that was up, came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// Where it happened; `None` when the host was ready.
    pub phase: Option<Phase>,
    /// What was tried and why it failed: a lowercase fragment.
    pub message: String,
    /// What the user can do.
    pub hint: Option<String>,
    /// The end of the remote's stderr, where there was any. Not sanitized.
    pub stderr: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// The configuration does not say how to get there.
    BadConfig,
    /// The network did not carry us there, or lost us.
    Unreachable,
    /// Somebody did not answer in time.
    TimedOut,
    /// What answered is not, or not acceptably, an SSH server.
    Protocol,
    HostKeyUnknown,
    HostKeyChanged,
    HostKeyRevoked,
    /// The host refused all that we could offer.
    Unauthorized,
    /// The user refused to go on.
    Cancelled,
    /// Logged in, but the host does not let us do what is needed.
    Forbidden,
    /// A forwarding that the configuration insists on (`ExitOnForwardFailure`) was not opened.
    ForwardFailed,
    /// There is no `codex` on the host.
    NotInstalled,
    /// `codex app-server` did not start.
    LaunchFailed,
    /// `codex app-server` was up and ended by itself.
    ServerExited,
    /// What runs there does not speak the protocol.
    Incompatible,
}

/// What the connection does by itself after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Try again as long as the user wants the host.
    Always,
    /// Try again a few times.
    Limited,
    /// Try again once.
    Once,
    /// Only the user can change something.
    Never,
}

impl FailureKind {
    /// A stable word for scripts and for the documentation.
    pub fn code(self) -> &'static str {
        match self {
            FailureKind::BadConfig => "bad-config",
            FailureKind::Unreachable => "unreachable",
            FailureKind::TimedOut => "timed-out",
            FailureKind::Protocol => "ssh-protocol",
            FailureKind::HostKeyUnknown => "host-key-unknown",
            FailureKind::HostKeyChanged => "host-key-changed",
            FailureKind::HostKeyRevoked => "host-key-revoked",
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::Cancelled => "cancelled",
            FailureKind::Forbidden => "forbidden",
            FailureKind::ForwardFailed => "forward-failed",
            FailureKind::NotInstalled => "not-installed",
            FailureKind::LaunchFailed => "launch-failed",
            FailureKind::ServerExited => "server-exited",
            FailureKind::Incompatible => "incompatible",
        }
    }

    /// What helps in general, where the failure itself does not know better.
    fn remedy(self) -> &'static str {
        match self {
            FailureKind::BadConfig => {
                "correct the configuration; `codex hosts -G HOST` shows the line that decided each setting"
            }
            FailureKind::Unreachable => "check the network, the name and the port, and that sshd runs there",
            FailureKind::TimedOut => {
                "look for a firewall that swallows packets, and raise ConnectTimeout on a slow link"
            }
            FailureKind::Protocol => "check the port: something else than an SSH server of today answers",
            FailureKind::HostKeyUnknown => "compare the fingerprint with the host's, then accept it",
            FailureKind::HostKeyChanged => {
                "find out why the key is another one before you remove the old one"
            }
            FailureKind::HostKeyRevoked => "do not connect; ask whoever runs the host for its new key",
            FailureKind::Unauthorized => {
                "give the host one of your keys, or choose another one with IdentityFile"
            }
            FailureKind::Cancelled => "run it again and answer the question",
            FailureKind::Forbidden => "ask the host's administrator",
            FailureKind::ForwardFailed => "free the port, or write another one in the SSH configuration",
            FailureKind::NotInstalled => "`codex install HOST` puts it there",
            FailureKind::LaunchFailed => "look at what `ssh HOST true` prints and whether it ends",
            FailureKind::ServerExited => "start `codex app-server` on the host and read what it says",
            FailureKind::Incompatible => "check `codex --version` on the host, and update it",
        }
    }

    /// Whether trying again can help without the user. A refused login is never repeated: servers lock
    /// out addresses that keep failing (OpenSSH's `PerSourcePenalties`).
    fn recovery(self) -> Recovery {
        match self {
            FailureKind::Unreachable | FailureKind::TimedOut => Recovery::Always,
            // The host may hold a port for a connection that broke a moment ago.
            FailureKind::ServerExited | FailureKind::ForwardFailed => Recovery::Limited,
            FailureKind::BadConfig
            | FailureKind::Protocol
            | FailureKind::HostKeyUnknown
            | FailureKind::HostKeyChanged
            | FailureKind::HostKeyRevoked
            | FailureKind::Unauthorized
            | FailureKind::Cancelled
            | FailureKind::Forbidden
            | FailureKind::NotInstalled
            | FailureKind::LaunchFailed
            | FailureKind::Incompatible => Recovery::Never,
        }
    }
}

impl Failure {
    /// Whether trying again can help without the user. A login that nobody finished in time, or that the server ended
    /// without a verdict, is asked for once more: each try may pop up an agent's window, and counts as a failed login
    /// where servers lock out addresses that keep failing.
    pub fn recovery(&self) -> Recovery {
        match (self.kind, self.phase) {
            (FailureKind::TimedOut | FailureKind::Unreachable, Some(Phase::Authenticating)) => Recovery::Once,
            (kind, _) => kind.recovery(),
        }
    }
}

impl Failure {
    /// What the user can do: the failure's own hint, or what helps in general.
    pub fn advice(&self) -> &str {
        self.hint.as_deref().unwrap_or_else(|| self.kind.remedy())
    }

    /// Whether the attempt ended before the host could take it for a login.
    pub(crate) fn is_far_from_host(&self) -> bool {
        matches!(self.phase, Some(Phase::Resolving | Phase::Connecting))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

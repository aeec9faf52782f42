//! The fleet's limits, each with the reason for its size.

use std::time::Duration;

use codex_hosts::{Backoff, Policy};

/// Hosts in one fleet; each costs a connection and a server somewhere.
pub const HOSTS_MAX: usize = 100;
/// Events that wait for the consumer. Full: the hosts' links stop reading, nothing else waits.
pub const EVENTS_MAX: usize = 1024;
/// Commands that wait for the fleet or for one host. Full: whoever commands waits.
pub(crate) const COMMANDS_MAX: usize = 64;
/// Reports of an attempt that wait for its host.
pub(crate) const REPORTS_MAX: usize = 32;
/// Events of one host that wait for the consumer beside [`EVENTS_MAX`]. Full: the host's attempt waits too,
/// and so do its limits; commands never do.
pub(crate) const OUTBOX_MAX: usize = 256;
/// Notices of one host that are remembered, so that each is told once and not with every connection.
pub(crate) const NOTICES_TOLD_MAX: usize = 256;
/// What a phase may take beyond the longest `ConnectTimeout`: the key exchange follows in the same phase.
pub(crate) const PHASE_MARGIN: Duration = Duration::from_secs(30);
/// Calls of one host under way. The official server refuses requests beyond about 140.
pub(crate) const CALLS_MAX: usize = 100;
/// A line of the server: it sends whole histories in one (42 MB were seen).
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// From the start of the remote command to its mark: the host's shells may take 16 s to start.
pub(crate) const LAUNCH_PATIENCE: Duration = Duration::from_secs(30);
/// From the start of the remote command to its first word: a shell that has read its start-up files has said it by then,
/// or it is tried in another way beside it. That costs the host a shell and nobody any time.
pub(crate) const DETOUR_AFTER: Duration = Duration::from_secs(2);
/// The same where the host runs one command at a time, and the first has to be ended for that.
pub(crate) const SHELL_PATIENCE: Duration = Duration::from_secs(5);
/// A step of an installation: hashing the program on a small machine, or taking anything more of it. OpenSSH's server
/// lets more come once it has read 96 KiB, which takes 24 s over a link of 4 kB/s.
pub(crate) const INSTALL_PATIENCE: Duration = Duration::from_secs(60);
/// From the last byte handed over to the host's verdict: what the channel's window holds (2 MiB of sshd's) may
/// still be on its way, over a link of 4 kB/s. A dead link shows itself within seconds.
pub(crate) const INSTALL_END_PATIENCE: Duration = Duration::from_secs(600);
/// For another upload of the same program to the same host, which ends with the same result: an hour over a slow link.
pub(crate) const INSTALL_OTHER_PATIENCE: Duration = Duration::from_secs(60 * 60);
/// Bytes of the program that are handed over at once.
pub(crate) const INSTALL_PIECE: usize = 256 * 1024;
/// How often progress is told.
pub(crate) const INSTALL_PERIOD: Duration = Duration::from_millis(200);
/// The handshake of the protocol; a cold start of the official server takes under a second.
pub(crate) const INITIALIZE_PATIENCE: Duration = Duration::from_secs(20);
/// Any other call. Resuming a long history takes the official server tens of seconds.
pub(crate) const CALL_PATIENCE: Duration = Duration::from_secs(120);
/// Before a forwarding that could not be opened is tried again, or their connection is made again.
pub(crate) const FORWARD_BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(2),
    max: Duration::from_secs(60),
};
/// How long a session that only its user could make again waits for the next attempt: an offer to install the server may
/// be thought about.
pub(crate) const STANDBY_MAX: Duration = Duration::from_secs(10 * 60);
/// How long a host waits with being ready for its forwardings: a server may need them, but a question about
/// them may stay open.
pub(crate) const FORWARD_PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the connection may take to tell its reason.
pub(crate) const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(2);
/// Tries of a call that the server refuses because it is overloaded.
pub(crate) const OVERLOADED_TRIES_MAX: u32 = 7;
pub(crate) const OVERLOADED_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    max: Duration::from_secs(3),
};
/// After a host has come back: how long a thread that a server still has open for somebody is asked for again. It is the
/// server of the former connection, whose end may reach the host only now: what the kernel sends again for it comes
/// after pauses that have doubled as long as nothing arrived.
pub(crate) const FORMER_PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const FORMER_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(300),
    max: Duration::from_secs(3),
};
/// How often the clocks are compared to see whether the machine slept.
pub(crate) const CLOCK_PERIOD: Duration = Duration::from_millis(500);
/// A wall clock that runs ahead of the monotonic one by this much: the machine slept, or so it looks.
pub(crate) const CLOCK_JUMP: Duration = Duration::from_secs(4);
/// Messages in a bad shape that are told one by one; the rest is counted.
pub(crate) const MALFORMED_TOLD_MAX: u32 = 5;
/// Lines of the remote's stderr that come with a failure.
pub(crate) const STDERR_LINES: usize = 40;
/// Of what a host printed, what comes with a failure: a page of it. Its end says most.
pub(crate) const SAID_BYTES_MAX: usize = 4 * 1024;
/// Of a local program's stderr, what is kept: its end says most.
pub(crate) const STDERR_BYTES_MAX: usize = 64 * 1024;
/// How long the last words of a program that ended may take: something that it left behind may hold them open.
pub(crate) const STDERR_PATIENCE: Duration = Duration::from_millis(500);
/// From the start of the system's `ssh`, or from an answer of the user's, to a sign of the host's shell: name, network,
/// login and the host's start-up files, without a word between them. An agent or a telephone is waited for 60 s.
pub(crate) const SYSTEM_PATIENCE: Duration = Duration::from_secs(80);
/// What a connection that the user's `ssh` holds open may take to show that it carries a command.
pub(crate) const MASTER_PATIENCE: Duration = Duration::from_secs(5);
/// The same where it is the way that the user wants: a shell that is slow to start is no reason for another login.
pub(crate) const MASTER_COMMAND_PATIENCE: Duration = Duration::from_secs(15);
/// What the system's `ssh` is told as its `ConnectTimeout`, in seconds, where the configuration has none.
pub(crate) const SYSTEM_CONNECT_S: u32 = 15;
/// The same for `ServerAliveInterval` and `ServerAliveCountMax`. OpenSSH applies their product to the silence during a
/// login as well, where a server may be waiting for its user's telephone: so not 15 s, as for our own connections.
pub(crate) const SYSTEM_ALIVE: (u32, u32) = (15, 4);
/// Asking the system's `ssh` about itself and the configuration.
pub(crate) const SYSTEM_QUERY_PATIENCE: Duration = Duration::from_secs(10);
/// Answers that are remembered for a run; the one that was given first is forgotten.
pub(crate) const REMEMBERED_MAX: usize = 100;
/// A server that a program leads to is asked after so long a silence.
pub(crate) const HEARTBEAT_IDLE: Duration = Duration::from_secs(10);
/// From the question until its silence is shown: 15 s in all.
pub(crate) const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(5);
/// From the question until the connection is given up: no call takes a server longer, see [`CALL_PATIENCE`].
pub(crate) const SILENCE_MAX: Duration = CALL_PATIENCE;
/// Handing over a prompt, or an answer, between two processes of this machine.
pub(crate) const ASKPASS_PATIENCE: Duration = Duration::from_secs(5);
/// A prompt with its kind and token. A longer one is cut.
pub(crate) const ASKPASS_BYTES_MAX: u64 = 16 * 1024;
/// Room for an answer; OpenSSH takes at most 1023 bytes. A longer one costs a copy that is not wiped.
pub(crate) const ASKPASS_ANSWER_BYTES: usize = 4096;
/// Notices that are shown at the same time; the touch of a token is one.
pub(crate) const ASKPASS_HELD_MAX: usize = 8;
/// Looking up a name and connecting to a server's address.
pub(crate) const DIAL_PATIENCE: Duration = Duration::from_secs(15);
/// The upgrade to a WebSocket; the server has nothing to prepare for it.
pub(crate) const UPGRADE_PATIENCE: Duration = Duration::from_secs(10);
/// A TCP connection that is silent for this long is probed; together with the probes a dead peer is noticed
/// within 15 s.
pub(crate) const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// Between two probes.
pub(crate) const KEEPALIVE_PERIOD: Duration = Duration::from_secs(5);
/// Probes without an answer until the connection counts as dead.
pub(crate) const KEEPALIVE_PROBES: u32 = 2;
/// How long what was sent may stay without the peer's confirmation.
pub(crate) const UNCONFIRMED_MAX: Duration = Duration::from_secs(15);
/// How long the fleet may take to end.
pub(crate) const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// How the hosts' connections decide.
pub const POLICY: Policy = Policy {
    backoff: Backoff {
        first: Duration::from_millis(500),
        max: Duration::from_secs(30),
    },
    // An agent may take 60 s to sign: it asks its user.
    phase_patience: Duration::from_secs(90),
    // With `CLOCK_PERIOD`, two seconds from the machine's waking up to a new attempt.
    probe_patience: Duration::from_millis(1500),
    limited_retries_max: 3,
    stable_after: Duration::from_secs(60),
    // A link that thaws brings its host back within two seconds and the time of a connection. Longer than this is a
    // network that is gone: then the user's eyes, or the machine's waking up, end the pause.
    // After an attempt that met nothing but silence, which takes its time, the next one follows at once.
    eager_for: Duration::from_secs(15 * 60),
    eager_pause: Duration::from_secs(1),
    // A `ProxyCommand` may take a login, or a cloud's API, each time: not more often than the promise needs.
    program_pause: Duration::from_secs(2),
    // A server that is stopped for ten minutes has a dozen to answer.
    program_min: Duration::from_secs(5),
    program_max: Duration::from_secs(90),
    // The first packets of a program's connection are sent after 0, 1 and 3 seconds. An API may take many.
    unread_min: Duration::from_secs(3),
    unread_max: Duration::from_secs(30),
    // The kernel of a machine that is up takes connections for a server that is stopped: after ten minutes it has six
    // to answer, and not the 17 for which OpenSSH 10 locks an address out.
    silence_min: Duration::from_secs(15),
    silence_max: Duration::from_secs(120),
};

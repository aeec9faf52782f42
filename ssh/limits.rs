//! Every limit of this crate, each with the reason for its size.

use std::time::Duration;

/// DNS and TCP together, when `ConnectTimeout` is not configured.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// What an address may have for itself before the next one of its name is tried too (RFC 8305, 8).
pub(crate) const HEAD_START: Duration = Duration::from_millis(250);
/// Between two knocks at a host that is looked for: a network that carries again is noticed within this.
pub(crate) const KNOCK_PERIOD: Duration = Duration::from_secs(1);
/// Between the first knock, which waits for as long as there is time, and the second: what the kernel sends again for
/// the first one, after whole seconds, and later knocks never reach the host together, which would have two connections.
pub(crate) const KNOCK_OFFSET: Duration = Duration::from_millis(1_500);
/// What a later knock waits for its answer: less than after which the kernel sends it again.
pub(crate) const KNOCK_LIFE: Duration = Duration::from_millis(900);
/// Knocks that wait beside the first one.
pub(crate) const KNOCKS: usize = 1;
/// After this, a jump host is asked once more to connect to a host that is looked for: its kernel sends the first
/// packet again after 1 and 3 seconds (Linux from 6.5 on each second until 5), and then ever more slowly.
pub(crate) const CHANNEL_SEARCH: Duration = Duration::from_secs(5);
/// Tries of a jump host's session that it has not answered about, to one host: all but one of them are connections that
/// the host's sshd sees come and go when its network carries again. After them, and after the time that they take, a new
/// session takes over.
pub(crate) const CHANNEL_TRIES: u32 = 3;
/// How long a jump host's session is kept for this where only the user could log in there again.
pub(crate) const CHANNEL_SEARCH_DEAR: Duration = Duration::from_secs(15 * 60);
/// While the server of a host that is looked for says nothing: silence after which its machine is asked, and what that
/// and everything else may take to be confirmed, before the connection counts as dead.
pub(crate) const VIGIL_IDLE: Duration = Duration::from_secs(2);
/// Between two of these questions.
pub(crate) const VIGIL_PERIOD: Duration = Duration::from_secs(1);
/// Questions without an answer.
pub(crate) const VIGIL_PROBES: u32 = 3;
/// The limit for what was sent.
pub(crate) const VIGIL_UNCONFIRMED: Duration = Duration::from_secs(4);
/// Hosts whose last address is remembered until the end of the run; then all are forgotten.
pub(crate) const PLACES: usize = 1_000;
/// Between two of the `ConnectionAttempts`, as in OpenSSH.
pub(crate) const CONNECTION_PAUSE: Duration = Duration::from_secs(1);
/// Addresses of one name that are tried; more are a mistake in the DNS.
pub(crate) const ADDRESSES: usize = 16;
/// From the connection to the server's identification line.
pub(crate) const BANNER: Duration = Duration::from_secs(5);
/// The same through a `ProxyCommand`, which connects, and maybe logs in, in this time.
pub(crate) const BANNER_PROXY: Duration = Duration::from_secs(30);
/// From the identification line to the server's key, and from the accepted key to the end of the exchange. This and
/// what follows is longer where `ConnectTimeout` is.
pub(crate) const KEX: Duration = Duration::from_secs(10);
/// One step of the authentication that asks nobody.
pub(crate) const AUTH_STEP: Duration = Duration::from_secs(10);
/// The server's answer to a password: it may ask a directory, and wait after a wrong one.
pub(crate) const AUTH_PASSWORD: Duration = Duration::from_secs(30);
/// The server's answer to what the user typed: it may wait for the user's telephone (Duo and its like take 60 s).
pub(crate) const AUTH_ANSWER: Duration = Duration::from_secs(75);
/// One answer of the agent that needs no user.
pub(crate) const AGENT: Duration = Duration::from_secs(5);
/// A signature by the agent: it may ask its user to confirm, to unlock or to touch a token.
pub(crate) const AGENT_SIGN: Duration = Duration::from_secs(60);
/// Opening a channel, and the answer to `exec`.
pub(crate) const CHANNEL: Duration = Duration::from_secs(10);
/// How long a channel that was opened ahead may wait: servers that end idle channels give them minutes at least.
pub(crate) const SPARE_AGE: Duration = Duration::from_secs(120);
/// Telling the server good-bye: the connection ends in any case.
pub(crate) const GOODBYE: Duration = Duration::from_millis(500);
/// What a closed channel may still take to be confirmed by the server.
pub(crate) const CHANNEL_CLOSE: Duration = Duration::from_secs(5);
/// Output that may still follow an exit status, e.g. of a background process that keeps stdout open.
pub(crate) const EXIT_LINGER: Duration = Duration::from_secs(1);
/// How often an open question looks whether the server has gone.
pub(crate) const QUESTION_POLL: Duration = Duration::from_millis(200);
/// Where `ServerAliveInterval` is not configured: a dead peer is noticed after 3 × 5 s.
pub(crate) const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
pub(crate) const ALIVE_COUNT: usize = 2;
/// OpenSSH's default of `ServerAliveCountMax`, for configurations that set only the interval.
pub(crate) const ALIVE_COUNT_CONFIGURED: usize = 3;
/// Bytes that a channel may receive before we confirm: enough for 50 ms × 100 MB/s.
pub(crate) const WINDOW: u32 = 6 * 1024 * 1024;
/// Bytes in one SSH packet; the size that every server accepts.
pub(crate) const PACKET: u32 = 32 * 1024;
/// Bytes that one system call reads from the link.
pub(crate) const READ_BUFFER: usize = 16 * 1024;
/// Bytes that wait for the link to take them: more than the window of a channel (sshd's has 2 MiB), so that what comes
/// from the host is read meanwhile. Full: russh waits with everything, until the link takes some.
pub(crate) const UNSENT: usize = 8 * 1024 * 1024;
/// Bytes of one channel between two questions that the server has to answer: over a link of 4 kB/s the answers come in
/// 4 to 12 seconds, before a dead peer is what their absence means.
pub(crate) const SOUNDING: u64 = 16 * 1024;
/// Packets of stdout that wait for their reader; a full queue stops the whole session.
pub(crate) const STDOUT_PACKETS: usize = 32;
/// stderr that is kept for diagnosis; older bytes go.
pub(crate) const STDERR_KEPT: usize = 64 * 1024;
/// Bytes of a line before, or of, the identification; OpenSSH's client has the same limit, and so for the next one.
pub(crate) const GREETING_LINE: usize = 8 * 1024;
/// Lines before the identification; beyond them it is no SSH server.
pub(crate) const GREETING_LINES: usize = 1_024;
/// Bytes of an identification, with the end of its line, that russh reads (RFC 4253, 4.2 has the same limit).
pub(crate) const IDENTIFICATION: usize = 255;
/// Bytes behind the identification in which the lists of algorithms are looked for: a server sends them first, and all
/// there are have 2 KB.
pub(crate) const GREETING_PACKETS: usize = 32 * 1024;
/// Characters of such a line that stand in an error.
pub(crate) const QUOTED_LINE: usize = 200;
/// Characters of a server's text that stand in the error when it ends a login after it.
pub(crate) const LAST_WORDS: usize = 500;
/// Reads after which the handshake is over and acknowledgements may be delayed again.
pub(crate) const QUICK_READS: u32 = 64;
/// sshd's `MaxAuthTries` is 6 by default; one try stays for a password.
pub(crate) const PUBLIC_KEY_OFFERS: usize = 5;
/// Requests in one keyboard-interactive exchange. sshd makes one of each prompt of PAM and an empty one at the end;
/// each waits for the user, who can end it, and this only bounds a broken server that asks for nothing.
pub(crate) const INTERACTIVE_ROUNDS: usize = 256;
/// Methods and keys in one login; every step uses something up, this only bounds a broken server.
pub(crate) const AUTH_STEPS: usize = 64;
/// Tries for the passphrase of one key, as in OpenSSH.
pub(crate) const PASSPHRASE_TRIES: u32 = 3;
/// An agent's answer; the same limit as OpenSSH.
pub(crate) const AGENT_MESSAGE: usize = 256 * 1024;
/// A key file; an RSA key of 16,384 bits has 13 KB.
pub(crate) const KEY_FILE: u64 = 1024 * 1024;
/// A `known_hosts` file, the output of a `KnownHostsCommand`, or a list of revoked keys.
pub(crate) const KNOWN_HOSTS_FILE: u64 = 64 * 1024 * 1024;
/// A `KnownHostsCommand`: a lookup in a directory, while a connection waits.
pub(crate) const KNOWN_HOSTS_COMMAND: Duration = Duration::from_secs(10);
/// What a program of the user may say: a secret, or why it failed.
pub(crate) const PROGRAM_OUTPUT: u64 = 1024 * 1024;
/// Keys that a server may announce as its own; OpenSSH takes no more either.
pub(crate) const ANNOUNCED_KEYS: usize = 100;
/// Refused updates of `known_hosts` that are remembered, so that each is asked about once; then all are forgotten.
pub(crate) const DECLINED_UPDATES: usize = 1_000;
/// Accounts whose passwords are remembered until the end of the run; then all are forgotten.
pub(crate) const PASSWORDS: usize = 1_000;
/// Hosts whose last key is remembered; beyond them the oldest is forgotten.
pub(crate) const REMEMBERED_KEYS: usize = 2_000;
/// Answers about one host key that a program for questions may give until one is a yes or a no; then it is a no.
pub(crate) const ASKPASS_ANSWERS: usize = 5;
/// Channels that the server opens and that wait to be looked at; one more is refused. They may come all at once.
pub(crate) const VISITORS: usize = FORWARDED_CONNECTIONS;
/// Commands on a host that use the forwarded agent at once.
pub(crate) const AGENT_CHANNELS: usize = 16;
/// Connections through one forwarding at once; one more is closed. Each holds one of this process's files, of which
/// systems commonly give it 1,024.
pub(crate) const FORWARDED_CONNECTIONS: usize = 512;
/// Connections to a forwarded socket that wait to be accepted.
pub(crate) const BACKLOG: i32 = 128;
/// The host's way to the target of a forwarding: its TCP may take its time.
pub(crate) const FORWARD_OPEN: Duration = Duration::from_secs(30);
/// Bytes of one forwarded connection that wait for its reader in a file.
pub(crate) const SPOOLED: u64 = 1 << 30;
/// Bytes that are read from there at once.
pub(crate) const SPOOL_CHUNK: usize = 256 * 1024;
/// A SOCKS client's request: a program sends it at once.
pub(crate) const SOCKS: Duration = Duration::from_secs(10);
/// After a connection that could not be accepted.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The least bytes between two key exchanges, whatever `RekeyLimit` says: one exchange has thousands.
pub(crate) const REKEY_LEAST: u64 = 64 * 1024;
/// The most, so that no cipher uses a nonce twice; russh insists.
pub(crate) const REKEY_MOST: u64 = 1 << 30;
/// Bytes for one host behind a bastion that wait for its reader: more than the windows of two channels
/// let through while nothing is read. Also what start-up files may print before a waiting shell has its script.
pub(crate) const STORED: usize = 16 * 1024 * 1024;
/// What a packet counts for at least in there: its place in the queue.
pub(crate) const STORED_LEAST: usize = 64;
/// A jump host's session that is used already and does not answer within this is replaced.
pub(crate) const SHARED_PING: Duration = Duration::from_millis(1_500);
/// A jump host's session that has not answered for as long is replaced without being asked once more.
pub(crate) const SHARED_SILENCE: Duration = Duration::from_secs(1);
/// How long a jump host's session that only the user could make again stays for hosts that come back: longer than any
/// pause between two of their attempts.
pub(crate) const SHARED_LINGER: Duration = Duration::from_secs(60);
/// Hops of a route.
pub(crate) const HOPS: usize = 8;

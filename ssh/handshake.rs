//! From a link to an SSH connection whose host key is trusted.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use russh::{
    Limits,
    client::{Config, Handle, connect_stream},
    keys::PublicKey,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    algorithms,
    ask::Report,
    client::{Agreed, Client, LastWords, Presented, Refusal, ServerKey, is_illegible},
    config::settings::HostSettings,
    doors::Doors,
    error::{Failure, Words},
    event::{Hop, Stage},
    greeting::Greeting,
    host_key::{Check, Verified},
    known_hosts::KnownHosts,
    limits,
    link::{Carrier, Gone, Link, Watch, Wire},
    session::{Closed, PeerInfo},
};

/// How we name ourselves to servers (RFC 4253, 4.2).
const CLIENT_ID: &str = concat!("SSH-2.0-codex_", env!("CARGO_PKG_VERSION"));

/// A connection whose server is the right one, before the login.
pub(crate) struct Secured {
    pub(crate) handle: Handle<Client>,
    pub(crate) verified: Verified,
    /// The host keys that the server announces after the login.
    pub(crate) announced: mpsc::Receiver<Vec<PublicKey>>,
    pub(crate) doors: Arc<Doors>,
    pub(crate) gone: Gone,
    pub(crate) ended: watch::Receiver<Option<Closed>>,
    pub(crate) refusal: Refusal,
    pub(crate) last_words: LastWords,
    pub(crate) peer: PeerInfo,
    pub(crate) cut: DropGuard,
    pub(crate) carrier: Carrier,
}

/// Exchanges identifications and keys, and checks the server's.
pub(crate) async fn secure(
    link: Link,
    settings: &HostSettings,
    known: &KnownHosts,
    report: &Report,
    banner_limit: Duration,
) -> Result<Secured, Failure> {
    report.stage(Stage::Handshake).await;
    warn(known, report).await;
    let config = Arc::new(config(settings, known)?);
    let (cut, greeting) = (CancellationToken::new(), Arc::new(Greeting::default()));
    let guard = cut.clone().drop_guard();
    let (presented, mut keys) = mpsc::channel::<Presented>(1);
    let ((told, ended), agreed) = (watch::channel(None), Arc::<OnceLock<Agreed>>::default());
    let (refusal, last_words, doors) = (Refusal::default(), LastWords::default(), Arc::<Doors>::default());
    let (announce, announced) = mpsc::channel(1);
    let client = Client {
        doors: Arc::clone(&doors),
        announced: announce,
        report: report.weak(),
        presented,
        agreed: Arc::clone(&agreed),
        refusal: Arc::clone(&refusal),
        last_words: Arc::clone(&last_words),
        ended: told,
    };
    let Link {
        io,
        gone,
        address,
        carrier,
        watch,
    } = link;
    let wire = Wire::new(io, cut, Arc::clone(&greeting));
    let wire = BufReader::with_capacity(limits::READ_BUFFER, wire);
    let steps = Steps {
        greeting: &greeting,
        carrier: &carrier,
        target: Hop::from(settings).to_string(),
        patience: settings.patience(limits::KEX),
    };
    let mut connecting = pin!(connect_stream(config, wire, client));

    steps
        .identified(connecting.as_mut(), &watch, banner_limit)
        .await?;
    drop(watch);
    let shown = steps.shown(connecting.as_mut(), &mut keys).await;
    let shown = worded(shown, &ended).await?;
    let check = Check {
        settings,
        known,
        report,
        address,
        theirs: greeting.host_keys(),
        is_asking: AtomicBool::new(false),
    };
    let verified = steps
        .verified(&check, &shown.key, connecting.as_mut(), &gone)
        .await?;
    // The other end is the connection itself, whose failure the next line reports.
    let _ = shown.verdict.send(true);
    let handle = steps.connected(connecting.as_mut()).await?;
    let peer = peer(&greeting, agreed.get(), address);
    Ok(Secured {
        handle,
        verified,
        announced,
        doors,
        gone,
        ended,
        refusal,
        last_words,
        peer,
        cut: guard,
        carrier,
    })
}

/// The same failure with the server's good-bye, where it said one. russh tells it apart from its error, and a little
/// later.
async fn worded<T>(
    result: Result<T, Failure>,
    ended: &watch::Receiver<Option<Closed>>,
) -> Result<T, Failure> {
    let Err(Failure::Closed { step, text }) = result else {
        return result;
    };
    let mut ended = ended.clone();
    let said = timeout(limits::GOODBYE, ended.wait_for(Option::is_some)).await;
    let said = match said.as_ref().map(|it| it.as_deref()) {
        Ok(Ok(Some(Closed::ByServer(said)))) => said.clone(),
        _ => text,
    };
    Err(Failure::Closed { step, text: said })
}

/// Waits until the server says what it is, and leaves it.
pub(crate) async fn greet(
    link: Link,
    settings: &HostSettings,
    report: &Report,
    limit: Duration,
) -> Result<(), Failure> {
    report.stage(Stage::Handshake).await;
    let greeting = Arc::new(Greeting::default());
    let mut wire = Wire::new(link.io, CancellationToken::new(), Arc::clone(&greeting));
    let steps = Steps {
        greeting: &greeting,
        carrier: &link.carrier,
        target: Hop::from(settings).to_string(),
        patience: settings.patience(limits::KEX),
    };
    let greeted = async {
        let own = format!("{CLIENT_ID}\r\n");
        wire.write_all(own.as_bytes()).await?;
        let mut said = vec![0; limits::READ_BUFFER];
        while wire.read(&mut said).await? > 0 {}
        Err(russh::Error::Disconnect)
    };
    steps.identified(pin!(greeted), &link.watch, limit).await
}

/// Files of known hosts that could not be read.
async fn warn(known: &KnownHosts, report: &Report) {
    for (file, problem) in &known.problems {
        let text = format!("reading {}: {problem}", file.display());
        report.notice(text).await;
    }
}

fn peer(greeting: &Greeting, agreed: Option<&Agreed>, address: Option<SocketAddr>) -> PeerInfo {
    PeerInfo {
        server_id: greeting.line(),
        kex: agreed.map(|it| it.kex.clone()).unwrap_or_default(),
        cipher: agreed.map(|it| it.cipher.clone()).unwrap_or_default(),
        host_key: agreed.map(|it| it.host_key.clone()).unwrap_or_default(),
        address,
    }
}

fn config(settings: &HostSettings, known: &KnownHosts) -> Result<Config, Failure> {
    let (interval, count) = match settings.server_alive_interval {
        Some(Duration::ZERO) => (None, 0),
        Some(interval) => {
            let count = settings.server_alive_count_max.map(|count| count as usize);
            (Some(interval), count.unwrap_or(limits::ALIVE_COUNT_CONFIGURED))
        }
        None => (Some(limits::ALIVE_INTERVAL), limits::ALIVE_COUNT),
    };
    Ok(Config {
        client_id: russh::SshId::Standard(CLIENT_ID.into()),
        window_size: limits::WINDOW,
        maximum_packet_size: limits::PACKET,
        preferred: algorithms::preferred(settings, known)?,
        keepalive_interval: interval,
        // russh ends at one unanswered more, as OpenSSH does; its 0 is "never".
        keepalive_max: count.max(1),
        nodelay: true,
        limits: rekey_limits(settings),
        ..Config::default()
    })
}

/// `RekeyLimit`, within what keeps the ciphers safe.
fn rekey_limits(settings: &HostSettings) -> Limits {
    let usual = Limits::default();
    let bytes = settings.rekey_limit.bytes.unwrap_or(limits::REKEY_MOST);
    let bytes = bytes.clamp(limits::REKEY_LEAST, limits::REKEY_MOST);
    let bytes = usize::try_from(bytes).unwrap_or(usual.rekey_write_limit);
    let time = settings.rekey_limit.time.unwrap_or(usual.rekey_time_limit);
    Limits::new(bytes, bytes, time)
}

type Connected = Result<Handle<Client>, russh::Error>;

/// The steps of one handshake and what their failures mean.
struct Steps<'a> {
    greeting: &'a Greeting,
    carrier: &'a Carrier,
    target: String,
    /// What each half of the key exchange may take.
    patience: Duration,
}

impl Steps<'_> {
    async fn identified(
        &self,
        connecting: Pin<&mut impl Future<Output = Connected>>,
        watch: &Watch,
        limit: Duration,
    ) -> Result<(), Failure> {
        let identified = self.greeting.identified();
        tokio::select! {
            biased;
            () = identified => Ok(()),
            result = connecting => match result {
                // It cannot be: the exchange needs our verdict about the key first.
                Ok(_) => Ok(()),
                Err(error) if self.greeting.is_identified() => Err(self.failed(error)),
                Err(error) => Err(self.unidentified(&error).await),
            },
            () = tokio::time::sleep(limit) => Err(self.silent(limit).await),
            () = watch.nowhere() => Err(self.silent(limit).await),
        }
    }

    async fn connected(
        &self,
        connecting: Pin<&mut impl Future<Output = Connected>>,
    ) -> Result<Handle<Client>, Failure> {
        match timeout(self.patience, connecting).await {
            Ok(connected) => connected.map_err(|error| self.failed(error)),
            Err(_) => Err(self.timed_out("exchanging keys with", self.patience)),
        }
    }

    async fn silent(&self, limit: Duration) -> Failure {
        match self.carrier {
            Carrier::Proxy(proxy) => {
                let (ending, stderr) = proxy.ending(Duration::ZERO).await;
                Failure::Proxy {
                    command: proxy.command.clone(),
                    ending,
                    stderr,
                }
            }
            _ => self.timed_out("waiting for the identification of", limit),
        }
    }

    async fn shown(
        &self,
        mut connecting: Pin<&mut impl Future<Output = Connected>>,
        keys: &mut mpsc::Receiver<Presented>,
    ) -> Result<Presented, Failure> {
        let gone = || Failure::Closed {
            step: format!("exchanging keys with {}", self.target),
            text: String::new(),
        };
        tokio::select! {
            biased;
            shown = keys.recv() => match shown {
                Some(shown) => Ok(shown),
                // russh has given up, and tells why a moment later.
                None => Err(match timeout(limits::GOODBYE, connecting).await {
                    Ok(Err(error)) => self.failed(error),
                    Ok(Ok(_)) | Err(_) => gone(),
                }),
            },
            result = connecting.as_mut() => Err(match result {
                Ok(_) => gone(),
                Err(error) => self.failed(error),
            }),
            () = tokio::time::sleep(self.patience) => {
                Err(self.timed_out("exchanging keys with", self.patience))
            }
        }
    }

    /// Checks the key for as long as the server waits for it.
    async fn verified(
        &self,
        check: &Check<'_>,
        key: &ServerKey,
        connecting: Pin<&mut impl Future<Output = Connected>>,
        gone: &Gone,
    ) -> Result<Verified, Failure> {
        let begun = Instant::now();
        tokio::select! {
            verified = check.verify(key) => return verified,
            _ = connecting => {}
            () = gone.wait() => {}
        }
        // sshd ends it after its `LoginGraceTime`, and may punish the address for it: not to be begun again and again.
        Err(match check.is_asking.load(Ordering::Relaxed) {
            true => Failure::Impatient {
                what: format!("the answer about the host key of {}", self.target),
                waited: begun.elapsed().as_secs(),
                text: String::new(),
            },
            false => self.closed("while its host key was being checked"),
        })
    }

    /// The link ended before the server said what it is.
    async fn unidentified(&self, error: &russh::Error) -> Failure {
        let (target, text) = (self.target.clone(), self.greeting.line());
        if let Carrier::Proxy(proxy) = self.carrier
            && text.is_empty()
        {
            // The end of its output comes before the end of the command.
            let (ending, stderr) = proxy.ending(Duration::from_secs(1)).await;
            return Failure::Proxy {
                command: proxy.command.clone(),
                ending,
                stderr,
            };
        }
        if text.contains("Exceeded MaxStartups") || text.contains("Not allowed at this time") {
            return Failure::SentAway { target, text };
        }
        match error {
            _ if !text.is_empty() => Failure::NotSsh { target, text },
            russh::Error::Version => Failure::NotSsh { target, text },
            _ => Failure::Closed {
                step: format!("waiting for the identification of {target}"),
                text,
            },
        }
    }

    fn failed(&self, error: russh::Error) -> Failure {
        let step = format!("exchanging keys with {}", self.target);
        let unreadable = self.greeting.unreadable();
        if let Some(what) = unreadable.or(is_illegible(&error).then_some(Words::Text)) {
            let tried = Vec::new();
            return Failure::Illegible { step, what, tried };
        }
        match error {
            russh::Error::NoCommonAlgo { kind, ours, theirs } => Failure::NoCommonAlgorithm {
                target: self.target.clone(),
                kind: match kind {
                    russh::AlgorithmKind::Kex => "key exchange (KexAlgorithms)",
                    russh::AlgorithmKind::Key => "host key (HostKeyAlgorithms)",
                    russh::AlgorithmKind::Cipher => "cipher (Ciphers)",
                    russh::AlgorithmKind::Compression => "compression (Compression)",
                    russh::AlgorithmKind::Mac => "MAC (MACs)",
                },
                ours,
                theirs,
            },
            russh::Error::IO(_) | russh::Error::Disconnect | russh::Error::HUP => Failure::Closed {
                step,
                text: String::new(),
            },
            source => Failure::Protocol {
                step,
                source: Box::new(source),
            },
        }
    }

    fn closed(&self, when: &str) -> Failure {
        Failure::Closed {
            step: format!("{} {when}", self.target),
            text: String::new(),
        }
    }

    fn timed_out(&self, step: &str, limit: Duration) -> Failure {
        Failure::TimedOut {
            step: format!("{step} {}", self.target),
            limit,
        }
    }
}

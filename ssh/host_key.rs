//! Whether to trust the key that a server has shown: the files, the configuration, the user.

mod address;
mod command;
mod update;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use russh::keys::{Certificate, HashAlg, PublicKey};
use tokio::task::spawn_blocking;

use self::command::Purpose;
pub(crate) use self::update::{Declined, Updater};
use crate::{
    algorithms,
    ask::Report,
    client::ServerKey,
    config::settings::{Forwarding, HostSettings, StrictHostKeyChecking},
    error::{Failure, KnownKey},
    event::{Answer, Hop, Question, Stage},
    known_hosts::{self, Known, KnownHosts, Verdict, key_type},
};

/// How far a server that we go on with is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Full,
    /// `StrictHostKeyChecking no` with a changed key: nothing that the user types goes there, and whoever answers there
    /// reaches neither the user's agent nor what the configuration forwards.
    NoPasswords,
}

impl Trust {
    /// What remains of the forwardings of a host that is trusted so far.
    pub(crate) fn forwarding(self, wished: &Forwarding) -> Forwarding {
        match self {
            Trust::Full => wished.clone(),
            Trust::NoPasswords => Forwarding {
                list: Vec::new(),
                agent: None,
                ..wished.clone()
            },
        }
    }
}

/// A key that may be gone on with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verified {
    pub(crate) trust: Trust,
    /// Whether the host may tell its other keys: the user's own files or the user vouch for this one.
    pub(crate) learn: bool,
}

pub(crate) struct Check<'a> {
    pub(crate) settings: &'a HostSettings,
    pub(crate) known: &'a KnownHosts,
    pub(crate) report: &'a Report,
    /// Absent when a proxy command or a jump host makes the connection.
    pub(crate) address: Option<SocketAddr>,
    /// The algorithms of host keys that the server has, as it said in the clear.
    pub(crate) theirs: Vec<String>,
    /// The user is being asked.
    pub(crate) is_asking: AtomicBool,
}

/// Reads the files, which may be large or on a slow disk, and asks `KnownHostsCommand` which keys it
/// will know.
pub(crate) async fn load(settings: &HostSettings) -> Result<KnownHosts, Failure> {
    let own = settings.clone();
    let mut known = spawn_blocking(move || KnownHosts::load(&own))
        .await
        .unwrap_or_default();
    command::ask(settings, &mut known, Purpose::Order).await?;
    Ok(known)
}

impl Check<'_> {
    /// Decides, asks the user if there is something to ask, and records an accepted key.
    pub(crate) async fn verify(&self, presented: &ServerKey) -> Result<Verified, Failure> {
        self.report.stage(Stage::HostKey).await;
        let rules = &self.settings.host_keys;
        if let Some(why) = self.known.unknown_revocations() {
            return Err(Failure::Config(why.to_owned()));
        }
        let key = match presented {
            ServerKey::Plain(key) => key.clone(),
            ServerKey::Certified(certificate) => PublicKey::from(certificate.public_key().clone()),
        };
        if is_short_rsa(&key, rules.required_rsa_size) {
            return Err(Failure::HostKeyTooShort {
                target: self.target(),
                bits: rules.required_rsa_size,
            });
        }
        let local = self.address.is_some_and(|it| it.ip().is_loopback());
        if rules.trust_localhost && local && self.settings.host_key_alias.is_none() {
            // As in OpenSSH, what `RevokedHostKeys` names is trusted nowhere.
            let certificate = match presented {
                ServerKey::Plain(_) => None,
                ServerKey::Certified(it) => Some(&**it),
            };
            if let Some((file, line)) = self.known.revoked_by_file(&key, certificate) {
                return Err(self.revoked(&key, file, line));
            }
            let trust = Trust::Full;
            return Ok(Verified { trust, learn: false });
        }
        let mut known = self.known.clone();
        command::ask(self.settings, &mut known, Purpose::HostName(&key)).await?;
        let verdict = match presented {
            ServerKey::Plain(key) => known.check(key),
            ServerKey::Certified(certificate) => {
                let alias = self.settings.host_key_alias.as_ref();
                let name = alias.unwrap_or(&self.settings.host_name);
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                match known.check_certificate(certificate, name, now.as_secs()) {
                    Ok(verdict) => verdict,
                    Err(why) => self.without_certificate(&known, certificate, &key, why).await?,
                }
            }
        };
        let verified = match verdict {
            Verdict::Known { file, .. } => {
                let users = self.settings.user_known_hosts_files.contains(&file);
                Verified {
                    trust: Trust::Full,
                    learn: users && matches!(presented, ServerKey::Plain(_)),
                }
            }
            Verdict::Revoked { file, line } => return Err(self.revoked(&key, file, line)),
            // The server has a known one of another type, which is just not ours to verify.
            Verdict::Changed { known } if self.is_only_beyond(&key, &known) => {
                self.decide(&key, &known).await?
            }
            Verdict::Changed { known } => self.changed(&key, &known).await?,
            Verdict::Unknown => self.decide(&key, &[]).await?,
        };
        self.check_address(&key, verified).await
    }

    /// A certificate that proves nothing leaves the key, which may be known by itself, as in OpenSSH. It is asked about
    /// when a stranger has signed the certificate; one of a trusted authority that is wrong is no reason to trust.
    async fn without_certificate(
        &self,
        known: &KnownHosts,
        certificate: &Certificate,
        key: &PublicKey,
        why: &str,
    ) -> Result<Verdict, Failure> {
        let verdict = known.check(key);
        if matches!(verdict, Verdict::Unknown) && known.trusts(certificate) {
            return Err(self.unknown(key, why));
        }
        let text = format!("{}: {why}; its key counts by itself", self.target());
        self.report.notice(text).await;
        Ok(verdict)
    }

    fn revoked(&self, key: &PublicKey, file: PathBuf, line: Option<usize>) -> Failure {
        Failure::HostKeyRevoked {
            target: self.target(),
            key_type: key_type(&key.algorithm()),
            fingerprint: fingerprint(key),
            file,
            line,
        }
    }

    async fn changed(&self, key: &PublicKey, known: &[Known]) -> Result<Verified, Failure> {
        let failure = Failure::HostKeyChanged {
            target: self.target(),
            key_type: key_type(&key.algorithm()),
            fingerprint: fingerprint(key),
            known: known.iter().map(described).collect(),
            entry: self.known.entry.clone(),
        };
        if self.settings.strict_host_key_checking != StrictHostKeyChecking::Off || self.must_forward() {
            return Err(failure);
        }
        let forwards = self.forwards();
        let without = if forwards {
            "passwords and forwardings"
        } else {
            "passwords"
        };
        let text = format!("{failure}; StrictHostKeyChecking is off: going on without {without}");
        self.report.notice(text).await;
        Ok(Verified {
            trust: Trust::NoPasswords,
            learn: false,
        })
    }

    fn forwards(&self) -> bool {
        let Forwarding { list, agent, .. } = &self.settings.forwarding;
        agent.is_some() || !list.is_empty()
    }

    /// Whether the connection is of no use without what a changed key takes from it. OpenSSH counts the passwords
    /// among that, too.
    fn must_forward(&self) -> bool {
        let settings = self.settings;
        let types = settings.password_authentication || settings.kbd_interactive_authentication;
        settings.forwarding.exit_on_failure && (types || self.forwards())
    }

    /// Whether the host is known by keys of other types than this one, and has one of those that we cannot verify.
    fn is_only_beyond(&self, key: &PublicKey, known: &[Known]) -> bool {
        let is_strict = self.settings.strict_host_key_checking != StrictHostKeyChecking::Off;
        let is_other = |it: &Known| it.key.algorithm() != key.algorithm();
        is_strict && known.iter().all(is_other) && !self.vouched_beyond().is_empty()
    }

    /// What the server has beyond what we can verify, and `known_hosts` vouches for.
    fn vouched_beyond(&self) -> Vec<&'static str> {
        let mut beyond = algorithms::beyond(self.settings.host_key_algorithms.as_deref(), &self.theirs);
        beyond.retain(|it| self.known.vouching(it).next().is_some());
        beyond
    }

    async fn decide(&self, key: &PublicKey, others: &[Known]) -> Result<Verified, Failure> {
        let strictness = self.settings.strict_host_key_checking;
        let beyond = self.vouched_beyond();
        let leaves = self.settings.host_keys.leave_beyond || self.settings.batch_mode;
        if !beyond.is_empty()
            && (strictness == StrictHostKeyChecking::Yes
                || strictness != StrictHostKeyChecking::Off && leaves)
        {
            return Err(self.beyond(key, beyond));
        }
        let ask = match strictness {
            StrictHostKeyChecking::Yes => {
                return Err(self.unknown(key, "StrictHostKeyChecking is yes"));
            }
            // A host that something vouches for is not new, and an attacker who has no known key can show any other type.
            StrictHostKeyChecking::AcceptNew => !beyond.is_empty(),
            StrictHostKeyChecking::Off => false,
            StrictHostKeyChecking::Ask => true,
        };
        if ask {
            let authorities = beyond.iter().flat_map(|it| self.known.vouching(it));
            let authorities = authorities.filter(|it| it.is_authority());
            self.ask(key, others.iter().chain(authorities).map(described).collect())
                .await?;
        }
        let recorded = self.record(key).await;
        if !ask && let Some(file) = recorded {
            let (kind, print) = (key_type(&key.algorithm()), fingerprint(key));
            let text = format!(
                "recorded the new host key of {} in {}: {kind} {print}",
                self.target(),
                file.display()
            );
            self.report.notice(text).await;
        }
        Ok(Verified {
            trust: Trust::Full,
            learn: ask,
        })
    }

    async fn ask(&self, key: &PublicKey, known: Vec<KnownKey>) -> Result<(), Failure> {
        if self.settings.batch_mode {
            return Err(self.unknown(key, "BatchMode asks nobody"));
        }
        let algorithm = key.algorithm();
        let art = key
            .fingerprint(HashAlg::Sha256)
            .to_randomart(&format!("[{}]", key_type(&algorithm)));
        let question = Question::HostKey {
            host: Hop::from(self.settings),
            key_type: key_type(&algorithm),
            fingerprint: fingerprint(key),
            randomart: art,
            known_hosts_file: self.file(),
            known,
        };
        self.is_asking.store(true, Ordering::Relaxed);
        let answer = self.report.ask(question).await;
        self.is_asking.store(false, Ordering::Relaxed);
        match answer {
            Answer::Accept => Ok(()),
            _ => Err(self.unknown(key, "not accepted")),
        }
    }

    /// A key that cannot be recorded is asked for again next time: worth a notice, no failure.
    async fn record(&self, key: &PublicKey) -> Option<PathBuf> {
        self.record_as(&self.known.entry, key).await
    }

    async fn record_as(&self, entry: &str, key: &PublicKey) -> Option<PathBuf> {
        let file = self.file()?;
        let (entry, key, hashed) = (entry.to_owned(), key.clone(), self.settings.hash_known_hosts);
        let added =
            spawn_blocking(move || known_hosts::add(&file, &entry, &key, hashed).map(|()| file)).await;
        match added {
            Ok(Ok(file)) => Some(file),
            Ok(Err(error)) => {
                self.report.notice(error.to_string()).await;
                None
            }
            Err(_) => None,
        }
    }

    fn file(&self) -> Option<PathBuf> {
        let first = self.settings.user_known_hosts_files.first()?;
        // The usual way to say "nowhere".
        (first.as_os_str() != "/dev/null").then(|| first.clone())
    }

    fn unknown(&self, key: &PublicKey, why: &str) -> Failure {
        Failure::HostKeyUnknown {
            target: self.target(),
            key_type: key_type(&key.algorithm()),
            fingerprint: fingerprint(key),
            why: why.to_owned(),
        }
    }

    fn beyond(&self, key: &PublicKey, algorithms: Vec<&'static str>) -> Failure {
        let known = algorithms.iter().flat_map(|it| self.known.vouching(it));
        Failure::HostKeyBeyond {
            target: self.target(),
            key_type: key_type(&key.algorithm()),
            fingerprint: fingerprint(key),
            known: known.map(described).collect(),
            algorithms,
        }
    }

    fn target(&self) -> String {
        Hop::from(self.settings).to_string()
    }
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Whether it is an RSA key of fewer bits than `least`.
pub(crate) fn is_short_rsa(key: &PublicKey, least: u32) -> bool {
    key.key_data().rsa().is_some_and(|it| it.key_size() < least)
}

fn described(known: &Known) -> KnownKey {
    KnownKey {
        file: known.file.clone(),
        line: known.line,
        key_type: key_type(&known.key.algorithm()),
        fingerprint: fingerprint(&known.key),
    }
}

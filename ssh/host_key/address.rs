//! `CheckHostIP`: a known host at an address that is known by another key.

use std::net::SocketAddr;

use russh::keys::PublicKey;

use super::{
    Check, Verified,
    command::{self, Purpose},
    described, fingerprint,
};
use crate::{
    config::settings::StrictHostKeyChecking,
    error::Failure,
    known_hosts::{KnownHosts, Verdict, entry_name, key_type},
};

impl Check<'_> {
    /// The entry of the address, if the configuration wants it checked. As in OpenSSH, an alias, a name
    /// that is the address itself, a loopback address and a connection that others make are not.
    fn address_entry(&self) -> Option<String> {
        let address: SocketAddr = self.address?;
        let ip = address.ip().to_string();
        let settings = self.settings;
        let checked = settings.host_keys.check_ip
            && settings.host_key_alias.is_none()
            && !address.ip().is_loopback()
            && settings.host_name != ip;
        checked.then(|| entry_name(&ip, settings.port))
    }

    /// Asks about the address of a host whose name is known by `key`.
    pub(super) async fn check_address(
        &self,
        key: &PublicKey,
        verified: Verified,
    ) -> Result<Verified, Failure> {
        let Some(entry) = self.address_entry() else {
            return Ok(verified);
        };
        let mut known = self.known.clone();
        let mut verdict = known.check_address(&entry, key);
        if let Verdict::Unknown = verdict {
            known = KnownHosts::of(&entry);
            command::ask(self.settings, &mut known, Purpose::Address(&entry, key)).await?;
            verdict = known.check(key);
        }
        match verdict {
            Verdict::Known { .. } => Ok(verified),
            Verdict::Unknown => {
                if let Some(file) = self.record_as(&entry, key).await {
                    let text = format!("recorded the host key also for {entry} in {}", file.display());
                    self.report.notice(text).await;
                }
                Ok(verified)
            }
            Verdict::Revoked { file, line } => Err(self.revoked(key, file, line)),
            Verdict::Changed { known } => {
                let failure = Failure::HostKeyChanged {
                    target: format!("{} at {entry}", self.target()),
                    key_type: key_type(&key.algorithm()),
                    fingerprint: fingerprint(key),
                    known: known.iter().map(described).collect(),
                    entry,
                };
                match self.settings.strict_host_key_checking {
                    StrictHostKeyChecking::Yes | StrictHostKeyChecking::AcceptNew => Err(failure),
                    StrictHostKeyChecking::Ask => {
                        self.report.notice(format!("CheckHostIP: {failure}")).await;
                        self.ask(key, Vec::new()).await?;
                        Ok(verified)
                    }
                    StrictHostKeyChecking::Off => {
                        // As in OpenSSH: the host is known by its name, and only its address by another key.
                        self.report.notice(format!("CheckHostIP: {failure}")).await;
                        let learn = false;
                        Ok(Verified { learn, ..verified })
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use russh::keys::{Algorithm, PrivateKey, PublicKey, key::safe_rng};
    use tokio::sync::mpsc;

    use super::{Check, KnownHosts, StrictHostKeyChecking, Verified};
    use crate::{
        ask::Report, client::ServerKey, config::settings::HostSettings, error::Failure, event::Event,
        host_key::Trust,
    };

    fn key() -> PublicKey {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        key.public_key().clone()
    }

    /// The verdict about `key` of `box` at 192.0.2.7, the file afterwards, and the notices.
    async fn verify(
        lines: &[(&str, &PublicKey)],
        strict: StrictHostKeyChecking,
        key: &PublicKey,
    ) -> (Result<Verified, Failure>, String, usize) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let line = |it: &(&str, &PublicKey)| format!("{} {}\n", it.0, it.1.to_openssh().unwrap());
        fs::write(&file, lines.iter().map(line).collect::<String>()).unwrap();
        let mut settings = HostSettings::plain("box", "me", 22);
        settings.host_keys.check_ip = true;
        settings.strict_host_key_checking = strict;
        settings.user_known_hosts_files = vec![file.clone()];
        let known = KnownHosts::load(&settings);
        let (events, mut heard) = mpsc::channel(16);
        let check = Check {
            settings: &settings,
            known: &known,
            report: &Report::new(0, events),
            address: Some("192.0.2.7:22".parse().unwrap()),
            theirs: Vec::new(),
            is_asking: std::sync::atomic::AtomicBool::default(),
        };
        let verified = check.verify(&ServerKey::Plain(key.clone())).await;
        let mut notices = 0;
        while let Ok(event) = heard.try_recv() {
            notices += usize::from(matches!(event, Event::Notice { .. }));
        }
        (verified, fs::read_to_string(&file).unwrap(), notices)
    }

    #[tokio::test]
    async fn the_address_of_a_known_host_is_recorded_and_another_key_there_is_refused() {
        use StrictHostKeyChecking::{Off, Yes};
        let (own, other) = (key(), key());
        let (verified, file, _) = verify(&[("box", &own)], Yes, &own).await;
        assert!(
            verified.is_ok() && file.contains("192.0.2.7 ssh-ed25519"),
            "{file}"
        );
        let both = [("box,192.0.2.7", &own)];
        let (verified, file, notices) = verify(&both, Yes, &own).await;
        assert!(verified.is_ok() && notices == 0 && file.lines().count() == 1);
        let spoofed = [("box", &own), ("192.0.2.7", &other)];
        let (verified, _, _) = verify(&spoofed, Yes, &own).await;
        assert!(matches!(verified, Err(Failure::HostKeyChanged { entry, .. }) if entry == "192.0.2.7"));
        let (verified, _, notices) = verify(&spoofed, Off, &own).await;
        assert_eq!((verified.unwrap().trust, notices), (Trust::Full, 1));
    }
}

//! `UpdateHostKeys`: a known host tells its other keys and proves that it has them (OpenSSH's
//! `PROTOCOL`, 2.5: `hostkeys-00@openssh.com`, `hostkeys-prove-00@openssh.com`).

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use russh::{
    client::Handle,
    keys::{Algorithm, PublicKey},
};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

use crate::{
    algorithms,
    ask::WeakReport,
    client::Client,
    config::settings::{HostSettings, UpdateHostKeys},
    event::{Answer, Hop, HostKey, Question},
    known_hosts::{self, KnownHosts, OwnNames, Update, Verdict},
    limits,
};

/// Updates that the user refused: they are not asked about again with every connection of this process.
pub(crate) type Declined = Arc<Mutex<BTreeSet<String>>>;

/// What an update needs when the session runs.
pub(crate) struct Updater {
    pub(crate) announced: mpsc::Receiver<Vec<PublicKey>>,
    pub(crate) known: KnownHosts,
    pub(crate) report: WeakReport,
    host: Hop,
    asks: bool,
    batch_mode: bool,
    declined: Declined,
    files: Vec<PathBuf>,
    hashed: bool,
    required_rsa_size: u32,
    own_names: OwnNames,
}

impl Updater {
    pub(crate) fn new(
        settings: &HostSettings,
        known: KnownHosts,
        announced: mpsc::Receiver<Vec<PublicKey>>,
        report: WeakReport,
        declined: &Declined,
    ) -> Updater {
        Updater {
            announced,
            known,
            report,
            host: Hop::from(settings),
            asks: settings.host_keys.update == UpdateHostKeys::Ask,
            batch_mode: settings.batch_mode,
            declined: Arc::clone(declined),
            files: settings.user_known_hosts_files.clone(),
            hashed: settings.hash_known_hosts,
            required_rsa_size: settings.host_keys.required_rsa_size,
            own_names: match settings.host_keys.check_ip {
                true => OwnNames::AndAddress,
                false => OwnNames::One,
            },
        }
    }

    /// Waits for the announcement, which comes at most once, after the login.
    ///
    /// A session does not depend on it: what goes wrong is a notice, if anybody still listens.
    pub(crate) async fn run(mut self, session: Weak<Handle<Client>>) {
        let Some(announced) = self.announced.recv().await else {
            return;
        };
        let announced: Vec<PublicKey> = announced.into_iter().filter(|it| self.usable(it)).collect();
        if announced.is_empty() {
            return;
        }
        let (files, entry) = (self.files.clone(), self.known.entry.clone());
        let (keys, names) = (announced.clone(), self.own_names);
        let compared = spawn_blocking(move || Update::of(&files, &entry, &keys, names)).await;
        let Some(update) = compared.ok().filter(|it| !it.is_empty()) else {
            return;
        };
        let Some(handle) = session.upgrade() else { return };
        if !update.new.is_empty() {
            let proved = timeout(limits::AUTH_STEP, handle.hostkeys_prove(update.new.clone())).await;
            if !matches!(proved, Ok(Ok(()))) {
                self.report.notice(
                    "UpdateHostKeys: the server does not prove that it has the keys it announced".to_owned(),
                );
                return;
            }
        }
        drop(handle);
        if self.asks && !self.may(&update).await {
            return;
        }
        let text = format!(
            "UpdateHostKeys: {} new and {} old keys of {}",
            update.new.len(),
            update.gone.len(),
            self.known.entry
        );
        let (files, entry, hashed) = (self.files, self.known.entry, self.hashed);
        let done = spawn_blocking(move || known_hosts::replace(&files, &entry, &update, hashed)).await;
        match done {
            Ok(Ok(())) => self.report.notice(text),
            Ok(Err(error)) => self.report.notice(format!("UpdateHostKeys: {error}")),
            Err(_) => {}
        }
    }

    /// Asks the user, once for each set of changes. The session goes on meanwhile.
    async fn may(&self, update: &Update) -> bool {
        let keys = |keys: &[PublicKey]| keys.iter().map(described).collect::<Vec<HostKey>>();
        let (added, removed) = (keys(&update.new), keys(&update.gone));
        let change = format!("{} {added:?} {removed:?}", self.known.entry);
        let is_declined = || {
            self.declined
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&change)
        };
        let Some(known_hosts_file) = self.files.first().cloned().filter(|_| !is_declined()) else {
            return false;
        };
        let answer = match self.batch_mode {
            true => None,
            false => {
                let question = Question::UpdateHostKeys {
                    host: self.host.clone(),
                    added,
                    removed,
                    known_hosts_file,
                };
                self.report.ask(question).await
            }
        };
        let why = match answer {
            Some(Answer::Accept) => return true,
            Some(_) => "not accepted",
            None if self.batch_mode => "BatchMode asks nobody",
            None => "nobody answered",
        };
        let mut declined = self.declined.lock().unwrap_or_else(PoisonError::into_inner);
        if limits::DECLINED_UPDATES <= declined.len() {
            declined.clear();
        }
        declined.insert(change);
        drop(declined);
        self.report.notice(format!(
            "UpdateHostKeys ask: nothing is changed for {}: {why}",
            self.known.entry
        ));
        false
    }

    /// Keys that could be used to check this host. Revoked ones are not learnt again.
    fn usable(&self, key: &PublicKey) -> bool {
        let algorithm = match key.algorithm() {
            Algorithm::Rsa { .. } => "rsa-sha2-512".to_owned(),
            other => other.as_str().to_owned(),
        };
        algorithms::is_known(&algorithm)
            && !super::is_short_rsa(key, self.required_rsa_size)
            && !matches!(self.known.check(key), Verdict::Revoked { .. })
    }
}

fn described(key: &PublicKey) -> HostKey {
    HostKey {
        key_type: known_hosts::key_type(&key.algorithm()),
        fingerprint: super::fingerprint(key),
    }
}

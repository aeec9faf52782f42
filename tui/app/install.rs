//! The offer to put our own server on a host that has none.

use std::time::Instant;

use codex_hosts::{FailureKind, HostId, Status};

use super::App;
use crate::{effect::Effect, event::Installing};

/// What can be put on hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The size of the program.
    pub bytes: u64,
    /// Where it goes, as people write it: a path on the host.
    pub directory: String,
    /// What may go wrong with it, if anything.
    pub warning: Option<String>,
}

/// A program on its way to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    from: u64,
    sent: u64,
    total: u64,
    since: Instant,
}

impl Upload {
    /// The part that is there, and what gets there in a second.
    pub fn text(&self, now: Instant) -> String {
        let percent = self.sent * 100 / self.total.max(1);
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        if seconds <= 0.0 || self.sent == self.from {
            return format!("installing {percent} %");
        }
        let rate = rate_of((self.sent - self.from) as f64 / seconds);
        format!("installing {percent} %, {rate}")
    }
}

/// In units of 10^6 bytes.
pub fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}

/// Bytes in a second, in a unit in which it is not nothing.
fn rate_of(bytes: f64) -> String {
    match bytes {
        1e5.. => format!("{:.1} MB/s", bytes / 1e6),
        _ => format!("{:.1} kB/s", bytes / 1e3),
    }
}

impl App {
    /// What the user can have put on a host, where that would help.
    pub fn offer_for(&self, id: &HostId) -> Option<&Offer> {
        let host = self.hosts.get(id)?;
        let is_missing = matches!(&host.status, Status::Failed(it) if it.kind == FailureKind::NotInstalled);
        self.offer.as_ref().filter(|_| is_missing)
    }

    /// Installs on the host under the cursor. `asked` is the host that the user was asked about just before.
    pub(super) fn install_chosen(&mut self, asked: Option<HostId>, effects: &mut Vec<Effect>) {
        let Some(id) = self.picker.current().map(|it| it.id.clone()) else {
            return;
        };
        if self.offer_for(&id).is_none() {
            self.toast(match self.offer {
                Some(_) => format!("{id}: `i` is for a connected host that turned out to have no codex"),
                None => "this program cannot be put on hosts".to_owned(),
            });
        } else if asked.as_ref() == Some(&id) {
            effects.push(Effect::Install(id));
        } else {
            self.picker.installs = Some(id);
        }
    }

    pub(super) fn handle_installing(&mut self, id: &HostId, event: Installing) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(id) else {
            return;
        };
        match (event, &mut host.upload) {
            (Installing::Begun { there, total }, upload) => {
                *upload = Some(Upload {
                    from: there,
                    sent: there,
                    total,
                    since: now,
                });
            }
            (Installing::Sent { sent, .. }, Some(upload)) => upload.sent = sent,
            (Installing::Sent { .. }, None) => (),
            (Installing::Installed, upload) => *upload = None,
        }
    }
}

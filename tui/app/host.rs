//! A host as the interface knows it.

use std::collections::VecDeque;

use codex_hosts::{Failure, Forwarded, HostId, Phase, Status};
use codex_protocol::v2;

use super::{composer::History, install::Upload};

/// Lines of a host's notices that are kept.
pub const NOTICES_MAX: usize = 100;

pub struct HostEntry {
    pub id: HostId,
    /// `user@name:port`, where it is known.
    pub address: Option<String>,
    pub status: Status,
    /// Why the attempts before the one under way failed: what it says is there as long as it may be the reason.
    last_failure: Option<Failure>,
    /// From the handshake of this connection.
    pub server: Option<v2::InitializeResponse>,
    /// The directory that new threads get, as asked for on the command line or by the last `/new`.
    pub cwd: Option<String>,
    pub list: ListState,
    pub notices: VecDeque<String>,
    pub history: History,
    /// Whether it was ready once: what follows is a reconnection.
    pub was_ready: bool,
    /// Whether nobody is logged in at the model's provider although that is needed.
    pub needs_login: bool,
    /// Our own server, on its way there.
    pub upload: Option<Upload>,
    /// The forwardings of this connection, where they were asked for.
    pub forwards: Vec<Forwarded>,
}

/// How much of the host's list of threads is known.
#[derive(Clone, Debug, PartialEq)]
pub enum ListState {
    Unknown,
    Loading,
    Complete,
    More { cursor: String },
}

impl HostEntry {
    pub fn new(id: HostId) -> HostEntry {
        HostEntry {
            id,
            address: None,
            status: Status::Offline,
            last_failure: None,
            server: None,
            cwd: None,
            list: ListState::Unknown,
            notices: VecDeque::new(),
            history: History::default(),
            was_ready: false,
            needs_login: false,
            upload: None,
            forwards: Vec::new(),
        }
    }

    pub(super) fn set_status(&mut self, status: Status) {
        match &status {
            Status::Waiting { failure, .. } => self.last_failure = Some(failure.clone()),
            Status::Working { retry: 1.., .. } => (),
            Status::Working { .. } | Status::Offline | Status::Ready { .. } | Status::Failed(_) => {
                self.last_failure = None;
            }
        }
        self.status = status;
    }

    /// What stands, or stood until an attempt that is under way, between the user and the host.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.status {
            Status::Waiting { failure, .. } | Status::Failed(failure) => Some(failure),
            Status::Working { .. } => self.last_failure.as_ref(),
            Status::Offline | Status::Ready { .. } => None,
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.status, Status::Ready { .. })
    }

    pub fn notice(&mut self, text: String) {
        self.notices.push_back(text);
        if NOTICES_MAX < self.notices.len() {
            self.notices.pop_front();
        }
    }
}

/// The word for a status.
pub fn status_word(status: &Status) -> &'static str {
    match status {
        Status::Offline => "not connected",
        Status::Working { asking: true, .. } => "needs you",
        Status::Working {
            phase: Phase::Resolving,
            ..
        } => "resolving",
        Status::Working { phase, .. } => phase.label(),
        Status::Ready { .. } => "ready",
        Status::Waiting { failure, .. } => failure.kind.code(),
        Status::Failed(_) => "failed",
    }
}

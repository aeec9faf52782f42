//! A connection to a host that the user's own `ssh` holds open (`ControlMaster`): it may have cost a code or a touch,
//! and serves without another one.

use std::{process::Stdio, time::Duration};

use codex_hosts::HostId;
use codex_ssh::{Route, config::Query};
use tokio::{process::Command, time::timeout};

use super::System;
use crate::{limits, run::FleetConfig, transport::Transport};

/// Where a connection to a host may be borrowed.
pub(crate) struct Lender<'a> {
    pub(crate) id: &'a HostId,
    pub(crate) config: &'a FleetConfig,
    pub(crate) route: &'a Route,
    pub(crate) transport: Transport,
}

impl Lender<'_> {
    /// Whether there is one that does what is wanted: it carries no forwardings of ours.
    pub(crate) async fn lends(&self) -> bool {
        let is_wanted = self.transport == Transport::Auto && !self.config.forward.is_wanted(self.id);
        let Some(query) = Query::parse(&self.id.0).ok().filter(|_| is_wanted) else {
            return false;
        };
        let found = self
            .config
            .system
            .master(&query, self.route, limits::MASTER_PATIENCE);
        found.await == Master::Lends
    }
}

/// What is at the place where the user's `ssh` may hold a connection open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Master {
    /// Nothing that can be used, and nothing that stands in the way.
    None,
    /// A connection that carries commands.
    Lends,
    /// Something that takes a command and never answers: the client would wait for it without an end.
    Stuck,
}

impl System {
    /// Whether such a connection stands and carries commands: after a sleep of this machine its socket may still
    /// answer while its host does not, and a process that is stopped has its socket still.
    ///
    /// `patience` is for the command: its login shell may take its time.
    pub(super) async fn master(&self, query: &Query, route: &Route, patience: Duration) -> Master {
        if route.hops.last().is_none_or(|it| !it.beyond.control_path) {
            return Master::None;
        }
        // It asks the master alone, not the host.
        let mut check = self.destination(query);
        check.extend(["-O", "check", "--", &query.host].map(str::to_owned));
        // Should the master end between the two, this must neither ask nor become one.
        let mut carry = self.destination(query);
        let options = [
            "-T",
            "-oControlMaster=no",
            "-oBatchMode=yes",
            "-oRemoteCommand=none",
        ];
        carry.extend(options.map(str::to_owned));
        carry.extend(["-oClearAllForwardings=yes", "-oPermitLocalCommand=no", "--"].map(str::to_owned));
        carry.extend([query.host.clone(), "exit 0".to_owned()]);
        for (words, patience) in [(check, limits::MASTER_PATIENCE), (carry, patience)] {
            match succeeds(&words, patience).await {
                Some(true) => (),
                Some(false) => return Master::None,
                None => return Master::Stuck,
            }
        }
        Master::Lends
    }
}

/// `None`: it does not end in time.
async fn succeeds(words: &[String], patience: Duration) -> Option<bool> {
    let status = Command::new("ssh")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let ended = timeout(patience, status).await.ok()?;
    Some(ended.is_ok_and(|it| it.success()))
}

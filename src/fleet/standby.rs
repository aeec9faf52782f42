//! A session that only its user could make again outlives what was started on it.
//!
//! When a server ends, or is missing and then put there, the next attempt would log in once more. Where that is a code
//! that holds once, or the touch of a security key, the connection that stands is used again. Every other login is made
//! anew: it costs the user nothing, and what was changed on the host since (groups, limits, its sshd's configuration)
//! counts.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use codex_hosts::{Failure, FailureKind};
use codex_ssh::{Route, Session};

use crate::limits;

/// The session of one host that waits for its next attempt.
#[derive(Clone, Default)]
pub(crate) struct Standby(Arc<Mutex<Option<Waiting>>>);

struct Waiting {
    route: Route,
    session: Arc<Session>,
    until: Instant,
}

impl Standby {
    /// Keeps the session after this failure for [`limits::STANDBY_MAX`], if the next attempt should have it.
    pub(crate) fn keep_after(&self, failure: &Failure, route: &Route, session: Arc<Session>) {
        let goes_on = matches!(
            failure.kind,
            FailureKind::ServerExited | FailureKind::NotInstalled
        );
        if goes_on && session.is_dear() {
            *self.waiting() = Some(Waiting {
                route: route.clone(),
                session,
                until: Instant::now() + limits::STANDBY_MAX,
            });
        }
    }

    /// The session that waits, if it leads where `route` does and answers within `patience`. It is gone either way.
    pub(crate) async fn take(&self, route: &Route, patience: Duration) -> Option<Arc<Session>> {
        let waiting = self.waiting().take()?;
        let is_same = waiting.route == *route;
        (is_same && waiting.session.ping(patience).await.is_ok()).then_some(waiting.session)
    }

    /// Ends the session that waits.
    pub(crate) fn clear(&self) {
        self.waiting().take();
    }

    /// When it is to be cleared.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting().as_ref().map(|it| it.until)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

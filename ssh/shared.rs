//! Sessions of jump hosts, shared by the hosts behind them.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};

use tokio::runtime::Handle;

use crate::{config::settings::HostSettings, error::ConnectError, limits, session::Session};

/// The session of a jump host, for one host behind it. One that only the user could make again stays for a while when
/// the last of them is gone: a host that is lost comes back to it, and nobody is asked again.
pub(crate) struct Lease(Arc<Session>);

impl Lease {
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Outside of a runtime everything ends.
        if self.0.is_dear()
            && let Ok(runtime) = Handle::try_current()
        {
            let session = Arc::clone(&self.0);
            self.0.spawn_on(&runtime, async move {
                tokio::time::sleep(limits::SHARED_LINGER).await;
                drop(session);
            });
        }
    }
}

/// One slot for each way to a jump host that is in use.
#[derive(Default)]
pub(crate) struct Shared {
    slots: Mutex<Vec<(Vec<HostSettings>, Arc<Slot>)>>,
}

/// The session at the end of one way. Locked while it is being made, so that hosts behind the same
/// jump host log in there once.
#[derive(Default)]
pub(crate) struct Slot {
    held: tokio::sync::Mutex<Held>,
    /// Attempts that have ended.
    attempts: AtomicU64,
}

#[derive(Default)]
struct Held {
    /// It ends with the last host behind it, see [`Lease`].
    session: Weak<Session>,
    failed: Option<ConnectError>,
}

impl Shared {
    /// The slot for these hops, which have to be the same in every setting.
    pub(crate) fn slot(&self, hops: &[HostSettings]) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(_, slot)| slot.is_used());
        if let Some((_, slot)) = slots.iter().find(|(known, _)| known == hops) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::default());
        slots.push((hops.to_vec(), Arc::clone(&slot)));
        slot
    }
}

impl Slot {
    fn is_used(self: &Arc<Slot>) -> bool {
        let waits = Arc::strong_count(self) > 1;
        waits
            || self
                .held
                .try_lock()
                .map_or(true, |held| held.session.strong_count() > 0)
    }

    /// The session, made by `connect` unless there is one that is usable and answers. Who waited for an attempt that
    /// failed gets the same failure: a refused login is not repeated for each host behind it.
    pub(crate) async fn get<Connecting>(
        &self,
        is_usable: impl Fn(&Session) -> bool,
        connect: impl FnOnce() -> Connecting,
    ) -> Result<Lease, ConnectError>
    where
        Connecting: Future<Output = Result<Session, ConnectError>>,
    {
        let before = self.attempts.load(Ordering::Acquire);
        let mut held = self.held.lock().await;
        // It may have gone silent since the last host used it.
        if let Some(session) = held.session.upgrade()
            && is_usable(&session)
            && !session.is_silent()
            && session.ping(limits::SHARED_PING).await.is_ok()
        {
            return Ok(Lease(session));
        }
        if self.attempts.load(Ordering::Acquire) != before
            && let Some(failed) = &held.failed
        {
            return Err(failed.clone());
        }
        // Dropped in the middle, it has not ended, and the next one who waits makes its own.
        let made = connect().await;
        self.attempts.fetch_add(1, Ordering::Release);
        match made {
            Ok(session) => {
                let session = Arc::new(session);
                held.session = Arc::downgrade(&session);
                held.failed = None;
                Ok(Lease(session))
            }
            Err(error) => {
                held.failed = Some(error.clone());
                Err(error)
            }
        }
    }
}

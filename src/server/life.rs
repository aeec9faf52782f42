//! When the server ends: first it drains, then it stops.

use std::time::Duration;

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// How long running turns may go on after the first signal.
pub(crate) const DRAIN_PATIENCE: Duration = Duration::from_secs(30);
/// How long interrupted work may take to write what must be written.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Where the server stands on its way to the end. Clones are the same life.
#[derive(Clone, Default)]
pub struct Life {
    draining: CancellationToken,
    stopping: CancellationToken,
    work: TaskTracker,
}

/// Work that the end waits for, as long as this exists.
pub struct Work(#[expect(dead_code, reason = "held for its drop")] TaskTrackerToken);

impl Life {
    /// Cancelled when nothing new shall begin.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when running work shall be interrupted and what must be kept be written.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Says that something goes on which the end shall wait for: a turn, a write.
    pub fn work(&self) -> Work {
        Work(self.work.token())
    }

    /// Lets running work end, then interrupts it. Each step has a bound; cancelling `hurry` ends the first.
    pub(crate) async fn finish(&self, drain: Duration, hurry: &CancellationToken) {
        self.draining.cancel();
        self.work.close();
        tokio::select! {
            () = self.work.wait() => (),
            () = tokio::time::sleep(drain) => (),
            () = hurry.cancelled() => (),
        }
        self.stopping.cancel();
        if tokio::time::timeout(STOP_PATIENCE, self.work.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = self.work.len(), "work did not end in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(7);

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_work_but_not_for_ever() {
        let (life, hurry) = (Life::default(), CancellationToken::new());
        let began = Instant::now();
        life.finish(DRAIN, &hurry).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing goes on");

        let (life, began) = (Life::default(), Instant::now());
        let work = life.work();
        let ends_itself = async {
            life.draining().cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert!(!life.stopping().is_cancelled());
            drop(work);
        };
        tokio::join!(life.finish(DRAIN, &hurry), ends_itself);
        assert_eq!(began.elapsed(), Duration::from_secs(3));

        let (life, began) = (Life::default(), Instant::now());
        let _stuck = life.work();
        life.finish(DRAIN, &hurry).await;
        assert_eq!(began.elapsed(), DRAIN + STOP_PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_interrupts_at_once() {
        let (life, hurry, began) = (Life::default(), CancellationToken::new(), Instant::now());
        let work = life.work();
        let interrupted = async {
            life.draining().cancelled().await;
            hurry.cancel();
            life.stopping().cancelled().await;
            drop(work);
        };
        tokio::join!(life.finish(DRAIN, &hurry), interrupted);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

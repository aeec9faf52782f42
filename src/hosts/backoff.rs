//! How long to wait before the next attempt. Pure: jitter is an input.

use std::time::Duration;

/// Exponential backoff.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The delay before retry number `retry` (from 0): doubles from `first` to `max`. `jitter` in
    /// `0.0..1.0` takes away up to half of it, so that many hosts do not come back at the same moment.
    pub fn delay(self, retry: u32, jitter: f64) -> Duration {
        let full = self
            .first
            .saturating_mul(2u32.saturating_pow(retry.min(20)))
            .min(self.max);
        full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_jitter_only_shortens() {
        let backoff = Backoff {
            first: Duration::from_millis(500),
            max: Duration::from_secs(30),
        };
        assert_eq!(backoff.delay(0, 0.0), Duration::from_millis(500));
        assert_eq!(backoff.delay(2, 0.0), Duration::from_secs(2));
        assert_eq!(backoff.delay(u32::MAX, 0.0), Duration::from_secs(30));
        assert_eq!(backoff.delay(2, 1.0), Duration::from_secs(1));
    }
}

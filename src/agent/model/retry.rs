//! How long to wait before a question is asked again.

use std::time::Duration;

/// The pause before the first retry.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// No pause that we choose ourselves is longer.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// A server that asks for a longer pause gets none: the turn fails and says how long it would have been.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// The pause before retry number `retry` (from 1): doubling, spread by a quarter either way, and never shorter than
/// what the server asked for. `jitter` is between 0 and 1.
pub fn pause(retry: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let doublings = retry.saturating_sub(1).min(16);
    let steady = PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX);
    let spread = steady.mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0));
    // Many clients that were turned away together must not come back together.
    asked.map_or(spread, |asked| {
        asked.saturating_add(PAUSE_FIRST.mul_f64(jitter.clamp(0.0, 1.0)))
    })
}

/// Reads `Retry-After` in its form of seconds (RFC 9110, 10.2.3), also with a fraction, and `retry-after-ms`.
pub(super) fn retry_after(seconds: Option<&str>, millis: Option<&str>) -> Option<Duration> {
    let number = |text: Option<&str>| {
        text?
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|it| it.is_finite() && *it >= 0.0)
    };
    let from_millis = number(millis).and_then(|it| Duration::try_from_secs_f64(it / 1000.0).ok());
    from_millis.or_else(|| number(seconds).and_then(|it| Duration::try_from_secs_f64(it).ok()))
}

/// Finds "try again in 1.5s" or "… in 300ms" in an error's text, where some servers say it and nowhere else.
pub(super) fn retry_after_in_text(text: &str) -> Option<Duration> {
    let rest = text.split_once("try again in ")?.1;
    let end = rest
        .find(|it: char| !it.is_ascii_digit() && it != '.')
        .unwrap_or(rest.len());
    let (number, unit) = rest.split_at(end);
    let number: f64 = number.trim_end_matches('.').parse().ok()?;
    let seconds = match unit.trim_start() {
        unit if unit.starts_with("ms") => number / 1000.0,
        unit if unit.starts_with('s') => number,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_respect_the_server() {
        let at = |retry| pause(retry, None, 0.5);
        assert_eq!([at(1), at(2), at(3)], [200, 400, 800].map(Duration::from_millis));
        assert_eq!(at(40), PAUSE_MAX);
        assert_eq!(pause(1, None, 0.0), Duration::from_millis(150));
        assert!(pause(1, Some(Duration::from_secs(7)), 1.0) >= Duration::from_secs(7));
    }

    #[test]
    fn the_servers_wish_is_read_where_it_is_said() {
        assert_eq!(retry_after(Some("3"), None), Some(Duration::from_secs(3)));
        assert_eq!(
            retry_after(Some("3"), Some("250")),
            Some(Duration::from_millis(250))
        );
        assert_eq!(retry_after(Some("-1"), None), None);
        assert_eq!(retry_after(Some("Wed, 21 Oct 2026 07:28:00 GMT"), None), None);
        let text = "Rate limit reached. Please try again in 1.5s. Visit us.";
        assert_eq!(retry_after_in_text(text), Some(Duration::from_millis(1500)));
        assert_eq!(
            retry_after_in_text("try again in 300ms"),
            Some(Duration::from_millis(300))
        );
        assert_eq!(retry_after_in_text("try again in a day"), None);
    }
}

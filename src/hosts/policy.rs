//! The numbers behind a connection's decisions, and how a host that was lost is looked for. Pure: the time that has
//! gone by is an input.

use std::time::Duration;

use crate::{backoff::Backoff, connection::Met};

/// Chosen by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub backoff: Backoff,
    /// How long one phase may take without a report, beyond what a [`Search`] allows. A last resort: each step has a
    /// closer limit of its own, whose error says more.
    pub phase_patience: Duration,
    /// How long a [`Probe`](crate::Action::Probe) may take.
    pub probe_patience: Duration,
    /// How often [`Recovery::Limited`](crate::Recovery::Limited) failures are retried in a row.
    pub limited_retries_max: u32,
    /// A connection that held this long ends the row of failures; one that breaks again and again right
    /// after it was made is retried ever more slowly.
    pub stable_after: Duration,
    /// For so long after a loss, or after the machine woke up, the host is expected back at any moment, and the
    /// pauses between attempts that nobody answers do not grow.
    pub eager_for: Duration,
    /// From the begin of such an attempt to the begin of the next one, at least.
    pub eager_pause: Duration,
    /// The same where a program of the user makes the connection.
    pub program_pause: Duration,
    /// The least and the most of [`Search::program`].
    pub program_min: Duration,
    pub program_max: Duration,
    /// The least and the most of [`Search::unread`].
    pub unread_min: Duration,
    pub unread_max: Duration,
    /// The least and the most of [`Search::silence`].
    pub silence_min: Duration,
    pub silence_max: Duration,
}

/// How an attempt looks for a host that was connected before and may come back at any moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// How long a connection may stand while the host's server says nothing on it. A server that is stopped finds
    /// every connection that was given up meanwhile in its queue and counts it against us (OpenSSH's
    /// `PerSourcePenalties`), so this grows with the time that the host has been away: they are few, however long
    /// that is.
    pub silence: Duration,
    /// The same for what a program of the user connects, once it has taken what it was given to carry. Whether it has
    /// reached the host with it cannot be seen, and one that has not may be waiting longer and longer between its own
    /// tries: so this is shorter.
    pub program: Duration,
    /// What such a program may have until it takes that. One that has not is still on its way, so that the host's server
    /// does not know of it; a fresh one takes its place before its pauses grow.
    pub unread: Duration,
}

/// A program may take this many times as long as the whole connection took when it was made.
const SLOWER: u32 = 3;
/// The part of the time away that a program is given.
const PART: u32 = 2;
/// The pause after an attempt that took its time: long enough for its end to be told.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

impl Search {
    /// The longest that a single step of the attempt may take because of it.
    pub(crate) fn longest(self) -> Duration {
        self.silence.max(self.program)
    }
}

impl Policy {
    /// How to look for a host that has been away for so long, and to which connecting `took` this long before.
    pub(crate) fn search(&self, away: Duration, took: Duration) -> Search {
        let usual = took.saturating_mul(SLOWER);
        let program = (away / PART).max(usual);
        // Whole seconds: people read it in the failure.
        let away = Duration::from_secs(away.as_secs() + 1);
        Search {
            silence: away.clamp(self.silence_min, self.silence_max),
            program: program.clamp(self.program_min, self.program_max),
            unread: usual.clamp(self.unread_min, self.unread_max),
        }
    }

    /// The pause after an attempt that lasted so long and did not get as far as a login, for a host that has been away
    /// for so long; `None`: it has to grow.
    pub(crate) fn eager_pause(&self, away: Duration, lasted: Duration, met: Option<Met>) -> Option<Duration> {
        let period = match met {
            _ if self.eager_for <= away => return None,
            None => self.eager_pause,
            Some(Met::Program) => self.program_pause,
            Some(Met::Server) => return None,
        };
        Some(period.saturating_sub(lasted).max(LEAST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const POLICY: Policy = Policy {
        backoff: Backoff {
            first: Duration::from_millis(500),
            max: Duration::from_secs(30),
        },
        phase_patience: Duration::from_secs(90),
        probe_patience: Duration::from_millis(1500),
        limited_retries_max: 3,
        stable_after: Duration::from_secs(60),
        eager_for: Duration::from_secs(900),
        eager_pause: Duration::from_secs(1),
        program_pause: Duration::from_secs(2),
        program_min: Duration::from_secs(5),
        program_max: Duration::from_secs(90),
        unread_min: Duration::from_secs(3),
        unread_max: Duration::from_secs(30),
        silence_min: Duration::from_secs(15),
        silence_max: Duration::from_secs(120),
    };

    #[test]
    fn a_server_that_is_stopped_for_ten_minutes_finds_few_connections_that_were_given_up() {
        let given_up = |patience: fn(Search) -> Duration| {
            let mut away = Duration::ZERO;
            let mut given_up = 0;
            while away < S(600) {
                away += patience(POLICY.search(away, S(1))) + LEAST_PAUSE;
                given_up += 1;
            }
            given_up
        };
        // OpenSSH sends a client away that has more than 15 seconds of penalty: each of these costs one.
        let own = given_up(|it| it.silence);
        assert!((3..=8).contains(&own), "{own}");
        let programs = given_up(|it| it.program);
        assert!((8..15).contains(&programs), "{programs}");
    }

    #[test]
    fn a_program_is_given_what_it_needed_before_and_never_more_than_its_limit() {
        let program = |away, took| POLICY.search(S(away), S(took)).program;
        assert_eq!(program(0, 0), S(5));
        assert_eq!(program(0, 4), S(12));
        assert_eq!(program(80, 4), S(40));
        assert_eq!(program(3600, 1), S(90));
        assert_eq!(program(0, 3600), S(90), "a question to the user was part of it");
    }

    #[test]
    fn a_program_that_is_on_its_way_is_given_no_more_because_the_host_has_been_away_for_long() {
        let unread = |away, took| POLICY.search(S(away), S(took)).unread;
        assert_eq!(unread(0, 0), S(3));
        assert_eq!(unread(600, 0), S(3));
        assert_eq!(unread(600, 4), S(12));
        assert_eq!(unread(0, 3600), S(30));
    }

    #[test]
    fn only_silence_is_answered_by_haste() {
        let pause = |away, met| POLICY.eager_pause(S(away), Duration::ZERO, met);
        assert_eq!(pause(600, None), Some(S(1)));
        assert_eq!(pause(600, Some(Met::Program)), Some(S(2)));
        assert_eq!(pause(0, Some(Met::Server)), None);
        assert_eq!(pause(900, None), None, "and not for ever");
        let half = Duration::from_millis(500);
        assert_eq!(POLICY.eager_pause(S(0), half, None), Some(half));
        assert_eq!(POLICY.eager_pause(S(0), S(10), None), Some(LEAST_PAUSE));
    }
}

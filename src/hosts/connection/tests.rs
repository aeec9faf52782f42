//! Properties of the connection's life, and its usual walk.
#![expect(clippy::disallowed_methods, reason = "tests choose where time begins")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::backoff::Backoff;

const POLICY: Policy = Policy {
    backoff: Backoff {
        first: Duration::from_millis(100),
        max: Duration::from_secs(5),
    },
    phase_patience: Duration::from_secs(10),
    probe_patience: Duration::from_millis(1500),
    limited_retries_max: 3,
    stable_after: Duration::from_secs(60),
    eager_for: Duration::from_secs(60),
    eager_pause: Duration::from_millis(1500),
    program_pause: Duration::from_secs(3),
    program_min: Duration::from_secs(5),
    program_max: Duration::from_secs(30),
    unread_min: Duration::from_secs(3),
    unread_max: Duration::from_secs(30),
    silence_min: Duration::from_secs(15),
    silence_max: Duration::from_secs(120),
};

fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        phase: None,
        message: "m".to_owned(),
        hint: None,
        stderr: None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Command(Command),
    Report { back: u64, report: Report },
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = [
        FailureKind::Unreachable,
        FailureKind::Unauthorized,
        FailureKind::ServerExited,
    ];
    let report = prop_oneof![
        4 => prop::sample::select(Phase::ALL.to_vec()).prop_map(Report::Entered),
        1 => (0u64..30_000).prop_map(|ms| Report::Allowed(Duration::from_millis(ms))),
        1 => Just(Report::Asking),
        1 => Just(Report::Answered),
        2 => Just(Report::Ready),
        1 => Just(Report::Alive),
        3 => prop::sample::select(kinds.to_vec()).prop_map(|kind| Report::Lost(failure(kind))),
    ];
    prop_oneof![
        2 => prop::sample::select(vec![Command::Connect, Command::Disconnect, Command::Wake]).prop_map(Step::Command),
        6 => (0u64..3, report).prop_map(|(back, report)| Step::Report { back, report }),
        2 => (0u64..12_000).prop_map(Step::Advance),
    ]
}

proptest! {
    #[test]
    fn never_stuck_never_two_attempts_never_resurrected(steps in prop::collection::vec(step(), 0..120)) {
        let (mut now, mut host) = (Instant::now(), HostConnection::new(POLICY));
        let mut live = BTreeSet::new();
        let mut announced = Status::Offline;
        for it in steps {
            match it {
                Step::Command(command) => host.handle_command(now, command),
                Step::Report { back, report } => {
                    let attempt = Attempt(host.attempt.0.saturating_sub(back));
                    let before = host.status();
                    host.handle_report(now, attempt, report, 0.5);
                    if attempt != host.attempt { prop_assert_eq!(before, host.status()); }
                }
                Step::Advance(ms) => { now += Duration::from_millis(ms); host.handle_timeout(now, 0.5); }
            }
            while let Some(action) = host.poll_action() {
                match action {
                    Action::Begin(attempt, _) => prop_assert!(live.insert(attempt.0)),
                    Action::Probe(attempt) => prop_assert!(live.contains(&attempt.0)),
                    Action::Abandon(attempt) => prop_assert!(live.remove(&attempt.0)),
                }
            }
            while let Some(HostEvent::StatusChanged(status)) = host.poll_event() { announced = status; }
            prop_assert_eq!(&announced, &host.status(), "the last event tells the status");
            prop_assert!(live.len() <= 1, "two attempts alive");
            match host.status() {
                Status::Working { asking, .. } => {
                    prop_assert!(live.contains(&host.attempt.0));
                    prop_assert!(asking || host.poll_timeout().is_some_and(|it| now < it), "stuck");
                }
                Status::Waiting { .. } => prop_assert!(live.is_empty() && host.poll_timeout().is_some_and(|it| now < it)),
                Status::Offline | Status::Failed(_) => prop_assert!(live.is_empty()),
                Status::Ready { .. } => prop_assert!(live.contains(&host.attempt.0)),
            }
        }
    }
}

fn drain(host: &mut HostConnection) -> Vec<Action> {
    while host.poll_event().is_some() {}
    std::iter::from_fn(|| host.poll_action()).collect()
}

fn ready(now: Instant) -> HostConnection {
    let mut host = HostConnection::new(POLICY);
    host.handle_command(now, Command::Connect);
    host.handle_report(now, Attempt(1), Report::Ready, 0.0);
    assert_eq!(drain(&mut host), [Action::Begin(Attempt(1), None)]);
    host
}

#[test]
fn a_lost_network_is_retried_without_limit_and_a_refused_login_never() {
    let (mut now, mut host) = (Instant::now(), ready(Instant::now()));
    host.handle_report(
        now,
        Attempt(1),
        Report::Lost(failure(FailureKind::Unreachable)),
        0.0,
    );
    for attempt in 2..200 {
        now += Duration::from_secs(5);
        host.handle_timeout(now, 0.0);
        let begun = drain(&mut host).pop();
        assert!(
            matches!(begun, Some(Action::Begin(Attempt(it), Some(_))) if it == attempt),
            "{begun:?}"
        );
        host.handle_report(
            now,
            Attempt(attempt),
            Report::Lost(failure(FailureKind::TimedOut)),
            0.0,
        );
    }
    now += Duration::from_secs(5);
    host.handle_timeout(now, 0.0);
    host.handle_report(
        now,
        Attempt(200),
        Report::Lost(failure(FailureKind::Unauthorized)),
        0.0,
    );
    assert_eq!(host.status(), Status::Failed(failure(FailureKind::Unauthorized)));
}

/// The pauses after a loss, each with its time since then, when attempts fail at once in this phase and have met this.
fn pauses(
    host: &mut HostConnection,
    lost: Instant,
    phase: Phase,
    met: Option<Met>,
) -> Vec<(Duration, Duration)> {
    let (mut now, mut pauses) = (lost, Vec::new());
    while now - lost < 2 * POLICY.eager_for {
        let until = host.poll_timeout().unwrap();
        pauses.push((now - lost, until - now));
        now = until;
        host.handle_timeout(now, 0.0);
        let attempt = host.attempt();
        if let Some(met) = met {
            host.handle_report(now, attempt, Report::Met(met), 0.0);
        }
        let failed = Failure {
            phase: Some(phase),
            ..failure(FailureKind::TimedOut)
        };
        host.handle_report(now, attempt, Report::Lost(failed), 0.0);
    }
    // The first one follows the loss itself.
    pauses.split_off(1)
}

fn lost(now: Instant) -> HostConnection {
    let mut host = ready(now);
    host.handle_report(now, Attempt(1), Report::Lost(failure(FailureKind::TimedOut)), 0.0);
    host
}

#[test]
fn a_host_that_was_there_is_looked_for_eagerly_and_then_ever_more_slowly() {
    let now = Instant::now();
    let seen = pauses(&mut lost(now), now, Phase::Connecting, None);
    let (eager, later): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(since, _)| *since < POLICY.eager_for);
    assert!(eager.iter().all(|(_, it)| *it == POLICY.eager_pause), "{eager:?}");
    let later: Vec<u128> = later.iter().map(|(_, it)| it.as_millis()).collect();
    assert_eq!(
        later[..6],
        [200, 400, 800, 1600, 3200, 5000],
        "the first step was the loss"
    );
    assert!(later[6..].iter().all(|it| *it == 5000), "{later:?}");
}

#[test]
fn who_answers_is_not_asked_again_in_a_hurry() {
    let now = Instant::now();
    let slow = |pauses: &[(Duration, Duration)]| {
        let pauses: Vec<u128> = pauses.iter().map(|(_, it)| it.as_millis()).collect();
        assert_eq!(pauses[..6], [200, 400, 800, 1600, 3200, 5000]);
    };
    slow(&pauses(&mut lost(now), now, Phase::Connecting, Some(Met::Server)));
    // What came as far as a login.
    slow(&pauses(&mut lost(now), now, Phase::Launching, None));
    let programs = pauses(&mut lost(now), now, Phase::Connecting, Some(Met::Program));
    let eager = programs.iter().filter(|(since, _)| *since < POLICY.eager_for);
    assert!(eager.clone().count() > 10 && eager.clone().all(|(_, it)| *it == POLICY.program_pause));
    // What one attempt met says nothing about the next one.
    let mut host = lost(now);
    for (attempt, met) in [(2, Some(Met::Server)), (3, None)] {
        let now = host.poll_timeout().unwrap();
        host.handle_timeout(now, 0.0);
        if let Some(met) = met {
            host.handle_report(now, Attempt(attempt), Report::Met(met), 0.0);
        }
        let failed = Failure {
            phase: Some(Phase::Connecting),
            ..failure(FailureKind::Unreachable)
        };
        host.handle_report(now, Attempt(attempt), Report::Lost(failed), 0.0);
        if met.is_none() {
            assert_eq!(host.poll_timeout(), Some(now + POLICY.eager_pause));
        }
    }
}

#[test]
fn a_machine_that_wakes_up_looks_for_its_hosts_eagerly_again() {
    let begun = Instant::now();
    let now = begun + 2 * POLICY.eager_for;
    let mut host = lost(begun);
    host.handle_command(now, Command::Wake);
    let attempt = host.attempt();
    let failed = Failure {
        phase: Some(Phase::Resolving),
        ..failure(FailureKind::Unreachable)
    };
    host.handle_report(now, attempt, Report::Lost(failed.clone()), 0.0);
    assert_eq!(host.poll_timeout(), Some(now + POLICY.eager_pause));
    // The same for a connection that did not outlive the sleep.
    let mut host = ready(begun);
    host.handle_command(now, Command::Wake);
    let woken = now + POLICY.probe_patience;
    host.handle_timeout(woken, 0.0);
    let attempt = host.attempt();
    host.handle_report(woken, attempt, Report::Lost(failed), 0.0);
    assert_eq!(host.poll_timeout(), Some(woken + POLICY.eager_pause));
}

#[test]
fn a_search_bounds_no_phase_before_its_own_limits_are_over() {
    let now = Instant::now();
    let mut host = lost(now);
    let later = now + Duration::from_secs(3600);
    host.handle_timeout(later, 0.0);
    let begun = drain(&mut host).pop();
    let Some(Action::Begin(_, Some(search))) = begun else {
        panic!("{begun:?}")
    };
    assert_eq!(search.silence, POLICY.silence_max);
    let least = later + POLICY.phase_patience + search.silence;
    assert!(host.poll_timeout().is_some_and(|it| least <= it));
    // A host that was never connected is not looked for.
    let mut host = HostConnection::new(POLICY);
    host.handle_command(now, Command::Connect);
    assert_eq!(drain(&mut host), [Action::Begin(Attempt(1), None)]);
    host.handle_report(
        now,
        Attempt(1),
        Report::Lost(failure(FailureKind::Unreachable)),
        0.0,
    );
    host.handle_timeout(later, 0.0);
    assert_eq!(drain(&mut host).pop(), Some(Action::Begin(Attempt(2), None)));
}

#[test]
fn a_server_that_keeps_ending_is_given_up() {
    let (mut now, mut host) = (Instant::now(), ready(Instant::now()));
    for attempt in 1..=4 {
        host.handle_report(
            now,
            Attempt(attempt),
            Report::Lost(failure(FailureKind::ServerExited)),
            0.0,
        );
        now += Duration::from_secs(5);
        host.handle_timeout(now, 0.0);
        host.handle_report(now, Attempt(attempt + 1), Report::Ready, 0.0);
    }
    assert_eq!(host.status(), Status::Failed(failure(FailureKind::ServerExited)));
}

#[test]
fn a_question_stops_the_clock() {
    let now = Instant::now();
    let mut host = HostConnection::new(POLICY);
    host.handle_command(now, Command::Connect);
    host.handle_report(now, Attempt(1), Report::Entered(Phase::Authenticating), 0.0);
    host.handle_report(now, Attempt(1), Report::Asking, 0.0);
    let later = now + Duration::from_secs(3600);
    host.handle_timeout(later, 0.0);
    assert!(matches!(
        host.status(),
        Status::Working {
            phase: Phase::Authenticating,
            asking: true,
            ..
        }
    ));
    host.handle_report(later, Attempt(1), Report::Answered, 0.0);
    assert_eq!(host.poll_timeout(), Some(later + POLICY.phase_patience));
}

#[test]
fn waking_up_probes_what_is_ready_and_dials_what_waits() {
    let now = Instant::now();
    let mut host = ready(now);
    host.handle_command(now, Command::Wake);
    assert_eq!(drain(&mut host), [Action::Probe(Attempt(1))]);
    host.handle_timeout(now + POLICY.probe_patience, 0.0);
    let search = Some(POLICY.search(Duration::ZERO, Duration::ZERO));
    assert_eq!(
        drain(&mut host),
        [Action::Abandon(Attempt(1)), Action::Begin(Attempt(2), search)]
    );
    host.handle_report(
        now,
        Attempt(2),
        Report::Lost(failure(FailureKind::Unreachable)),
        0.0,
    );
    drain(&mut host);
    host.handle_command(now, Command::Wake);
    assert_eq!(drain(&mut host), [Action::Begin(Attempt(3), search)]);
}

#[test]
fn a_limit_of_the_configuration_wins_over_a_shorter_one_of_ours() {
    let now = Instant::now();
    let mut host = HostConnection::new(POLICY);
    host.handle_command(now, Command::Connect);
    let longest = 12 * POLICY.phase_patience;
    host.handle_report(now, Attempt(1), Report::Allowed(longest), 0.0);
    host.handle_report(now, Attempt(1), Report::Entered(Phase::Connecting), 0.0);
    assert_eq!(host.poll_timeout(), Some(now + longest));
    host.handle_report(now, Attempt(1), Report::Allowed(Duration::ZERO), 0.0);
    assert_eq!(host.poll_timeout(), Some(now + longest), "it never shortens");
    host.handle_timeout(now + longest, 0.0);
    let Status::Waiting { failure, .. } = host.status() else {
        panic!("{:?}", host.status())
    };
    assert_eq!(failure.message, "connecting took longer than 120s");
    host.handle_command(now, Command::Connect);
    assert_eq!(
        host.poll_timeout(),
        Some(now + POLICY.phase_patience),
        "the next attempt begins anew"
    );
}

#[test]
fn a_connection_that_breaks_right_after_it_was_made_is_retried_ever_more_slowly() {
    let (mut now, mut host) = (Instant::now(), ready(Instant::now()));
    let mut delays = Vec::new();
    for attempt in 1..=6 {
        let lost = Report::Lost(failure(FailureKind::Unreachable));
        host.handle_report(now, Attempt(attempt), lost, 0.0);
        let until = host.poll_timeout().unwrap();
        delays.push((until - now).as_millis());
        now = until;
        host.handle_timeout(now, 0.0);
        host.handle_report(now, Attempt(attempt + 1), Report::Ready, 0.0);
    }
    assert_eq!(delays, [100, 200, 400, 800, 1600, 3200]);
    now += POLICY.stable_after;
    let lost = Report::Lost(failure(FailureKind::Unreachable));
    host.handle_report(now, Attempt(7), lost, 0.0);
    assert_eq!(
        host.poll_timeout(),
        Some(now + POLICY.backoff.first),
        "one that held begins anew"
    );
}

#[test]
fn a_login_that_nobody_finishes_or_that_ends_without_a_verdict_is_tried_twice_in_a_row_and_not_more() {
    for kind in [FailureKind::TimedOut, FailureKind::Unreachable] {
        unfinished_logins(kind);
    }
}

fn unfinished_logins(kind: FailureKind) {
    let mut now = Instant::now();
    let mut host = HostConnection::new(POLICY);
    host.handle_command(now, Command::Connect);
    let late = Failure {
        phase: Some(Phase::Authenticating),
        ..failure(kind)
    };
    let mut lose = |host: &mut HostConnection, attempt, failure: &Failure| {
        host.handle_report(now, Attempt(attempt), Report::Lost(failure.clone()), 0.0);
        now += Duration::from_secs(5);
        host.handle_timeout(now, 0.0);
        now
    };
    let now = lose(&mut host, 1, &late);
    host.handle_report(now, Attempt(2), Report::Ready, 0.0);
    lose(&mut host, 2, &failure(FailureKind::Unreachable));
    // One that was finished ends the row.
    lose(&mut host, 3, &late);
    assert!(
        matches!(host.status(), Status::Working { .. }),
        "{:?}",
        host.status()
    );
    lose(&mut host, 4, &late);
    assert_eq!(host.status(), Status::Failed(late));
}

#[test]
fn what_the_user_disconnected_stays_disconnected() {
    let mut now = Instant::now();
    for until in 0..3 {
        let mut host = ready(now);
        if until > 0 {
            host.handle_report(
                now,
                Attempt(1),
                Report::Lost(failure(FailureKind::Unreachable)),
                0.0,
            );
        }
        if until > 1 {
            now += Duration::from_secs(5);
            host.handle_timeout(now, 0.0);
        }
        host.handle_command(now, Command::Disconnect);
        drain(&mut host);
        host.handle_command(now, Command::Wake);
        host.handle_report(now, host.attempt(), Report::Ready, 0.0);
        host.handle_report(
            now,
            host.attempt(),
            Report::Lost(failure(FailureKind::Unreachable)),
            0.0,
        );
        now += Duration::from_secs(3600);
        host.handle_timeout(now, 0.0);
        assert_eq!((host.status(), drain(&mut host)), (Status::Offline, Vec::new()));
    }
}

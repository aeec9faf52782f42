//! The life of one host's connection, as a value.
//!
//! Whoever drives it calls [`handle_command`](HostConnection::handle_command),
//! [`handle_report`](HostConnection::handle_report) and
//! [`handle_timeout`](HostConnection::handle_timeout), and after each of them drains
//! [`poll_action`](HostConnection::poll_action) and [`poll_event`](HostConnection::poll_event).
//!
//! Every action carries the attempt it belongs to, and every report brings it back. A report of an
//! earlier attempt is dropped, so a slow dial can never resurrect a connection that was given up.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    failure::{Failure, FailureKind, Recovery},
    policy::{Policy, Search},
};

/// Counts attempts; never reused within one [`HostConnection`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(u64);

/// A step of an attempt. With jump hosts, connecting and authenticating alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Reading the configuration, looking up names.
    Resolving,
    /// TCP, key exchange, the check of the host key.
    Connecting,
    Authenticating,
    /// Starting `codex app-server`.
    Launching,
    /// The protocol's handshake.
    Initializing,
}

impl Phase {
    pub const ALL: [Phase; 5] = [
        Phase::Resolving,
        Phase::Connecting,
        Phase::Authenticating,
        Phase::Launching,
        Phase::Initializing,
    ];

    /// The word that users read.
    pub fn label(self) -> &'static str {
        match self {
            Phase::Resolving => "resolving",
            Phase::Connecting => "connecting",
            Phase::Authenticating => "authenticating",
            Phase::Launching => "launching",
            Phase::Initializing => "initializing",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not wanted.
    Offline,
    /// On the way. `since` is the begin of the attempt.
    Working {
        phase: Phase,
        since: Instant,
        /// How many attempts failed before this one.
        retry: u32,
        /// A question to the user is open: no limit runs.
        asking: bool,
    },
    /// `took` is the time from the begin of the attempt to readiness.
    Ready { since: Instant, took: Duration },
    /// Between two attempts.
    Waiting {
        until: Instant,
        retry: u32,
        failure: Failure,
    },
    /// Stopped until the user does something.
    Failed(Failure),
}

/// What the user, or the machine's clock, wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Connect,
    Disconnect,
    /// The machine slept, or its network changed: what looks alive may be dead, and waiting is over.
    Wake,
}

/// What became of an [`Action`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    Entered(Phase),
    /// The configuration lets one step take this long: no phase of this attempt is cut off earlier.
    Allowed(Duration),
    /// A question was put to the user: the phase's limit stops.
    Asking,
    /// All questions are answered: the phase's limit starts again.
    Answered,
    Ready,
    /// The answer to a [`Action::Probe`].
    Alive,
    /// What the attempt came upon; said before it is lost.
    Met(Met),
    Lost(Failure),
}

/// What an attempt came upon on its way to the host: it decides how soon the next one may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// A program of the user makes the connection: each attempt costs a process, and maybe a login elsewhere.
    Program,
    /// Somebody answered and sent the attempt away. Others may come back in a hurry from a network that is
    /// silent, not from a server that has had enough of them.
    Server,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go through the phases and report. The search: this host was connected before, and is looked for.
    Begin(Attempt, Option<Search>),
    /// Ask the peer whether it is there.
    Probe(Attempt),
    /// Drop everything that belongs to this attempt. No report is expected.
    Abandon(Attempt),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEvent {
    StatusChanged(Status),
}

pub struct HostConnection {
    policy: Policy,
    attempt: Attempt,
    retry: u32,
    /// Steps of the backoff that were taken; pauses while the host is looked for eagerly are none.
    rung: u32,
    limited_retry: u32,
    /// The connection that was up last.
    lost: Option<Lost>,
    /// Logins in a row that nobody finished.
    unfinished_logins: u32,
    state: State,
    actions: VecDeque<Action>,
    events: VecDeque<HostEvent>,
}

/// A connection that is no more.
#[derive(Clone, Copy)]
struct Lost {
    at: Instant,
    /// How long it took to be made.
    took: Duration,
}

#[derive(Clone)]
enum State {
    Offline,
    Working {
        phase: Phase,
        since: Instant,
        patience: Duration,
        deadline: Option<Instant>,
        met: Option<Met>,
    },
    Ready {
        since: Instant,
        took: Duration,
        probe: Option<Instant>,
    },
    Waiting {
        until: Instant,
        failure: Failure,
    },
    Failed(Failure),
}

impl HostConnection {
    pub fn new(policy: Policy) -> HostConnection {
        HostConnection {
            policy,
            attempt: Attempt(0),
            retry: 0,
            rung: 0,
            limited_retry: 0,
            lost: None,
            unfinished_logins: 0,
            state: State::Offline,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub fn handle_command(&mut self, now: Instant, command: Command) {
        if let (Command::Wake, Some(lost)) = (command, &mut self.lost) {
            // The network comes back some time after the machine.
            lost.at = now;
        }
        match (command, &mut self.state) {
            (Command::Connect, State::Offline | State::Failed(_) | State::Waiting { .. }) => {
                (self.retry, self.rung) = (0, 0);
                (self.limited_retry, self.unfinished_logins) = (0, 0);
                self.begin(now);
            }
            (Command::Connect, State::Working { .. } | State::Ready { .. }) => (),
            (Command::Disconnect, State::Working { .. } | State::Ready { .. }) => {
                self.actions.push_back(Action::Abandon(self.attempt));
                self.enter(State::Offline);
            }
            (Command::Disconnect, State::Waiting { .. } | State::Failed(_)) => self.enter(State::Offline),
            (Command::Disconnect, State::Offline) => (),
            (Command::Wake, State::Waiting { .. }) => {
                (self.retry, self.rung) = (0, 0);
                self.begin(now);
            }
            (Command::Wake, State::Ready { probe, .. }) => {
                if probe.is_none() {
                    *probe = Some(now + self.policy.probe_patience);
                    self.actions.push_back(Action::Probe(self.attempt));
                }
            }
            // Its sockets are probably dead, but a question that the user is answering is worth more:
            // a dead socket then shows itself when the answer is sent.
            (
                Command::Wake,
                State::Working {
                    deadline: Some(_), ..
                },
            ) => {
                self.actions.push_back(Action::Abandon(self.attempt));
                self.begin(now);
            }
            (Command::Wake, State::Working { deadline: None, .. } | State::Offline | State::Failed(_)) => (),
        }
    }

    /// `jitter` in `0.0..1.0` spreads the retries of many hosts.
    pub fn handle_report(&mut self, now: Instant, attempt: Attempt, report: Report, jitter: f64) {
        if attempt != self.attempt {
            return;
        }
        match (report, &mut self.state) {
            (
                Report::Entered(next),
                State::Working {
                    phase,
                    patience,
                    deadline,
                    ..
                },
            ) => {
                let was_asking = deadline.replace(now + *patience).is_none();
                if std::mem::replace(phase, next) != next || was_asking {
                    self.announce();
                }
            }
            (Report::Asking, State::Working { deadline, .. }) => {
                *deadline = None;
                self.announce();
            }
            (
                Report::Allowed(longest),
                State::Working {
                    patience, deadline, ..
                },
            ) => {
                *patience = longest.max(*patience);
                *deadline = deadline.map(|_| now + *patience);
            }
            (
                Report::Answered,
                State::Working {
                    patience, deadline, ..
                },
            ) => {
                *deadline = Some(now + *patience);
                self.announce();
            }
            (Report::Ready, State::Working { since, .. }) => {
                let took = now - *since;
                self.enter(State::Ready {
                    since: now,
                    took,
                    probe: None,
                });
            }
            (Report::Alive, State::Ready { probe, .. }) => *probe = None,
            (Report::Met(it), State::Working { met, .. }) => *met = Some(it),
            (Report::Lost(failure), State::Working { .. } | State::Ready { .. }) => {
                self.lose(now, failure, jitter);
            }
            (
                Report::Entered(_)
                | Report::Allowed(_)
                | Report::Asking
                | Report::Answered
                | Report::Ready
                | Report::Alive
                | Report::Met(_)
                | Report::Lost(_),
                State::Offline
                | State::Working { .. }
                | State::Ready { .. }
                | State::Waiting { .. }
                | State::Failed(_),
            ) => (),
        }
    }

    pub fn handle_timeout(&mut self, now: Instant, jitter: f64) {
        match &self.state {
            State::Working {
                phase,
                patience,
                deadline: Some(deadline),
                ..
            } if *deadline <= now => {
                let message = format!("{} took longer than {patience:?}", phase.label());
                self.lose(now, timed_out(Some(*phase), message), jitter);
            }
            State::Ready {
                probe: Some(until),
                took,
                ..
            } if *until <= now => {
                self.lost = Some(Lost { at: now, took: *took });
                let message = format!(
                    "no sign of life within {:?} of waking up",
                    self.policy.probe_patience
                );
                (self.retry, self.rung) = (0, 0);
                self.actions.push_back(Action::Abandon(self.attempt));
                self.events.push_back(HostEvent::StatusChanged(Status::Waiting {
                    until: now,
                    retry: 0,
                    failure: timed_out(None, message),
                }));
                self.begin(now);
            }
            State::Waiting { until, .. } if *until <= now => self.begin(now),
            State::Working { .. }
            | State::Waiting { .. }
            | State::Offline
            | State::Ready { .. }
            | State::Failed(_) => (),
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Working { deadline, .. } => *deadline,
            State::Ready { probe, .. } => *probe,
            State::Waiting { until, .. } => Some(*until),
            State::Offline | State::Failed(_) => None,
        }
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<HostEvent> {
        self.events.pop_front()
    }

    /// The attempt that is alive, or the last one.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    pub fn status(&self) -> Status {
        match &self.state {
            State::Offline => Status::Offline,
            State::Working {
                phase,
                since,
                deadline,
                ..
            } => Status::Working {
                phase: *phase,
                since: *since,
                retry: self.retry,
                asking: deadline.is_none(),
            },
            State::Ready { since, took, .. } => Status::Ready {
                since: *since,
                took: *took,
            },
            State::Waiting { until, failure } => Status::Waiting {
                until: *until,
                retry: self.retry,
                failure: failure.clone(),
            },
            State::Failed(failure) => Status::Failed(failure.clone()),
        }
    }

    fn begin(&mut self, now: Instant) {
        self.attempt = Attempt(self.attempt.0 + 1);
        let search = self.lost.map(|it| self.policy.search(now - it.at, it.took));
        self.actions.push_back(Action::Begin(self.attempt, search));
        let patience = self.policy.phase_patience + search.map_or(Duration::ZERO, Search::longest);
        self.enter(State::Working {
            phase: Phase::Resolving,
            since: now,
            patience,
            deadline: Some(now + patience),
            met: None,
        });
    }

    fn lose(&mut self, now: Instant, failure: Failure, jitter: f64) {
        self.actions.push_back(Action::Abandon(self.attempt));
        let mut eager_pause = None;
        match &self.state {
            State::Ready { since, took, .. } => {
                self.lost = Some(Lost { at: now, took: *took });
                self.unfinished_logins = 0;
                if self.policy.stable_after <= now - *since {
                    (self.retry, self.rung, self.limited_retry) = (0, 0, 0);
                }
            }
            State::Working { met, since, .. } if failure.is_far_from_host() => {
                let away = self.lost.map(|it| now - it.at);
                eager_pause = away.and_then(|it| self.policy.eager_pause(it, now - *since, *met));
            }
            State::Working { .. } | State::Offline | State::Waiting { .. } | State::Failed(_) => (),
        }
        let retries_on = match failure.recovery() {
            Recovery::Always => true,
            Recovery::Limited => {
                self.limited_retry += 1;
                self.limited_retry <= self.policy.limited_retries_max
            }
            Recovery::Once => {
                self.unfinished_logins += 1;
                self.unfinished_logins <= 1
            }
            Recovery::Never => false,
        };
        if !retries_on {
            self.enter(State::Failed(failure));
            return;
        }
        let pause = eager_pause.unwrap_or_else(|| {
            let pause = self.policy.backoff.delay(self.rung, jitter);
            self.rung = self.rung.saturating_add(1);
            pause
        });
        self.retry = self.retry.saturating_add(1);
        let until = now + pause;
        self.enter(State::Waiting { until, failure });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.announce();
    }

    fn announce(&mut self) {
        self.events.push_back(HostEvent::StatusChanged(self.status()));
    }
}

fn timed_out(phase: Option<Phase>, message: String) -> Failure {
    Failure {
        kind: FailureKind::TimedOut,
        phase,
        message,
        hint: None,
        stderr: None,
    }
}

#[cfg(test)]
mod tests;

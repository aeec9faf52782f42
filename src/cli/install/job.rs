//! One host of `codex install`: from the first attempt to its exit code.

use codex_fleet::InstallEvent;
use codex_hosts::{Failure, Status};

use super::output::Output;
use crate::cli::{report::Code, unanswered::Unanswered};

/// Losses in a row that are made good by themselves when none of the attempts between them got any further.
const IDLE_LOSSES_MAX: u32 = 3;

/// What is known of one host's installation.
pub(super) struct Job {
    host: String,
    code: Option<Code>,
    /// How far the best attempt got; `None` until one got to the host.
    reached: Option<u64>,
    idle_losses: u32,
    /// What the login asks.
    unanswered: Option<Unanswered>,
}

impl Job {
    pub(super) fn new(host: String) -> Job {
        Job {
            host,
            code: None,
            reached: None,
            idle_losses: 0,
            unanswered: None,
        }
    }

    pub(super) fn handle_question(&mut self, unanswered: Unanswered) {
        self.unanswered = Some(unanswered);
    }

    /// How it ended, once it has.
    pub(super) fn code(&self) -> Option<Code> {
        self.code
    }

    /// Whether some of the program is on the host.
    pub(super) fn is_sending(&self) -> bool {
        self.code.is_none() && self.reached.is_some()
    }

    pub(super) fn handle_install(&mut self, event: InstallEvent, output: &mut Output) {
        match &event {
            InstallEvent::Begun { resumed_at, .. } => self.got_to(*resumed_at),
            InstallEvent::Sent { .. } => (),
            InstallEvent::Installed(_) | InstallEvent::Removed(_) => self.code = Some(Code::Done),
        }
        output.install(&self.host, &event);
    }

    /// Only what a later attempt finds on the host counts: what was sent may never have arrived.
    fn got_to(&mut self, bytes: u64) {
        if self.reached.is_some_and(|it| it < bytes) {
            self.idle_losses = 0;
        }
        self.reached = Some(self.reached.unwrap_or(0).max(bytes));
    }

    pub(super) fn handle_status(&mut self, status: Status, output: &mut Output) {
        match status {
            Status::Failed(failure) => self.fail(&failure, output),
            // A script wants to know at once that a host cannot be reached; an upload is worth another try.
            Status::Waiting { failure, .. } => {
                self.idle_losses += 1;
                if self.reached.is_none() || IDLE_LOSSES_MAX < self.idle_losses {
                    self.fail(&failure, output);
                } else {
                    output.lost(&self.host, &failure);
                }
            }
            Status::Working { phase, .. } => output.phase(&self.host, phase),
            Status::Offline | Status::Ready { .. } => (),
        }
    }

    fn fail(&mut self, failure: &Failure, output: &mut Output) {
        let mut failure = failure.clone();
        if let Some(unanswered) = self.unanswered.take() {
            unanswered.explain(&mut failure);
        }
        output.failure(&self.host, &failure);
        self.code = Some(failure.kind.into());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use codex_hosts::FailureKind;

    use super::*;

    fn lost() -> Status {
        Status::Waiting {
            until: Instant::now(),
            retry: 1,
            failure: Failure {
                kind: FailureKind::Unreachable,
                phase: None,
                message: "gone".to_owned(),
                hint: None,
                stderr: None,
            },
        }
    }

    fn begun(resumed_at: u64) -> InstallEvent {
        InstallEvent::Begun {
            system: String::new(),
            directory: String::new(),
            resumed_at,
            total: 1000,
            passed_over: String::new(),
        }
    }

    #[test]
    fn a_host_that_was_never_reached_is_given_up_at_once() {
        let (mut job, mut output) = (Job::new("h".to_owned()), Output::new(true, 1));
        job.handle_status(lost(), &mut output);
        assert_eq!(job.code(), Some(Code::Unreachable));
    }

    #[test]
    fn cuts_are_made_good_as_long_as_it_goes_on() {
        let (mut job, mut output) = (Job::new("h".to_owned()), Output::new(true, 1));
        for at in 0..20 {
            job.handle_install(begun(at), &mut output);
            job.handle_status(lost(), &mut output);
            assert_eq!(job.code(), None);
        }
        for _ in 1..IDLE_LOSSES_MAX {
            job.handle_install(begun(19), &mut output);
            job.handle_status(lost(), &mut output);
            assert_eq!(job.code(), None);
        }
        job.handle_status(lost(), &mut output);
        assert_eq!(job.code(), Some(Code::Unreachable));
    }
}

//! A login of the system's `ssh`: its questions, its limits, and what its end means.

use std::{collections::BTreeMap, time::Duration};

use bytes::BytesMut;
use codex_hosts::{Failure, FailureKind, Hop, HostId, Phase, Question, Report};
use codex_ssh::{
    Answer, Route,
    config::{Query, settings::HostSettings},
};
use tokio::{
    io::AsyncReadExt,
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};
use zeroize::Zeroizing;

use super::{
    Asking, Opened, System,
    askpass::{Caller, Desk},
    prompt::{self, Asked, Kind, Place, Refusal},
    words,
};
use crate::{
    around::goes_astray,
    attempt::{FromAttempt, Reporter},
    child::Child,
    launch::NOISE_BYTES_MAX,
    limits, question,
    server::{self, never_ran, not_launched, said},
    witness::{SSH_FAILED, Witness},
};

/// The hops as questions name them; at least the host itself.
pub(super) fn places(query: &Query, route: Option<&Route>) -> Vec<Place> {
    let Some(route) = route.filter(|it| !it.hops.is_empty()) else {
        let hop = Hop {
            alias: query.host.clone(),
            user: query.user.clone().unwrap_or_default(),
            host_name: query.host.clone(),
            port: query.port.unwrap_or(22),
            is_jump: false,
        };
        return vec![Place {
            hop,
            host_key_alias: None,
            known_hosts_file: None,
        }];
    };
    let place = |(index, it): (usize, &HostSettings)| Place {
        hop: hop(route, index, it),
        host_key_alias: it.host_key_alias.clone(),
        known_hosts_file: it.user_known_hosts_files.first().cloned(),
    };
    route.hops.iter().enumerate().map(place).collect()
}

pub(super) fn hop(route: &Route, index: usize, settings: &HostSettings) -> Hop {
    question::hop(settings.into(), index + 1 < route.hops.len())
}

/// A login of the client's, with its questions.
pub(super) struct Login<'a> {
    id: &'a HostId,
    system: &'a System,
    /// Never empty; the host itself is the last one.
    places: Vec<Place>,
    desk: Option<Desk>,
    /// How often each text was asked.
    asked: BTreeMap<String, u32>,
    /// What was answered and may be remembered once it was right.
    answers: BTreeMap<String, Zeroizing<String>>,
    /// Between two signs of life.
    patience: Duration,
    reporter: &'a Reporter,
}

impl<'a> Login<'a> {
    /// Without a desk nothing can be asked. `places` is never empty, and the host itself is the last one.
    pub(super) fn new(
        id: &'a HostId,
        system: &'a System,
        places: Vec<Place>,
        desk: Option<Desk>,
        patience: Duration,
        reporter: &'a Reporter,
    ) -> Login<'a> {
        Login {
            id,
            system,
            places,
            desk,
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            patience,
            reporter,
        }
    }

    /// Waits for the first sign of the host's shell, and answers meanwhile.
    pub(super) async fn through(mut self, mut child: Child, nonce: &str) -> Result<Opened, Failure> {
        let mut printed = BytesMut::with_capacity(NOISE_BYTES_MAX / 16);
        let watch = child.watch();
        let mut astray = std::pin::pin!(goes_astray(nonce, || watch.stderr(limits::STDERR_LINES)));
        let mut deadline = Instant::now() + self.patience;
        loop {
            let caller = tokio::select! {
                read = child.read_buf(&mut printed) => match read {
                    Ok(1..) => break,
                    _ => return Err(failed(self.id, &child).await),
                },
                caller = next(&mut self.desk) => caller,
                () = &mut astray => return Err(server::astray(self.id, &[], &Witness::System(watch.clone()))),
                () = sleep_until(deadline) => return Err(self.late(&child)),
            };
            let watch = child.watch();
            let answered = tokio::select! {
                answered = self.answer(caller) => answered,
                // The server gave up while the user was thinking.
                _ = watch.ended() => return Err(failed(self.id, &child).await),
            };
            if let Err((failure, caller)) = answered {
                // First the client: with a caller that is gone it would go on, with an empty answer.
                drop(child);
                drop(caller);
                return Err(failure);
            }
            deadline = Instant::now() + self.patience;
        }
        self.system.remember(self.answers);
        Ok(Opened { child, printed })
    }

    async fn answer(&mut self, caller: Caller) -> Result<(), (Failure, Caller)> {
        let Some(target) = self.places.last() else {
            return Ok(());
        };
        if caller.kind == Kind::Notice {
            let text = caller.text.clone();
            if let Some(desk) = &mut self.desk {
                desk.hold(caller);
            }
            self.reporter.send(FromAttempt::Notice(text)).await;
            return Ok(());
        }
        let count = self.asked.entry(caller.text.clone()).or_default();
        *count += 1;
        let attempt = *count;
        let asked = prompt::read(&caller.text, caller.kind, &self.places, target, attempt);
        let key = format!("{}\n{}", self.id, caller.text);
        match self.system.recall(&key) {
            Some(answer) if asked.is_lasting && attempt == 1 => {
                caller.answer(&answer).await;
                return Ok(());
            }
            // It was not right this time.
            Some(_) => self.system.forget(&key),
            None => (),
        }
        let Asked {
            question,
            refusal,
            is_lasting,
        } = asked;
        self.reporter.report(Report::Entered(Phase::Authenticating)).await;
        let answer = match self.system.asking {
            Asking::Nobody => Answer::Refuse,
            Asking::User | Asking::Program => self.ask(question).await,
        };
        match (answer, refusal) {
            (Answer::Accept, _) => caller.answer("yes").await,
            (Answer::Secrets(secrets), _) => {
                let secret = secrets.into_iter().next().unwrap_or_default();
                caller.answer(&secret).await;
                if is_lasting {
                    self.answers.insert(key, secret);
                }
            }
            (Answer::Refuse, Refusal::GoesOn) if caller.kind == Kind::Text => {
                caller.answer("no").await;
            }
            (Answer::Refuse, Refusal::GoesOn) => drop(caller),
            (Answer::Refuse, Refusal::Cancels | Refusal::Distrusts) => {
                return Err((self.refused(refusal), caller));
            }
        }
        Ok(())
    }

    /// Without an answer it is a refusal.
    async fn ask(&self, question: Question) -> Answer {
        let (answering, answer) = oneshot::channel();
        self.reporter
            .send(FromAttempt::Question(question, answering))
            .await;
        answer.await.unwrap_or(Answer::Refuse)
    }

    /// The user, or that there is none, ended it.
    fn refused(&self, refusal: Refusal) -> Failure {
        let (kind, phase, message) = match refusal {
            Refusal::Distrusts => (
                FailureKind::HostKeyUnknown,
                Phase::Connecting,
                format!("the host key of {} was not accepted", self.id),
            ),
            Refusal::Cancels | Refusal::GoesOn => (
                FailureKind::Cancelled,
                Phase::Authenticating,
                format!("logging in to {} by the system's ssh: cancelled", self.id),
            ),
        };
        Failure {
            kind,
            phase: Some(phase),
            message,
            hint: words::hint(kind, &self.id.0, ""),
            stderr: None,
        }
    }

    fn late(&self, child: &Child) -> Failure {
        let phase = match self.asked.is_empty() {
            true => Phase::Connecting,
            false => Phase::Authenticating,
        };
        Failure {
            kind: FailureKind::TimedOut,
            phase: Some(phase),
            message: format!(
                "the system's ssh to {}: no sign of a shell within {:?}",
                self.id, self.patience
            ),
            hint: Some(late_hint(self.id)),
            stderr: said(&[], &Witness::System(child.watch())),
        }
    }
}

/// How far a client got that says nothing and asks nothing, cannot be seen from outside.
fn late_hint(id: &HostId) -> String {
    format!(
        "see what `ssh -v {id} true` waits for: without `Authenticated to`, the host is down, or HostName and Port of `{id}` are not right; with it, a start-up file of the login shell (such as .bashrc, .zshenv, config.fish, ~/.ssh/rc) waits for something, or takes the output away"
    )
}

/// The next caller; without a desk there is none.
async fn next(desk: &mut Option<Desk>) -> Caller {
    if let Some(desk) = desk {
        // A desk that breaks gets no more callers: the client's own limits end the login.
        if let Ok(caller) = desk.asked().await {
            return caller;
        }
    }
    std::future::pending().await
}

/// What the end of a client means that has not got through.
async fn failed(id: &HostId, child: &Child) -> Failure {
    let watch = child.watch();
    let status = timeout(limits::LAST_WORDS_PATIENCE, watch.ended()).await;
    let status = status.ok().flatten();
    let said = watch.stderr(limits::STDERR_LINES);
    // It passes on how the command ended, which said nothing then.
    if let Some(status) = status.filter(|it| it.code().is_some_and(|code| code != SSH_FAILED)) {
        let (message, hint) = never_ran(id, &format!(": {status}"), &said);
        return Failure {
            hint: Some(hint),
            stderr: self::said(&[], &Witness::System(watch)),
            ..not_launched(FailureKind::LaunchFailed, message)
        };
    }
    // Words of no known kind: nothing is known to become better by itself.
    let (kind, phase) = words::meaning(&said).unwrap_or((FailureKind::Protocol, Phase::Connecting));
    let ending = match (said.lines().last(), status) {
        (Some(last), _) => last.trim().to_owned(),
        (None, Some(status)) => status.to_string(),
        (None, None) => "it closed its output".to_owned(),
    };
    Failure {
        kind,
        phase: Some(phase),
        message: format!("the system's ssh did not get through to {id}: {ending}"),
        hint: words::hint(kind, &id.0, &said),
        // A single line is in the message.
        stderr: Some(said).filter(|it| 1 < it.lines().count()),
    }
}

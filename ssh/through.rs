//! Connections that a jump host makes.
//!
//! Its sshd tries to connect for as long as its kernel does, which is two minutes, with ever longer pauses between two
//! packets; nothing in SSH ends such a try but the end of the session. So a host that is looked for gets a fresh try
//! beside the older ones every few seconds, and when there are too many of them, a fresh session of the jump host: each
//! try that is left over reaches the host once its network carries, and is a connection that its sshd counts.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    ask::Report,
    config::settings::HostSettings,
    error::Failure,
    event::Stage,
    exec::Pipe,
    limits,
    link::Link,
    session::{Closed, ForwardError, Reader, Session},
    shared::Lease,
};

/// How many tries a jump host has not answered about yet, for each target.
#[derive(Default)]
pub(crate) struct Unanswered(Mutex<BTreeMap<(String, u16), u32>>);

/// One of them, until it is dropped.
pub(crate) struct Try {
    all: Arc<Unanswered>,
    target: (String, u16),
}

impl Unanswered {
    /// `None`: there are too many already.
    fn begin(self: &Arc<Unanswered>, settings: &HostSettings) -> Option<Try> {
        let target = key(settings);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = all.entry(target.clone()).or_default();
        if limits::CHANNEL_TRIES <= *tries {
            return None;
        }
        *tries += 1;
        let all = Arc::clone(self);
        Some(Try { all, target })
    }

    fn has_room(&self, settings: &HostSettings) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&key(settings))
            .is_none_or(|tries| *tries < limits::CHANNEL_TRIES)
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tries) = all.get_mut(&self.target) {
            *tries = tries.saturating_sub(1);
        }
        all.retain(|_, tries| *tries > 0);
    }
}

fn key(settings: &HostSettings) -> (String, u16) {
    (settings.host_name.clone(), settings.port)
}

/// Whether a jump host's session is of use to look for this host: one that only the user could make
/// again always is.
pub(crate) fn is_usable(via: &Session, target: &HostSettings) -> bool {
    via.is_dear() || via.unanswered().has_room(target)
}

/// Connects once.
pub(crate) async fn connect(settings: &HostSettings, via: Lease) -> Result<Link, Failure> {
    let limit = settings.connect_timeout.unwrap_or(limits::CHANNEL);
    let opened = timeout(
        limit,
        via.session()
            .open_tcp(Reader::Session, &settings.host_name, settings.port, None),
    )
    .await;
    match opened {
        Ok(Ok(pipe)) => Ok(Link::forwarded(pipe, via)),
        Ok(Err(error)) => Err(failed(settings, via.session(), error)),
        Err(_) => Err(late(settings, via.session(), limit)),
    }
}

/// Connects to a host that is looked for: a fresh try is begun every few seconds, and the first one that gets there
/// counts. A session that only the user could make again is not given up soon.
pub(crate) async fn search(settings: &HostSettings, via: Lease, report: &Report) -> Result<Link, Failure> {
    let begun = Instant::now();
    let limit = settings.connect_timeout.unwrap_or(limits::CHANNEL);
    let period = limit.min(limits::CHANNEL_SEARCH);
    let is_dear = via.session().is_dear();
    let end = begun
        + match is_dear {
            true => limits::CHANNEL_SEARCH_DEAR,
            false => period * limits::CHANNEL_TRIES,
        };
    let mut unreachable = None;
    let mut tries: JoinSet<Result<Pipe, ForwardError>> = JoinSet::new();
    let mut next = begun;
    loop {
        tokio::select! {
            biased;
            Some(opened) = tries.join_next() => match opened {
                Ok(Ok(pipe)) => return Ok(Link::forwarded(pipe, via)),
                // Its network may be down, or has been silent for long enough to end a try: no reason for another login.
                Ok(Err(error @ ForwardError::Unreachable(_))) => {
                    unreachable = Some(error);
                    next = next.min(Instant::now() + limits::KNOCK_PERIOD);
                }
                Ok(Err(error)) => return Err(failed(settings, via.session(), error)),
                // A panic in one is none of the others' business.
                Err(_) => {}
            },
            () = sleep_until(next) => {
                if end <= Instant::now() {
                    return Err(match unreachable {
                        Some(error) => failed(settings, via.session(), error),
                        None => late(settings, via.session(), begun.elapsed()),
                    });
                }
                match via.session().unanswered().begin(settings) {
                    Some(one) => {
                        let (via, settings) = (Arc::clone(via.session()), settings.clone());
                        tries.spawn(async move {
                            via.open_tcp(Reader::Session, &settings.host_name, settings.port, Some(one)).await
                        });
                    }
                    None if !is_dear => return Err(late(settings, via.session(), begun.elapsed())),
                    // Some end by themselves.
                    None => {}
                }
                // It takes longer than a phase may, as whoever limits it has to know.
                report.stage(Stage::Proxy).await;
                next = Instant::now() + period;
            }
        }
    }
}

fn target(settings: &HostSettings) -> String {
    format!("{} port {}", settings.host_name, settings.port)
}

fn step(settings: &HostSettings, via: &Session) -> String {
    format!("forwarding to {} by {}", target(settings), via.name())
}

fn late(settings: &HostSettings, via: &Session, waited: Duration) -> Failure {
    Failure::TimedOut {
        step: step(settings, via),
        // Whole seconds: people read it.
        limit: Duration::from_secs(waited.as_secs().max(1)),
    }
}

fn failed(settings: &HostSettings, via: &Session, error: ForwardError) -> Failure {
    let target = target(settings);
    match error {
        ForwardError::Refused(text) => Failure::ForwardingRefused {
            via: via.name().to_owned(),
            target,
            text,
        },
        ForwardError::Unreachable(text) => Failure::Unreachable {
            target: format!("{target} from {}", via.name()),
            source: io::Error::other(text),
        },
        ForwardError::Closed(closed) => Failure::Closed {
            step: step(settings, via),
            text: match closed {
                Closed::ByServer(text) | Closed::Lost(text) => text,
                other => other.to_string(),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Unanswered;
    use crate::{config::settings::HostSettings, limits};

    #[test]
    fn each_target_has_its_own_few_tries_and_an_answered_one_makes_room() {
        let all = Arc::new(Unanswered::default());
        let [one, other] = [22, 2222].map(|port| HostSettings::plain("devbox", "me", port));
        let mut tries: Vec<_> = std::iter::from_fn(|| all.begin(&one)).collect();
        assert_eq!(tries.len(), limits::CHANNEL_TRIES as usize);
        assert!(!all.has_room(&one) && all.has_room(&other) && all.begin(&other).is_some());
        tries.pop();
        assert!(all.has_room(&one));
        tries.clear();
        assert!(all.0.lock().unwrap().is_empty());
    }
}

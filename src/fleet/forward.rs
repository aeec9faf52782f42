//! `--forward`: the forwardings of a host's SSH configuration, open as long as the host is connected.
//!
//! They have a connection of their own: what passes through must not be in the way of the conversation with the
//! server. Its loss costs the forwardings alone. Where another login would need the user again (a code that holds
//! once, the touch of a security key), they share the host's connection.

use std::{
    collections::BTreeSet,
    future::pending,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use codex_hosts::{Failure, FailureKind, Forwarded, ForwardedState, HostId, Phase, Recovery};
use codex_ssh::{
    ForwardState, ForwardStatus, Forwards, Route, Session, WhenFull, config::settings::HostSettings,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    attempt::{FromAttempt, Reporter},
    limits,
    run::FleetConfig,
    ssh,
};

/// Of which hosts the forwardings are opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    #[default]
    None,
    All,
    Of(BTreeSet<HostId>),
}

impl Forward {
    pub(crate) fn is_wanted(&self, id: &HostId) -> bool {
        match self {
            Forward::None => false,
            Forward::All => true,
            Forward::Of(hosts) => hosts.contains(id),
        }
    }
}

/// Opens the forwardings and keeps them open, across losses of their own connection. `settled` is told once
/// each of them listens or has failed for the first time.
///
/// It ends only when `ExitOnForwardFailure` asks for it. What goes wrong otherwise is a notice.
pub(crate) async fn keep(
    id: &HostId,
    config: &FleetConfig,
    (route, standing): (&Route, &Weak<Session>),
    reporter: &Reporter,
    settled: &Notify,
) -> Failure {
    let is_empty = |it: &HostSettings| it.forwarding.list.is_empty();
    if route.hops.last().is_none_or(is_empty) {
        let text = format!(
            "nothing to forward: no LocalForward, RemoteForward or DynamicForward is in effect for {id} in the SSH \
             configuration"
        );
        notice(reporter, text).await;
        settled.notify_one();
        return pending().await;
    }
    let mut losses = 0;
    loop {
        match session(config, (route, standing), reporter).await {
            Ok((session, when_full)) => {
                let since = Instant::now();
                let forwards = session.forward(when_full).await;
                if let Some(failure) = watch(id, forwards, reporter, settled).await {
                    return failure;
                }
                if config.policy.stable_after <= since.elapsed() {
                    losses = 0;
                }
            }
            Err(failure) => {
                settled.notify_one();
                let again = failure.recovery() == Recovery::Always;
                let rest = if again {
                    "it is tried again"
                } else {
                    "connect again to try it"
                };
                notice(
                    reporter,
                    format!("the forwardings of {id} are not open: {failure}; {rest}"),
                )
                .await;
                if !again {
                    return pending().await;
                }
            }
        }
        // A host that is gone as a whole ends all of this in the meantime.
        sleep(pause(losses)).await;
        losses += 1;
    }
}

/// Their connection: one of their own, or the host's where the user would have to log in for another one.
async fn session(
    config: &FleetConfig,
    (route, standing): (&Route, &Weak<Session>),
    reporter: &Reporter,
) -> Result<(Arc<Session>, WhenFull), Failure> {
    match standing.upgrade() {
        Some(session) if session.needs_user() => Ok((session, WhenFull::Cut)),
        _ => {
            let own = ssh::connect_beside(config, route, reporter).await?;
            Ok((Arc::new(own), WhenFull::Wait))
        }
    }
}

/// Tells how they do until their connection is over. `Some`: the host's connection must end, too.
async fn watch(
    id: &HostId,
    mut forwards: Forwards,
    reporter: &Reporter,
    settled: &Notify,
) -> Option<Failure> {
    let mut closed = pin!(forwards.closed());
    let mut told = Vec::new();
    let mut tries = 0;
    let mut next_try = Instant::now() + pause(tries);
    loop {
        if forwards.must_exit() {
            return Some(must_exit(id, &forwards));
        }
        let now: Vec<Forwarded> = forwards.states().iter().map(forwarded).collect();
        let is_failed = |it: &Forwarded| matches!(it.state, ForwardedState::Failed { .. });
        let some_failed = now.iter().any(is_failed);
        if now != told {
            for it in now.iter().filter(|it| is_failed(it)) {
                notice(reporter, format!("not forwarded: {it}")).await;
            }
            let open = now.iter().filter(|it| it.state == ForwardedState::Open);
            let open: Vec<String> = open.map(ToString::to_string).collect();
            if !open.is_empty() {
                notice(reporter, format!("forwarded: {}", open.join(", "))).await;
            }
            reporter.send(FromAttempt::Forwards(now.clone())).await;
            told = now;
        }
        settled.notify_one();
        tokio::select! {
            _ = &mut closed => {
                reporter.send(FromAttempt::Forwards(Vec::new())).await;
                return None;
            }
            () = sleep_until(next_try), if some_failed => {
                forwards.retry().await;
                tries += 1;
                next_try = Instant::now() + pause(tries);
            }
            () = forwards.changed() => {}
        }
    }
}

fn pause(tries: u32) -> Duration {
    limits::FORWARD_BACKOFF.delay(tries, fastrand::f64())
}

fn must_exit(id: &HostId, forwards: &Forwards) -> Failure {
    let states = forwards.states();
    let failed = states.iter().map(forwarded).find_map(|it| match &it.state {
        ForwardedState::Failed { why, hint } => Some((format!("{}: {why}", it.path("->")), hint.clone())),
        _ => None,
    });
    let (text, hint) = failed.unwrap_or_default();
    Failure {
        kind: FailureKind::ForwardFailed,
        phase: Some(Phase::Initializing),
        message: format!("ExitOnForwardFailure is set for {id}, and one was not opened: {text}"),
        hint: Some(hint),
        stderr: None,
    }
}

/// The way of talking about it that is not SSH's own.
fn forwarded(it: &ForwardState) -> Forwarded {
    let listen = match &it.state {
        // A port that the other side chose.
        ForwardStatus::Listening(at) if it.forward.is_remote => at.clone(),
        _ => it.forward.listen.to_string(),
    };
    Forwarded {
        listen,
        target: it.forward.target.to_string(),
        is_remote: it.forward.is_remote,
        state: match &it.state {
            ForwardStatus::Starting => ForwardedState::Opening,
            ForwardStatus::Listening(_) => ForwardedState::Open,
            ForwardStatus::Failed { why, hint } => ForwardedState::Failed {
                why: why.clone(),
                hint: (*hint).to_owned(),
            },
        },
    }
}

async fn notice(reporter: &Reporter, text: String) {
    reporter.send(FromAttempt::Notice(text)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_forwarded_unless_it_was_asked_for() {
        let (one, other) = (HostId::from("one"), HostId::from("other"));
        assert!(!Forward::default().is_wanted(&one));
        assert!(Forward::All.is_wanted(&one));
        let only = Forward::Of([one.clone()].into());
        assert!(only.is_wanted(&one) && !only.is_wanted(&other));
    }
}

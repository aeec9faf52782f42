//! Whether a server is still heard that a program leads to (the system's `ssh`, a command of the user's): nobody else
//! tells in time that the way to it has gone silent. Our own SSH and TCP have keepalives of their own.

use std::{future::pending, pin::pin};

use codex_hosts::{Failure, FailureKind, HostId};
use codex_protocol::{Method, method, v2};
use codex_rpc as rpc;
use tokio::time::{sleep, sleep_until};

use crate::{
    attempt::{FromAttempt, Reporter},
    kept::Heard,
    limits,
};

/// Asks a server that has been silent for a while, says when it does not answer, and ends when that has lasted too
/// long. A server may have long work to do before it answers, so silence is shown early and believed late.
pub(crate) async fn watch(
    id: &HostId,
    heard: Option<Heard>,
    client: rpc::WeakClient,
    reporter: &Reporter,
) -> Failure {
    type Call = method::AccountRead;
    let Some(heard) = heard else {
        return pending().await;
    };
    loop {
        let next = heard.last() + limits::HEARTBEAT_IDLE;
        sleep_until(next).await;
        if heard.last() + limits::HEARTBEAT_IDLE > next {
            continue;
        }
        let Some(client) = client.upgrade() else {
            return pending().await;
        };
        let before = heard.last();
        // Any answer is one, and this question costs a server nothing.
        let params = serde_json::value::to_raw_value(&v2::AccountReadParams {}).ok();
        let mut answer = pin!(client.call(Call::NAME, params, Some(limits::SILENCE_MAX)));
        tokio::select! {
            outcome = &mut answer => match outcome {
                // The end of a conversation is told elsewhere.
                Err(rpc::CallError::Closed { .. }) => return pending().await,
                // So many calls have no answer that this one was not asked.
                Err(rpc::CallError::Busy(_)) => {
                    sleep(limits::HEARTBEAT_IDLE).await;
                    continue;
                }
                _ => continue,
            },
            () = sleep(limits::HEARTBEAT_PATIENCE) => {}
        }
        if heard.last() != before {
            continue;
        }
        let text = format!(
            "{id} has not answered for {} s: its network may be gone",
            limits::HEARTBEAT_PATIENCE.as_secs()
        );
        reporter.send(FromAttempt::Notice(text)).await;
        match answer.await {
            Err(rpc::CallError::Closed { .. }) => return pending().await,
            _ if heard.last() == before => return silent(id),
            _ => {}
        }
        let text = format!("{id} answers again");
        reporter.send(FromAttempt::Notice(text)).await;
    }
}

fn silent(id: &HostId) -> Failure {
    let limit = limits::SILENCE_MAX.as_secs();
    Failure {
        kind: FailureKind::TimedOut,
        phase: None,
        message: format!("{id} has said nothing for {limit} s, and was asked"),
        hint: Some("see whether the host is up and the network carries; it is tried again".to_owned()),
        stderr: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use codex_hosts::Attempt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        sync::mpsc,
        time::Instant,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::kept::Kept;

    /// Watches the near end of a stream, and hands back how long it took and what was said.
    async fn watched(far: impl AsyncFnOnce(DuplexStream)) -> (Duration, Failure, Vec<String>) {
        let (near, other) = duplex(4096);
        let near = Kept::new(near);
        let heard = near.heard();
        let transport = rpc::jsonl(near, limits::LINE_BYTES_MAX);
        let peer_limits = rpc::Limits { outstanding_max: 4 };
        let (client, mut events, driver) = rpc::client(transport, peer_limits, CancellationToken::new());
        let (reports, mut told) = mpsc::channel(limits::REPORTS_MAX);
        let reporter = Reporter::new(Attempt::default(), reports);
        let (id, begun) = (HostId::from("box"), Instant::now());
        let watching = watch(&id, Some(heard), client.downgrade(), &reporter);
        let failure = tokio::select! {
            failure = watching => failure,
            _ = driver => panic!("the conversation ended"),
            () = async { far(other).await; pending().await } => unreachable!(),
            () = async { while events.recv().await.is_some() {} pending().await } => unreachable!(),
        };
        let mut notices = Vec::new();
        while let Ok((_, it)) = told.try_recv() {
            if let FromAttempt::Notice(text) = it {
                notices.push(text);
            }
        }
        (begun.elapsed(), failure, notices)
    }

    async fn answer(far: &mut DuplexStream) {
        let mut line = vec![0; 4096];
        let read = far.read(&mut line).await.unwrap();
        let request: serde_json::Value = serde_json::from_slice(&line[..read]).unwrap();
        let answer = format!("{{\"id\":{},\"result\":{{}}}}\n", request["id"]);
        far.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_shown_in_15_seconds_and_ends_the_connection_after_two_minutes() {
        let (took, failure, notices) = watched(async |far| {
            let _open = far;
            pending().await
        })
        .await;
        assert_eq!(failure.kind, FailureKind::TimedOut);
        assert_eq!(took, limits::HEARTBEAT_IDLE + limits::SILENCE_MAX);
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(limits::HEARTBEAT_IDLE + limits::HEARTBEAT_PATIENCE <= Duration::from_secs(15));
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_or_says_anything_else_is_there() {
        let (took, _, notices) = watched(async |mut far| {
            for _ in 0..3 {
                answer(&mut far).await;
            }
            // At work: nothing is answered, and what comes is about that.
            for _ in 0..30 {
                sleep(Duration::from_secs(4)).await;
                far.write_all(b"{\"method\":\"x\"}\n").await.unwrap();
            }
            let _open = far;
            pending().await
        })
        .await;
        assert_eq!(notices.len(), 1, "{notices:?}");
        let busy = Duration::from_secs(120) + limits::HEARTBEAT_IDLE * 3;
        assert!(busy + limits::SILENCE_MAX <= took, "{took:?}");
    }
}

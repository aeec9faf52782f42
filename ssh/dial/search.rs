//! Knocks at the addresses of a host that was there before until one of them opens.
//!
//! The kernel sends the first packet of a connection again after 1, 3, 7 and 15 seconds (Linux from 6.5 on after 1, 2,
//! 3, 4, 5, 7 and 11): a network that carries again is then found late. So a fresh connection is begun beside the
//! first one each second, and the one that is made is *the* connection: the host's server sees no other.

use std::{io, net::SocketAddr, pin::pin, sync::Arc};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::race::{Lost, race};
use crate::{error::Failure, limits};

/// Why nothing opened.
#[derive(Debug)]
pub(super) enum Closed {
    /// The name was not found, and no address is known from before.
    Unknown(Failure),
    /// The name was not found in time.
    Unresolved,
    Lost(Vec<Lost>),
}

/// Gives the first connection that is made before `deadline`. `known` is where the host was, and is tried while its
/// name is looked up. Each address that refuses everybody ends it at once, silence never does. `begin` is told of the
/// first address of each list.
pub(super) async fn search<T, Told, Connecting>(
    known: Vec<SocketAddr>,
    resolving: impl Future<Output = Result<Vec<SocketAddr>, Failure>>,
    deadline: Instant,
    begin: impl Fn(SocketAddr) -> Told,
    connect: impl Fn(SocketAddr) -> Connecting + Clone + Send + Sync + 'static,
) -> Result<(T, SocketAddr), Closed>
where
    T: Send + 'static,
    Told: Future<Output = ()>,
    Connecting: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut resolving = pin!(resolving);
    let mut is_resolved = false;
    let mut addresses: Arc<[SocketAddr]> = known.into();
    let mut told: Option<SocketAddr> = None;
    let mut refused: Option<Vec<Lost>> = None;
    let mut knocks: JoinSet<Result<(T, SocketAddr), Vec<Lost>>> = JoinSet::new();
    let mut next = Instant::now();
    loop {
        let has_room = !addresses.is_empty() && knocks.len() <= limits::KNOCKS;
        tokio::select! {
            biased;
            Some(done) = knocks.join_next() => match done {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(lost)) if is_refusal(&lost) => match is_resolved {
                    true => return Err(Closed::Lost(lost)),
                    // It may be somewhere else by now.
                    false => refused = Some(lost),
                },
                // Nobody answered for as long as a knock lasts. A panic in one is none of the others' business.
                Ok(Err(_)) | Err(_) => {}
            },
            () = sleep_until(deadline) => {
                let silent = |&address: &SocketAddr| Lost { address, error: None };
                return Err(match (refused, addresses.is_empty()) {
                    (Some(lost), _) => Closed::Lost(lost),
                    (None, true) => Closed::Unresolved,
                    (None, false) => Closed::Lost(addresses.iter().map(silent).collect()),
                });
            }
            found = &mut resolving, if !is_resolved => {
                is_resolved = true;
                let moved = match found {
                    Ok(found) => {
                        let moved = addresses.iter().all(|it| !found.contains(it));
                        addresses = best_first(found, &addresses).into();
                        moved
                    }
                    Err(failure) if addresses.is_empty() => return Err(Closed::Unknown(failure)),
                    Err(_) => false,
                };
                match refused.take() {
                    Some(lost) if !moved => return Err(Closed::Lost(lost)),
                    _ if moved => next = Instant::now(),
                    _ => {}
                }
            }
            () = sleep_until(next), if has_room => {
                if let Some(&address) = addresses.first()
                    && told.replace(address) != Some(address)
                {
                    begin(address).await;
                }
                // The first one is given all the time there is: a network may take seconds for a packet.
                let now = Instant::now();
                let (until, pause) = match knocks.is_empty() {
                    true => (deadline, limits::KNOCK_OFFSET),
                    false => (deadline.min(now + limits::KNOCK_LIFE), limits::KNOCK_PERIOD),
                };
                let (addresses, connect) = (Arc::clone(&addresses), connect.clone());
                knocks.spawn(async move { race(&addresses, until, |_| async {}, connect).await });
                next = now + pause;
            }
        }
    }
}

/// What was found, beginning with what is known to have worked: a knock has no time for many.
fn best_first(mut found: Vec<SocketAddr>, known: &[SocketAddr]) -> Vec<SocketAddr> {
    found.sort_by_key(|it| !known.contains(it));
    found
}

/// Whether every address has given an answer, none of which was a connection.
fn is_refusal(lost: &[Lost]) -> bool {
    !lost.is_empty() && lost.iter().all(|it| it.error.is_some())
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        net::SocketAddr,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tokio::time::{Instant, sleep, sleep_until};

    use super::{Closed, best_first, search};
    use crate::error::Failure;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn unknown() -> Failure {
        Failure::Resolve {
            host: "devbox".to_owned(),
            source: io::ErrorKind::NotFound.into(),
        }
    }

    /// When the first packet of a connection is sent: by Linux until 6.4, and from then on.
    const KERNELS: [[u64; 8]; 2] = [[0, 1, 3, 7, 15, 31, 63, 127], [0, 1, 2, 3, 4, 5, 7, 11]];

    /// A network that carries from `thaw` on; a packet that is sent before is lost.
    async fn through(kernel: [u64; 8], start: Instant, thaw: Duration, sent: &Mutex<Vec<Duration>>) {
        let begun = Instant::now();
        for again in kernel {
            sleep_until(begun + S(again)).await;
            sent.lock().unwrap().push(start.elapsed());
            if start + thaw <= Instant::now() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Looks for a host whose network carries after `thaw`: whether it was found, when that was, and when packets were
    /// sent.
    async fn thawing(kernel: [u64; 8], thaw: Duration, limit: Duration) -> (bool, Duration, Vec<Duration>) {
        let start = Instant::now();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&sent);
        let connect = move |_| {
            let log = Arc::clone(&log);
            async move {
                through(kernel, start, thaw, &log).await;
                Ok(())
            }
        };
        let (known, resolving) = (vec![address(1)], std::future::pending());
        let found = search(known, resolving, start + limit, |_| async {}, connect).await;
        let sent = sent.lock().unwrap().clone();
        (found.is_ok(), start.elapsed(), sent)
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_carries_again_is_found_within_a_second_by_one_packet_at_a_time() {
        for kernel in KERNELS {
            for tenths in (0..300).step_by(7) {
                let thaw = Duration::from_millis(100 * tenths);
                let (found, took, sent) = thawing(kernel, thaw, S(60)).await;
                assert!(found && took <= thaw + S(1), "{thaw:?}: {took:?}");
                let mut gaps = sent.windows(2).map(|pair| pair[1] - pair[0]);
                assert!(gaps.all(|it| Duration::from_millis(100) < it), "{sent:?}");
            }
            let (found, took, _) = thawing(kernel, S(60), S(10)).await;
            assert!(!found && (S(10)..S(11)).contains(&took), "{took:?}");
        }
    }

    #[test]
    fn the_address_that_worked_comes_first() {
        let all = [1, 2, 3].map(address).to_vec();
        assert_eq!(best_first(all.clone(), &[address(3)]), [3, 1, 2].map(address));
        assert_eq!(best_first(all.clone(), &[address(9)]), all);
    }

    /// What became of a search where `known` is known, and the name resolves to `found` after a second.
    async fn moved(
        known: &[u16],
        found: Result<&[u16], ()>,
        open: &'static [u16],
        refuses: &'static [u16],
    ) -> (Result<u16, String>, u64) {
        let start = Instant::now();
        let resolving = async {
            sleep(S(1)).await;
            match found {
                Ok(ports) => Ok(ports.iter().map(|it| address(*it)).collect()),
                Err(()) => Err(unknown()),
            }
        };
        let connect = move |address: SocketAddr| async move {
            match address.port() {
                port if open.contains(&port) => Ok(port),
                port if refuses.contains(&port) => Err(io::ErrorKind::ConnectionRefused.into()),
                _ => std::future::pending().await,
            }
        };
        let known = known.iter().map(|it| address(*it)).collect();
        let found = search(known, resolving, start + S(10), |_| async {}, connect).await;
        let text = |closed| match closed {
            Closed::Unknown(failure) => failure.to_string(),
            Closed::Unresolved => "unresolved".to_owned(),
            Closed::Lost(lost) => {
                let answers = lost.iter().filter(|it| it.error.is_some()).count();
                format!("{answers} of {} answered", lost.len())
            }
        };
        let found = found.map(|(port, _)| port).map_err(text);
        (found, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_of_before_is_tried_before_the_name_is_found() {
        assert_eq!(moved(&[1], Err(()), &[1], &[]).await, (Ok(1), 0));
        assert_eq!(moved(&[], Ok(&[1]), &[1], &[]).await, (Ok(1), 1));
        assert_eq!(moved(&[1], Ok(&[2]), &[2], &[]).await, (Ok(2), 1), "it moved");
        let refused = moved(&[1], Ok(&[2]), &[2], &[1]).await;
        assert_eq!(refused, (Ok(2), 1), "somebody else is there now");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_ends_it_once_the_name_is_looked_up_and_silence_does_not() {
        let refused = Err("1 of 1 answered".to_owned());
        assert_eq!(moved(&[1], Ok(&[1]), &[], &[1]).await, (refused.clone(), 1));
        assert_eq!(moved(&[1], Err(()), &[], &[1]).await, (refused, 1));
        let silent = Err("0 of 1 answered".to_owned());
        assert_eq!(moved(&[1], Err(()), &[], &[]).await, (silent, 10));
        let half = moved(&[1], Ok(&[1, 2]), &[], &[2]).await;
        assert_eq!(
            half,
            (Err("0 of 2 answered".to_owned()), 10),
            "one may still open"
        );
        let nowhere = moved(&[], Err(()), &[], &[]).await;
        assert_eq!(nowhere, (Err(unknown().to_string()), 1));
    }
}

//! *Happy Eyeballs* (RFC 8305, 4 and 5): the addresses of a name race each other.

use std::{io, net::SocketAddr};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::limits;

/// An address without a connection.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) address: SocketAddr,
    /// `None`: no answer in time.
    pub(super) error: Option<io::Error>,
}

/// Alternates the families, beginning with that of the first address: the resolver has put the best
/// one first (RFC 6724), and a broken family must not hold up the other one.
pub(super) fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|it| it.is_ipv4() == first_is_4);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// Gives the first connection that is made, and ends the others. The next address starts when the one
/// before it has failed or has had its head start. `begin` is told of each.
pub(super) async fn race<T, Told, Connecting>(
    addresses: &[SocketAddr],
    deadline: Instant,
    begin: impl Fn(SocketAddr) -> Told,
    connect: impl Fn(SocketAddr) -> Connecting,
) -> Result<(T, SocketAddr), Vec<Lost>>
where
    T: Send + 'static,
    Told: Future<Output = ()>,
    Connecting: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut waiting = addresses.iter().copied();
    let mut lost: Vec<Lost> = Vec::new();
    let mut started: Vec<SocketAddr> = Vec::new();
    let mut next = Instant::now();
    loop {
        let more = waiting.len() > 0;
        if !more && running.is_empty() {
            return Err(lost);
        }
        tokio::select! {
            biased;
            Some(done) = running.join_next() => match done {
                Ok((address, Ok(connection))) => return Ok((connection, address)),
                Ok((address, Err(error))) => {
                    lost.push(Lost { address, error: Some(error) });
                    next = Instant::now();
                }
                // A panic in it is none of the others' business.
                Err(_) => next = Instant::now(),
            },
            () = sleep_until(deadline) => {
                let silent = |it: &SocketAddr| !lost.iter().any(|lost| lost.address == *it);
                let silent: Vec<SocketAddr> = started.into_iter().filter(silent).collect();
                lost.extend(silent.into_iter().map(|address| Lost { address, error: None }));
                return Err(lost);
            }
            () = sleep_until(next), if more => {
                if let Some(address) = waiting.next() {
                    begin(address).await;
                    started.push(address);
                    let connecting = connect(address);
                    running.spawn(async move { (address, connecting.await) });
                    next = Instant::now() + limits::HEAD_START;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        net::SocketAddr,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tokio::time::{Instant, sleep};

    use super::{interleave, race};

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// What happens at the address with this port.
    #[derive(Clone, Copy)]
    enum Fate {
        Connects(u64),
        Fails(u64),
        Silent,
    }

    /// The port that won, or how many lost; when each began; and when it was over, in milliseconds.
    async fn run(fates: &[Fate]) -> (Result<u16, usize>, Vec<u128>, u128) {
        let start = Instant::now();
        let addresses: Vec<SocketAddr> = (1..=fates.len())
            .map(|it| address(&format!("10.0.0.1:{it}")))
            .collect();
        let begun = Arc::new(Mutex::new(Vec::new()));
        let begin = |_| {
            begun.lock().unwrap().push(start.elapsed().as_millis());
            async {}
        };
        let fates = fates.to_vec();
        let connect = |address: SocketAddr| {
            let fate = fates[usize::from(address.port()) - 1];
            async move {
                match fate {
                    Fate::Connects(after) => sleep(Duration::from_millis(after)).await,
                    Fate::Fails(after) => {
                        sleep(Duration::from_millis(after)).await;
                        return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
                    }
                    Fate::Silent => std::future::pending().await,
                }
                Ok(address.port())
            }
        };
        let deadline = start + Duration::from_secs(3);
        let won = race(&addresses, deadline, begin, connect).await;
        let won = won.map(|it| it.0).map_err(|lost| lost.len());
        let begun = begun.lock().unwrap().clone();
        (won, begun, start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_a_head_start_of_250_ms_and_a_failure_ends_it_at_once() {
        use Fate::{Connects, Fails, Silent};
        let quick = run(&[Connects(20), Connects(1)]).await;
        assert_eq!(quick, (Ok(1), vec![0], 20));
        let black_hole = run(&[Silent, Connects(30)]).await;
        assert_eq!(black_hole, (Ok(2), vec![0, 250], 280));
        let refused = run(&[Fails(5), Fails(0), Connects(10)]).await;
        assert_eq!(refused.0, Ok(3));
        assert!(refused.2 < 30, "{refused:?}");
        // Slow is not dead: the first one may still win.
        let slow = run(&[Connects(400), Connects(400)]).await;
        assert_eq!(slow, (Ok(1), vec![0, 250], 400));
        let nobody = run(&[Silent, Fails(10), Silent]).await;
        assert_eq!(nobody.0, Err(3));
        assert!((3000..3005).contains(&nobody.2), "{nobody:?}");
    }

    #[test]
    fn families_alternate_and_the_resolvers_choice_comes_first() {
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"].map(address);
        let mixed = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"].map(address);
        assert_eq!(interleave(all.to_vec()), mixed);
        let four_first = ["10.0.0.1:1", "[::1]:1"].map(address);
        assert_eq!(interleave(four_first.to_vec()), four_first);
    }
}

//! The first bytes of the way: names, addresses, sockets.

mod race;
mod search;
mod socket;

use std::{io, net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, sleep, timeout_at},
};

use self::{
    race::{Lost, interleave, race},
    search::Closed,
    socket::Sources,
};
use crate::{
    ask::Report,
    config::settings::{AddressFamily, HostSettings},
    error::Failure,
    event::Stage,
    limits,
    link::Link,
};

/// Resolves and connects, before `limit` is over: addresses race each other (RFC 8305), and all of
/// them are tried again as often as `ConnectionAttempts` says.
pub(crate) async fn tcp(settings: &HostSettings, report: &Report, limit: Duration) -> Result<Link, Failure> {
    let deadline = Instant::now() + limit;
    report.stage(Stage::Resolving).await;
    let host = settings.host_name.as_str();
    let ready = async { tokio::try_join!(resolve(host, settings), Sources::of(settings)) };
    let found = timeout_at(deadline, ready).await;
    let (addresses, sources) = found.map_err(|_| Failure::TimedOut {
        step: format!("resolving {host}"),
        limit,
    })??;
    let addresses = interleave(addresses);
    let begin = |address| report.stage(Stage::Connecting { address });
    let mut attempt = 1;
    loop {
        let connect = |address| {
            let sources = sources.clone();
            async move { sources.connect(address).await }
        };
        match race(&addresses, deadline, begin, connect).await {
            Ok((socket, address)) => {
                tuned(&socket, settings, &address)?;
                return Ok(Link::tcp(socket, address));
            }
            Err(lost) if attempt == settings.network.connection_attempts || over(&lost, deadline) => {
                return Err(failed(lost, limit));
            }
            Err(_) => sleep(limits::CONNECTION_PAUSE).await,
        }
        attempt += 1;
    }
}

/// The same for a host that was at `known` when it was connected last: `limit` is all that ends it, as long as nobody
/// answers.
pub(crate) async fn search(
    settings: &HostSettings,
    report: &Report,
    limit: Duration,
    known: Option<SocketAddr>,
) -> Result<Link, Failure> {
    let deadline = Instant::now() + limit;
    report.stage(Stage::Resolving).await;
    let host = settings.host_name.as_str();
    let late = || Failure::TimedOut {
        step: format!("resolving {host}"),
        limit,
    };
    let sources = timeout_at(deadline, Sources::of(settings)).await;
    let sources = sources.map_err(|_| late())??;
    let connect = move |address| {
        let sources = sources.clone();
        async move { sources.connect(address).await }
    };
    let resolving = async { resolve(host, settings).await.map(interleave) };
    let begin = |address| report.stage(Stage::Connecting { address });
    let known: Vec<SocketAddr> = known.into_iter().collect();
    match search::search(known, resolving, deadline, begin, connect).await {
        Ok((socket, address)) => {
            tuned(&socket, settings, &address)?;
            Ok(Link::found(socket, address))
        }
        Err(Closed::Unknown(failure)) => Err(failure),
        Err(Closed::Unresolved) => Err(late()),
        Err(Closed::Lost(lost)) => Err(failed(lost, limit)),
    }
}

/// Whether there is no time for another attempt.
fn over(lost: &[Lost], deadline: Instant) -> bool {
    let in_time = Instant::now() + limits::CONNECTION_PAUSE < deadline;
    !in_time || lost.is_empty()
}

async fn resolve(host: &str, settings: &HostSettings) -> Result<Vec<SocketAddr>, Failure> {
    let failed = |source| Failure::Resolve {
        host: host.to_owned(),
        source,
    };
    let found = lookup_host((host, settings.port)).await.map_err(failed)?;
    let wanted = |address: &SocketAddr| match settings.address_family {
        AddressFamily::Any => true,
        AddressFamily::Inet => address.is_ipv4(),
        AddressFamily::Inet6 => address.is_ipv6(),
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.filter(wanted).take(limits::ADDRESSES) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let family = match settings.address_family {
        AddressFamily::Any => "any",
        AddressFamily::Inet => "inet",
        AddressFamily::Inet6 => "inet6",
    };
    match addresses.is_empty() {
        true => Err(Failure::Bind {
            keyword: "AddressFamily",
            value: family.to_owned(),
            source: io::Error::new(
                io::ErrorKind::NotFound,
                format!("{host} has no address of this family"),
            ),
        }),
        false => Ok(addresses),
    }
}

fn tuned(socket: &TcpStream, settings: &HostSettings, address: &SocketAddr) -> Result<(), Failure> {
    tune(socket, settings).map_err(|source| Failure::Unreachable {
        target: target(address),
        source,
    })
}

fn tune(socket: &TcpStream, settings: &HostSettings) -> io::Result<()> {
    // Nagle's algorithm holds the second of two small messages back for a round trip.
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    if let Some(class) = settings.network.ip_qos {
        // A network that does not let us choose still carries the bytes.
        let _ = match socket.local_addr().ok().and_then(|it| it.as_socket()) {
            Some(SocketAddr::V6(_)) => socket.set_tclass_v6(u32::from(class)),
            _ => socket.set_tos_v4(u32::from(class)),
        };
    }
    socket.set_keepalive(settings.tcp_keep_alive)
}

fn target(address: &SocketAddr) -> String {
    format!("{} port {}", address.ip(), address.port())
}

/// One failure for all addresses: the last answer, else the silence.
fn failed(mut lost: Vec<Lost>, limit: Duration) -> Failure {
    let all: Vec<String> = lost.iter().map(|it| target(&it.address)).collect();
    let all = all.join(", ");
    let answered = lost.iter_mut().rev().find_map(|it| it.error.take());
    match answered {
        Some(source) => Failure::Unreachable { target: all, source },
        None => Failure::TimedOut {
            step: format!("connecting to {all}"),
            limit,
        },
    }
}

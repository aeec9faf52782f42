//! The first bytes of the way: names, addresses, sockets.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    ask::Report,
    config::settings::{AddressFamily, HostSettings},
    error::Failure,
    event::Stage,
    limits,
    link::Link,
};

/// Resolves and connects, one address after the other, before `deadline`.
pub(crate) async fn tcp(settings: &HostSettings, report: &Report, limit: Duration) -> Result<Link, Failure> {
    let deadline = Instant::now() + limit;
    report.stage(Stage::Resolving).await;
    let host = settings.host_name.as_str();
    let found = timeout_at(deadline, resolve(host, settings)).await;
    let addresses = found.map_err(|_| Failure::TimedOut {
        step: format!("resolving {host}"),
        limit,
    })??;
    let from = match &settings.bind_address {
        Some(name) => bind_addresses(name).await?,
        None => Vec::new(),
    };
    let mut failures: Vec<(SocketAddr, Option<io::Error>)> = Vec::new();
    let last = addresses.len().saturating_sub(1);
    for (at, address) in addresses.into_iter().enumerate() {
        report.stage(Stage::Connecting { address }).await;
        let left = deadline.saturating_duration_since(Instant::now());
        // The last one may use all the time there is.
        let own = if at == last {
            left
        } else {
            left.min(limits::CONNECT_ADDRESS)
        };
        match timeout(own, connect(address, &from)).await {
            Ok(Ok(socket)) => {
                tune(&socket, settings).map_err(|source| Failure::Unreachable {
                    target: target(&address),
                    source,
                })?;
                return Ok(Link::tcp(socket, address));
            }
            Ok(Err(error)) => failures.push((address, Some(error))),
            Err(_) => failures.push((address, None)),
        }
    }
    Err(failed(failures, limit))
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
    match addresses.is_empty() {
        true => Err(failed(io::Error::new(
            io::ErrorKind::NotFound,
            format!("no address for AddressFamily {:?}", settings.address_family),
        ))),
        false => Ok(addresses),
    }
}

async fn bind_addresses(name: &str) -> Result<Vec<SocketAddr>, Failure> {
    let failed = |source| Failure::Resolve {
        host: format!("BindAddress {name}"),
        source,
    };
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, 0)]);
    }
    let found = timeout(limits::CONNECT, lookup_host((name, 0))).await;
    let found = found
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    Ok(found.collect())
}

async fn connect(address: SocketAddr, from: &[SocketAddr]) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if !from.is_empty() {
        let own = from.iter().find(|own| own.is_ipv4() == address.is_ipv4());
        let own = own.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "BindAddress is of the other family",
            )
        })?;
        socket.bind(*own)?;
    }
    socket.connect(address).await
}

fn tune(socket: &TcpStream, settings: &HostSettings) -> io::Result<()> {
    // Nagle's algorithm holds the second of two small messages back for a round trip.
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_keepalive(settings.tcp_keep_alive)
}

fn target(address: &SocketAddr) -> String {
    format!("{} port {}", address.ip(), address.port())
}

/// One failure for all addresses: the last answer, else the silence.
fn failed(mut failures: Vec<(SocketAddr, Option<io::Error>)>, limit: Duration) -> Failure {
    let all: Vec<String> = failures.iter().map(|(address, _)| target(address)).collect();
    let all = all.join(", ");
    let answered = failures.iter_mut().rev().find_map(|(_, error)| error.take());
    match answered {
        Some(source) => Failure::Unreachable { target: all, source },
        None => Failure::TimedOut {
            step: format!("connecting to {all}"),
            limit,
        },
    }
}

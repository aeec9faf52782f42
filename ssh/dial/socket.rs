//! Where a connection comes from: `BindAddress` and `BindInterface`.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::Arc,
};

use nix::net::if_::InterfaceFlags;
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::timeout,
};

use crate::{config::settings::HostSettings, error::Failure, limits};

/// The addresses that a connection may come from; none: the system chooses.
#[derive(Clone, Default)]
pub(super) struct Sources {
    addresses: Arc<[SocketAddr]>,
    /// The keyword, for the error.
    keyword: &'static str,
}

impl Sources {
    /// `BindAddress` comes first, as in OpenSSH.
    pub(super) async fn of(settings: &HostSettings) -> Result<Sources, Failure> {
        if let Some(name) = &settings.bind_address {
            return Ok(Sources {
                addresses: own(name).await?.into(),
                keyword: "BindAddress",
            });
        }
        let Some(interface) = &settings.network.bind_interface else {
            return Ok(Sources::default());
        };
        let addresses = of_interface(interface).map_err(|source| Failure::Bind {
            keyword: "BindInterface",
            value: interface.clone(),
            source,
        })?;
        Ok(Sources {
            addresses: addresses.into(),
            keyword: "BindInterface",
        })
    }

    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if !self.addresses.is_empty() {
            let own = self
                .addresses
                .iter()
                .find(|own| own.is_ipv4() == address.is_ipv4());
            let own = own.ok_or_else(|| {
                let text = format!("{} has no address of this family", self.keyword);
                io::Error::new(io::ErrorKind::AddrNotAvailable, text)
            })?;
            socket.bind(*own)?;
        }
        socket.connect(address).await
    }
}

/// The addresses by this name that are this machine's. That one is not is found out here, where it can be laid to the
/// keyword: what a connection fails with says nothing of it.
async fn own(name: &str) -> Result<Vec<SocketAddr>, Failure> {
    let (mut own, mut refused) = (Vec::new(), None);
    for address in named(name).await? {
        match std::net::UdpSocket::bind(address) {
            Ok(_) => own.push(address),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(source) if own.is_empty() => Err(Failure::Bind {
            keyword: "BindAddress",
            value: name.to_owned(),
            source,
        }),
        _ => Ok(own),
    }
}

async fn named(name: &str) -> Result<Vec<SocketAddr>, Failure> {
    let failed = |source| Failure::Bind {
        keyword: "BindAddress",
        value: name.to_owned(),
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

/// As OpenSSH does it, so that no privilege is needed: the addresses of the interface, those of
/// loopback and of the link alone only when there is nothing else.
fn of_interface(name: &str) -> io::Result<Vec<SocketAddr>> {
    let (mut good, mut poor) = (Vec::new(), Vec::new());
    for interface in nix::ifaddrs::getifaddrs()? {
        let up = interface.flags.contains(InterfaceFlags::IFF_UP);
        let Some(address) = interface
            .address
            .filter(|_| up && interface.interface_name == name)
        else {
            continue;
        };
        let four = address.as_sockaddr_in().map(|it| SocketAddr::from((it.ip(), 0)));
        let six = address.as_sockaddr_in6();
        let six = six.map(|it| SocketAddrV6::new(it.ip(), 0, 0, it.scope_id()).into());
        let Some(address) = four.or(six) else { continue };
        let local = match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
        };
        if local {
            poor.push(address)
        } else {
            good.push(address)
        }
    }
    good.extend(poor);
    match good.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no such interface is up, or it has no address",
        )),
        false => Ok(good),
    }
}

#[cfg(test)]
mod tests {
    use super::of_interface;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_addresses_of_an_interface_are_found_by_its_name() {
        let found = of_interface("lo").unwrap();
        assert!(
            found.iter().any(|it| it.ip().to_string() == "127.0.0.1"),
            "{found:?}"
        );
        let error = of_interface("no-such-interface").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}

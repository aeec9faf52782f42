//! How a host is looked for that was connected before and has gone silent.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::net::TcpStream;

use crate::{config::settings::HostSettings, limits};

/// How long a connection that is made for a lost host may stay without the server's identification. A
/// `ConnectTimeout` that is longer wins.
///
/// A connection that is given up before its login counts against us at a server that took it (OpenSSH's
/// `PerSourcePenalties` and `MaxStartups`), so they are to be few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// On a connection of ours, or through a jump host.
    pub silence: Duration,
    /// Through a `ProxyCommand` that has taken what it was given to carry.
    pub program: Duration,
    /// What such a program may have until it takes that: programs that connect first and carry then (`nc`, `ssh -W`)
    /// have reached nobody before, and the host's server does not know of them.
    pub unread: Duration,
}

/// Where hosts were when they let us in: their names may not be found while the network comes back.
#[derive(Default)]
pub(crate) struct Places(Mutex<BTreeMap<(String, u16), SocketAddr>>);

impl Places {
    pub(crate) fn get(&self, settings: &HostSettings) -> Option<SocketAddr> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&key(settings)).copied()
    }

    /// Remembers it until the end of the process.
    pub(crate) fn keep(&self, settings: &HostSettings, address: SocketAddr) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if limits::PLACES <= places.len() {
            places.clear();
        }
        places.insert(key(settings), address);
    }
}

fn key(settings: &HostSettings) -> (String, u16) {
    (settings.host_name.clone(), settings.port)
}

/// Lets the kernel end a connection within seconds when the machine at its other end is not there any more, for as
/// long as this lives: its server may be silent for minutes, and only the machine can tell the two apart.
pub(crate) struct Vigil {
    socket: std::sync::Weak<TcpStream>,
    before: Option<socket2::TcpKeepalive>,
    keepalive: bool,
}

impl Vigil {
    /// Where the system does not have these options, a connection is given up for its silence alone.
    pub(crate) fn over(socket: &std::sync::Arc<TcpStream>) -> Vigil {
        let options = socket2::SockRef::from(&**socket);
        let keepalive = socket2::TcpKeepalive::new();
        let before = [options.tcp_keepalive_time(), options.tcp_keepalive_interval()];
        let before = match (before, options.tcp_keepalive_retries()) {
            ([Ok(time), Ok(interval)], Ok(retries)) => Some(
                keepalive
                    .clone()
                    .with_time(time)
                    .with_interval(interval)
                    .with_retries(retries),
            ),
            _ => None,
        };
        let vigil = Vigil {
            socket: std::sync::Arc::downgrade(socket),
            before,
            keepalive: options.keepalive().unwrap_or_default(),
        };
        if vigil.before.is_some() {
            let keepalive = keepalive
                .with_time(limits::VIGIL_IDLE)
                .with_interval(limits::VIGIL_PERIOD)
                .with_retries(limits::VIGIL_PROBES);
            let _ = options.set_tcp_keepalive(&keepalive);
        }
        set_user_timeout(&options, Some(limits::VIGIL_UNCONFIRMED));
        vigil
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        let Some(socket) = self.socket.upgrade() else {
            return;
        };
        let options = socket2::SockRef::from(&*socket);
        if let Some(before) = &self.before {
            let _ = options.set_tcp_keepalive(before);
            let _ = options.set_keepalive(self.keepalive);
        }
        set_user_timeout(&options, None);
    }
}

#[cfg(target_os = "linux")]
fn set_user_timeout(options: &socket2::SockRef<'_>, limit: Option<Duration>) {
    let _ = options.set_tcp_user_timeout(limit);
}

/// What is not confirmed is left to the kernel's own limit there, and to the limit of the silence.
#[cfg(not(target_os = "linux"))]
fn set_user_timeout(_: &socket2::SockRef<'_>, _: Option<Duration>) {}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::net::{TcpListener, TcpStream};

    use super::{Places, Vigil};
    use crate::config::settings::HostSettings;

    #[tokio::test]
    async fn a_vigil_leaves_the_socket_as_it_was() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Arc::new(socket);
        let options = socket2::SockRef::from(&*socket);
        let state = || {
            (
                options.keepalive().unwrap(),
                options.tcp_keepalive_time().unwrap(),
                options.tcp_keepalive_interval().unwrap(),
                options.tcp_keepalive_retries().unwrap(),
            )
        };
        for keepalive in [false, true] {
            options.set_keepalive(keepalive).unwrap();
            let before = state();
            let vigil = Vigil::over(&socket);
            assert!(state().0 && state().1 <= Duration::from_secs(5), "{:?}", state());
            drop(vigil);
            assert_eq!(state(), before);
        }
        #[cfg(target_os = "linux")]
        assert_eq!(options.tcp_user_timeout().unwrap(), None);
    }

    #[test]
    fn places_are_told_apart_by_name_and_port() {
        let places = Places::default();
        let [one, other] = [22, 2222].map(|port| HostSettings::plain("devbox", "me", port));
        let address = "10.0.0.1:22".parse().unwrap();
        places.keep(&one, address);
        assert_eq!((places.get(&one), places.get(&other)), (Some(address), None));
    }
}

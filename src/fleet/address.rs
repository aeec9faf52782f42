//! Addresses of servers that listen: `ws://HOST:PORT` and `unix://PATH`.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A WebSocket over TCP, in the clear. `host` is a name or an IP address without brackets; `path` begins
    /// with a slash.
    Tcp { host: String, port: u16, path: String },
    /// A WebSocket over a Unix socket.
    Unix(PathBuf),
}

/// A text that is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("`{0}` is no address of a server")]
    Shape(String),
    #[error("`{0}` names no port")]
    NoPort(String),
    #[error("`{0}` names no socket")]
    NoPath(String),
    #[error("`{0}` asks for TLS, which is not supported yet")]
    Secure(String),
    /// Without the text: it holds a secret.
    #[error("the address has a user or a password in it, and authentication is not supported yet")]
    Credentials,
    #[error("`{0}` is no address to connect to: {1} stands for all addresses of a machine that listens")]
    Unspecified(String, IpAddr),
}

impl AddressError {
    /// What the user can do.
    pub fn hint(&self) -> String {
        match self {
            AddressError::Secure(_) | AddressError::Credentials => {
                "connect over SSH (`codex connect HOST`), or forward the port (`ssh -L 4500:127.0.0.1:4500 HOST`) and use ws://127.0.0.1:4500".to_owned()
            }
            AddressError::Unspecified(_, ip) => {
                let loopback = if ip.is_ipv6() { "[::1]" } else { "127.0.0.1" };
                format!("use ws://{loopback}:PORT on the same machine")
            }
            AddressError::Shape(_) | AddressError::NoPort(_) | AddressError::NoPath(_) => {
                "use `ws://HOST:PORT` or `unix://PATH`".to_owned()
            }
        }
    }
}

impl Address {
    /// Whether everything stays on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Address::Unix(_) => true,
            Address::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
            }
        }
    }

    /// What the WebSocket's request names; over a Unix socket its host means nothing.
    pub(crate) fn url(&self) -> String {
        match self {
            Address::Tcp { .. } => self.to_string(),
            Address::Unix(_) => "ws://localhost/".to_owned(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port, path } => {
                let path = if path == "/" { "" } else { path };
                match host.contains(':') {
                    true => write!(f, "ws://[{host}]:{port}{path}"),
                    false => write!(f, "ws://{host}:{port}{path}"),
                }
            }
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let shape = || AddressError::Shape(text.to_owned());
        if text.chars().any(char::is_control) {
            return Err(shape());
        }
        if let Some(path) = text.strip_prefix("unix://") {
            return match path {
                "" => Err(AddressError::NoPath(text.to_owned())),
                path => Ok(Address::Unix(PathBuf::from(path))),
            };
        }
        let (rest, is_secure) = match (text.strip_prefix("ws://"), text.strip_prefix("wss://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return Err(shape()),
        };
        let (place, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if place.contains('@') {
            return Err(AddressError::Credentials);
        }
        if is_secure {
            return Err(AddressError::Secure(text.to_owned()));
        }
        let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').filter(|it| it.contains(':')),
            None => Some(host).filter(|it| !it.contains([':', ']'])),
        };
        let host = host.filter(|it| !it.is_empty() && !it.contains(char::is_whitespace));
        let host = host.ok_or_else(shape)?;
        if port.is_empty() {
            return Err(AddressError::NoPort(text.to_owned()));
        }
        let port: u16 = port.parse().map_err(|_| shape())?;
        if port == 0 || path.starts_with(['?', '#']) || path.contains(char::is_whitespace) {
            return Err(shape());
        }
        if let Ok(ip) = host.parse::<IpAddr>()
            && ip.is_unspecified()
        {
            return Err(AddressError::Unspecified(text.to_owned(), ip));
        }
        Ok(Address::Tcp {
            host: host.to_owned(),
            port,
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, path: &str) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        }
    }

    #[test]
    fn addresses_are_read_and_written() {
        for (text, address, written) in [
            (
                "ws://127.0.0.1:4500",
                tcp("127.0.0.1", 4500, "/"),
                "ws://127.0.0.1:4500",
            ),
            ("ws://[::1]:1/", tcp("::1", 1, "/"), "ws://[::1]:1"),
            (
                "ws://devbox.example:80/a/b",
                tcp("devbox.example", 80, "/a/b"),
                "ws://devbox.example:80/a/b",
            ),
            (
                "unix:///run/a b.sock",
                Address::Unix("/run/a b.sock".into()),
                "unix:///run/a b.sock",
            ),
            (
                "unix://codex.sock",
                Address::Unix("codex.sock".into()),
                "unix://codex.sock",
            ),
        ] {
            let read: Address = text.parse().unwrap();
            assert_eq!((&read, read.to_string().as_str()), (&address, written));
        }
    }

    #[test]
    fn what_is_no_address_says_which_way_it_is_none() {
        for (text, why) in [
            ("ws://h", "names no port"),
            ("ws://h:", "names no port"),
            ("ws://[::1]", "is no address of a server"),
            ("ws://:1", "is no address of a server"),
            ("ws://h:0", "is no address of a server"),
            ("ws://h:65536", "is no address of a server"),
            ("ws://::1:80", "is no address of a server"),
            ("ws://h:1?x", "is no address of a server"),
            ("http://h:1", "is no address of a server"),
            ("h:1", "is no address of a server"),
            ("ws://h:1/\u{7}", "is no address of a server"),
            ("unix://", "names no socket"),
            ("wss://h:1", "TLS"),
            ("ws://0.0.0.0:4500", "all addresses"),
            ("ws://[::]:4500", "all addresses"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert!(!error.hint().is_empty());
        }
        for text in ["ws://me:hunter2@h:1", "wss://me:hunter2@h:1/x"] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error, AddressError::Credentials);
            assert!(!format!("{error}{error:?}{}", error.hint()).contains("hunter2"));
        }
    }

    #[test]
    fn only_what_stays_on_this_machine_is_local() {
        for (text, is_local) in [
            ("ws://127.0.0.2:1", true),
            ("ws://[::1]:1", true),
            ("ws://localhost:1", true),
            ("unix:///x", true),
            ("ws://10.0.0.4:1", false),
            ("ws://localhost.example:1", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_local(), is_local, "{text}");
        }
    }
}

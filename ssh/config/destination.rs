//! Destinations as people write them: on the command line and in `ProxyJump`.

use super::settings::JumpHost;

/// A host to resolve. What stands here wins over the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub host: String,
    pub user: Option<String>,
    pub port: Option<u16>,
}

/// Why a text is not a destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    #[error("no host name in {0:?}")]
    NoHost(String),
    #[error("no user name before the @ in {0:?}")]
    NoUser(String),
    #[error("{0:?} is not a port: it must be a number from 1 to 65535")]
    Port(String),
    #[error("the host name {0:?} has a character that host names cannot have")]
    HostName(String),
    #[error("the user name {0:?} has a character that user names cannot have")]
    UserName(String),
    #[error("a path stands behind the host in {0:?}")]
    Path(String),
    #[error("the brackets in {0:?} are not closed or not followed by a port")]
    Brackets(String),
}

impl Query {
    /// A name without user and port.
    pub fn host(name: impl Into<String>) -> Query {
        Query {
            host: name.into(),
            user: None,
            port: None,
        }
    }

    /// Reads `host`, `user@host`, `host:port`, `[address]:port`, a bare IPv6 address and
    /// `ssh://user@host:port`, where the user may be percent-encoded. A port must be a number here: the text comes from a person or a program,
    /// not from a configuration that may use service names.
    pub fn parse(text: &str) -> Result<Query, DestinationError> {
        let text = text.trim();
        let uri = text.strip_prefix("ssh://");
        // OpenSSH takes no address in brackets here; people write it, so it is read below.
        if let Some(uri) = uri.filter(|it| !it.contains('[')) {
            let port = |it: &str| number(it).ok_or_else(|| DestinationError::Port(it.to_owned()));
            let JumpHost { host, user, port } = uri_hop(uri, text, &port)?;
            return match user {
                Some(user) if !is_user_name(&user) => Err(DestinationError::UserName(user)),
                user => Ok(Query { host, user, port }),
            };
        }
        let body = uri.map_or(text, |it| it.strip_suffix('/').unwrap_or(it));
        let (user, place) = split_user(body, text)?;
        let (host, port) = match place.matches(':').count() {
            // More colons than one and no brackets: an IPv6 address.
            2.. if !place.starts_with('[') && uri.is_none() => (place, None),
            _ => split_port(place, text)?,
        };
        let port = port
            .map(|it| number(it).ok_or_else(|| DestinationError::Port(it.to_owned())))
            .transpose()?;
        if host.is_empty() {
            return Err(DestinationError::NoHost(text.to_owned()));
        }
        if !is_host_name(host) {
            return Err(DestinationError::HostName(host.to_owned()));
        }
        if let Some(user) = user.filter(|it| !is_user_name(it)) {
            return Err(DestinationError::UserName(user.to_owned()));
        }
        Ok(Query {
            host: host.to_owned(),
            user: user.map(str::to_owned),
            port,
        })
    }
}

/// One hop of a `ProxyJump` list. `service` knows the ports of service names.
pub(crate) fn hop(text: &str, service: &dyn Fn(&str) -> Option<u16>) -> Result<JumpHost, DestinationError> {
    let port = |it: &str| {
        let known = number(it).or_else(|| service(it));
        known.ok_or_else(|| DestinationError::Port(it.to_owned()))
    };
    if let Some(uri) = text.strip_prefix("ssh://") {
        return uri_hop(uri, text, &port);
    }
    let (user, place) = split_user(text, text)?;
    let (host, at) = split_port(place, text)?;
    // A list with blanks behind its commas, which OpenSSH refuses as well.
    if host.is_empty() || host.starts_with([' ', '\t']) {
        return Err(DestinationError::NoHost(text.to_owned()));
    }
    if host.contains('/') {
        return Err(DestinationError::Path(text.to_owned()));
    }
    Ok(JumpHost {
        host: host.to_owned(),
        user: user.map(str::to_owned),
        port: at.filter(|it| !it.is_empty()).map(port).transpose()?,
    })
}

/// A hop behind `ssh://`. In this form OpenSSH takes domain names only, so no IPv6 address, and no path.
fn uri_hop(
    uri: &str,
    whole: &str,
    port: &dyn Fn(&str) -> Result<u16, DestinationError>,
) -> Result<JumpHost, DestinationError> {
    let (user, place) = match uri.split_once('@') {
        None => (None, uri),
        Some((user, place)) => {
            // Connection parameters are not used by OpenSSH either.
            let user = user.split(';').next().unwrap_or(user);
            let decoded = percent_decode(user).filter(|it| !it.is_empty());
            let wrong = || DestinationError::NoUser(whole.to_owned());
            (Some(decoded.ok_or_else(wrong)?), place)
        }
    };
    let (place, path) = place.split_once('/').unwrap_or((place, ""));
    let (host, at) = split_port(place, whole)?;
    if host.is_empty() {
        return Err(DestinationError::NoHost(whole.to_owned()));
    }
    if !is_domain(host) {
        return Err(DestinationError::HostName(host.to_owned()));
    }
    if !path.is_empty() {
        return Err(DestinationError::Path(whole.to_owned()));
    }
    Ok(JumpHost {
        host: host.strip_suffix('.').unwrap_or(host).to_owned(),
        user,
        port: at.filter(|it| !it.is_empty()).map(port).transpose()?,
    })
}

/// A hop as `ssh -G` spells it, with brackets around addresses.
pub(crate) fn spelled(hop: &JumpHost) -> String {
    let is_numeric = hop.host.contains(':') || hop.host.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let user = hop.user.as_ref().map(|it| format!("{it}@")).unwrap_or_default();
    let port = hop.port.map(|it| format!(":{it}")).unwrap_or_default();
    match is_numeric {
        true => format!("{user}[{}]{port}", hop.host),
        false => format!("{user}{}{port}", hop.host),
    }
}

/// Splits at the last `@`: user names may hold one.
fn split_user<'a>(body: &'a str, whole: &str) -> Result<(Option<&'a str>, &'a str), DestinationError> {
    match body.rsplit_once('@') {
        Some(("", _)) => Err(DestinationError::NoUser(whole.to_owned())),
        Some((user, place)) => Ok((Some(user), place)),
        None => Ok((None, body)),
    }
}

/// Splits `host:port` and `[host]:port`.
fn split_port<'a>(place: &'a str, whole: &str) -> Result<(&'a str, Option<&'a str>), DestinationError> {
    if let Some(inner) = place.strip_prefix('[') {
        let wrong = || DestinationError::Brackets(whole.to_owned());
        let (host, after) = inner.split_once(']').ok_or_else(wrong)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(wrong()),
        };
    }
    match place.split_once(':') {
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|&it| it != 0 && digits)
}

/// `None` where a `%` is not followed by two digits of a character other than zero.
fn percent_decode(text: &str) -> Option<String> {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    let digit = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    while let Some(it) = bytes.next() {
        out.push(match it {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                Some(high << 4 | low).filter(|it| *it != 0)?
            }
            _ => it,
        });
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Letters, digits, `.`, `-` and `_`, the first of them neither `.` nor `-`.
pub(crate) fn is_domain(text: &str) -> bool {
    let first = text
        .bytes()
        .next()
        .is_some_and(|it| it.is_ascii_alphanumeric() || it == b'_');
    let rest = text
        .bytes()
        .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-' | b'_'));
    first && rest && !text.contains("..")
}

/// OpenSSH's rule for host names from a command line: nothing that a shell could see as its own.
pub(crate) fn is_host_name(text: &str) -> bool {
    let odd =
        |it: char| "'`\"$\\;&<>|(){},".contains(it) || it.is_ascii_whitespace() || it.is_ascii_control();
    !text.is_empty() && !text.starts_with('-') && !text.contains(odd)
}

/// OpenSSH's rule for user names from a command line.
pub(crate) fn is_user_name(text: &str) -> bool {
    let odd = |it: char| "'`\";&<>|(){}".contains(it) || it.is_ascii_control();
    let option = text
        .split(|it: char| it.is_ascii_whitespace())
        .any(|it| it.starts_with('-'));
    !text.is_empty() && !option && !text.ends_with('\\') && !text.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(host: &str, user: Option<&str>, port: Option<u16>) -> Query {
        Query {
            host: host.to_owned(),
            user: user.map(str::to_owned),
            port,
        }
    }

    #[test]
    fn every_way_to_write_a_destination_is_read() {
        for (text, expected) in [
            ("devbox", query("devbox", None, None)),
            ("bob@devbox", query("devbox", Some("bob"), None)),
            ("devbox:2222", query("devbox", None, Some(2222))),
            ("bob@devbox:2222", query("devbox", Some("bob"), Some(2222))),
            ("a@b@devbox", query("devbox", Some("a@b"), None)),
            ("[::1]:22", query("::1", None, Some(22))),
            ("[::1]", query("::1", None, None)),
            (
                "bob@[2001:db8::1]:2222",
                query("2001:db8::1", Some("bob"), Some(2222)),
            ),
            ("::1", query("::1", None, None)),
            ("ssh://bob@devbox:2222", query("devbox", Some("bob"), Some(2222))),
            ("ssh://devbox/", query("devbox", None, None)),
            ("ssh://devbox:", query("devbox", None, None)),
            ("ssh://b%6Fb;x=1@devbox", query("devbox", Some("bob"), None)),
            ("ssh://bob@[::1]:2222", query("::1", Some("bob"), Some(2222))),
        ] {
            assert_eq!(Query::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn junk_is_refused_with_what_is_wrong() {
        for (text, part) in [
            ("", "no host name"),
            ("bob@", "no host name"),
            ("@devbox", "no user name"),
            ("devbox:0", "not a port"),
            ("devbox:", "not a port"),
            ("devbox:65536", "not a port"),
            ("devbox:+22", "not a port"),
            ("devbox:ssh", "not a port"),
            ("-oProxyCommand=x", "host name"),
            ("a b", "host name"),
            ("a;b", "host name"),
            ("-l@devbox", "user name"),
            ("$(x)@devbox", "user name"),
            ("[::1", "brackets"),
            ("[::1]x", "brackets"),
            ("ssh://devbox/home", "a path"),
            ("ssh://b%6@devbox", "no user name"),
            ("ssh://a%27b@devbox", "user name"),
            ("ssh://a@b@devbox", "host name"),
        ] {
            let error = Query::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn hops_take_service_names_and_uris() {
        let service = |it: &str| (it == "ssh").then_some(22);
        for (text, host, user, port) in [
            ("b1", "b1", None, None),
            ("alice@b1:2222", "b1", Some("alice"), Some(2222)),
            ("b1:ssh", "b1", None, Some(22)),
            ("b1:", "b1", None, None),
            ("bob@[::1]:22", "::1", Some("bob"), Some(22)),
            ("ssh://bob@b1:22/", "b1", Some("bob"), Some(22)),
            ("ssh://b%6Fb;x=1@b1", "b1", Some("bob"), None),
        ] {
            let expected = JumpHost {
                host: host.to_owned(),
                user: user.map(str::to_owned),
                port,
            };
            assert_eq!(hop(text, &service), Ok(expected), "{text}");
        }
        for text in [
            "",
            "b1:0",
            "b1:x",
            "@b1",
            "[::1",
            "bob@",
            "b1/22",
            " b1",
            "\tb1:22",
            "bob@ b1",
            "ssh://bob@[::1]:22",
            "ssh://b1/path",
            "ssh://b1:22/path",
            "ssh://b%6@b1",
            "ssh://b%00@b1",
            "ssh://a@b@b1",
        ] {
            assert!(hop(text, &service).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hop_is_spelled_like_ssh_g_does() {
        for (text, expected) in [
            ("b1", "b1"),
            ("ssh://bob@b2:22", "bob@b2:22"),
            ("b1:ssh", "b1:22"),
            ("10.0.0.1", "[10.0.0.1]"),
            ("a@[::1]:22", "a@[::1]:22"),
            ("ssh://a+b@b1", "a b@b1"),
        ] {
            let hop = hop(text, &|it| (it == "ssh").then_some(22)).unwrap();
            assert_eq!(spelled(&hop), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(text: String) {
            drop(Query::parse(&text));
            drop(hop(&text, &|_| None));
        }
    }
}

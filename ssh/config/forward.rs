//! `LocalForward`, `RemoteForward` and `DynamicForward`, in the one spelling of `ssh -G`.

use super::{
    keywords::Direction,
    settings::{Endpoint, Forward, Target},
    tokens::{Env, expand_variables},
    value::integer,
};

/// One end of a forwarding: a path or a host with a port.
struct Field {
    text: String,
    is_path: bool,
}

/// Reads the one or two arguments of a forwarding; `service` knows the ports of service names.
/// `None` means that OpenSSH would refuse them.
pub(super) fn canonical(
    direction: Direction,
    words: &[String],
    service: &dyn Fn(&str) -> Option<u16>,
    env: Env<'_>,
) -> Option<(String, Direction)> {
    let (listen, target) = match words {
        [listen] => (listen, None),
        [listen, target] if target.is_empty() && direction == Direction::Remote => (listen, None),
        [listen, target] if !target.is_empty() && direction != Direction::Dynamic => (listen, Some(target)),
        _ => return None,
    };
    let whole = match target {
        Some(target) => format!("{listen}:{target}"),
        // A remote forwarding without a target is a SOCKS proxy at the other end.
        None if direction != Direction::Local => listen.clone(),
        None => return None,
    };
    let dynamic = target.is_none();
    // Before the fields are told apart: a variable may hold a path.
    let whole = expand_variables(&whole, env).ok()?;
    let fields = fields(whole.trim_start())?;
    let port = |it: &Field, low: u16| {
        let number = match integer(&it.text) {
            Some(number) => u16::try_from(number).ok(),
            None => service(&it.text),
        };
        number.filter(|&it: &u16| it >= low)
    };
    // A remote port of zero lets the server choose.
    let listen_low = u16::from(direction != Direction::Remote);
    let at_port = |it: &Field| port(it, listen_low).map(|it| it.to_string());
    let at_host = |host: &Field, it: &Field, low| Some(format!("[{}]:{}", host.text, port(it, low)?));
    let path = |it: &Field| it.is_path.then(|| it.text.clone());
    let text = match (dynamic, fields.as_slice()) {
        (true, [listen]) => path(listen).or_else(|| at_port(listen))?,
        // One word that names both ends: the second is a socket, so nothing is left for SOCKS to name.
        (true, [listen, to]) if to.is_path && direction == Direction::Remote => {
            return Some((
                format!("{} {}", path(listen).or_else(|| at_port(listen))?, to.text),
                direction,
            ));
        }
        (true, [host, listen]) => at_host(host, listen, listen_low)?,
        (false, [listen, to]) if to.is_path => {
            format!("{} {}", path(listen).or_else(|| at_port(listen))?, to.text)
        }
        (false, [listen, host, to]) if listen.is_path => format!("{} {}", listen.text, at_host(host, to, 1)?),
        (false, [host, listen, to]) if to.is_path => {
            format!("{} {}", at_host(host, listen, listen_low)?, to.text)
        }
        (false, [listen, host, to]) => format!("{} {}", at_port(listen)?, at_host(host, to, 1)?),
        (false, [host, listen, to_host, to]) => {
            format!(
                "{} {}",
                at_host(host, listen, listen_low)?,
                at_host(to_host, to, 1)?
            )
        }
        _ => return None,
    };
    let text = if dynamic && direction == Direction::Remote {
        format!("{text} [socks]:0")
    } else {
        text
    };
    Some((text, direction))
}

/// The same forwarding with `expand` applied to the paths of sockets, which are all that takes tokens.
pub(super) fn with_paths<E>(text: &str, expand: &dyn Fn(&str) -> Result<String, E>) -> Result<String, E> {
    let is_path = |it: &str| it.contains('/') && !it.starts_with('[');
    let words = text.split(' ');
    let words = words.map(|it| {
        if is_path(it) {
            expand(it)
        } else {
            Ok(it.to_owned())
        }
    });
    Ok(words.collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// Reads what [`canonical`] wrote.
pub(super) fn read(direction: Direction, text: &str) -> Option<Forward> {
    let (listen, rest) = endpoint(text)?;
    let target = match rest.strip_prefix(' ') {
        None => Target::Socks,
        Some("[socks]:0") => Target::Socks,
        Some(path) if path.starts_with('/') => Target::Unix(path.into()),
        Some(text) => match endpoint(text)?.0 {
            Endpoint::Tcp {
                host: Some(host),
                port,
            } => Target::Tcp { host, port },
            Endpoint::Tcp { .. } => return None,
            Endpoint::Unix(path) => Target::Unix(path),
        },
    };
    let is_remote = direction == Direction::Remote;
    Some(Forward {
        is_remote,
        listen,
        target,
    })
}

/// `[host]:port`, `port` or a path, and what follows.
fn endpoint(text: &str) -> Option<(Endpoint, &str)> {
    if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once("]:")?;
        let end = rest.find(' ').unwrap_or(rest.len());
        let (port, rest) = rest.split_at(end);
        let host = Some(host.to_owned());
        let port = port.parse().ok()?;
        return Some((Endpoint::Tcp { host, port }, rest));
    }
    let (word, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    Some(match word.parse() {
        Ok(port) => (Endpoint::Tcp { host: None, port }, rest),
        Err(_) => (Endpoint::Unix(word.into()), rest),
    })
}

/// Fields between colons; brackets and backslashes protect a colon.
fn fields(text: &str) -> Option<Vec<Field>> {
    let (mut found, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        if found.len() == 4 {
            return None;
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (text, after) = inner.split_once(']')?;
            found.push(Field {
                text: text.to_owned(),
                is_path: text.contains('/'),
            });
            rest = if after.is_empty() {
                after
            } else {
                after.strip_prefix(':')?
            };
            continue;
        }
        let (mut text, mut chars) = (String::new(), rest.chars());
        loop {
            match chars.next() {
                None | Some(':') => break,
                Some('\\') => text.push(chars.next()?),
                Some(it) => text.push(it),
            }
        }
        found.push(Field {
            is_path: text.contains('/'),
            text,
        });
        rest = chars.as_str();
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwardings_are_spelled_like_ssh_g_spells_them() {
        use Direction::{Dynamic, Local, Remote};
        for (direction, words, expected) in [
            (Local, "8080 localhost:80", Some("8080 [localhost]:80")),
            (
                Local,
                "127.0.0.1:8080 [::1]:80",
                Some("[127.0.0.1]:8080 [::1]:80"),
            ),
            (Local, "/tmp/s /tmp/t", Some("/tmp/s /tmp/t")),
            (Local, "8080 /tmp/t", Some("8080 /tmp/t")),
            (Local, "8080", None),
            (Local, "0 localhost:80", None),
            (Local, "8080 localhost", None),
            (Remote, "0 localhost:80", Some("0 [localhost]:80")),
            (Remote, "1080", Some("1080 [socks]:0")),
            (Dynamic, "localhost:1080", Some("[localhost]:1080")),
            (Dynamic, "1080", Some("1080")),
            (Dynamic, "x", None),
            (Dynamic, "1080 localhost:80", None),
            (Local, "${DIR}/s localhost:80", Some("/run/s [localhost]:80")),
            (Local, "${UNSET}/s localhost:80", None),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let found = canonical(direction, &words, &|_| None, &|it| {
                (it == "DIR").then(|| "/run".to_owned())
            })
            .map(|it| it.0);
            assert_eq!(found.as_deref(), expected, "{words:?}");
        }
    }
}

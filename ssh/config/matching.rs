//! `Match`: whether its criteria hold, from what is known when the line is reached.

use std::net::IpAddr;

use super::{
    keywords::RELEASE,
    pattern,
    problem::{Origin, Severity},
    resolve::Interpreter,
};

/// Criteria that may carry their argument behind an `=`.
const WITH_EQUALS: &[&str] = &[
    "host",
    "originalhost",
    "user",
    "localuser",
    "localnetwork",
    "version",
    "tagged",
    "command",
    "exec",
];

impl Interpreter<'_> {
    /// Whether all criteria hold. `reachable` is false where the block cannot apply whatever they say:
    /// there a `final` still asks for the second pass, as in OpenSSH, but no program is run. OpenSSH runs
    /// it; its answer changes nothing, and a program must not run for a block that does not apply.
    pub(super) fn match_applies(
        &mut self,
        words: &[String],
        origin: &Origin,
        reachable: bool,
    ) -> Result<bool, String> {
        // Even in quotes a `#` at the start ends the line, but it is no argument of a criterion.
        let (mut result, mut seen, mut words) = (true, 0_u32, words.iter().peekable());
        while let Some(word) = words.next().filter(|it| !it.starts_with('#')) {
            let (negated, criterion) = word
                .strip_prefix('!')
                .map_or((false, word.as_str()), |it| (true, it));
            let lower = criterion.to_ascii_lowercase();
            if lower == "all" {
                // OpenSSH lets one criterion stand before it: `Match final all`.
                let next = words.next().map(String::as_str);
                let is_last = match next {
                    None => true,
                    Some("") => words.peek().is_none(),
                    Some(next) => next.starts_with('#'),
                };
                if seen > 1 || !is_last {
                    return Err(format!("match: {word:?} cannot be combined with other criteria"));
                }
                return Ok(result && !negated);
            }
            seen += 1;
            if matches!(lower.as_str(), "final" | "canonical") {
                self.wants_final |= lower == "final" && !negated && !self.final_pass;
                result &= self.final_pass != negated;
                continue;
            }
            let (name, argument) = argument(criterion, &mut words)?;
            let holds = self.holds(&name, argument, origin, result && reachable)?;
            result &= holds != negated;
        }
        match seen {
            0 => Err("match: a criterion is missing".to_owned()),
            _ => Ok(result),
        }
    }

    /// `wanted` is false when the answer cannot matter any more.
    fn holds(&mut self, name: &str, argument: &str, origin: &Origin, wanted: bool) -> Result<bool, String> {
        let is_missing = argument.is_empty() && !matches!(name, "tagged" | "command");
        if is_missing || argument.starts_with('#') {
            return Err(format!("match: the argument of {name} is missing"));
        }
        Ok(match name {
            "host" => pattern::list_ignoring_case(argument, &self.host_name()),
            "originalhost" => pattern::list_ignoring_case(argument, &self.query.host),
            "user" => {
                let local = self.world.local_user();
                pattern::list(argument, self.get("user").unwrap_or(&local))
            }
            "localuser" => pattern::list(argument, &self.world.local_user()),
            "localnetwork" => in_networks(argument, &self.world.local_addresses())?,
            "version" => pattern::list(argument, RELEASE),
            "tagged" => match self.get("tag") {
                Some(tag) if !tag.is_empty() => pattern::list(argument, tag),
                _ => argument.is_empty(),
            },
            // No command and no subsystem is known here: `ssh -G alias` is the same question.
            "command" => argument.is_empty(),
            "sessiontype" => pattern::list(argument, session_type(self.get("sessiontype"))),
            "exec" => self.exec(argument, origin, wanted)?,
            _ => return Err(format!("match: unknown criterion {name:?}")),
        })
    }

    fn exec(&mut self, argument: &str, origin: &Origin, wanted: bool) -> Result<bool, String> {
        let command = self
            .tokens()
            .expand(argument)
            .map_err(|it| format!("match exec {argument:?}: {it}"))?;
        if !wanted {
            return Ok(false);
        }
        self.world.run(&command).or_else(|error| {
            let message = format!("match exec {command:?}: {error}; taken as false");
            // The limit is ours; OpenSSH waits, and gives up for any other reason.
            let severity = match error.kind() {
                std::io::ErrorKind::TimedOut => Severity::Warning,
                _ => Severity::Error,
            };
            self.problems.add(origin, severity, true, message);
            Ok(false)
        })
    }
}

/// The criterion's name in lower case and its argument, which may follow an `=` or stand alone.
fn argument<'a>(
    criterion: &'a str,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<(String, &'a str), String> {
    if let Some((name, argument)) = criterion.split_once('=') {
        let name = name.to_ascii_lowercase();
        if WITH_EQUALS.contains(&name.as_str()) {
            return Ok((name, argument));
        }
    }
    let name = criterion.to_ascii_lowercase();
    match words.next() {
        Some(argument) => Ok((name, argument)),
        None if known(&name) => Err(format!("match: the argument of {name} is missing")),
        None => Err(format!("match: unknown criterion {name:?}")),
    }
}

fn known(name: &str) -> bool {
    WITH_EQUALS.contains(&name) || name == "sessiontype"
}

fn session_type(configured: Option<&str>) -> &str {
    configured.filter(|it| *it != "default").unwrap_or("shell")
}

/// Whether one of `addresses` is in the list of networks.
fn in_networks(list: &str, addresses: &[IpAddr]) -> Result<bool, String> {
    let mut networks = Vec::new();
    for text in list.split(',') {
        let network =
            network(text).ok_or_else(|| format!("match localnetwork: {text:?} is not ADDRESS/BITS"))?;
        networks.push(network);
    }
    let is_in_one = |address: &IpAddr| networks.iter().any(|it| contains(*it, *address));
    Ok(addresses.iter().any(is_in_one))
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |it| (it.0, Some(it.1)));
    let address: IpAddr = address.parse().ok()?;
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(widest), |it| it.parse().ok())?;
    let host_bits = match address {
        IpAddr::V4(it) => u128::from(u32::from(it).checked_shl(bits).unwrap_or(0)),
        IpAddr::V6(it) => u128::from(it).checked_shl(bits).unwrap_or(0),
    };
    (bits <= widest && host_bits == 0).then_some((address, bits))
}

fn contains((network, bits): (IpAddr, u32), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            (u32::from(network) ^ u32::from(address)) & mask == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            (u128::from(network) ^ u128::from(address)) & mask == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        let addresses: Vec<IpAddr> = ["10.1.2.3", "fe80::1"].map(|it| it.parse().unwrap()).into();
        for (list, expected) in [
            ("10.0.0.0/8", true),
            ("192.168.0.0/16", false),
            ("192.168.0.0/16,10.1.2.3", true),
            ("fe80::/10", true),
            ("0.0.0.0/0", true),
            ("::/0", true),
        ] {
            assert_eq!(in_networks(list, &addresses), Ok(expected), "{list}");
        }
        for wrong in [
            "10.0.0.0/33",
            "lab",
            "10.1.2.3/8",
            "fe80::1/10",
            "!10.0.0.0/8",
            "10.0.0.0/8,",
            "10.0.0.0/x",
        ] {
            assert!(in_networks(wrong, &addresses).is_err(), "{wrong}");
        }
    }
}

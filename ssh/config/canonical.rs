//! The one form of a host name: lower case, addresses in their usual spelling, and the domains of
//! `CanonicalizeHostname`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    problem::{ConfigError, Origin, Problems, Severity},
    resolve::Table,
    world::World,
};

/// The name to connect to. Asks the resolver only when `CanonicalizeHostname` says so.
pub(super) fn name(
    host: &str,
    table: &Table,
    world: &mut dyn World,
    problems: &mut Problems,
) -> Result<String, ConfigError> {
    if let Some(address) = address(host) {
        // Like OpenSSH, keep the letters of an address that is already written out.
        return Ok(if address.eq_ignore_ascii_case(host) {
            host.to_owned()
        } else {
            address
        });
    }
    let host = match looks_like_address(host) {
        true => host.to_owned(),
        false => host.to_ascii_lowercase(),
    };
    let get = |keyword: &str| {
        table
            .get(keyword)
            .and_then(|it| it.values.first())
            .map(String::as_str)
    };
    let mode = get("canonicalizehostname").unwrap_or("false");
    let direct = ["proxycommand", "proxyjump"]
        .iter()
        .all(|it| get(it).is_none_or(|it| it == "none"));
    if mode == "false" || host.is_empty() || (!direct && mode != "always") {
        return Ok(host);
    }
    if let Some(origin) = table
        .get("canonicalizepermittedcnames")
        .and_then(|it| it.origin.as_ref())
    {
        let message = "aliases in the DNS are not followed: the name found is kept";
        problems.add(origin, Severity::Warning, true, message);
    }
    let dots = host.matches('.').count();
    let most: usize = get("canonicalizemaxdots")
        .and_then(|it| it.parse().ok())
        .unwrap_or(1);
    let found = match host.strip_suffix('.') {
        Some(anchored) => world.resolves(&host).then(|| anchored.to_owned()),
        None if dots > most => return Ok(host),
        None => {
            let domains = table.get("canonicaldomains").map_or(&[][..], |it| &it.values);
            let candidates = domains
                .iter()
                .take_while(|it| *it != "none")
                .map(|it| format!("{host}.{it}"));
            // The dot at the end keeps the resolver from adding domains of its own.
            candidates
                .into_iter()
                .find(|it| world.resolves(&format!("{it}.")))
        }
    };
    if found.is_none() && get("canonicalizefallbacklocal") == Some("no") {
        let origin = table.get("canonicalizehostname").and_then(|it| it.origin.clone());
        let message = format!("canonicalizehostname: cannot resolve {host:?}");
        let origin = origin.unwrap_or_else(|| Origin::new("".as_ref(), 0));
        return Err(ConfigError::Setting { origin, message });
    }
    Ok(found.unwrap_or(host))
}

/// Whether OpenSSH takes `text` for an address at a glance, and leaves its letters alone.
fn looks_like_address(text: &str) -> bool {
    text.contains([':', '%']) || text.bytes().all(|it| it.is_ascii_digit() || it == b'.')
}

/// `text` as an address in its usual spelling, with the zone of a link-local one.
pub(super) fn address(text: &str) -> Option<String> {
    let (plain, zone) = text.split_once('%').map_or((text, None), |it| (it.0, Some(it.1)));
    match (plain.parse::<IpAddr>(), zone) {
        (Ok(IpAddr::V6(address)), Some(zone)) => Some(format!("{}%{zone}", spelled(address))),
        (Ok(IpAddr::V6(address)), None) => Some(spelled(address)),
        (Ok(address), None) => Some(address.to_string()),
        _ => legacy_address(text).map(|it| it.to_string()),
    }
}

/// As inet_ntop(3) spells it: an IPv4 address stands in its own form behind 96 zero bits, too.
fn spelled(address: Ipv6Addr) -> String {
    match (u128::from(address), address.segments()) {
        (0x1_0000..=0xffff_ffff, [.., high, low]) => {
            let inner = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
            format!("::{inner}")
        }
        _ => address.to_string(),
    }
}

/// The old spellings of an IPv4 address that the C library still takes: `10.1`, `0x7f.1`, `2130706433`.
fn legacy_address(text: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| -> Option<u32> {
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let (digits, radix) = match (hex, text.strip_prefix('0')) {
            (Some(hex), _) => (hex, 16),
            (None, Some(octal)) if !octal.is_empty() => (octal, 8),
            _ => (text, 10),
        };
        // A sign is not a digit, whatever the parser below thinks.
        u32::from_str_radix(digits, radix)
            .ok()
            .filter(|_| !digits.starts_with('+'))
    };
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, bytes) = parts.split_last()?;
    if bytes.len() > 3 || bytes.iter().any(|&it| it > 255) {
        return None;
    }
    let room = 8 * (4 - u32::try_from(bytes.len()).ok()?);
    if u64::from(*last) >= 1_u64 << room {
        return None;
    }
    let high = bytes
        .iter()
        .zip([24, 16, 8])
        .fold(0, |sum, (byte, shift)| sum | byte << shift);
    Some(Ipv4Addr::from(high | last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_spelling() {
        for (text, expected) in [
            ("10.0.0.5", Some("10.0.0.5")),
            ("2001:DB8:0::1", Some("2001:db8::1")),
            ("FE80::1%eth0", Some("fe80::1%eth0")),
            ("::FFFF:10.0.0.5", Some("::ffff:10.0.0.5")),
            ("::1:2", Some("::0.1.0.2")),
            ("::1", Some("::1")),
            ("10.1", Some("10.0.0.1")),
            ("0x7f.1", Some("127.0.0.1")),
            ("2130706433", Some("127.0.0.1")),
            ("010.0.0.1", Some("8.0.0.1")),
            ("256.0.0.1", None),
            ("1.2.3.4.5", None),
            ("devbox", None),
            ("", None),
        ] {
            assert_eq!(address(text).as_deref(), expected, "{text}");
        }
    }
}

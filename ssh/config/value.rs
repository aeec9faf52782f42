//! Arguments to values: checked as OpenSSH checks them, spelled as `ssh -G` spells them.

use super::{
    algorithms, destination, forward,
    keywords::{Keyword, Kind},
    tokens::expand_variables,
};

/// Where values ask about the machine.
pub(crate) struct Lookup<'a> {
    pub(crate) service: &'a dyn Fn(&str) -> Option<u16>,
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
}

/// The values of one line; `None` when the line is right and leaves the keyword unset.
pub(crate) type Values = Option<Vec<String>>;

/// Reads the arguments of `keyword`. The error says what is wrong with them.
pub(crate) fn read(
    keyword: &Keyword,
    words: &[String],
    rest: &str,
    ask: &Lookup<'_>,
) -> Result<Values, String> {
    let one = || single(words);
    let value = match keyword.kind {
        Kind::Flag => match flag(one()?) {
            Some(true) => "yes".to_owned(),
            Some(false) => "no".to_owned(),
            None => return Err(format!("{:?} is neither yes nor no", words[0])),
        },
        Kind::Choice(words) => choice(words, one()?)?,
        Kind::Number => number(one()?)?.to_string(),
        Kind::Time => match one()? {
            "none" => return Ok(None),
            text => seconds(text)?.to_string(),
        },
        Kind::Port => port(one()?, ask)?.to_string(),
        Kind::Text => one()?.to_owned(),
        Kind::Collected | Kind::Refuse => one()?.to_owned(),
        Kind::Command => command(keyword.name, rest)?,
        Kind::Jump => jump(rest, ask)?,
        Kind::AgentPath => agent_path(one()?, ask)?,
        Kind::ForwardAgent => match flag(one()?) {
            Some(yes) => if yes { "yes" } else { "no" }.to_owned(),
            None => agent_path(one()?, ask)?,
        },
        Kind::Algorithms(family) => match algorithms::unknown_name(family, one()?) {
            Some(name) => return Err(format!("{name:?} is not an algorithm that OpenSSH knows here")),
            None => words[0].clone(),
        },
        Kind::Forward(direction) => {
            let found = forward::canonical(direction, some(words)?, ask.service, ask.env);
            found
                .ok_or_else(|| format!("{:?} is not a forwarding", words.join(" ")))?
                .0
        }
        Kind::AddKeysToAgent => add_keys(some(words)?)?,
        Kind::ControlPersist => match one()? {
            "yes" | "true" => "yes".to_owned(),
            "no" | "false" => "no".to_owned(),
            text => match seconds(text)? {
                0 => "yes".to_owned(),
                time => time.to_string(),
            },
        },
        Kind::EscapeChar => escape_char(one()?)?,
        Kind::TunnelDevice => tunnel_device(one()?)?,
        Kind::Mask => mask(one()?)?,
        Kind::ObscureTiming => obscure(one()?)?,
        Kind::RekeyLimit => return rekey_limit(words).map(Some),
        Kind::IpQos => return ip_qos(some(words)?).map(Some),
        Kind::List => return list(keyword.name, words),
        Kind::SendEnv => return send_env(some(words)?).map(Some),
        Kind::SetEnv => return set_env(some(words)?).map(Some),
        Kind::PermitRemoteOpen => {
            return alone(some(words)?, &["none", "any"], |it| open_target(it, ask)).map(Some);
        }
        Kind::Domains => return alone(some(words)?, &["none"], domain).map(Some),
        Kind::Cnames => return alone(some(words)?, &["none"], cname).map(Some),
        Kind::ChannelTimeout => return alone(some(words)?, &["none"], channel_timeout).map(Some),
        Kind::Host | Kind::Match | Kind::Include | Kind::Ignored | Kind::Unsupported => return Ok(None),
    };
    Ok(Some(vec![value]))
}

fn some(words: &[String]) -> Result<&[String], String> {
    match words {
        [] => Err("an argument is missing".to_owned()),
        words if words[0].is_empty() => Err("the argument is empty".to_owned()),
        words => Ok(words),
    }
}

fn single(words: &[String]) -> Result<&str, String> {
    match some(words)? {
        [one] => Ok(one),
        more => Err(format!(
            "{:?} and what follows is too much: one argument is taken",
            more[1]
        )),
    }
}

pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

fn choice(words: &[(&str, &str)], text: &str) -> Result<String, String> {
    let found = words.iter().find(|it| it.0.eq_ignore_ascii_case(text));
    found.map(|it| it.1.to_owned()).ok_or_else(|| {
        let names: Vec<_> = words.iter().map(|it| it.0).collect();
        format!("{text:?} is none of {}", names.join(", "))
    })
}

fn number(text: &str) -> Result<i32, String> {
    let value = integer(text).and_then(|it| i32::try_from(it).ok());
    value
        .filter(|it| *it >= 0)
        .ok_or_else(|| format!("{text:?} is not a number from 0 to {}", i32::MAX))
}

/// As strtoll(3) reads it: blanks and a sign may stand before the digits.
pub(super) fn integer(text: &str) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_plain = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// `90`, `1m30s`, `1.5`: seconds, without what stands behind the decimal point.
pub(crate) fn seconds(text: &str) -> Result<i32, String> {
    let wrong = || format!("{text:?} is not a time such as 90, 10m or 1h30m");
    let (mut total, mut rest, mut plain_seconds) = (0_f64, text, false);
    while !rest.is_empty() {
        let end = rest
            .find(|it: char| !it.is_ascii_digit() && it != '.')
            .unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let unit = after.chars().next();
        let scale = match unit.map(|it| it.to_ascii_lowercase()) {
            None | Some('s') => 1.0,
            Some('m') => 60.0,
            Some('h') => 3_600.0,
            Some('d') => 86_400.0,
            Some('w') => 604_800.0,
            Some(_) => return Err(wrong()),
        };
        let is_seconds = matches!(unit, None | Some('s' | 'S'));
        let fraction = digits.contains('.');
        if (is_seconds && plain_seconds) || (fraction && (!is_seconds || digits.ends_with('.'))) {
            return Err(wrong());
        }
        plain_seconds |= is_seconds;
        total += digits.parse::<f64>().map_err(|_| wrong())? * scale;
        rest = &after[unit.map_or(0, char::len_utf8)..];
    }
    if text.is_empty() || total > f64::from(i32::MAX) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked, the fraction is dropped"
    )]
    Ok(total as i32)
}

fn port(text: &str, ask: &Lookup<'_>) -> Result<u16, String> {
    let value = match integer(text) {
        Some(it) => u16::try_from(it).ok(),
        None => (ask.service)(text),
    };
    value
        .filter(|&it| it != 0)
        .ok_or_else(|| format!("{text:?} is not a port: 1 to 65535 or a service name"))
}

fn command(name: &str, rest: &str) -> Result<String, String> {
    if name == "versionaddendum" {
        let text = rest;
        return Ok(if text.eq_ignore_ascii_case("none") {
            ""
        } else {
            text
        }
        .to_owned());
    }
    Ok(rest.trim_start_matches([' ', '\t', '\r', '\n', '=']).to_owned())
}

/// OpenSSH reads this one without regard to quotes.
fn jump(rest: &str, ask: &Lookup<'_>) -> Result<String, String> {
    let text = rest.trim_start_matches([' ', '\t', '\r', '\n', '=']);
    if text.eq_ignore_ascii_case("none") {
        return Ok("none".to_owned());
    }
    let text = text.split('#').next().unwrap_or_default().trim_end();
    let mut last = String::new();
    for hop in text.split(',') {
        let hop = destination::hop(hop, ask.service).map_err(|it| it.to_string())?;
        last = destination::spelled(&hop);
    }
    // The last hop is the one that OpenSSH keeps in parts and spells anew.
    let before = text.rsplit_once(',').map(|it| format!("{},", it.0));
    Ok(before.unwrap_or_default() + &last)
}

fn agent_path(text: &str, ask: &Lookup<'_>) -> Result<String, String> {
    expand_variables(text, ask.env).map_err(|it| it.to_string())?;
    let name = text.strip_prefix('$').filter(|it| !it.starts_with('{'));
    let plain = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
    match name {
        Some(name) if !plain(name) => Err(format!("{name:?} is not the name of an environment variable")),
        _ => Ok(text.to_owned()),
    }
}

fn add_keys(words: &[String]) -> Result<String, String> {
    let wrong = || {
        format!(
            "{:?} is none of yes, no, ask, confirm and a time",
            words.join(" ")
        )
    };
    let first = words[0].to_ascii_lowercase();
    let kind = match (first.as_str(), flag(&first)) {
        (_, Some(yes)) => Some(if yes { "true" } else { "false" }),
        ("ask" | "confirm", _) => Some(first.as_str()),
        _ => None,
    };
    match (kind, &words[1..]) {
        (Some(kind), []) => Ok(kind.to_owned()),
        (Some("confirm"), [time]) => Ok(match seconds(time)? {
            0 => "confirm".to_owned(),
            time => format!("confirm {time}"),
        }),
        (None, []) => Ok(match seconds(&words[0]).map_err(|_| wrong())? {
            0 => "true".to_owned(),
            time => time.to_string(),
        }),
        _ => Err(wrong()),
    }
}

/// In the spelling of vis(3).
fn escape_char(text: &str) -> Result<String, String> {
    let visible = |byte: u8| match byte {
        b'\\' => "\\\\".to_owned(),
        b' ' => "\\040".to_owned(),
        0..32 => format!("\\^{}", char::from(byte | 64)),
        127 => "\\^?".to_owned(),
        _ => char::from(byte).to_string(),
    };
    match text.as_bytes() {
        _ if text == "none" => Ok(text.to_owned()),
        [one] => Ok(visible(*one)),
        [b'^', letter @ 64..=127] => Ok(visible(letter & 31)),
        _ => Err(format!(
            "{text:?} is neither a character, nor ^ with a letter, nor none"
        )),
    }
}

/// The two numbers above mean `any` and an error to OpenSSH.
const TUNNEL_MAX: i32 = i32::MAX - 2;

fn tunnel_device(text: &str) -> Result<String, String> {
    let end = |it: &str| match it.eq_ignore_ascii_case("any") {
        true => Ok("any".to_owned()),
        false => match number(it)? {
            it @ 0..=TUNNEL_MAX => Ok(it.to_string()),
            _ => Err(format!("{it:?} is more than {TUNNEL_MAX}")),
        },
    };
    let (local, remote) = text.split_once(':').unwrap_or((text, "any"));
    Ok(format!("{}:{}", end(local)?, end(remote)?))
}

/// Octal digits as strtol(3) reads them: what follows them is not looked at.
fn mask(text: &str) -> Result<String, String> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = digits
        .find(|it| !('0'..='7').contains(&it))
        .unwrap_or(digits.len());
    let value = u32::from_str_radix(&digits[..end], 8).ok();
    value
        .filter(|&it| it == 0 || (it <= 0o777 && !text.starts_with('-')))
        .map(|it| format!("0{it:o}"))
        .ok_or_else(|| format!("{text:?} is not an octal mask up to 777"))
}

fn obscure(text: &str) -> Result<String, String> {
    /// What `yes` means, in milliseconds.
    const USUAL: i32 = 20;
    match (text, text.strip_prefix("interval:").map(number)) {
        ("yes" | "true", _) | (_, Some(Ok(USUAL))) => Ok("yes".to_owned()),
        ("no" | "false", _) => Ok("no".to_owned()),
        (_, Some(Ok(time @ 1..=1_000))) => Ok(time.to_string()),
        _ => Err(format!(
            "{text:?} is neither yes, no nor interval: with 1 to 1000 milliseconds"
        )),
    }
}

/// Bytes, then seconds when they are given.
fn rekey_limit(words: &[String]) -> Result<Vec<String>, String> {
    let words = some(words)?;
    if words.len() > 2 {
        return Err("at most an amount and a time are taken".to_owned());
    }
    let mut values = vec![
        if words[0] == "default" {
            0
        } else {
            amount(&words[0])?
        }
        .to_string(),
    ];
    if let Some(time) = words.get(1).filter(|it| *it != "none") {
        values.push(seconds(time)?.to_string());
    }
    Ok(values)
}

/// `1G`, `512m`, `1.5k`: bytes, as OpenSSH's scan_scaled reads them. What stands behind the point counts
/// only together with a unit; behind the unit, everything is taken but a letter or a digit.
fn amount(text: &str) -> Result<u64, String> {
    /// More digits than this are too many for OpenSSH, and of a fraction not looked at.
    const DIGITS_MAX: usize = 20;
    let wrong = || format!("{text:?} is not an amount such as 1G, of 16 bytes or more");
    let plain = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let negative = plain.starts_with('-');
    let plain = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    let end = plain.find(|it: char| !it.is_ascii_digit() && it != '.');
    let (digits, unit) = plain.split_at(end.unwrap_or(plain.len()));
    let mut unit = unit.chars();
    let shift = match unit.next().map(|it| it.to_ascii_uppercase()) {
        None | Some('B') => 0,
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        Some('P') => 50,
        Some('E') => 60,
        Some(_) => return Err(wrong()),
    };
    if unit.next().is_some_and(|it| it.is_ascii_alphanumeric()) {
        return Err(wrong());
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() > DIGITS_MAX || fraction.contains('.') {
        return Err(wrong());
    }
    let read = |it: &str| {
        if it.is_empty() {
            Ok(0)
        } else {
            it.parse::<u128>().map_err(|_| wrong())
        }
    };
    let fraction = &fraction[..fraction.len().min(DIGITS_MAX - 2)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let of_fraction = (read(fraction)? << shift) / scale;
    let value = if end.is_none() {
        read(whole)?
    } else {
        (read(whole)? << shift) + of_fraction
    };
    let value = i64::try_from(value).ok().and_then(|it| u64::try_from(it).ok());
    value
        .filter(|&it| it == 0 || (it >= 16 && !negative))
        .ok_or_else(wrong)
}

fn ip_qos(words: &[String]) -> Result<Vec<String>, String> {
    const NAMED: &[(&str, u8)] = &[
        ("af11", 0x28),
        ("af12", 0x30),
        ("af13", 0x38),
        ("af21", 0x48),
        ("af22", 0x50),
        ("af23", 0x58),
        ("af31", 0x68),
        ("af32", 0x70),
        ("af33", 0x78),
        ("af41", 0x88),
        ("af42", 0x90),
        ("af43", 0x98),
        ("cs0", 0),
        ("cs1", 0x20),
        ("cs2", 0x40),
        ("cs3", 0x60),
        ("cs4", 0x80),
        ("cs5", 0xa0),
        ("cs6", 0xc0),
        ("cs7", 0xe0),
        ("ef", 0xb8),
        ("le", 0x04),
        ("va", 0xb0),
    ];
    let one = |text: &str| {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            // Names of an older meaning of the same header byte: OpenSSH leaves it alone now.
            "none" | "lowdelay" | "throughput" | "reliability" => return Ok("none".to_owned()),
            _ => {}
        }
        let known = NAMED.iter().find(|it| it.0 == lower).map(|it| it.1);
        let value: u8 = known
            .or_else(|| integer(text).and_then(|it| u8::try_from(it).ok()))
            .ok_or(format!("{text:?} is not a class of service"))?;
        let name = NAMED.iter().find(|it| it.1 == value);
        Ok::<_, String>(name.map_or_else(|| format!("0x{value:02x}"), |it| it.0.to_owned()))
    };
    match words {
        [both] => one(both).map(|it| vec![it.clone(), it]),
        [interactive, bulk] => Ok(vec![one(interactive)?, one(bulk)?]),
        _ => Err("at most two classes of service are taken".to_owned()),
    }
}

fn list(name: &str, words: &[String]) -> Result<Values, String> {
    if words.iter().any(String::is_empty) {
        return Err("an argument is empty".to_owned());
    }
    if words.len() > 1 && words.iter().any(|it| it.eq_ignore_ascii_case("none")) {
        return Err("none must stand alone".to_owned());
    }
    match (name, words) {
        ("revokedhostkeys", []) => Err("an argument is missing".to_owned()),
        (_, []) => Ok(None),
        // Only the first one counts in OpenSSH, too.
        ("logverbose", [first, ..]) => Ok(Some(vec![first.clone()])),
        (_, words) => Ok(Some(words.to_vec())),
    }
}

fn send_env(words: &[String]) -> Result<Vec<String>, String> {
    match words.iter().find(|it| it.is_empty() || it.contains('=')) {
        Some(bad) => Err(format!("{bad:?} is not the name of an environment variable")),
        None => Ok(words.to_vec()),
    }
}

fn set_env(words: &[String]) -> Result<Vec<String>, String> {
    let mut kept: Vec<String> = Vec::new();
    for word in words {
        let (name, _) = word
            .split_once('=')
            .ok_or_else(|| format!("{word:?} is not NAME=VALUE"))?;
        if !kept
            .iter()
            .any(|it| it.split_once('=').is_some_and(|it| it.0 == name))
        {
            kept.push(word.clone());
        }
    }
    Ok(kept)
}

/// Several arguments, or one of `loners`.
fn alone(
    words: &[String],
    loners: &[&str],
    one: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    for word in words {
        match loners.iter().find(|it| it.eq_ignore_ascii_case(word)) {
            Some(loner) if words.len() > 1 => return Err(format!("{loner} must stand alone")),
            Some(_) => values.push(word.clone()),
            None => values.push(one(word)?),
        }
    }
    Ok(values)
}

fn open_target(text: &str, ask: &Lookup<'_>) -> Result<String, String> {
    let wrong = || format!("{text:?} is not HOST:PORT");
    // Brackets protect colons; else the first colon ends the host, which has no slash.
    let end = match text.strip_prefix('[') {
        Some(inner) => inner.find(']').ok_or_else(wrong)? + 2,
        None => text
            .find([':', '/'])
            .filter(|at| text[*at..].starts_with(':'))
            .ok_or_else(wrong)?,
    };
    let at = text.get(end..).and_then(|it| it.strip_prefix(':'));
    let at = at.ok_or_else(wrong)?;
    if at != "*" {
        port(at, ask)?;
    }
    Ok(text.to_owned())
}

fn domain(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    match destination::is_domain(&lower) {
        true => Ok(lower.strip_suffix('.').unwrap_or(&lower).to_owned()),
        false => Err(format!("{text:?} is not a domain name")),
    }
}

fn cname(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    match lower.split_once(':') {
        _ if lower == "*" => Ok("*:*".to_owned()),
        Some((_, target)) if !target.is_empty() => Ok(lower),
        _ => Err(format!("{text:?} is not NAMES:NAMES")),
    }
}

fn channel_timeout(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((kind, time)) if !kind.is_empty() => seconds(time).map(|_| text.to_owned()),
        _ => Err(format!("{text:?} is not TYPE=TIME")),
    }
}

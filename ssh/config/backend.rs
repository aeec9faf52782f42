//! The typed back end: the answer for one host, written as one block and read by `ssh2-config`.
//!
//! That crate reads whole files differently from OpenSSH (the last value of a block wins, no `Match`, no
//! tokens, no files and lines in its errors), so it never sees the user's files. What it is given is
//! flat: each keyword once, values in the one spelling of `ssh -G`. Of that it types ports, times,
//! switches and algorithm lists. Should it ever read a value differently, our own reading stands.

use std::{fmt::Write as _, time::Duration};

use ssh2_config::{Algorithms, DefaultAlgorithms, HostParams, ParseRule, SshConfig};

use super::resolve::Table;

/// The keywords whose values `ssh2-config` and OpenSSH read alike.
const SHARED: &[&str] = &[
    "ciphers",
    "compression",
    "connecttimeout",
    "hostkeyalgorithms",
    "kexalgorithms",
    "macs",
    "port",
    "pubkeyacceptedalgorithms",
    "serveraliveinterval",
    "tcpkeepalive",
];

/// Settings of one host in types; `None` where nothing is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) port: Option<u16>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) server_alive_interval: Option<Duration>,
    pub(super) tcp_keep_alive: Option<bool>,
    pub(super) compression: Option<bool>,
    pub(super) ciphers: Option<String>,
    pub(super) kex_algorithms: Option<String>,
    pub(super) macs: Option<String>,
    pub(super) host_key_algorithms: Option<String>,
    pub(super) pubkey_accepted_algorithms: Option<String>,
}

/// Types what the table says.
pub(super) fn typed(table: &Table) -> Typed {
    let ours = ours(table);
    let theirs = theirs(table);
    debug_assert_eq!(
        theirs.as_ref(),
        Some(&ours),
        "ssh2-config reads a flat block differently"
    );
    theirs.filter(|it| *it == ours).unwrap_or(ours)
}

fn value<'a>(table: &'a Table, keyword: &str) -> Option<&'a str> {
    table
        .get(keyword)
        .and_then(|it| it.values.first())
        .map(String::as_str)
}

fn ours(table: &Table) -> Typed {
    let text = |keyword| value(table, keyword).map(str::to_owned);
    let time = |keyword| {
        value(table, keyword)
            .and_then(|it| it.parse().ok())
            .map(Duration::from_secs)
    };
    let yes = |keyword| value(table, keyword).map(|it| it == "yes");
    Typed {
        port: value(table, "port").and_then(|it| it.parse().ok()),
        connect_timeout: time("connecttimeout"),
        server_alive_interval: time("serveraliveinterval"),
        tcp_keep_alive: yes("tcpkeepalive"),
        compression: yes("compression"),
        ciphers: text("ciphers"),
        kex_algorithms: text("kexalgorithms"),
        macs: text("macs"),
        host_key_algorithms: text("hostkeyalgorithms"),
        pubkey_accepted_algorithms: text("pubkeyacceptedalgorithms"),
    }
}

/// A value that both readers take apart alike. Lists may hold empty or repeated names, which OpenSSH
/// keeps and the crate does not.
fn flat<'a>(table: &'a Table, keyword: &str) -> Option<&'a str> {
    let value = value(table, keyword)?;
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"@.,+^*?!_-".contains(&it);
    let names: Vec<_> = value.trim_start_matches(['+', '-', '^']).split(',').collect();
    let unique = names
        .iter()
        .enumerate()
        .all(|(at, it)| !it.is_empty() && !names[..at].contains(it));
    (unique && value.bytes().all(plain)).then_some(value)
}

fn theirs(table: &Table) -> Option<Typed> {
    let mut block = "Host *\n".to_owned();
    for keyword in SHARED {
        if let Some(value) = flat(table, keyword) {
            writeln!(block, "  {keyword} {value}").ok()?;
        }
    }
    // Without defaults a list with `+` or `^` comes back as exactly what was written.
    let config = SshConfig::default().default_algorithms(DefaultAlgorithms::empty());
    let config = config.parse(&mut block.as_bytes(), ParseRule::STRICT).ok()?;
    let read: HostParams = config.query("*");
    let list = |keyword, read: &Algorithms| match flat(table, keyword) {
        Some(value) => written(value, read),
        None => value(table, keyword).map(str::to_owned),
    };
    Some(Typed {
        port: read.port,
        connect_timeout: read.connect_timeout,
        server_alive_interval: read.server_alive_interval,
        tcp_keep_alive: read.tcp_keep_alive,
        compression: read.compression,
        ciphers: list("ciphers", &read.ciphers),
        kex_algorithms: list("kexalgorithms", &read.kex_algorithms),
        macs: list("macs", &read.mac),
        host_key_algorithms: list("hostkeyalgorithms", &read.host_key_algorithms),
        pubkey_accepted_algorithms: list("pubkeyacceptedalgorithms", &read.pubkey_accepted_algorithms),
    })
}

/// The list with its sign: the crate applies signs to defaults, which are not known here yet.
fn written(value: &str, read: &Algorithms) -> Option<String> {
    let names = read.algorithms().join(",");
    match value.chars().next()? {
        // Exclusions leave nothing of no defaults; what was written stands.
        '-' => Some(value.to_owned()),
        sign @ ('+' | '^') => Some(format!("{sign}{names}")),
        _ => Some(names),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::resolve::Setting, *};

    fn table(values: &[(&'static str, &str)]) -> Table {
        let setting = |it: &str| Setting {
            values: vec![it.to_owned()],
            origin: None,
        };
        values.iter().map(|it| (it.0, setting(it.1))).collect()
    }

    #[test]
    fn both_readers_agree_on_a_flat_block() {
        let table = table(&[
            ("port", "2222"),
            ("connecttimeout", "90"),
            ("serveraliveinterval", "0"),
            ("tcpkeepalive", "no"),
            ("compression", "yes"),
            ("ciphers", "+aes128-cbc,aes256-cbc"),
            ("kexalgorithms", "^curve25519-sha256"),
            ("macs", "-hmac-*"),
            ("hostkeyalgorithms", "ssh-ed25519,ssh-rsa"),
        ]);
        assert_eq!(theirs(&table), Some(ours(&table)));
        assert_eq!(theirs(&table).unwrap().port, Some(2222));
        assert_eq!(
            theirs(&table).unwrap().ciphers.as_deref(),
            Some("+aes128-cbc,aes256-cbc")
        );
    }

    #[test]
    fn an_empty_block_says_nothing() {
        assert_eq!(typed(&Table::new()), Typed::default());
    }
}

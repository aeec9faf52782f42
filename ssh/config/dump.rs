//! The answer in the words of `ssh -G`.

use std::fmt::Write as _;

use super::{
    algorithms, destination,
    keywords::{KEYWORDS, Keyword, Kind},
    resolve::Resolved,
};

impl Resolved {
    /// `keyword value` lines as `ssh -G` prints them, for people and for comparison: everything that is
    /// set and OpenSSH's defaults for the rest. Defaults are those of OpenSSH 10.5; a distribution may
    /// have others.
    pub fn dump(&self) -> String {
        let mut out = String::new();
        line(&mut out, "host", &self.host_argument);
        for keyword in KEYWORDS {
            self.dump_keyword(keyword, &mut out);
        }
        out
    }

    fn dump_keyword(&self, keyword: &Keyword, out: &mut String) {
        let name = keyword.name;
        let values = self.values.get(name).map_or(&[][..], |it| &it.values);
        let first = values.first().map(String::as_str);
        let cleared = self
            .values
            .get("clearallforwardings")
            .is_some_and(|it| it.values == ["yes"]);
        match keyword.kind {
            Kind::Forward(_) if cleared => {}
            Kind::Algorithms(family) => line(out, name, &algorithms::assemble(family, first)),
            Kind::Jump => {
                if let Some(list) = first.filter(|it| *it != "none") {
                    line(out, name, &jump(list));
                }
            }
            Kind::Collected | Kind::Forward(_) | Kind::SendEnv | Kind::SetEnv if !values.is_empty() => {
                values.iter().for_each(|it| line(out, name, it));
            }
            Kind::RekeyLimit if values.len() == 1 => line(out, name, &format!("{} 0", values[0])),
            Kind::List | Kind::Domains if is_none(values) => line(out, name, "none"),
            Kind::Text | Kind::Command if is_none(values) && cleared_by_none(name) => {}
            Kind::Cnames => line(
                out,
                "canonicalizePermittedcnames",
                &joined(values).unwrap_or("none".to_owned()),
            ),
            _ => match joined(values).or_else(|| self.default(keyword)) {
                Some(text) => line(out, name, &text),
                None => self.dump_defaults(name, out),
            },
        }
    }

    fn default(&self, keyword: &Keyword) -> Option<String> {
        match keyword.name {
            "userknownhostsfile" => {
                let files = &self.settings.user_known_hosts_files;
                Some(
                    files
                        .iter()
                        .map(|it| it.display().to_string())
                        .collect::<Vec<_>>()
                        .join(" "),
                )
            }
            _ => keyword.default.map(str::to_owned),
        }
    }

    fn dump_defaults(&self, name: &str, out: &mut String) {
        if name == "identityfile" {
            for file in [
                "rsa",
                "ecdsa",
                "ecdsa_sk",
                "ed25519",
                "ed25519_sk",
                "mldsa44_ed25519",
            ] {
                line(out, name, &format!("~/.ssh/id_{file}"));
            }
        }
    }
}

fn line(out: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    _ = writeln!(out, "{name} {value}");
}

fn joined(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| values.join(" "))
}

fn is_none(values: &[String]) -> bool {
    matches!(values, [one] if one.eq_ignore_ascii_case("none"))
}

/// Texts for which `none` is the same as nothing.
fn cleared_by_none(name: &str) -> bool {
    matches!(
        name,
        "controlpath"
            | "knownhostscommand"
            | "localcommand"
            | "pkcs11provider"
            | "proxycommand"
            | "remotecommand"
            | "securitykeyprovider"
    )
}

/// The last hop is spelled anew, with brackets around addresses.
fn jump(list: &str) -> String {
    let (before, last) = list
        .rsplit_once(',')
        .map_or((None, list), |it| (Some(it.0), it.1));
    // The list was read before; service names cannot be looked up again and are kept.
    let Ok(hop) = destination::hop(last, &|_| None) else {
        return list.to_owned();
    };
    let numeric = hop.host.contains(':') || hop.host.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let host = if numeric {
        format!("[{}]", hop.host)
    } else {
        hop.host
    };
    let user = hop.user.map(|it| format!("{it}@")).unwrap_or_default();
    let port = hop.port.map(|it| format!(":{it}")).unwrap_or_default();
    let before = before.map(|it| format!("{it},")).unwrap_or_default();
    format!("{before}{user}{host}{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hop_is_spelled_like_ssh_g_does() {
        for (list, expected) in [
            ("b1", "b1"),
            ("alice@b1:2222,ssh://bob@b2:22", "alice@b1:2222,bob@b2:22"),
            ("10.0.0.1", "[10.0.0.1]"),
            ("a@[::1]:22", "a@[::1]:22"),
        ] {
            assert_eq!(jump(list), expected);
        }
    }
}

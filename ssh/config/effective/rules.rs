//! The settings around a login: sockets, host keys, the agent, forwardings, the environment.

use std::{path::PathBuf, time::Duration};

use super::{AUTH_SOCK, Builder};
use crate::config::{
    forward,
    keywords::Direction,
    lex, pattern,
    settings::{
        AddKeysToAgent, CommandTemplate, Forwarding, HostKeyRules, IdentityAgent, Network, RekeyLimit,
        UpdateHostKeys,
    },
};

/// The tokens of `KnownHostsCommand` that depend on the key: fingerprint, name looked for, purpose, key
/// and its type.
const KEY_TOKENS: &str = "fHIKt";

impl Builder<'_> {
    /// A number of one keyword; the default where there is none.
    fn count(&self, keyword: &str) -> Option<u64> {
        self.get(keyword).and_then(|it| it.parse().ok())
    }

    pub(super) fn network(&self) -> Network {
        let attempts = self.count("connectionattempts").unwrap_or(1).max(1);
        // The second value is for sessions without a terminal.
        let qos = self.all("ipqos");
        Network {
            bind_interface: self.text("bindinterface"),
            connection_attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            ip_qos: qos.last().and_then(|it| type_of_service(it)),
        }
    }

    pub(super) fn rekey_limit(&self) -> RekeyLimit {
        let values = self.all("rekeylimit");
        let number = |at: usize| {
            let value = values.get(at).and_then(|it| it.parse::<u64>().ok());
            value.filter(|it| *it != 0)
        };
        RekeyLimit {
            bytes: number(0),
            time: number(1).map(Duration::from_secs),
        }
    }

    pub(super) fn host_key_rules(&mut self) -> HostKeyRules {
        let revoked = self.all("revokedhostkeys").into_iter();
        HostKeyRules {
            command: self.known_hosts_command(),
            check_ip: self.yes("checkhostip"),
            update: match self.get("updatehostkeys") {
                Some("ask") => UpdateHostKeys::Ask,
                _ if self.yes("updatehostkeys") => UpdateHostKeys::Yes,
                _ => UpdateHostKeys::No,
            },
            revoked_files: revoked.filter(|it| it != "none").map(PathBuf::from).collect(),
            ca_signature_algorithms: self.text("casignaturealgorithms"),
            required_rsa_size: self
                .count("requiredrsasize")
                .and_then(|it| u32::try_from(it).ok())
                .unwrap_or(1024),
            trust_localhost: self.yes("nohostauthenticationforlocalhost"),
            leave_beyond: false,
        }
    }

    /// A command that cannot be run must not silently leave its keys out: some may be revoked.
    fn known_hosts_command(&mut self) -> Option<CommandTemplate> {
        let text = self.text("knownhostscommand")?;
        let template = self.known_hosts_template(&text);
        template
            .map_err(|it| self.refuse_connection("knownhostscommand", it))
            .ok()
    }

    fn known_hosts_template(&self, text: &str) -> Result<CommandTemplate, String> {
        let words = lex::words(text).map_err(|it| it.to_string())?;
        if !words.first().is_some_and(|it| it.starts_with(['/', '%'])) {
            return Err("the path of the program is not absolute".to_owned());
        }
        CommandTemplate::new(words, self.tokens.clone(), KEY_TOKENS).map_err(|it| it.to_string())
    }

    pub(super) fn add_keys_to_agent(&self) -> AddKeysToAgent {
        let text = self.get("addkeystoagent").unwrap_or_default();
        let seconds = |text: &str| text.parse().ok().map(Duration::from_secs);
        match text.split_once(' ').unwrap_or((text, "")) {
            ("true", _) => AddKeysToAgent::Yes {
                confirm: false,
                lifetime: None,
            },
            ("ask", _) => AddKeysToAgent::Ask,
            ("confirm", time) => AddKeysToAgent::Yes {
                confirm: true,
                lifetime: seconds(time),
            },
            (time, _) if seconds(time).is_some() => AddKeysToAgent::Yes {
                confirm: false,
                lifetime: seconds(time),
            },
            _ => AddKeysToAgent::No,
        }
    }

    /// See [`Beyond::sessionless`](super::super::settings::Beyond::sessionless).
    pub(super) fn sessionless(&self) -> Vec<&'static str> {
        let keywords = ["sessiontype", "stdinnull", "forkafterauthentication"];
        let is_set = |it: &&str| match *it {
            "sessiontype" => self.get(it).is_some_and(|value| value != "default"),
            other => self.yes(other),
        };
        keywords.into_iter().filter(is_set).collect()
    }

    /// The variables that `SendEnv` names, as this process has them.
    pub(super) fn send_env(&self) -> Vec<(String, String)> {
        let patterns = self.all("sendenv");
        if patterns.is_empty() {
            return Vec::new();
        }
        let names = self.world.env_names().into_iter();
        let chosen = names.filter(|name| patterns.iter().any(|it| pattern::matches(it, name)));
        chosen
            .filter_map(|name| self.world.env(&name).map(|value| (name, value)))
            .collect()
    }

    pub(super) fn forwarding(&self) -> Forwarding {
        let mut list = Vec::new();
        if !self.yes("clearallforwardings") {
            for (keyword, direction) in [
                ("localforward", Direction::Local),
                ("remoteforward", Direction::Remote),
                ("dynamicforward", Direction::Dynamic),
            ] {
                let texts = self.all(keyword);
                list.extend(texts.iter().filter_map(|it| forward::read(direction, it)));
            }
        }
        let mask = self.get("streamlocalbindmask").unwrap_or("0177");
        Forwarding {
            list,
            agent: self.forwarded_agent(),
            gateway_ports: self.yes("gatewayports"),
            exit_on_failure: self.yes("exitonforwardfailure"),
            unlink: self.yes("streamlocalbindunlink"),
            mask: u32::from_str_radix(mask, 8).ok(),
            permit_remote_open: self.permit_remote_open(),
        }
    }

    fn forwarded_agent(&self) -> Option<PathBuf> {
        let own = || match self.identity_agent() {
            IdentityAgent::Socket(path) => Some(path),
            IdentityAgent::Off => None,
        };
        let named = |variable: &str| self.world.env(variable).filter(|it| !it.is_empty());
        match self.get("forwardagent") {
            None | Some("no" | "false") => None,
            Some("yes" | "true") => own(),
            Some(AUTH_SOCK) => named(AUTH_SOCK).map(PathBuf::from),
            Some(text) => match text.strip_prefix('$') {
                Some(variable) => named(variable).map(PathBuf::from),
                None => Some(PathBuf::from(text)),
            },
        }
    }

    fn permit_remote_open(&self) -> Option<Vec<(String, Option<u16>)>> {
        let places = self.all("permitremoteopen");
        match places.as_slice() {
            [] => None,
            [any] if any.eq_ignore_ascii_case("any") => None,
            [none] if none.eq_ignore_ascii_case("none") => Some(Vec::new()),
            places => Some(
                places
                    .iter()
                    .filter_map(|it| it.rsplit_once(':'))
                    .map(|(host, port)| (host.trim_matches(['[', ']']).to_owned(), port.parse().ok()))
                    .collect(),
            ),
        }
    }
}

/// The byte that a name or number of `IPQoS` stands for; `none` leaves the system's choice.
fn type_of_service(text: &str) -> Option<u8> {
    let class = |digit: &str, scale: u8| digit.parse::<u8>().ok().map(|it| it * scale);
    match text {
        "ef" => Some(0xb8),
        "le" => Some(0x04),
        "va" => Some(0xb0),
        _ => match (text.strip_prefix("cs"), text.strip_prefix("af")) {
            (Some(digit), _) => class(digit, 0x20),
            (_, Some(digits)) if digits.len() == 2 => {
                let (first, second) = digits.split_at(1);
                Some(class(first, 0x20)? + class(second, 0x08)?)
            }
            _ => match text.strip_prefix("0x") {
                Some(hex) => u8::from_str_radix(hex, 16).ok(),
                None => text.parse().ok(),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::type_of_service;

    #[test]
    fn names_of_traffic_classes_are_those_of_openssh() {
        for (text, expected) in [
            ("af11", Some(0x28)),
            ("af21", Some(0x48)),
            ("af43", Some(0x98)),
            ("cs1", Some(0x20)),
            ("cs7", Some(0xe0)),
            ("ef", Some(0xb8)),
            ("0x20", Some(0x20)),
            ("8", Some(8)),
            ("none", None),
        ] {
            assert_eq!(type_of_service(text), expected, "{text}");
        }
    }
}

//! Settings → Connections: which hosts there are, and which shall be connected.

use std::collections::BTreeSet;

use codex_hosts::{Host, HostId, Origin};

use super::{list, text_field::TextField};

/// A host name as long as DNS allows, with a user and a port.
const ADDRESS_BYTES_MAX: usize = 320;

#[derive(Default)]
pub struct Picker {
    pub is_open: bool,
    pub hosts: Vec<Host>,
    pub marked: BTreeSet<HostId>,
    /// Into the filtered list.
    pub selected: usize,
    pub filter: TextField,
    pub typing: Typing,
    /// What is wrong with the address that was typed.
    pub problem: Option<String>,
    /// The host that the user is asked about: whether our server is to be put there. Any key but the one that
    /// says yes takes it back.
    pub installs: Option<HostId>,
    /// The remote's stderr is shown.
    pub shows_detail: bool,
}

/// What is being typed in the picker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Typing {
    #[default]
    Nothing,
    Filter,
    Address(TextField),
}

impl Picker {
    pub fn visible(&self) -> Vec<&Host> {
        self.hosts.iter().filter(|it| self.shows(it)).collect()
    }

    fn shows(&self, host: &Host) -> bool {
        let address = host.address.as_deref().unwrap_or_default();
        list::matches(self.filter.text(), &format!("{} {address}", host.id))
    }

    pub fn current(&self) -> Option<&Host> {
        self.visible().get(self.selected).copied()
    }

    /// What Enter connects: all that is marked, else the one under the cursor.
    pub fn chosen(&self) -> Vec<HostId> {
        if self.marked.is_empty() {
            return self.current().map(|it| it.id.clone()).into_iter().collect();
        }
        let in_order = self.hosts.iter().filter(|it| self.marked.contains(&it.id));
        in_order.map(|it| it.id.clone()).collect()
    }

    /// Opens with this host under the cursor, or where it was left.
    pub(super) fn open_at(&mut self, id: Option<&HostId>) {
        self.is_open = true;
        if let Some(at) = id.and_then(|id| self.hosts.iter().position(|it| it.id == *id)) {
            self.filter = TextField::default();
            self.selected = at;
        }
    }

    pub fn toggle_mark(&mut self) {
        if let Some(id) = self.current().map(|it| it.id.clone())
            && !self.marked.remove(&id)
        {
            self.marked.insert(id);
        }
    }

    /// Adds a host that no configuration file names, and selects it.
    pub fn add(&mut self, id: HostId) {
        if !self.hosts.iter().any(|it| it.id == id) {
            self.hosts.push(Host {
                address: Some(id.0.clone()),
                id: id.clone(),
                origin: Origin::Typed,
            });
        }
        self.filter = TextField::default();
        self.selected = self.hosts.iter().position(|it| it.id == id).unwrap_or(0);
    }
}

/// Reads `[user@]host[:port]`, as typed; IPv6 addresses need brackets for a port. What is in the address of a
/// server (`ws://…`, `unix://…`) is judged by whoever connects to it.
pub fn parse_address(text: &str) -> Result<HostId, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("type `user@host:port` (user and port may be left out) or `ws://host:port`");
    }
    if ADDRESS_BYTES_MAX < text.len() {
        return Err("this is too long for an address");
    }
    let id = HostId(text.to_owned());
    if id.is_address() && !text.chars().any(char::is_control) {
        return Ok(id);
    }
    if text.chars().any(|it| it.is_whitespace() || it.is_control()) {
        return Err("an address has no spaces");
    }
    let (user, host) = match text.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, text),
    };
    if user.is_some_and(str::is_empty) {
        return Err("the user before `@` is missing");
    }
    let (name, port) = match host.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, port)) => (
            name,
            Some(
                port.strip_prefix(':')
                    .ok_or("after `]` only `:port` may follow")?,
            ),
        ),
        None if host.matches(':').count() == 1 => {
            let (name, port) = host.split_once(':').unwrap_or((host, ""));
            (name, Some(port))
        }
        None => (host, None),
    };
    // A leading hyphen would be read as an option by programs that get this name.
    if name.is_empty() || name.starts_with('-') || user.is_some_and(|it| it.starts_with('-')) {
        return Err("the host name is missing, or starts with `-`");
    }
    match port.map(str::parse::<u16>) {
        Some(Ok(0) | Err(_)) => Err("the port must be a number from 1 to 65535"),
        Some(Ok(_)) | None => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_ssh_takes_them() {
        for good in [
            "devbox",
            "me@devbox",
            "me@10.0.0.4:2222",
            "[::1]:22",
            "::1",
            "me@[fe80::1]",
            "  padded  ",
            "ws://127.0.0.1:4500",
            "unix:///run/a b.sock",
        ] {
            assert_eq!(parse_address(good), Ok(HostId(good.trim().to_owned())), "{good}");
        }
        for bad in [
            "",
            "@host",
            "host:0",
            "host:65536",
            "host:",
            "-oProxyCommand=x",
            "a b",
            "me@",
            "[::1]x",
            "[::1]:0",
        ] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}

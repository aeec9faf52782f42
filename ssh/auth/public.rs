//! Public halves and certificates in files: one line of OpenSSH's format (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

use russh::keys::{Certificate, PublicKey, parse_public_key_base64};

/// What a file with a public half holds.
#[derive(Clone, Debug)]
pub(super) enum Public {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

impl Public {
    /// The first line that can be read: comments, blank lines and those of unknown types are passed over, as in
    /// OpenSSH. A private key ends the search: what follows belongs to it.
    pub(super) fn parse(text: &str) -> Option<Public> {
        text.lines()
            .map(str::trim)
            .take_while(|it| !it.starts_with("-----BEGIN"))
            .filter(|it| !it.is_empty() && !it.starts_with('#'))
            .find_map(line)
    }

    /// The key itself, or the one that is certified.
    pub(super) fn key(&self) -> PublicKey {
        match self {
            Public::Key(key) => key.clone(),
            Public::Certificate(certificate) => PublicKey::from(certificate.public_key().clone()),
        }
    }
}

fn line(line: &str) -> Option<Public> {
    let mut words = line.split_whitespace();
    let (kind, blob) = (words.next()?, words.next()?);
    if kind.ends_with("-cert-v01@openssh.com") {
        let certificate = Certificate::from_openssh(&format!("{kind} {blob}")).ok()?;
        return Some(Public::Certificate(Box::new(certificate)));
    }
    let key = parse_public_key_base64(blob).ok()?;
    (key.algorithm().as_str() == kind).then_some(Public::Key(key))
}

#[cfg(test)]
mod tests {
    use super::Public;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";

    #[test]
    fn the_first_line_that_can_be_read_counts() {
        for text in [
            format!("{KEY} me@home\n"),
            format!("# mine\r\n\r\n\t{}\tme\r\n", KEY.replace(' ', " \t ")),
            format!("ssh-new AAAA x\n{KEY}"),
            format!("ssh-rsa {}\n{KEY}\n", KEY.split_once(' ').unwrap().1),
        ] {
            assert!(matches!(Public::parse(&text), Some(Public::Key(_))), "{text:?}");
        }
        for text in ["", "# only a comment", "ssh-ed25519", "ssh-ed25519 !", "no key"] {
            assert!(Public::parse(text).is_none(), "{text:?}");
        }
        let behind = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{KEY}\n");
        assert!(Public::parse(&behind).is_none());
    }
}

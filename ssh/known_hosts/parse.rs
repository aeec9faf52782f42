//! The lines of a `known_hosts` file, and which names they are about.

use data_encoding::BASE64;
use ring::hmac;
use russh::keys::{Certificate, PublicKey, parse_public_key_base64};

/// What a line says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The key belongs to the hosts.
    None,
    /// `@cert-authority`: the key signs the certificates of the hosts.
    CertAuthority,
    /// `@revoked`: the key must never be accepted.
    Revoked,
}

/// A line that could be read.
#[derive(Clone, Debug)]
pub struct Line {
    /// Counts from 1; comments and bad lines count.
    pub number: usize,
    pub marker: Marker,
    pub key: PublicKey,
    hosts: Hosts,
}

#[derive(Clone, Debug)]
enum Hosts {
    Patterns(Vec<String>),
    /// `|1|salt|HMAC-SHA1(salt, name)`
    Hashed {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

/// Reads what can be read. Comments, empty lines, lines of unknown key types and damaged lines are
/// left out, as OpenSSH does: they can only make a host unknown, never known.
pub fn parse(bytes: &[u8]) -> Vec<Line> {
    let lines = bytes.split(|&byte| byte == b'\n').enumerate();
    lines
        // A comment in another encoding must not hide a revocation.
        .filter_map(|(index, line)| parse_line(index + 1, &String::from_utf8_lossy(line)))
        .collect()
}

fn parse_line(number: usize, line: &str) -> Option<Line> {
    let mut words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
    let mut first = words.next().filter(|word| !word.starts_with('#'))?;
    let marker = match first {
        "@cert-authority" => Marker::CertAuthority,
        "@revoked" => Marker::Revoked,
        word if word.starts_with('@') => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        first = words.next()?;
    }
    let (algorithm, key) = (words.next()?, words.next()?);
    let key = match marker {
        Marker::Revoked => parse_key(algorithm, key).or_else(|| certified(algorithm, key))?,
        Marker::None | Marker::CertAuthority => parse_key(algorithm, key)?,
    };
    let hosts = match first.strip_prefix('|') {
        Some(hashed) => parse_hashed(hashed)?,
        None => Hosts::Patterns(first.split(',').map(str::to_ascii_lowercase).collect()),
    };
    Some(Line {
        number,
        marker,
        key,
        hosts,
    })
}

fn parse_key(algorithm: &str, key: &str) -> Option<PublicKey> {
    let key = parse_public_key_base64(key).ok()?;
    (key.algorithm().as_str() == algorithm).then_some(key)
}

/// The key in a certificate: as in OpenSSH, who revokes the one revokes the other.
fn certified(algorithm: &str, certificate: &str) -> Option<PublicKey> {
    let certificate = Certificate::from_openssh(&format!("{algorithm} {certificate}")).ok()?;
    Some(PublicKey::from(certificate.public_key().clone()))
}

fn parse_hashed(text: &str) -> Option<Hosts> {
    let (salt, hash) = text.strip_prefix("1|")?.split_once('|')?;
    let salt = BASE64.decode(salt.as_bytes()).ok()?;
    let hash = BASE64.decode(hash.as_bytes()).ok()?;
    Some(Hosts::Hashed { salt, hash })
}

impl Line {
    /// Whether the line is about `name`, which is in lower case and has a port if it needs one.
    pub fn is_about(&self, name: &str) -> bool {
        match &self.hosts {
            Hosts::Hashed { salt, hash } => digest(salt, name).as_ref() == hash.as_slice(),
            Hosts::Patterns(patterns) => {
                let mut about = false;
                for pattern in patterns {
                    match pattern.strip_prefix('!') {
                        // A match with a negated pattern overrules all others.
                        Some(negated) if matches(negated, name) => return false,
                        Some(_) => {}
                        None => about |= matches(pattern, name),
                    }
                }
                about
            }
        }
    }
}

impl Line {
    /// Whether the line is about `name` and about nothing else.
    pub(crate) fn is_only_about(&self, name: &str) -> bool {
        match &self.hosts {
            Hosts::Hashed { .. } => self.is_about(name),
            Hosts::Patterns(patterns) => matches!(patterns.as_slice(), [one] if one == name),
        }
    }

    /// Whether the line names its hosts by patterns.
    pub(crate) fn has_patterns(&self) -> bool {
        match &self.hosts {
            Hosts::Hashed { .. } => false,
            Hosts::Patterns(patterns) => patterns.iter().any(|it| it.contains(['*', '?', '!'])),
        }
    }
}

/// `name` as `HashKnownHosts` writes it.
pub fn hash_name(salt: &[u8], name: &str) -> String {
    let (salt_text, hash) = (BASE64.encode(salt), digest(salt, name));
    format!("|1|{salt_text}|{}", BASE64.encode(hash.as_ref()))
}

fn digest(salt: &[u8], name: &str) -> hmac::Tag {
    // The format is bound to SHA-1. It only hides names; no trust comes from it.
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
    hmac::sign(&key, name.as_bytes())
}

/// `*` is any text, `?` is one character. Linear: the last `*` alone is ever taken back.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::{Marker, hash_name, matches, parse};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";

    #[test]
    fn a_comment_in_another_encoding_hides_neither_a_host_nor_a_revocation() {
        let bytes = format!("host {KEY} caf?\n@revoked * {KEY} caf?\n").into_bytes();
        let latin: Vec<u8> = bytes
            .into_iter()
            .map(|it| if it == b'?' { 0xe9 } else { it })
            .collect();
        let markers: Vec<Marker> = parse(&latin).iter().map(|it| it.marker).collect();
        assert_eq!(markers, [Marker::None, Marker::Revoked]);
    }

    #[test]
    fn patterns_match_as_in_sshd() {
        for (pattern, name, expected) in [
            ("host", "host", true),
            ("host", "hosts", false),
            ("*", "anything", true),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("h?st", "host", true),
            ("h?st", "hst", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("[host]:2222", "[host]:2222", true),
            ("[*]:2222", "[host]:2222", true),
            ("[host]:2222", "host", false),
            ("", "host", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_skipped_and_the_numbers_stay_right() {
        let file = format!(
            "# comment\n\n{}\nhost ssh-ed25519 broken\nhost {KEY} trailing comment\r\n@new host {KEY}\n\
             @revoked\t bad.example  {KEY}\n@cert-authority *.corp {KEY}\nhost ssh-rsa {}\n\u{1}\n",
            "lonely",
            KEY.split(' ').nth(1).unwrap(),
        );
        let mut bytes = file.into_bytes();
        bytes.extend(b"\xff\xfe nothing\n");
        let lines: Vec<(usize, Marker)> = parse(&bytes)
            .iter()
            .map(|line| (line.number, line.marker))
            .collect();
        let expected = [
            (5, Marker::None),
            (7, Marker::Revoked),
            (8, Marker::CertAuthority),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_negated_pattern_overrules_and_alone_matches_nothing() {
        let line = |hosts: &str| parse(format!("{hosts} {KEY}").as_bytes()).remove(0);
        assert!(line("*.corp,!bad.corp").is_about("good.corp"));
        assert!(!line("*.corp,!bad.corp").is_about("bad.corp"));
        assert!(!line("!bad.corp,*.corp").is_about("bad.corp"));
        assert!(!line("!bad.corp").is_about("good.corp"));
    }

    #[test]
    fn a_hashed_name_matches_only_itself() {
        let hashed = hash_name(b"0123456789abcdefghij", "[host]:2222");
        let line = parse(format!("{hashed} {KEY}").as_bytes()).remove(0);
        assert!(line.is_about("[host]:2222"));
        assert!(!line.is_about("host"));
    }
}

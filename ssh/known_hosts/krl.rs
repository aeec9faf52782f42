//! Binary key revocation lists: OpenSSH's `PROTOCOL.krl`, as `ssh-keygen -k` writes them.

use std::collections::HashSet;

use ring::digest::{SHA256, digest};
use russh::keys::{Certificate, PublicKey};
use sha1::{Digest, Sha1};

/// How a list begins.
pub(super) const MAGIC: &[u8] = b"SSHKRL\n\0";
const FORMAT_VERSION: u32 = 1;

/// The kinds of sections.
const CERTIFICATES: u8 = 1;
const EXPLICIT_KEY: u8 = 2;
const FINGERPRINT_SHA1: u8 = 3;
const SIGNATURE: u8 = 4;
const FINGERPRINT_SHA256: u8 = 5;
const EXTENSION: u8 = 255;

/// The kinds of sections within one about certificates.
const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;
const CERTIFICATE_EXTENSION: u8 = 0x39;

/// What a list revokes.
#[derive(Debug, Default)]
pub(super) struct RevocationList {
    authorities: Vec<Authority>,
    /// Public keys as they are sent.
    keys: HashSet<Vec<u8>>,
    sha1: HashSet<Vec<u8>>,
    sha256: HashSet<Vec<u8>>,
}

/// The certificates of one authority, or of all of them.
#[derive(Debug, Default)]
struct Authority {
    /// `None`: whoever signed.
    key: Option<Vec<u8>>,
    serials: Vec<Serials>,
    ids: HashSet<Vec<u8>>,
}

#[derive(Debug)]
enum Serials {
    List(HashSet<u64>),
    Range {
        first: u64,
        last: u64,
    },
    /// Big-endian: the last bit stands for `first`.
    Bitmap {
        first: u64,
        bits: Vec<u8>,
    },
}

impl RevocationList {
    /// Reads a list. What cannot be understood is an error: it might revoke something. Signatures are not
    /// checked, as in OpenSSH: whoever can change the file can as well take them away.
    pub(super) fn parse(bytes: &[u8]) -> Result<RevocationList, String> {
        let mut list = RevocationList::default();
        let mut rest = Cursor(bytes.strip_prefix(MAGIC).ok_or("it is no revocation list")?);
        let version = rest.u32()?;
        if version != FORMAT_VERSION {
            return Err(format!(
                "it is a revocation list of the unknown version {version}"
            ));
        }
        // Its own version, when it was made, and flags of which none has a meaning.
        for _ in 0..3 {
            rest.u64()?;
        }
        // What is reserved, and a comment.
        rest.string()?;
        rest.string()?;
        while !rest.is_empty() {
            let (kind, section) = (rest.u8()?, Cursor(rest.string()?));
            match kind {
                CERTIFICATES => list.authorities.push(Authority::parse(section)?),
                EXPLICIT_KEY => section.strings_into(&mut list.keys)?,
                FINGERPRINT_SHA1 => section.strings_into(&mut list.sha1)?,
                FINGERPRINT_SHA256 => section.strings_into(&mut list.sha256)?,
                // The section was the key; the signature itself follows it.
                SIGNATURE => drop(rest.string()?),
                EXTENSION => section.extension()?,
                other => return Err(format!("it has a section of the unknown kind {other}")),
            }
        }
        Ok(list)
    }

    /// Whether it revokes a key, be it a host's or an authority's.
    pub(super) fn has_key(&self, key: &PublicKey) -> bool {
        // A key that cannot be written was never compared with anything.
        let Ok(blob) = key.to_bytes() else { return true };
        self.keys.contains(&blob)
            || (!self.sha1.is_empty() && self.sha1.contains(Sha1::digest(&blob).as_slice()))
            || (!self.sha256.is_empty() && self.sha256.contains(digest(&SHA256, &blob).as_ref()))
    }

    /// Whether it revokes a certificate by its number or its name. Its keys are another question.
    pub(super) fn has_certificate(&self, certificate: &Certificate) -> bool {
        let Ok(signer) = PublicKey::from(certificate.signature_key().clone()).to_bytes() else {
            return true;
        };
        let about = |it: &&Authority| it.key.as_ref().is_none_or(|key| *key == signer);
        let (id, serial) = (certificate.key_id().as_bytes(), certificate.serial());
        let has = |it: &Authority| it.ids.contains(id) || it.serials.iter().any(|it| it.contains(serial));
        self.authorities.iter().filter(about).any(has)
    }
}

impl Authority {
    fn parse(mut rest: Cursor<'_>) -> Result<Authority, String> {
        let key = rest.string()?;
        let mut authority = Authority {
            key: (!key.is_empty()).then(|| key.to_vec()),
            ..Authority::default()
        };
        // What is reserved.
        rest.string()?;
        while !rest.is_empty() {
            let (kind, mut section) = (rest.u8()?, Cursor(rest.string()?));
            match kind {
                SERIAL_LIST => {
                    let mut serials = HashSet::new();
                    while !section.is_empty() {
                        serials.insert(section.u64()?);
                    }
                    authority.serials.push(Serials::List(serials));
                }
                SERIAL_RANGE => {
                    let (first, last) = (section.u64()?, section.u64()?);
                    section.end()?;
                    if last < first {
                        return Err("it has a range of serial numbers that ends before it begins".to_owned());
                    }
                    authority.serials.push(Serials::Range { first, last });
                }
                SERIAL_BITMAP => {
                    let (first, bits) = (section.u64()?, section.string()?.to_vec());
                    section.end()?;
                    if bits.first().is_some_and(|it| 0x80 <= *it) {
                        return Err("it has a negative bitmap".to_owned());
                    }
                    authority.serials.push(Serials::Bitmap { first, bits });
                }
                KEY_ID => section.strings_into(&mut authority.ids)?,
                CERTIFICATE_EXTENSION => section.extension()?,
                other => {
                    return Err(format!(
                        "it has a section about certificates of the unknown kind {other}"
                    ));
                }
            }
        }
        Ok(authority)
    }
}

impl Serials {
    /// A certificate that was given no number has 0, which revokes nothing.
    fn contains(&self, serial: u64) -> bool {
        if serial == 0 {
            return false;
        }
        match self {
            Serials::List(serials) => serials.contains(&serial),
            Serials::Range { first, last } => (*first..=*last).contains(&serial),
            Serials::Bitmap { first, bits } => {
                let bit = serial.checked_sub(*first);
                let byte = bit.and_then(|it| usize::try_from(it / 8).ok());
                let byte = byte
                    .and_then(|it| bits.len().checked_sub(it + 1))
                    .and_then(|it| bits.get(it));
                byte.zip(bit)
                    .is_some_and(|(byte, bit)| byte >> (bit % 8) & 1 == 1)
            }
        }
    }
}

/// What is left to be read, in the types of RFC 4251.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.0.split_first_chunk().ok_or("it is cut off")?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], String> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length).ok_or("it is cut off")?;
        self.0 = rest;
        Ok(head)
    }

    fn strings_into(mut self, set: &mut HashSet<Vec<u8>>) -> Result<(), String> {
        while !self.is_empty() {
            set.insert(self.string()?.to_vec());
        }
        Ok(())
    }

    /// What is optional may be passed over, what is critical must be understood.
    fn extension(mut self) -> Result<(), String> {
        let name = String::from_utf8_lossy(self.string()?).into_owned();
        let is_critical = self.u8()? != 0;
        self.string()?;
        self.end()?;
        match is_critical {
            true => Err(format!("it has the unknown critical extension {name:?}")),
            false => Ok(()),
        }
    }

    fn end(&self) -> Result<(), String> {
        match self.is_empty() {
            true => Ok(()),
            false => Err("one of its sections is too long".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap();
        [&length.to_be_bytes()[..], bytes].concat()
    }

    fn section(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind][..], &string(content)].concat()
    }

    fn list(sections: &[u8]) -> Vec<u8> {
        [
            MAGIC,
            &1_u32.to_be_bytes(),
            &[0; 24],
            &string(b""),
            &string(b"a comment"),
            sections,
        ]
        .concat()
    }

    fn extension(is_critical: u8) -> Vec<u8> {
        [&string(b"x@y")[..], &[is_critical], &string(b"z")].concat()
    }

    /// A section about all authorities with this one in it.
    fn certificates(kind: u8, content: &[u8]) -> Vec<u8> {
        section(
            CERTIFICATES,
            &[string(b""), string(b""), section(kind, content)].concat(),
        )
    }

    #[test]
    fn what_is_not_understood_makes_the_whole_list_unusable() {
        let good: &[&[u8]] = &[
            b"",
            &section(EXTENSION, &extension(0)),
            &certificates(CERTIFICATE_EXTENSION, &extension(0)),
            &[section(SIGNATURE, b"key"), string(b"signature")].concat(),
            &certificates(SERIAL_RANGE, &[[0; 8], [1; 8]].concat()),
        ];
        for sections in good {
            assert!(RevocationList::parse(&list(sections)).is_ok(), "{sections:?}");
        }
        let bad: &[&[u8]] = &[
            &section(EXTENSION, &extension(1)),
            &certificates(CERTIFICATE_EXTENSION, &extension(1)),
            &section(6, b""),
            &certificates(0x24, b""),
            &certificates(SERIAL_LIST, b"1234567"),
            &certificates(SERIAL_RANGE, &[[1; 8], [0; 8]].concat()),
            &certificates(SERIAL_RANGE, &[0; 17]),
            &certificates(SERIAL_BITMAP, &[&[0; 8][..], &string(&[0x80])].concat()),
            &section(EXPLICIT_KEY, b"\0\0\0\x05key"),
            &section(SIGNATURE, b"no signature follows"),
            &[EXPLICIT_KEY],
            &[EXPLICIT_KEY, 0xff, 0xff, 0xff, 0xff],
        ];
        for sections in bad {
            assert!(RevocationList::parse(&list(sections)).is_err(), "{sections:?}");
        }
        let mut future = list(b"");
        future[11] = 2;
        assert!(RevocationList::parse(&future).is_err());
        let whole = list(&certificates(SERIAL_LIST, &[1; 16]));
        // Where a section is to begin the list may end; OpenSSH sees it the same way.
        for length in (0..whole.len()).filter(|it| *it != list(b"").len()) {
            assert!(RevocationList::parse(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn serial_numbers_are_found_at_the_edges_of_every_form() {
        let bitmap = |bits: &[u8]| Serials::Bitmap {
            first: 100,
            bits: bits.to_vec(),
        };
        for (serials, serial, expected) in [
            (Serials::List([0, 5].into()), 5, true),
            (Serials::List([0, 5].into()), 0, false),
            (Serials::Range { first: 0, last: 5 }, 0, false),
            (Serials::Range { first: 3, last: 5 }, 3, true),
            (Serials::Range { first: 3, last: 5 }, 5, true),
            (Serials::Range { first: 3, last: 5 }, 6, false),
            (
                Serials::Range {
                    first: 3,
                    last: u64::MAX,
                },
                u64::MAX,
                true,
            ),
            (bitmap(&[1, 0x81]), 100, true),
            (bitmap(&[1, 0x81]), 101, false),
            (bitmap(&[1, 0x81]), 107, true),
            (bitmap(&[1, 0x81]), 108, true),
            (bitmap(&[1, 0x81]), 109, false),
            (bitmap(&[1, 0x81]), 116, false),
            (bitmap(&[1, 0x81]), 99, false),
            (bitmap(&[1, 0x81]), u64::MAX, false),
            (bitmap(&[]), 100, false),
        ] {
            assert_eq!(serials.contains(serial), expected, "{serials:?} {serial}");
        }
    }
}

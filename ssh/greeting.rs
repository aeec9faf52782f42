//! What a server says in the clear: lines before its identification, the identification, the types of its host keys.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::{error::Words, limits};

/// Shared between the wire and whoever explains a failure.
#[derive(Default)]
pub(crate) struct Greeting {
    said: Mutex<Said>,
    identified: CancellationToken,
}

#[derive(Default)]
struct Said {
    /// The first line that has text, as far as it is kept.
    first: String,
    /// The line that has begun, and since the identification the packets.
    open: Vec<u8>,
    /// Lines before the identification.
    lines: usize,
    /// The identification without its end.
    identification: Option<String>,
    /// What is wrong with it for russh.
    unreadable: Option<Words>,
    host_keys: Vec<String>,
    /// Nothing more is to be learnt here.
    is_over: bool,
}

/// What bytes of the server were.
pub(crate) struct Heard {
    /// What russh is to read of them. It bears 20 lines before the identification, of 255 bytes each; OpenSSH's client
    /// 1,024 of 8,192. No line before the identification means anything (RFC 4253, 4.2).
    pub(crate) rest: Vec<u8>,
    /// Whatever comes now is russh's alone.
    pub(crate) is_over: bool,
}

impl Greeting {
    /// Resolves when the identification line has arrived.
    pub(crate) async fn identified(&self) {
        self.identified.cancelled().await;
    }

    pub(crate) fn is_identified(&self) -> bool {
        self.identified.is_cancelled()
    }

    /// The first line that has text, or once identified, the identification.
    pub(crate) fn line(&self) -> String {
        let said = self.said();
        let line = match &said.identification {
            Some(identification) => identification.clone(),
            None if said.first.is_empty() => String::from_utf8_lossy(&said.open).into_owned(),
            None => said.first.clone(),
        };
        line.trim().chars().take(limits::QUOTED_LINE).collect()
    }

    /// Why russh cannot read the identification, which OpenSSH's client could.
    pub(crate) fn unreadable(&self) -> Option<Words> {
        self.said().unreadable
    }

    /// The algorithms of host keys that the server has, as it names them; empty as long as it has not.
    pub(crate) fn host_keys(&self) -> Vec<String> {
        self.said().host_keys.clone()
    }

    /// Takes what arrived. Fails where russh could not go on.
    pub(crate) fn hear(&self, bytes: &[u8]) -> io::Result<Heard> {
        let mut said = self.said();
        let mut rest = Vec::new();
        if said.identification.is_some() {
            rest.extend_from_slice(bytes);
            said.open.extend_from_slice(bytes);
        } else {
            let mut pieces = bytes.split_inclusive(|&byte| byte == b'\n');
            while said.identification.is_none()
                && let Some(piece) = pieces.next()
            {
                said.open.extend_from_slice(piece);
                if said.open.len() > limits::GREETING_LINE || said.lines > limits::GREETING_LINES {
                    said.end_line();
                    return Err(io::Error::other("no identification of SSH"));
                }
                if piece.ends_with(b"\n") {
                    rest = said.end_line();
                }
            }
            if said.identification.is_some() {
                let behind = pieces.flatten().copied();
                said.open.extend(behind);
                rest.extend_from_slice(&said.open);
                self.identified.cancel();
            }
            if said.unreadable.is_some() {
                return Err(io::Error::other("an identification that cannot be read"));
            }
        }
        if said.identification.is_some() {
            said.take_packets();
        }
        Ok(Heard {
            rest,
            is_over: said.is_over,
        })
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// Judges the line that is complete. Returns it when it is the identification.
    fn end_line(&mut self) -> Vec<u8> {
        let line = std::mem::take(&mut self.open);
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if !line.starts_with(b"SSH-2.0-") && !line.starts_with(b"SSH-1.99-") {
            self.lines += 1;
            if self.first.is_empty() {
                self.first = text;
            }
            return Vec::new();
        }
        self.identification = Some(text);
        self.unreadable = if line.len() > limits::IDENTIFICATION {
            Some(Words::LongIdentification)
        } else if std::str::from_utf8(&line).is_err() {
            Some(Words::Identification)
        } else {
            None
        };
        line
    }

    /// Looks for the lists of algorithms in the packets that have arrived: before keys are exchanged they are in the
    /// clear, and nothing but a key exchange needs them to be true.
    fn take_packets(&mut self) {
        let mut bytes = self.open.as_slice();
        while let Some((payload, behind)) = packet(bytes) {
            if payload.first() == Some(&KEXINIT) {
                self.host_keys = host_keys(payload).unwrap_or_default();
                self.is_over = true;
            }
            bytes = behind;
        }
        self.is_over |= self.open.len() > limits::GREETING_PACKETS;
        if self.is_over {
            self.open = Vec::new();
        }
    }
}

/// `SSH_MSG_KEXINIT` (RFC 4253, 7.1).
const KEXINIT: u8 = 20;
/// Its random bytes, which come first.
const COOKIE: usize = 16;

/// The payload of the first packet, and what is behind it (RFC 4253, 6); `None`: it has not arrived.
fn packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (packet, behind) = string(bytes)?;
    let (padding, payload) = packet.split_first()?;
    let length = payload.len().checked_sub(usize::from(*padding))?;
    Some((payload.get(..length)?, behind))
}

/// The second list of a KEXINIT.
fn host_keys(payload: &[u8]) -> Option<Vec<String>> {
    let (_, behind) = string(payload.get(1 + COOKIE..)?)?;
    let (names, _) = string(behind)?;
    let names = std::str::from_utf8(names).ok()?;
    Some(names.split(',').map(str::to_owned).collect())
}

/// Bytes behind their length (RFC 4251, 5), and what is behind them.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(greeting: &Greeting, bytes: &[u8]) -> Vec<u8> {
        greeting.hear(bytes).unwrap().rest
    }

    #[test]
    fn lines_before_the_identification_are_skipped_and_a_partial_line_does_not_count() {
        let greeting = Greeting::default();
        assert_eq!(greeting.line(), "");
        assert!(rest(&greeting, b"welc").is_empty());
        assert_eq!(greeting.line(), "welc");
        assert!(rest(&greeting, b"ome\r\nSSH-2.0-Open").is_empty());
        assert!(!greeting.is_identified());
        assert_eq!(greeting.line(), "welcome");
        assert_eq!(
            rest(&greeting, b"SSH_9.2\r\n\x00\x01\n"),
            b"SSH-2.0-OpenSSH_9.2\r\n\x00\x01\n"
        );
        assert!(greeting.is_identified());
        assert_eq!(greeting.line(), "SSH-2.0-OpenSSH_9.2");
        assert_eq!(rest(&greeting, b"more"), b"more");
    }

    #[test]
    fn as_many_lines_may_come_before_the_identification_as_opensshs_client_takes() {
        let line = [[b'x'; 8_000].as_slice(), b"\xe9\n"].concat();
        let greeting = Greeting::default();
        for _ in 0..1_000 {
            assert!(rest(&greeting, &line).is_empty());
        }
        assert_eq!(rest(&greeting, b"SSH-2.0-x\n"), b"SSH-2.0-x\n");
        let endless = Greeting::default();
        assert!((0..2_000).any(|_| endless.hear(b"line\n").is_err()));
        assert_eq!(endless.line(), "line");
        assert!(Greeting::default().hear(&[b'x'; 10_000]).is_err());
    }

    #[test]
    fn an_identification_that_russh_cannot_read_is_told() {
        let what = |line: &[u8]| {
            let greeting = Greeting::default();
            assert!(greeting.hear(line).is_err());
            assert!(greeting.is_identified());
            greeting.unreadable()
        };
        let long = format!("SSH-2.0-{}\r\n", "x".repeat(246));
        assert_eq!(what(long.as_bytes()), Some(Words::LongIdentification));
        assert_eq!(what(b"SSH-2.0-x h\xf4te\r\n"), Some(Words::Identification));
        let greeting = Greeting::default();
        let longest = format!("SSH-2.0-{}\r\n", "x".repeat(245));
        assert_eq!(rest(&greeting, longest.as_bytes()).len(), 255);
        assert_eq!(greeting.unreadable(), None);
    }

    #[test]
    fn the_types_of_host_keys_are_found_however_the_packets_arrive() {
        let string = |text: &[u8]| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
        let packet = |payload: &[u8]| string(&[&[4], payload, &[0; 4]].concat());
        let kexinit = [
            &[KEXINIT],
            [7; COOKIE].as_slice(),
            &string(b"curve25519-sha256"),
            &string(b"sk-ssh-ed25519@openssh.com,ssh-ed25519"),
            &string(b""),
        ]
        .concat();
        let bytes = [
            b"SSH-2.0-x\r\n".as_slice(),
            &packet(&[2, 0, 0, 0, 0]),
            &packet(&kexinit),
        ]
        .concat();
        for size in [1, 7, bytes.len()] {
            let greeting = Greeting::default();
            let mut passed = Vec::new();
            let mut is_over = false;
            for piece in bytes.chunks(size) {
                assert!(!is_over && greeting.host_keys().is_empty());
                let heard = greeting.hear(piece).unwrap();
                passed.extend(heard.rest);
                is_over = heard.is_over;
            }
            assert!(is_over && passed == bytes);
            assert_eq!(
                greeting.host_keys(),
                ["sk-ssh-ed25519@openssh.com", "ssh-ed25519"]
            );
        }
        let endless = Greeting::default();
        rest(&endless, b"SSH-2.0-x\r\n");
        assert!((0..100).any(|_| endless.hear(&[0xff; 1_024]).unwrap().is_over));
        assert!(endless.host_keys().is_empty());
    }
}

//! A FIDO token without hardware, behind an agent.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::io::{Read, Result, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::Key;

const TYPE: &str = "sk-ssh-ed25519@openssh.com";
const APPLICATION: &[u8] = b"ssh:";

/// The longest message that is read; a request to sign holds a key and less than a packet of SSH.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Numbers of draft-ietf-sshm-ssh-agent, 6.1.
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// An agent that holds one key and signs as a FIDO token does (OpenSSH's `PROTOCOL.u2f`); dropping it ends it.
pub struct SecurityKey {
    key: Key,
    socket: PathBuf,
    ended: Arc<AtomicBool>,
}

impl SecurityKey {
    /// Starts it with its socket and its public key in `folder`.
    pub fn start(folder: &Path) -> SecurityKey {
        let socket = folder.join("security-key");
        let listener = UnixListener::bind(&socket).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let blob = [
            string(TYPE.as_bytes()),
            string(pair.public_key().as_ref()),
            string(APPLICATION),
        ]
        .concat();
        let path = folder.join("security_key");
        let base64 = data_encoding::BASE64.encode(&blob);
        fs::write(path.with_extension("pub"), format!("{TYPE} {base64} token\n")).unwrap();
        let key = Key::at(path);
        let ended = Arc::new(AtomicBool::new(false));
        let (held, is_ended) = (Arc::new((pair, blob)), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_ended.load(Ordering::SeqCst) {
                    return;
                }
                let held = Arc::clone(&held);
                // It ends with the client's end of the connection.
                std::thread::spawn(move || stream.and_then(|it| serve(it, &held.0, &held.1)));
            }
        });
        SecurityKey { key, socket, ended }
    }

    /// The public half; there is no file of the private one.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The value for `SSH_AUTH_SOCK`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for SecurityKey {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The accepting thread sees the end when it is woken by one more connection.
        let _ = UnixStream::connect(&self.socket);
    }
}

fn serve(mut stream: UnixStream, pair: &Ed25519KeyPair, blob: &[u8]) -> Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
        assert!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
        let mut request = vec![0; length];
        stream.read_exact(&mut request)?;
        stream.write_all(&string(&answer(&request, pair, blob)))?;
    }
}

fn answer(request: &[u8], pair: &Ed25519KeyPair, blob: &[u8]) -> Vec<u8> {
    match request[0] {
        REQUEST_IDENTITIES => [
            &[IDENTITIES_ANSWER, 0, 0, 0, 1][..],
            &string(blob),
            &string(b"token"),
        ]
        .concat(),
        SIGN_REQUEST => {
            let at = 1 + 4 + blob.len();
            let size = u32::from_be_bytes(request[at..at + 4].try_into().unwrap()) as usize;
            let data = &request[at + 4..at + 4 + size];
            let sha = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes).as_ref().to_vec();
            // The user was there, and this is the token's ninth signature.
            let (flags, counter) = (1_u8, 9_u32.to_be_bytes());
            let signed = [&sha(APPLICATION)[..], &[flags], &counter, &sha(data)].concat();
            let signature = [
                &string(TYPE.as_bytes())[..],
                &string(pair.sign(&signed).as_ref()),
                &[flags],
                &counter,
            ]
            .concat();
            [&[SIGN_RESPONSE][..], &string(&signature)].concat()
        }
        // An older agent knows no extensions.
        _ => vec![FAILURE],
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

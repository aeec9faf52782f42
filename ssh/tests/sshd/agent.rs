//! A real ssh-agent, and one that holds a security key.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ring::{
    digest,
    signature::{Ed25519KeyPair, KeyPair},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use crate::host::{Sshd, keygen};

pub(crate) struct Agent {
    pub(crate) socket: PathBuf,
    child: Child,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    pub(crate) fn start(dir: &Path) -> Agent {
        let socket = dir.join("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = std::time::Instant::now();
        while !socket.exists() {
            assert!(start.elapsed().as_secs() < 20, "the agent did not start");
            std::thread::yield_now();
        }
        Agent { socket, child }
    }

    /// One that holds so many other keys before the user's.
    pub(crate) fn full(sshd: &Sshd, others: usize) -> Agent {
        let agent = Agent::start(sshd.dir.path());
        for number in 0..others {
            let path = sshd.path(&format!("other{number}"));
            keygen(&path, "ed25519", "");
            agent.add(&path);
        }
        agent.add(&sshd.path("user"));
        agent
    }

    pub(crate) fn add(&self, key: &Path) {
        let done = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .status();
        assert!(done.unwrap().success());
    }

    /// The keys that it holds, as `ssh-add -l` prints them.
    pub(crate) fn list(&self) -> String {
        let listed = Command::new("ssh-add")
            .arg("-l")
            .env("SSH_AUTH_SOCK", &self.socket)
            .output();
        String::from_utf8(listed.unwrap().stdout).unwrap()
    }
}

const SK_TYPE: &[u8] = b"sk-ssh-ed25519@openssh.com";
const APPLICATION: &[u8] = b"ssh:";

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// An agent that signs as a FIDO token does (OpenSSH's `PROTOCOL.u2f`).
pub(crate) struct SecurityKey {
    pub(crate) socket: PathBuf,
    /// For `authorized_keys`.
    pub(crate) public: String,
    _tasks: JoinSet<()>,
}

impl SecurityKey {
    pub(crate) fn start(dir: &Path) -> SecurityKey {
        let socket = dir.join("security-key");
        let listener = UnixListener::bind(&socket).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let blob = [
            string(SK_TYPE),
            string(pair.public_key().as_ref()),
            string(APPLICATION),
        ]
        .concat();
        let base64 = data_encoding::BASE64.encode(&blob);
        let public = format!("sk-ssh-ed25519@openssh.com {base64} token\n");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                while let Ok(answer) = answer(&mut stream, &pair, &blob).await {
                    stream.write_all(&string(&answer)).await.unwrap();
                }
            }
        });
        SecurityKey {
            socket,
            public,
            _tasks: tasks,
        }
    }
}

async fn answer(stream: &mut UnixStream, pair: &Ed25519KeyPair, blob: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    let mut request = vec![0; length];
    stream.read_exact(&mut request).await?;
    Ok(match request[0] {
        11 => [&[12, 0, 0, 0, 1][..], &string(blob), &string(b"token")].concat(),
        13 => {
            let at = 1 + 4 + blob.len();
            let size = u32::from_be_bytes(request[at..at + 4].try_into().unwrap()) as usize;
            let data = &request[at + 4..at + 4 + size];
            let sha = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes).as_ref().to_vec();
            // The user was there, and this is the token's ninth signature.
            let (flags, counter) = (1_u8, 9_u32.to_be_bytes());
            let signed = [&sha(APPLICATION)[..], &[flags], &counter, &sha(data)].concat();
            let signature = [
                &string(SK_TYPE)[..],
                &string(pair.sign(&signed).as_ref()),
                &[flags],
                &counter,
            ]
            .concat();
            [&[14][..], &string(&signature)].concat()
        }
        // An older agent knows no extensions.
        _ => vec![5],
    })
}

//! ssh-agent: draft-ietf-sshm-ssh-agent, as far as a login needs it.

use std::{path::Path, sync::Mutex};

use russh::keys::{
    Certificate, PublicKey,
    agent::{
        AgentSessionBinding,
        client::{AgentClient, AgentStream},
    },
    key::parse_public_key,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::limits;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const NESTING: &[u8] = b"-cert-v01@";

type Stream = Box<dyn AgentStream + Send + Unpin>;

/// An agent with its keys.
pub(crate) struct Agent {
    /// Never locked: the mutex only makes an agent shareable between threads, which its stream is not.
    pub(crate) client: Mutex<AgentClient<Stream>>,
    pub(crate) keys: Vec<AgentKey>,
    /// Keys of types that we do not know.
    pub(crate) unknown: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct AgentKey {
    pub(crate) public: PublicKey,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) comment: String,
}

impl Agent {
    /// Connects, and lists the keys. The text of a failure says what went wrong.
    pub(crate) async fn connect(
        socket: &Path,
        binding: Option<&AgentSessionBinding>,
    ) -> Result<Agent, String> {
        let asked = timeout(limits::AGENT, Agent::ask(socket, binding)).await;
        match asked {
            Ok(Ok(agent)) => Ok(agent),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", limits::AGENT.as_secs())),
        }
    }

    async fn ask(socket: &Path, binding: Option<&AgentSessionBinding>) -> std::io::Result<Agent> {
        let stream: Stream = Box::new(UnixStream::connect(socket).await?);
        let mut client = AgentClient::connect(stream);
        if let Some(binding) = binding {
            // Keys with destination constraints need it; agents without the extension refuse it.
            let _ = client.bind_session(binding, false).await;
        }
        let mut stream: Stream = client.into_inner();
        stream.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES]).await?;
        stream.flush().await?;
        let length = stream.read_u32().await? as usize;
        if length > limits::AGENT_MESSAGE {
            return Err(std::io::Error::other("its answer is too long"));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        let (keys, unknown) =
            identities(&answer).ok_or_else(|| std::io::Error::other("it does not answer as an agent"))?;
        Ok(Agent {
            client: Mutex::new(AgentClient::connect(stream)),
            keys,
            unknown,
        })
    }
}

/// The keys in an answer, and how many could not be read: those must not hide the others.
fn identities(answer: &[u8]) -> Option<(Vec<AgentKey>, usize)> {
    let (&kind, rest) = answer.split_first()?;
    if kind != IDENTITIES_ANSWER {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let (mut keys, mut unknown) = (Vec::new(), 0);
    for _ in 0..u32::from_be_bytes(*count) {
        let blob = string(&mut rest)?;
        let comment = String::from_utf8_lossy(string(&mut rest)?).into_owned();
        match identity(blob, comment) {
            Some(key) => keys.push(key),
            None => unknown += 1,
        }
    }
    Some((keys, unknown))
}

fn identity(blob: &[u8], comment: String) -> Option<AgentKey> {
    let mut rest = blob;
    let name = std::str::from_utf8(string(&mut rest)?).ok()?;
    if !name.ends_with("-cert-v01@openssh.com") {
        let public = parse_public_key(blob).ok()?;
        return Some(AgentKey {
            public,
            certificate: None,
            comment,
        });
    }
    // A certificate in a certificate is decoded without a limit to the depth.
    if blob.windows(NESTING.len()).filter(|it| *it == NESTING).count() > 2 {
        return None;
    }
    let certificate = Certificate::from_bytes(blob).ok()?;
    let public = PublicKey::from(certificate.public_key().clone());
    Some(AgentKey {
        public,
        certificate: Some(certificate),
        comment,
    })
}

/// A length and as many bytes (RFC 4251, 5).
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (text, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(text)
}

#[cfg(test)]
mod tests {
    use russh::keys::{PublicKey, ssh_key::public::KeyData};

    use super::identities;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
    }

    fn answer(keys: &[(&[u8], &str)]) -> Vec<u8> {
        let mut answer = vec![super::IDENTITIES_ANSWER];
        answer.extend((keys.len() as u32).to_be_bytes());
        for (blob, comment) in keys {
            answer.extend(string(blob));
            answer.extend(string(comment.as_bytes()));
        }
        answer
    }

    #[test]
    fn keys_of_unknown_and_broken_types_do_not_hide_the_others() {
        let key: PublicKey = PublicKey::from_openssh(KEY).unwrap();
        let good = key.to_bytes().unwrap();
        let odd = [string(b"ssh-mldsa-65"), string(b"what is this")].concat();
        let broken = [string(b"ssh-dss"), string(b"x")].concat();
        let certificate = string(b"ssh-ed25519-cert-v01@openssh.com");
        let keys = [
            (odd.as_slice(), "odd"),
            (broken.as_slice(), "broken"),
            (certificate.as_slice(), "cut"),
            (b"".as_slice(), "empty"),
            (good.as_slice(), "good"),
        ];
        let (keys, unknown) = identities(&answer(&keys)).unwrap();
        let comments: Vec<&str> = keys.iter().map(|key| key.comment.as_str()).collect();
        // An unknown name parses as an opaque key, which is listed and never sent.
        assert!(comments.ends_with(&["good"]), "{comments:?}");
        assert_eq!(keys.len() + unknown, 5);
        assert!(matches!(
            keys.last().unwrap().public.key_data(),
            KeyData::Ed25519(_)
        ));
    }

    #[test]
    fn a_cut_answer_is_no_answer() {
        let key: PublicKey = PublicKey::from_openssh(KEY).unwrap();
        let whole = answer(&[(&key.to_bytes().unwrap(), "good")]);
        for length in 0..whole.len() {
            assert!(identities(&whole[..length]).is_none(), "{length}");
        }
    }
}

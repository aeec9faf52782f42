//! Signs a login, by the agent or with a key file.
//!
//! russh asks for the signature when the server has accepted the key, so a passphrase is asked for
//! only then, as OpenSSH does.

use std::{sync::PoisonError, time::Duration};

use russh::{
    SendError, Signer,
    keys::{
        Error as AgentError, HashAlg, PrivateKey,
        agent::AgentIdentity,
        signature::Signer as _,
        ssh_encoding::Encode,
        ssh_key::{Signature, private::KeypairData},
    },
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};

use super::{
    agent::Agent,
    conversation::Conversation,
    keyring::{Keyring, Opened},
    offers::{Holder, Offer},
};
use crate::{
    error::Failure,
    event::{Hop, Question},
    limits,
};

/// Bounds a step whose limit depends on who is being waited for.
pub(crate) struct Clock {
    /// What the server may take.
    limit: Duration,
    deadline: watch::Sender<Option<Instant>>,
}

impl Clock {
    pub(crate) fn start(limit: Duration) -> Clock {
        let deadline = Some(Instant::now() + limit);
        Clock {
            limit,
            deadline: watch::Sender::new(deadline),
        }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// The server is to answer.
    fn server(&self) {
        self.deadline.send_replace(Some(Instant::now() + self.limit));
    }

    /// Someone else is to answer, with a limit of their own or with none.
    fn pause(&self) {
        self.deadline.send_replace(None);
    }

    /// Resolves when the server has had its time.
    pub(crate) async fn expired(&self) {
        let mut deadline = self.deadline.subscribe();
        loop {
            let until = *deadline.borrow_and_update();
            let passed = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                _ = deadline.changed() => {}
            }
        }
    }
}

/// Why there is no signature.
#[derive(Debug)]
pub(crate) enum SignError {
    /// The session is gone.
    Gone,
    /// This key does not work; others may.
    Skipped(String),
    /// The login ends.
    Failed(Box<Failure>),
}

impl From<SendError> for SignError {
    fn from(_: SendError) -> SignError {
        SignError::Gone
    }
}

pub(crate) struct KeySigner<'a> {
    pub(crate) offer: &'a Offer,
    pub(crate) agent: Option<&'a mut Agent>,
    pub(crate) passphrases: Passphrases<'a>,
    pub(crate) clock: &'a Clock,
    /// A signature was made, which goes to the server at once.
    pub(crate) signed: bool,
}

impl Signer for KeySigner<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        self.clock.pause();
        let signed = match &self.offer.holder {
            Holder::Agent => self.by_agent(key, hash, data).await,
            Holder::File(_) => by_file(self.passphrases, self.offer, hash, data).await,
        };
        self.clock.server();
        self.signed |= signed.is_ok();
        signed
    }
}

impl KeySigner<'_> {
    async fn by_agent(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        let Some(agent) = &mut self.agent else {
            return Err(SignError::Skipped("the agent is gone".to_owned()));
        };
        // The agent knows a key from a certificate file by its public half alone.
        let plain = key.public_key().into_owned();
        let own = agent
            .keys
            .iter()
            .any(|it| it.certificate.is_some() && it.public == plain);
        let plain = AgentIdentity::from(plain);
        let key = if own { key } else { &plain };
        let client = agent.client.get_mut().unwrap_or_else(PoisonError::into_inner);
        let gone = self.passphrases.conversation.gone.wait();
        tokio::select! {
            signed = timeout(limits::AGENT_SIGN, client.sign_request(key, hash, data)) => match signed {
                Ok(Ok(signed)) => Ok(signed),
                // All that an agent says of a key whose use was declined, and of one that is locked.
                Ok(Err(AgentError::AgentFailure)) => {
                    let why = "the agent refuses to sign: it was not confirmed (`ssh-add -c`), or the agent is locked";
                    Err(SignError::Skipped(why.to_owned()))
                }
                Ok(Err(error)) => Err(SignError::Skipped(format!("the agent does not sign: {error}"))),
                Err(_) => {
                    let limit = limits::AGENT_SIGN.as_secs();
                    Err(SignError::Skipped(format!("the agent gave no signature within {limit} s")))
                }
            },
            () = gone => Err(SignError::Gone),
        }
    }
}

async fn by_file(
    passphrases: Passphrases<'_>,
    offer: &Offer,
    hash: Option<HashAlg>,
    data: Vec<u8>,
) -> Result<Vec<u8>, SignError> {
    let key = match passphrases.open(offer).await {
        Ok(Opened::Key(key)) => key,
        Ok(Opened::Not(why)) => return Err(SignError::Skipped(why)),
        Err(failure) => return Err(SignError::Failed(Box::new(failure))),
    };
    let signed = spawn_blocking(move || sign(&key, hash, data)).await;
    match signed {
        Ok(Ok(signed)) => Ok(signed),
        Ok(Err(error)) => Err(SignError::Skipped(format!("signing: {error}"))),
        Err(error) => Err(SignError::Skipped(format!("signing: {error}"))),
    }
}

/// Appends the signature to the data, which is the form that russh expects.
fn sign(
    key: &PrivateKey,
    hash: Option<HashAlg>,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(&data)?,
        other => other.try_sign(&data)?,
    };
    signature.encode_prefixed(&mut data)?;
    Ok(data)
}

/// Opens key files, asking for passphrases where that is allowed.
#[derive(Clone, Copy)]
pub(crate) struct Passphrases<'a> {
    pub(crate) keyring: &'a Keyring,
    pub(crate) conversation: &'a Conversation<'a>,
    pub(crate) hop: &'a Hop,
    pub(crate) batch_mode: bool,
}

impl Passphrases<'_> {
    pub(crate) async fn open(&self, offer: &Offer) -> Result<Opened, Failure> {
        let Some(path) = offer.file() else {
            return Ok(Opened::Not("there is no file".to_owned()));
        };
        let public = offer.public.as_ref();
        let fingerprint = public.map(|key| key.fingerprint(HashAlg::Sha256).to_string());
        let comment = public
            .map(|key| key.comment().to_string())
            .filter(|it| !it.is_empty());
        let ask = |attempt| {
            let question = Question::Passphrase {
                host: self.hop.clone(),
                key: path.clone(),
                fingerprint: fingerprint.clone(),
                comment: comment.clone(),
                attempt,
            };
            let what = format!("the passphrase of {}", path.display());
            async move { self.conversation.ask_secret(question, &what).await }
        };
        // Another host may be asking for the same key: that can take its time, too.
        let opened = self.keyring.open(path, (!self.batch_mode).then_some(ask));
        tokio::select! {
            opened = opened => opened,
            () = self.conversation.gone.wait() => Err(Failure::Closed {
                step: format!("waiting for the passphrase of {}", path.display()),
                text: String::new(),
            }),
        }
    }
}

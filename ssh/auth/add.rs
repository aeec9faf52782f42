//! `AddKeysToAgent`: keys that were opened from files, given to the agent.

use std::{io, path::Path};

use russh::keys::{PrivateKey, ssh_encoding::Encode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};
use zeroize::Zeroizing;

use super::{
    keyring::Opened,
    login::State,
    offers::{Holder, Offer},
};
use crate::{
    config::settings::{AddKeysToAgent, IdentityAgent},
    event::{Answer, Prompt, Question},
    limits,
};

// draft-ietf-sshm-ssh-agent, 6.1 and 6.2.
const ADD_IDENTITY: u8 = 17;
const ADD_ID_CONSTRAINED: u8 = 25;
const CONSTRAIN_LIFETIME: u8 = 1;
const CONSTRAIN_CONFIRM: u8 = 2;
const SUCCESS: u8 = 6;

impl State<'_> {
    /// Gives the key of a login that went well to the agent, if the configuration wants it. The login
    /// does not depend on it.
    pub(super) async fn add_to_agent(&self, offer: &Offer) {
        let (Holder::File(file), IdentityAgent::Socket(socket)) =
            (&offer.holder, &self.settings.identity_agent)
        else {
            return;
        };
        let wish = match self.settings.add_keys_to_agent {
            AddKeysToAgent::No => return,
            AddKeysToAgent::Ask if self.settings.batch_mode || !self.wants(offer).await => return,
            wish => wish,
        };
        // It was opened for the login, so nobody is asked.
        let Ok(Opened::Key(key)) = self.passphrases.open(offer).await else {
            return;
        };
        // What `ssh-add -l` shows: as OpenSSH, the key's own comment, else its file.
        let comment = match key.comment().to_string() {
            own if own.is_empty() => file.path.display().to_string(),
            own => own,
        };
        let request = request(&key, &comment, wish);
        let added = timeout(limits::AGENT, add(socket, request)).await;
        let added = added.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let text = match added {
            Ok(true) => return,
            Ok(false) => "it refuses".to_owned(),
            Err(error) => error.to_string(),
        };
        let text = format!("adding {} to the agent {}: {text}", offer.name, socket.display());
        self.report.notice(text).await;
    }

    async fn wants(&self, offer: &Offer) -> bool {
        let question = Question::KeyboardInteractive {
            host: self.hop.clone(),
            name: "AddKeysToAgent".to_owned(),
            instructions: String::new(),
            prompts: vec![Prompt {
                text: format!("Add key {} to the agent (yes/no)? ", offer.describe()),
                echo: true,
            }],
        };
        match self
            .conversation
            .ask(question, "the answer about the agent")
            .await
        {
            Ok(Answer::Secrets(words)) => words.first().is_some_and(|it| it.trim() == "yes"),
            Ok(Answer::Accept) => true,
            _ => false,
        }
    }
}

fn request(key: &PrivateKey, comment: &str, wish: AddKeysToAgent) -> io::Result<Zeroizing<Vec<u8>>> {
    let (confirm, lifetime) = match wish {
        AddKeysToAgent::Yes { confirm, lifetime } => (confirm, lifetime),
        AddKeysToAgent::No | AddKeysToAgent::Ask => (false, None),
    };
    let constrained = confirm || lifetime.is_some();
    let mut body = Zeroizing::new(vec![if constrained {
        ADD_ID_CONSTRAINED
    } else {
        ADD_IDENTITY
    }]);
    key.key_data().encode(&mut *body).map_err(io::Error::other)?;
    comment.encode(&mut *body).map_err(io::Error::other)?;
    if let Some(lifetime) = lifetime {
        body.push(CONSTRAIN_LIFETIME);
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        body.extend_from_slice(&seconds.to_be_bytes());
    }
    if confirm {
        body.push(CONSTRAIN_CONFIRM);
    }
    Ok(body)
}

async fn add(socket: &Path, request: io::Result<Zeroizing<Vec<u8>>>) -> io::Result<bool> {
    let request = request?;
    let mut agent = UnixStream::connect(socket).await?;
    let length = u32::try_from(request.len()).map_err(io::Error::other)?;
    agent.write_u32(length).await?;
    agent.write_all(&request).await?;
    agent.flush().await?;
    let length = agent.read_u32().await?;
    Ok(length >= 1 && agent.read_u8().await? == SUCCESS)
}

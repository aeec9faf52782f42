//! Starts commands on a session, on a channel that was opened ahead where there is one.
//!
//! Opening a channel and starting a command are a round trip each. After the first command one more
//! channel is opened, so that every later one costs a single round trip.

use std::sync::{Arc, PoisonError, Weak};

use russh::{
    Channel, ChannelMsg,
    client::{Handle, Msg},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    client::{Client, Refusal},
    error::ExecError,
    limits,
    session::Closed,
};

/// The channel that waits for the next command. Whoever opens a channel holds its lock: a refusal then
/// belongs to the one who asked, and two never open a spare each.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Kept>);

#[derive(Default)]
enum Kept {
    #[default]
    None,
    /// Since when it is open.
    Ready(Channel<Msg>, Instant),
    /// The server allows no more channels (`MaxSessions`): what it refused once is not asked for again.
    Refused,
}

/// What every command of a session is given.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) environment: Arc<[(String, String)]>,
    /// Whether it may use the forwarded agent.
    pub(crate) agent: bool,
    pub(crate) refusal: Refusal,
    pub(crate) spare: Arc<Spare>,
}

impl Launch {
    /// Starts a command. Its output is to be read from the returned channel at once.
    pub(crate) async fn start(
        &self,
        handle: &Handle<Client>,
        command: &str,
    ) -> Result<Channel<Msg>, ExecError> {
        let mut kept = self.spare.0.lock().await;
        if let Kept::Ready(..) = *kept
            && let Kept::Ready(channel, since) = std::mem::take(&mut *kept)
        {
            let channel = match since.elapsed() < limits::SPARE_AGE {
                true => channel,
                false => self.renewed(handle, channel).await?,
            };
            drop(kept);
            match self.begin(channel, command).await {
                // The server closed it while it was idle (sshd's `ChannelTimeout`): nothing was started.
                Err(Failed::Closed) => {}
                Err(Failed::Told(error)) => return Err(error),
                Ok(channel) => return Ok(channel),
            }
            kept = self.spare.0.lock().await;
        }
        let channel = open(handle, &self.refusal).await?;
        drop(kept);
        self.begin(channel, command).await.map_err(|failed| match failed {
            Failed::Closed => ExecError::CommandRefused,
            Failed::Told(error) => error,
        })
    }

    /// A new channel in place of one that has waited for long: sshd's `ChannelTimeout` counts its idle time from its
    /// opening and would end the command as soon as it begins.
    async fn renewed(&self, handle: &Handle<Client>, old: Channel<Msg>) -> Result<Channel<Msg>, ExecError> {
        match open(handle, &self.refusal).await {
            Ok(new) => {
                // The server is rid of it either way when the session ends.
                let _ = old.close().await;
                Ok(new)
            }
            // There is place for one (`MaxSessions`), and that is this one.
            Err(ExecError::ChannelRefused { .. }) => Ok(old),
            Err(error) => Err(error),
        }
    }

    /// Opens the next channel ahead. The session may end meanwhile.
    pub(crate) async fn refill(self, handle: Weak<Handle<Client>>) {
        let mut kept = self.spare.0.lock().await;
        let Some(handle) = handle.upgrade().filter(|_| matches!(*kept, Kept::None)) else {
            return;
        };
        *kept = match timeout(limits::CHANNEL, open(&handle, &self.refusal)).await {
            Ok(Ok(channel)) => Kept::Ready(channel, Instant::now()),
            Ok(Err(ExecError::ChannelRefused { .. })) => Kept::Refused,
            _ => Kept::None,
        };
    }

    async fn begin(&self, mut channel: Channel<Msg>, command: &str) -> Result<Channel<Msg>, Failed> {
        if self.agent {
            // Without a reply, which could not be told from the one to the command. A server that does
            // not allow it gives the command no agent, as for OpenSSH's client.
            channel.agent_forward(false).await.map_err(lost)?;
        }
        for (name, value) in self.environment.iter() {
            // Servers drop what AcceptEnv does not name, as for OpenSSH's client.
            channel
                .set_env(false, name.as_str(), value.as_str())
                .await
                .map_err(lost)?;
        }
        channel.exec(true, command).await.map_err(lost)?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(channel),
                Some(ChannelMsg::Failure) => {
                    channel.close().await.map_err(lost)?;
                    return Err(Failed::Told(ExecError::CommandRefused));
                }
                Some(ChannelMsg::Close) | None => return Err(Failed::Closed),
                Some(_) => {}
            }
        }
    }
}

/// Why a command was not started on a channel.
enum Failed {
    /// The channel was closed without an answer.
    Closed,
    Told(ExecError),
}

fn lost(_: russh::Error) -> Failed {
    Failed::Told(ExecError::Closed(Closed::ByUs))
}

async fn open(handle: &Handle<Client>, refusal: &Refusal) -> Result<Channel<Msg>, ExecError> {
    match handle.channel_open_session().await {
        Ok(channel) => Ok(channel),
        Err(russh::Error::ChannelOpenFailure(reason)) => {
            let text = refusal_text(refusal, &reason);
            Err(ExecError::ChannelRefused { text })
        }
        Err(_) => Err(ExecError::Closed(Closed::ByUs)),
    }
}

/// The server's words about a channel that it has just refused.
pub(crate) fn refusal_text(refusal: &Refusal, reason: &russh::ChannelOpenFailure) -> String {
    let mut told = refusal.lock().unwrap_or_else(PoisonError::into_inner);
    told.take().unwrap_or_else(|| format!("{reason:?}"))
}

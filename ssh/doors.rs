//! Channels that the server opens towards us: only what was asked for gets in.

use std::sync::{Arc, OnceLock};

use russh::{
    Channel,
    client::{ChannelOpenHandle, Msg},
};
use tokio::{net::UnixStream, sync::mpsc, task::JoinSet, time::timeout};

use crate::{config::settings::Forwarding, forward::relay_channel, limits, session::Ended, spool::WhenFull};

/// A channel that the server opens, before it is accepted. Dropping it refuses it.
pub(crate) struct Visitor {
    pub(crate) channel: Channel<Msg>,
    pub(crate) reply: ChannelOpenHandle,
    pub(crate) place: Place,
}

/// Where on the far side the connection came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Agent,
    Tcp { address: String, port: u32 },
    Unix(String),
}

/// Who waits for such channels; nobody, unless the configuration says so.
#[derive(Default)]
pub(crate) struct Doors {
    agent: OnceLock<mpsc::Sender<Visitor>>,
    forwarded: OnceLock<mpsc::Sender<Visitor>>,
}

impl Doors {
    /// Does not wait: a visitor who finds no room is refused.
    pub(crate) fn knock(&self, visitor: Visitor) {
        let door = match visitor.place {
            Place::Agent => &self.agent,
            Place::Tcp { .. } | Place::Unix(_) => &self.forwarded,
        };
        if let Some(door) = door.get() {
            let _ = door.try_send(visitor);
        }
    }

    /// Opens the door for forwarded connections, once.
    pub(crate) fn open_forwarded(&self) -> Option<mpsc::Receiver<Visitor>> {
        let (sender, visitors) = mpsc::channel(limits::VISITORS);
        self.forwarded.set(sender).is_ok().then_some(visitors)
    }
}

/// Lets commands on the host use the agent that `ForwardAgent` names. `None`: it names none.
pub(crate) fn serve_agent(
    doors: &Arc<Doors>,
    forwarding: &Forwarding,
    ended: Ended,
) -> Option<impl Future<Output = ()> + Send + 'static> {
    let socket = forwarding.agent.clone()?;
    let (sender, mut visitors) = mpsc::channel::<Visitor>(limits::VISITORS);
    doors.agent.set(sender).ok()?;
    Some(async move {
        let mut running = JoinSet::new();
        while let Some(visitor) = visitors.recv().await {
            while running.try_join_next().is_some() {}
            if running.len() >= limits::AGENT_CHANNELS {
                continue;
            }
            let (socket, ended) = (socket.clone(), ended.clone());
            running.spawn(async move {
                let Ok(Ok(mut agent)) = timeout(limits::AGENT, UnixStream::connect(&socket)).await else {
                    return;
                };
                visitor.reply.accept().await;
                relay_channel(visitor.channel, (ended, WhenFull::Cut), &mut agent).await;
            });
        }
    })
}

//! Channels that the server opens towards us: only what was asked for gets in.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use russh::{
    Channel,
    client::{ChannelOpenHandle, Msg},
};
use tokio::{net::UnixStream, sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    config::settings::{Endpoint, Forwarding},
    forward::relay_channel,
    limits,
    session::{Ended, Ties},
    sounding::Sounder,
    spool::WhenFull,
};

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

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Agent => out.write_str("the agent"),
            Place::Tcp { address, port } if address.is_empty() => write!(out, "*:{port}"),
            Place::Tcp { address, port } => write!(out, "{address}:{port}"),
            Place::Unix(path) => out.write_str(path),
        }
    }
}

/// Who waits for such channels; nobody, unless the configuration says so.
#[derive(Default)]
pub(crate) struct Doors {
    agent: OnceLock<mpsc::Sender<Visitor>>,
    forwarded: Mutex<Forwarded>,
}

#[derive(Default)]
struct Forwarded {
    door: Option<mpsc::Sender<Visitor>>,
    granted: Vec<Granted>,
}

/// What the server listens to for us until the session ends: it is not told that nobody waits there any more.
struct Granted {
    listen: Endpoint,
    place: Place,
    is_claimed: bool,
}

impl Doors {
    /// Does not wait: a visitor who finds no room is refused.
    pub(crate) fn knock(&self, visitor: Visitor) {
        let door = match visitor.place {
            Place::Agent => self.agent.get().cloned(),
            Place::Tcp { .. } | Place::Unix(_) => self.forwarded().door.clone(),
        };
        if let Some(door) = door {
            let _ = door.try_send(visitor);
        }
    }

    /// Opens the door for forwarded connections; `None`: somebody waits there already.
    pub(crate) fn open_forwarded(&self) -> Option<mpsc::Receiver<Visitor>> {
        let mut forwarded = self.forwarded();
        if forwarded.door.as_ref().is_some_and(|it| !it.is_closed()) {
            return None;
        }
        let (sender, visitors) = mpsc::channel(limits::VISITORS);
        forwarded.door = Some(sender);
        for granted in &mut forwarded.granted {
            granted.is_claimed = false;
        }
        Some(visitors)
    }

    /// Where the server listens for this already, since before the door was opened.
    pub(crate) fn claim(&self, listen: &Endpoint) -> Option<Place> {
        let mut forwarded = self.forwarded();
        let mut granted = forwarded.granted.iter_mut();
        let granted = granted.find(|it| !it.is_claimed && it.listen == *listen)?;
        granted.is_claimed = true;
        Some(granted.place.clone())
    }

    /// Remembers where the server listens for this.
    pub(crate) fn grant(&self, listen: Endpoint, place: Place) {
        self.forwarded().granted.push(Granted {
            listen,
            place,
            is_claimed: true,
        });
    }

    fn forwarded(&self) -> MutexGuard<'_, Forwarded> {
        self.forwarded.lock().unwrap_or_else(PoisonError::into_inner)
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
            let socket = socket.clone();
            // Its requests and answers are small.
            let ties = Ties {
                ended: ended.clone(),
                sounder: Sounder::default(),
            };
            running.spawn(async move {
                let Ok(Ok(mut agent)) = timeout(limits::AGENT, UnixStream::connect(&socket)).await else {
                    return;
                };
                visitor.reply.accept().await;
                relay_channel(visitor.channel, (ties, WhenFull::Cut), &mut agent).await;
            });
        }
    })
}

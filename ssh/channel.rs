//! Takes one channel's messages apart: stdout, stderr and exit.

use std::sync::Arc;

use bytes::Bytes;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    exec::{Exit, ExitWatch, Incoming, Pipe, Stderr},
    limits,
    session::{Closed, Ended, Ties},
    sounding::Sounded,
    spool::{Spool, WhenFull},
    store::{Filler, store},
};

/// The reader of one channel, to be run in a task of the session.
///
/// russh hands a channel's messages over inside its own loop: a channel that nobody reads stops all
/// of them, so each has a reader of its own from the start.
pub(crate) struct Drain {
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    stdout: Option<Outgoing>,
    stderr: Stderr,
    exit: watch::Sender<Option<Exit>>,
    over: CancellationToken,
    dropped: CancellationToken,
    ended: Ended,
    spool: Option<Spool>,
}

/// The near ends of a channel.
pub(crate) struct Ends {
    pub(crate) pipe: Pipe,
    pub(crate) stderr: Stderr,
    pub(crate) exit: ExitWatch,
}

/// Where the bytes of a channel go.
enum Outgoing {
    Queue(mpsc::Sender<Bytes>),
    Store(Filler),
}

pub(crate) fn open(channel: Channel<Msg>, ties: Ties) -> (Ends, Drain) {
    let (stdout, incoming) = mpsc::channel(limits::STDOUT_PACKETS);
    ends(channel, ties, Outgoing::Queue(stdout), Incoming::Queue(incoming))
}

/// The same for a channel that may be read as slowly as somebody else wants, and still must get everything.
pub(crate) fn open_spooled(channel: Channel<Msg>, ties: Ties, when_full: WhenFull) -> (Ends, Drain) {
    let (stdout, from) = mpsc::channel(limits::STDOUT_PACKETS);
    let (to, incoming) = mpsc::channel(limits::STDOUT_PACKETS);
    let (ends, mut drain) = ends(channel, ties, Outgoing::Queue(stdout), Incoming::Queue(incoming));
    drain.spool = Some(Spool::new(from, to, when_full));
    (ends, drain)
}

/// The same for a channel whose reader must not hold up the other channels of its session.
pub(crate) fn open_stored(channel: Channel<Msg>, ties: Ties) -> (Ends, Drain) {
    let (filler, store) = store();
    ends(channel, ties, Outgoing::Store(filler), Incoming::Store(store))
}

fn ends(channel: Channel<Msg>, ties: Ties, stdout: Outgoing, incoming: Incoming) -> (Ends, Drain) {
    let (read, write) = channel.split();
    let (exit, watch) = ExitWatch::new();
    let (over, dropped) = (CancellationToken::new(), CancellationToken::new());
    let stderr = Stderr::default();
    let Ties { ended, sounder } = ties;
    let writer = Sounded::new(write.make_writer(), sounder);
    let ends = Ends {
        pipe: Pipe::new(incoming, writer, over.clone(), dropped.clone()),
        stderr: stderr.clone(),
        exit: watch,
    };
    let drain = Drain {
        read,
        write: Arc::new(write),
        stdout: Some(stdout),
        stderr,
        exit,
        over,
        dropped,
        ended,
        spool: None,
    };
    (ends, drain)
}

impl Drain {
    /// Returns when the channel has ended; closes it when its near end is dropped.
    pub(crate) async fn run(mut self) {
        match self.spool.take() {
            Some(spool) => {
                tokio::join!(self.empty(), spool.run());
            }
            None => self.empty().await,
        }
    }

    async fn empty(mut self) {
        let mut exit = None;
        let mut linger: Option<Instant> = None;
        loop {
            let lingering = async {
                match linger {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.read.wait() => match message {
                    Some(ChannelMsg::Data { data }) => self.forward(data).await,
                    Some(ChannelMsg::ExtendedData { data, .. }) => self.stderr.push(&data),
                    Some(ChannelMsg::Eof) => self.stdout = None,
                    Some(ChannelMsg::ExitStatus { exit_status }) => {
                        exit = Some(Exit::Status(exit_status));
                        linger = Some(Instant::now() + limits::EXIT_LINGER);
                    }
                    Some(ChannelMsg::ExitSignal { signal_name, error_message, .. }) => {
                        let name = signal_text(&signal_name);
                        exit = Some(Exit::Signal { name, message: error_message });
                        linger = Some(Instant::now() + limits::EXIT_LINGER);
                    }
                    Some(ChannelMsg::Close) | None => break,
                    Some(_) => {}
                },
                () = lingering => {
                    linger = None;
                    self.exit.send_replace(exit.clone());
                }
                () = self.dropped.cancelled() => {
                    // The server's confirmation does not reach a channel that we closed first.
                    let _ = timeout(limits::CHANNEL_CLOSE, self.write.close()).await;
                    break;
                }
            }
        }
        self.over.cancel();
        let exit = match exit {
            Some(exit) => exit,
            None => self.lost().await,
        };
        self.exit.send_replace(Some(exit));
    }

    async fn forward(&mut self, data: Bytes) {
        let Some(stdout) = &self.stdout else { return };
        let queue = match stdout {
            Outgoing::Queue(queue) => queue,
            Outgoing::Store(filler) => {
                if !filler.push(data) {
                    self.stdout = None;
                }
                return;
            }
        };
        tokio::select! {
            sent = queue.send(data) => if sent.is_err() { self.stdout = None },
            () = self.dropped.cancelled() => self.stdout = None,
        }
    }

    /// russh ends the channels of a dead session before it tells why the session died.
    async fn lost(&mut self) -> Exit {
        let told = self.ended.wait_for(Option::is_some);
        match timeout(limits::GOODBYE, told).await {
            Ok(Ok(closed)) => closed.clone().map_or(Exit::Unknown, Exit::Lost),
            Ok(Err(_)) => Exit::Lost(Closed::Lost("the link broke".to_owned())),
            Err(_) => Exit::Unknown,
        }
    }
}

/// russh names the signals of RFC 4254 by variants and keeps the names of others.
fn signal_text(signal: &russh::Sig) -> String {
    match signal {
        russh::Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

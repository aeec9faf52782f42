//! The bytes under a session: what russh reads and writes, whatever carries them.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    exec::Pipe,
    greeting::Greeting,
    limits,
    proxy::{Intake, Proxy},
    search::Vigil,
    shared::Lease,
    unsent::Unsent,
};

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A way to the server, before SSH is spoken on it.
pub(crate) struct Link {
    pub(crate) io: Box<dyn Io>,
    pub(crate) gone: Gone,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) carrier: Carrier,
    /// Held until the server says something.
    pub(crate) watch: Watch,
}

/// What tells that a silent link leads nowhere, on the way to a host that is looked for.
pub(crate) enum Watch {
    Nothing,
    Vigil(#[expect(dead_code, reason = "it works by being held")] Vigil),
    Intake(Intake),
}

impl Watch {
    /// Resolves when the link is known to lead nowhere; a broken one tells by itself.
    pub(crate) async fn nowhere(&self) {
        match self {
            Watch::Intake(intake) => intake.ignored().await,
            Watch::Nothing | Watch::Vigil(_) => std::future::pending().await,
        }
    }
}

/// What must live as long as the link, and ends with it.
pub(crate) enum Carrier {
    Nothing,
    /// Other hosts may be behind the same one.
    Session(Lease),
    Proxy(Proxy),
}

impl Link {
    pub(crate) fn tcp(socket: TcpStream, address: SocketAddr) -> Link {
        Link::over(Arc::new(socket), address, Watch::Nothing)
    }

    /// To a host that is looked for: its server may be silent for long.
    pub(crate) fn found(socket: TcpStream, address: SocketAddr) -> Link {
        let socket = Arc::new(socket);
        let vigil = Vigil::over(&socket);
        Link::over(socket, address, Watch::Vigil(vigil))
    }

    fn over(socket: Arc<TcpStream>, address: SocketAddr, watch: Watch) -> Link {
        Link {
            gone: Gone::Socket(Arc::downgrade(&socket)),
            io: Box::new(Tcp {
                socket,
                quick_reads: limits::QUICK_READS,
            }),
            address: Some(address),
            carrier: Carrier::Nothing,
            watch,
        }
    }

    pub(crate) fn forwarded(pipe: Pipe, via: Lease) -> Link {
        Link {
            gone: Gone::Signal(pipe.over()),
            io: Box::new(pipe),
            address: None,
            carrier: Carrier::Session(via),
            watch: Watch::Nothing,
        }
    }

    pub(crate) fn proxy(io: Box<dyn Io>, proxy: Proxy, intake: Option<Intake>) -> Link {
        Link {
            gone: Gone::Signal(proxy.over()),
            io,
            address: None,
            carrier: Carrier::Proxy(proxy),
            watch: intake.map_or(Watch::Nothing, Watch::Intake),
        }
    }
}

/// Tells that the far end has closed, while nobody reads.
///
/// russh does not read while it waits for a signature, for an answer to a keyboard-interactive
/// question or for the verdict about a host key, and that is where users take their time.
pub(crate) enum Gone {
    Socket(Weak<TcpStream>),
    Signal(CancellationToken),
}

impl Gone {
    pub(crate) async fn wait(&self) {
        let socket = match self {
            Gone::Signal(signal) => return signal.cancelled().await,
            Gone::Socket(socket) => socket,
        };
        while let Some(socket) = socket.upgrade() {
            match socket.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() => return,
                Err(_) => return,
                // Unread data: the socket stays readable, so only time can tell more.
                Ok(_) => sleep(limits::QUESTION_POLL).await,
            }
        }
    }
}

/// A socket that acknowledges at once while the handshake lasts.
///
/// The handshake is a chain of small packets; a server with Nagle's algorithm holds the second of
/// two back until the first is acknowledged, and Linux delays acknowledgements by 40 ms.
struct Tcp {
    socket: Arc<TcpStream>,
    quick_reads: u32,
}

impl Tcp {
    #[cfg(target_os = "linux")]
    fn acknowledge(&mut self) {
        if self.quick_reads > 0 {
            self.quick_reads -= 1;
            // Only latency depends on it, so a failure is none.
            let _ = socket2::SockRef::from(&*self.socket).set_tcp_quickack(true);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn acknowledge(&mut self) {
        self.quick_reads = 0;
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    self.acknowledge();
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.socket).shutdown(std::net::Shutdown::Write))
    }
}

/// The stream that russh gets: it can be cut from outside, since russh owns the task that uses it.
pub(crate) struct Wire {
    io: Box<dyn Io>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// `None`: it has heard all that it wants to know.
    greeting: Option<Arc<Greeting>>,
    /// What has arrived and russh has not read: no more than a line and one read.
    held: Bytes,
    unsent: Unsent,
    /// How long the end waits for what is unsent.
    parting: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(crate) fn new(io: Box<dyn Io>, cut: CancellationToken, greeting: Arc<Greeting>) -> Wire {
        Wire {
            io,
            cut: Box::pin(cut.cancelled_owned()),
            greeting: Some(greeting),
            held: Bytes::new(),
            unsent: Unsent::default(),
            parting: None,
        }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "closed by this side",
            )),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        // russh is reading whenever it does nothing else.
        if let Poll::Ready(Err(_)) = wire.unsent.poll_send(cx, &mut wire.io) {
            // What the server said before it ended can still be read, and the next write fails as well.
            wire.unsent.clear();
        }
        loop {
            self.poll_cut(cx)?;
            if !self.held.is_empty() {
                let length = self.held.len().min(buf.remaining());
                buf.put_slice(&self.held.split_to(length));
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            let Some(greeting) = &self.greeting else {
                return Poll::Ready(Ok(()));
            };
            let new = match buf.filled().get(before..) {
                Some(new @ [_, ..]) => greeting.hear(new)?,
                // The end.
                _ => return Poll::Ready(Ok(())),
            };
            buf.set_filled(before);
            self.held = new.rest.into();
            if new.is_over {
                self.greeting = None;
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        let wire = &mut *self;
        wire.unsent.poll_write(cx, &mut wire.io, buf)
    }

    /// Does not wait for what is unsent: it goes out in time without being flushed.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        let wire = &mut *self;
        match wire.unsent.poll_send(cx, &mut wire.io)? {
            Poll::Ready(()) => Pin::new(&mut wire.io).poll_flush(cx),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        if wire.unsent.poll_send(cx, &mut wire.io).is_pending() && wire.poll_cut(cx).is_ok() {
            let parting = wire
                .parting
                .get_or_insert_with(|| Box::pin(sleep(limits::GOODBYE)));
            ready!(parting.as_mut().poll(cx));
        }
        // russh tells why a connection ended only if this succeeds, and a dead one cannot.
        let _ = ready!(Pin::new(&mut wire.io).poll_shutdown(cx));
        Poll::Ready(Ok(()))
    }
}

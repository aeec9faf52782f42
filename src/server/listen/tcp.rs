//! WebSockets over loopback TCP.

use std::net::SocketAddr;

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{ListenError, accept::serve_each};
use crate::server::Server;

/// What may wait in the kernel for one peer, in bytes. What waits there cannot be merged any more, and buffers that
/// the kernel sizes itself grow to megabytes: a slow peer would be minutes behind.
const SEND_BUFFER_BYTES: usize = 64 << 10;

pub(super) struct Tcp {
    listener: TcpListener,
    address: SocketAddr,
}

/// `address` is a loopback one.
pub(super) async fn bind(address: SocketAddr) -> Result<Tcp, ListenError> {
    let failed = |source| ListenError::Io {
        address: format!("ws://{address}"),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Tcp { listener, address })
}

impl Tcp {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn banner(&self) -> String {
        let address = self.address;
        format!(
            "codex app-server (WebSockets)\n  listening on: ws://{address}\n  readyz: http://{address}/readyz\n  \
             healthz: http://{address}/healthz\n  note: binds localhost only; every user of this machine can connect"
        )
    }

    pub(super) async fn run(self, server: Server, cancel: CancellationToken) {
        let listener = &self.listener;
        let accept = || async move {
            let (stream, _) = listener.accept().await?;
            // Deltas are small and late ones are seen: without it they wait for each other.
            _ = stream.set_nodelay(true);
            // Both are wishes: without them the peer is served all the same.
            _ = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
            Ok(Some(stream))
        };
        serve_each(accept, server, cancel).await;
    }
}

//! WebSockets over loopback TCP.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{CONNECTIONS_MAX, ListenError, http};
use crate::server::Server;

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
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut peers = JoinSet::new();
        loop {
            while peers.try_join_next().is_some() {}
            // A place before a peer: nobody is accepted and then left alone.
            let accepted = tokio::select! {
                it = async {
                    let permit = Arc::clone(&permits).acquire_owned().await;
                    (permit, self.listener.accept().await)
                } => it,
                () = cancel.cancelled() => break,
            };
            match accepted {
                (Ok(permit), Ok((stream, _))) => {
                    let (server, cancel) = (server.clone(), cancel.clone());
                    peers.spawn(async move {
                        // Deltas are small and late ones are seen: without it they wait for each other.
                        _ = stream.set_nodelay(true);
                        http::serve(server, stream, cancel).await;
                        drop(permit);
                    });
                }
                (_, Err(error)) => super::unix::pause_after(&error).await,
                (Err(_), _) => break,
            }
        }
        while peers.join_next().await.is_some() {}
    }
}

//! Accepts peers of any stream socket, so many at a time, and serves each in a task.

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::http;
use crate::server::Server;

/// Connections of one listener at a time. Beyond it the next one waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// Rest after a failed accept: it fails again at once while, for instance, no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until cancelled, and then until the last peer is gone. `accept` gives the next peer; `None` is one
/// that was refused.
pub(super) async fn serve_each<S, F>(mut accept: impl FnMut() -> F, server: Server, cancel: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = io::Result<Option<S>>>,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut peers = JoinSet::new();
    loop {
        while peers.try_join_next().is_some() {}
        // A place before a peer: nobody is accepted and then left alone.
        let accepted = tokio::select! {
            it = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, accept().await)
            } => it,
            () = cancel.cancelled() => break,
        };
        match accepted {
            (Ok(permit), Ok(Some(stream))) => {
                let (server, cancel) = (server.clone(), cancel.clone());
                peers.spawn(async move {
                    http::serve(server, stream, cancel).await;
                    drop(permit);
                });
            }
            (Ok(_), Ok(None)) => (),
            (_, Err(error)) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (Err(_), _) => break,
        }
    }
    while peers.join_next().await.is_some() {}
}

//! Serves until it is time to end.

use std::time::Duration;

use codex_rpc::jsonl;
use tokio::{io::DuplexStream, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    ingress::serve_peer,
    life::DRAIN_PATIENCE,
    listen::{LINE_BYTES_MAX, Listener},
    server::Server,
};

/// How long connections may take to write what waits for them when the server ends.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes between the two ends of a connection in memory; like a pipe.
const MEMORY_BYTES: usize = 64 << 10;

/// How a server is asked to end.
#[derive(Clone, Default)]
pub struct Signals {
    /// Lets running turns end, within bounds.
    pub drain: CancellationToken,
    /// Ends at once; what must be kept is still written.
    pub end: CancellationToken,
}

/// Serves all peers that come through `listeners`, until it is asked to end or the peer on standard input
/// has left; then whatever is running is interrupted, as nobody is there to see it.
pub async fn serve(server: Server, listeners: Vec<Listener>, signals: Signals) {
    let close = CancellationToken::new();
    let _close_at_last = close.clone().drop_guard();
    let mut others = JoinSet::new();
    let mut stdio = JoinSet::new();
    for listener in listeners {
        let tasks = if listener.is_stdio() {
            &mut stdio
        } else {
            &mut others
        };
        tasks.spawn(listener.run(server.clone(), close.clone()));
    }
    let patience = tokio::select! {
        () = signals.drain.cancelled() => DRAIN_PATIENCE,
        () = signals.end.cancelled() => Duration::ZERO,
        Some(_) = stdio.join_next() => Duration::ZERO,
    };
    server.life().finish(patience, &signals.end).await;
    server.mcp().close().await;
    close.cancel();
    let closed = async {
        while stdio.join_next().await.is_some() {}
        while others.join_next().await.is_some() {}
    };
    if tokio::time::timeout(CLOSE_PATIENCE, closed).await.is_err() {
        tracing::warn!("connections did not end in time");
    }
}

/// A connection in memory, JSONL as over stdio: the peer's end, and the task that serves it.
pub fn in_memory(
    server: Server,
    cancel: CancellationToken,
) -> (DuplexStream, impl Future<Output = ()> + Send) {
    let (near, far) = tokio::io::duplex(MEMORY_BYTES);
    (near, serve_peer(server, jsonl(far, LINE_BYTES_MAX), cancel))
}

//! One peer on standard input and output, a JSON object a line. The only writer to standard output.

use codex_rpc::jsonl;
use tokio_util::sync::CancellationToken;

use crate::{ingress::serve_peer, server::Server};

/// The longest line that is read: as long as the longest WebSocket message. Longer ones are skipped.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 20;

pub(super) async fn run(server: Server, cancel: CancellationToken) {
    let stdio = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
    serve_peer(server, jsonl(stdio, LINE_BYTES_MAX), cancel).await;
}

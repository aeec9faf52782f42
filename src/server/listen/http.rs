//! The HTTP in front of a WebSocket: probes, the upgrade, and who is refused.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use codex_rpc::{Role, websocket};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use crate::{ingress::serve_peer, server::Server};

/// How long a peer may take to say that it wants a WebSocket.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(10);
/// Tells clients how long a frame may be, as the official server does.
const FRAME_HEADER: &str = "x-codex-websocket-max-unfragmented-message-bytes";

/// Serves one accepted connection to its end.
pub(super) async fn serve<T>(server: Server, io: T, cancel: CancellationToken)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let upgrade = Mutex::new(None);
    let service = service_fn(|request| {
        let (answer, wanted) = answer(request);
        if wanted.is_some() {
            *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
        }
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let spoken = tokio::select! {
        it = tokio::time::timeout(UPGRADE_PATIENCE, connection) => it,
        () = cancel.cancelled() => return,
    };
    if let Ok(Err(error)) = spoken {
        tracing::debug!(%error, "a connection spoke no HTTP");
    }
    let upgrade = upgrade.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(upgrade) = upgrade
        && let Ok(io) = upgrade.await
    {
        serve_peer(server, websocket(TokioIo::new(io), Role::Server).await, cancel).await;
    }
}

/// The answer to a request, and the upgrade that follows it.
fn answer(mut request: Request<Incoming>) -> (Response<String>, Option<OnUpgrade>) {
    let headers = request.headers();
    // Browsers send it always: no web page talks to this server, whatever it claims to be.
    if headers.contains_key(header::ORIGIN) {
        return (
            plain(
                StatusCode::FORBIDDEN,
                "requests with an Origin header are refused",
            ),
            None,
        );
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return (plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served"), None);
    }
    if matches!(request.uri().path(), "/readyz" | "/healthz") {
        return (plain(StatusCode::OK, ""), None);
    }
    let says = |name: header::HeaderName, word: &str| {
        let values = headers
            .get_all(name)
            .into_iter()
            .filter_map(|it| it.to_str().ok());
        values
            .flat_map(|it| it.split(','))
            .any(|it| it.trim().eq_ignore_ascii_case(word))
    };
    let lack = if !says(header::CONNECTION, "upgrade") {
        "Connection header did not include 'upgrade'"
    } else if !says(header::UPGRADE, "websocket") {
        "`Upgrade` header did not include 'websocket'"
    } else if !says(header::SEC_WEBSOCKET_VERSION, "13") {
        "`Sec-WebSocket-Version` header did not include '13'"
    } else if !headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        "`Sec-WebSocket-Key` header missing"
    } else {
        ""
    };
    if !lack.is_empty() {
        return (plain(StatusCode::BAD_REQUEST, lack), None);
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .map(|it| derive_accept_key(it.as_bytes()));
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, key.unwrap_or_default())
        .header(FRAME_HEADER, codex_rpc::websocket::FRAME_BYTES_MAX)
        .body(String::new());
    match response {
        Ok(response) => (response, Some(hyper::upgrade::on(&mut request))),
        Err(_) => (
            plain(StatusCode::BAD_REQUEST, "the request could not be answered"),
            None,
        ),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    response
}

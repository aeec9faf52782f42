//! Messages over a WebSocket (RFC 6455), one JSON object a text frame; either side.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use codex_protocol::{Malformed, Message};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, Error,
        client::IntoClientRequest,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    jsonl,
    transport::{Incoming, Transport, TransportError},
};

pub use tokio_tungstenite::tungstenite::protocol::Role;

/// The longest frame that a server reads, as the official one announces and enforces it. A client takes a
/// whole message in one: servers do not split theirs.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// The longest message that is read, of any number of frames.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A server that cannot be talked to over a WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("`{0}` is no WebSocket address")]
    Address(String),
    /// The status, and how the answer's body begins.
    #[error("the server refused the WebSocket: {status} {body}")]
    Refused { status: u16, body: String },
    #[error("the server speaks no WebSocket")]
    Handshake(#[source] Box<Error>),
}

/// Messages over a byte stream that has been upgraded already.
pub async fn websocket<T>(io: T, role: Role) -> impl Transport
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    WebSocket(WebSocketStream::from_raw_socket(io, role, Some(config(role))).await)
}

/// Upgrades a byte stream as its client. `url` names the host and the path, for instance
/// `ws://127.0.0.1:4500/`; over a Unix socket its host means nothing.
pub async fn connect_websocket<T>(io: T, url: &str) -> Result<impl Transport + use<T>, UpgradeError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = url
        .into_client_request()
        .map_err(|_| UpgradeError::Address(url.to_owned()))?;
    match client_async_with_config(request, io, Some(config(Role::Client))).await {
        Ok((socket, _)) => Ok(WebSocket(socket)),
        Err(Error::Http(answer)) => Err(UpgradeError::Refused {
            status: answer.status().as_u16(),
            body: jsonl::sample(answer.body().as_deref().unwrap_or_default()),
        }),
        Err(error) => Err(UpgradeError::Handshake(Box::new(error))),
    }
}

fn config(role: Role) -> WebSocketConfig {
    let frame_bytes_max = match role {
        Role::Server => FRAME_BYTES_MAX,
        Role::Client => MESSAGE_BYTES_MAX,
    };
    WebSocketConfig::default()
        .max_frame_size(Some(frame_bytes_max))
        .max_message_size(Some(MESSAGE_BYTES_MAX))
}

struct WebSocket<T>(WebSocketStream<T>);

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<T> {
    type Item = Result<Incoming, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(arrived) = ready!(Pin::new(&mut self.0).poll_next(context)) else {
                return Poll::Ready(None);
            };
            match arrived {
                Ok(tungstenite::Message::Text(text)) => {
                    return Poll::Ready(Some(Ok(jsonl::read(text.as_bytes()))));
                }
                Ok(tungstenite::Message::Binary(_)) => {
                    return Poll::Ready(Some(Ok(Incoming::Malformed {
                        why: Malformed::Shape("a binary frame"),
                        beginning: String::new(),
                        id: None,
                    })));
                }
                // Pings are answered by the library.
                Ok(_) => (),
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Poll::Ready(None),
                Err(error) => {
                    self.say_why(&error);
                    return Poll::Ready(Some(Err(broken(error))));
                }
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> WebSocket<T> {
    /// The peer is told why it is left (RFC 6455, section 7.4.1); sent when the sink is closed.
    fn say_why(&mut self, error: &Error) {
        let (code, reason) = match error {
            Error::Capacity(_) => (CloseCode::Size, "the message is longer than is read"),
            Error::Utf8(_) => (CloseCode::Invalid, "the text is not UTF-8"),
            Error::Protocol(_) => (CloseCode::Protocol, "not the WebSocket protocol"),
            _ => return,
        };
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        // The connection may be beyond even that.
        _ = Pin::new(&mut self.0).start_send(tungstenite::Message::Close(Some(frame)));
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<T> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Pin::new(&mut self.0).poll_ready(context).map_err(broken)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), TransportError> {
        let line = message.to_line().map_err(TransportError::Unwritable)?;
        let text = String::from_utf8(line).map_err(io::Error::other)?;
        Pin::new(&mut self.0)
            .start_send(tungstenite::Message::text(text))
            .map_err(broken)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Pin::new(&mut self.0).poll_flush(context).map_err(broken)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Pin::new(&mut self.0).poll_close(context).map_err(broken)
    }
}

fn broken(error: Error) -> TransportError {
    match error {
        Error::Io(error) => TransportError::Io(error),
        error => TransportError::Io(io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use codex_protocol::Notification;
    use futures_util::{SinkExt, StreamExt};

    use super::*;

    fn notification(method: &str) -> Message {
        Message::Notification(Notification {
            method: method.to_owned(),
            params: None,
            emitted_at_ms: None,
        })
    }

    #[tokio::test]
    async fn messages_pass_both_ways_and_the_end_is_an_end() {
        let (near, far) = tokio::io::duplex(1024);
        let (mut near, mut far) = (
            websocket(near, Role::Client).await,
            websocket(far, Role::Server).await,
        );
        near.send(notification("there")).await.unwrap();
        let seen = far.next().await.unwrap().unwrap();
        assert!(matches!(seen, Incoming::Message(Message::Notification(it)) if it.method == "there"));
        far.send(notification("back")).await.unwrap();
        let seen = near.next().await.unwrap().unwrap();
        assert!(matches!(seen, Incoming::Message(Message::Notification(it)) if it.method == "back"));
        let (closed, end) = tokio::join!(near.close(), far.next());
        assert!(closed.is_ok() && end.is_none());
    }

    #[tokio::test]
    async fn a_client_takes_a_whole_history_in_one_frame() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut near = websocket(near, Role::Client).await;
        let mut far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let long = format!("{{\"method\":\"{}\"}}", "x".repeat(FRAME_BYTES_MAX));
        let (_, seen) = tokio::join!(far.send(tungstenite::Message::text(long)), async {
            let seen = near.next().await;
            // A client that refused it reads no more: the server must not wait for it.
            drop(near);
            seen
        });
        assert!(matches!(seen, Some(Ok(Incoming::Message(_)))));
    }

    #[tokio::test]
    async fn an_upgrade_is_asked_for_and_a_refusal_is_told() {
        let (near, far) = tokio::io::duplex(1 << 12);
        let upgraded = tokio::join!(
            connect_websocket(near, "ws://127.0.0.1:4500/"),
            tokio_tungstenite::accept_async(far)
        );
        assert!(upgraded.0.is_ok() && upgraded.1.is_ok());
        let (near, mut far) = tokio::io::duplex(1 << 12);
        let refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\nmissing";
        let (refused, _) = tokio::join!(
            connect_websocket(near, "ws://127.0.0.1:4500/"),
            tokio::io::AsyncWriteExt::write_all(&mut far, refusal)
        );
        let refused = refused.err().unwrap();
        assert!(
            matches!(&refused, UpgradeError::Refused { status: 401, body } if body == "missing"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn what_is_no_message_costs_itself_and_too_long_ones_are_told_why() {
        let (near, far) = tokio::io::duplex(1024);
        let mut near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let mut far = websocket(far, Role::Server).await;
        near.send(tungstenite::Message::text("{\"id\":3,")).await.unwrap();
        let seen = far.next().await.unwrap().unwrap();
        assert!(matches!(
            seen,
            Incoming::Malformed {
                id: Some(codex_protocol::Id::Integer(3)),
                ..
            }
        ));
        near.send(tungstenite::Message::binary(vec![1])).await.unwrap();
        assert!(matches!(
            far.next().await.unwrap().unwrap(),
            Incoming::Malformed { id: None, .. }
        ));
        let long = tungstenite::Message::text("x".repeat(FRAME_BYTES_MAX + 1));
        let (_, refused) = tokio::join!(near.send(long), async {
            let refused = far.next().await.unwrap();
            _ = far.close().await;
            drop(far);
            refused
        });
        assert!(refused.is_err());
        let told = near.next().await;
        assert!(
            matches!(told, Some(Ok(tungstenite::Message::Close(Some(frame)))) if frame.code == CloseCode::Size)
        );
    }
}

//! A transport is a stream and a sink of messages, and nothing else.

use std::io;

use bytes::BytesMut;
use codex_protocol::{Id, Malformed, Message};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Framed, FramedParts};

use crate::jsonl::Jsonl;

#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("a message could not be written as JSON")]
    Unwritable(#[source] serde_json::Error),
}

/// What arrived. A line that is no message is an arrival too, not the end of the connection.
#[derive(Debug)]
pub enum Incoming {
    Message(Message),
    /// A line that is no message.
    Malformed {
        why: Malformed,
        /// How it begins. May hold secrets of the peer.
        beginning: String,
        /// The id of the request that it may have been meant to be.
        id: Option<Id>,
    },
    /// A line beyond the limit; its content was skipped as it came.
    TooLong {
        bytes: usize,
        /// The id that it begins with: the call that it would have answered.
        id: Option<Id>,
    },
}

/// Messages in, messages out.
pub trait Transport:
    Stream<Item = Result<Incoming, TransportError>>
    + Sink<Message, Error = TransportError>
    + Send
    + Unpin
    + 'static
{
}

impl<T> Transport for T where
    T: Stream<Item = Result<Incoming, TransportError>>
        + Sink<Message, Error = TransportError>
        + Send
        + Unpin
        + 'static
{
}

/// Messages over a byte stream, one JSON object a line. Lines longer than `line_bytes_max` are skipped
/// and reported.
pub fn jsonl<T>(io: T, line_bytes_max: usize) -> impl Transport
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Framed::new(io, Jsonl::new(line_bytes_max))
}

/// Like [`jsonl`], for a stream of which `read` has been read already.
pub fn jsonl_after<T>(io: T, read: BytesMut, line_bytes_max: usize) -> impl Transport
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut parts = FramedParts::new::<codex_protocol::Message>(io, Jsonl::new(line_bytes_max));
    parts.read_buf = read;
    Framed::from_parts(parts)
}

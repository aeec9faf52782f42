//! The server's side of SOCKS 4, 4a and 5 (RFC 1928), as far as `DynamicForward` needs it: CONNECT, and
//! no passwords.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::limits;

const CONNECT: u8 = 1;
const V5_NO_AUTHENTICATION: u8 = 0;
const V5_NO_METHOD: u8 = 0xff;

/// What a client wants to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) host: String,
    pub(super) port: u16,
    version: u8,
}

/// Reads a request. A client that takes its time, or speaks something else, is an error.
pub(super) async fn request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Request> {
    let read = timeout(limits::SOCKS, async {
        match stream.read_u8().await? {
            4 => version_4(stream).await,
            5 => version_5(stream).await,
            _ => Err(io::Error::other("it is not SOCKS")),
        }
    });
    read.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Tells the client whether the connection was made.
pub(super) async fn reply(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
    connected: bool,
) -> io::Result<()> {
    // The bound address means nothing here, and clients do not look at it.
    let text: &[u8] = match (request.version, connected) {
        (4, true) => &[0, 90, 0, 0, 0, 0, 0, 0],
        (4, false) => &[0, 91, 0, 0, 0, 0, 0, 0],
        (_, true) => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        // Host unreachable: the far side tells no more.
        (_, false) => &[5, 4, 0, 1, 0, 0, 0, 0, 0, 0],
    };
    stream.write_all(text).await?;
    stream.flush().await
}

async fn version_4(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Request> {
    let command = stream.read_u8().await?;
    let port = stream.read_u16().await?;
    let address = Ipv4Addr::from(stream.read_u32().await?);
    text_to_zero(stream).await?;
    // 0.0.0.x stands for a name behind the user's (SOCKS 4a).
    let named = address.octets()[..3] == [0, 0, 0] && address.octets()[3] != 0;
    let host = match named {
        true => text_to_zero(stream).await?,
        false => address.to_string(),
    };
    checked(command, host, port, 4)
}

async fn version_5(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Request> {
    let count = stream.read_u8().await?;
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await?;
    let open = methods.contains(&V5_NO_AUTHENTICATION);
    let method = if open { V5_NO_AUTHENTICATION } else { V5_NO_METHOD };
    stream.write_all(&[5, method]).await?;
    stream.flush().await?;
    if !open {
        return Err(io::Error::other("it wants to authenticate"));
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [_, command, _, kind] = head;
    let host = match kind {
        1 => Ipv4Addr::from(stream.read_u32().await?).to_string(),
        3 => {
            let length = stream.read_u8().await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            text(name)?
        }
        4 => Ipv6Addr::from(stream.read_u128().await?).to_string(),
        _ => return Err(io::Error::other("it names a kind of address that there is not")),
    };
    let port = stream.read_u16().await?;
    checked(command, host, port, 5)
}

fn checked(command: u8, host: String, port: u16, version: u8) -> io::Result<Request> {
    if command != CONNECT || host.is_empty() {
        return Err(io::Error::other("it asks for more than a connection"));
    }
    Ok(Request { host, port, version })
}

async fn text_to_zero(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    while bytes.len() <= usize::from(u8::MAX) {
        match stream.read_u8().await? {
            0 => return text(bytes),
            byte => bytes.push(byte),
        }
    }
    Err(io::Error::other("a name is too long"))
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::other("a name is no text"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::request;

    /// What is read from these bytes, and what was answered before the request.
    async fn read(bytes: &[u8]) -> (Option<String>, Vec<u8>) {
        let (mut client, mut server) = duplex(1024);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let request = request(&mut server).await.ok();
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        (
            request.map(|it| format!("{} {} v{}", it.host, it.port, it.version)),
            answer,
        )
    }

    #[tokio::test]
    async fn every_kind_of_request_is_read_and_everything_else_is_refused() {
        let some = |text: &str| Some(text.to_owned());
        let five = |rest: &[u8]| [&[5, 2, 2, 0, 5, 1, 0][..], rest].concat();
        for (bytes, expected) in [
            (
                b"\x04\x01\x00\x50\x0a\x00\x00\x01me\0".to_vec(),
                some("10.0.0.1 80 v4"),
            ),
            (
                b"\x04\x01\x00\x50\0\0\0\x01me\0db.lab\0".to_vec(),
                some("db.lab 80 v4"),
            ),
            (five(b"\x01\x0a\x00\x00\x01\x00\x50"), some("10.0.0.1 80 v5")),
            (five(b"\x03\x02db\x00\x50"), some("db 80 v5")),
            (
                five(b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50"),
                some("::1 80 v5"),
            ),
            (five(b"\x02\x02db\x00\x50"), None),
            (five(b"\x03\x00\x00\x50"), None),
            (b"\x05\x01\x02".to_vec(), None),
            (b"\x04\x02\x00\x50\x0a\x00\x00\x01\0".to_vec(), None),
            (
                [b"\x04\x01\x00\x50\x0a\x00\x00\x01".as_slice(), &[b'x'; 400]].concat(),
                None,
            ),
            (b"GET / HTTP/1.1\r\n".to_vec(), None),
            (b"".to_vec(), None),
        ] {
            assert_eq!(read(&bytes).await.0, expected, "{bytes:?}");
        }
        assert_eq!(read(&five(b"\x03\x02db\x00\x50")).await.1, [5, 0]);
        assert_eq!(read(b"\x05\x01\x02").await.1, [5, 0xff]);
    }
}

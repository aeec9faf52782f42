//! To a server that listens: TCP or a Unix socket, and the upgrade to a WebSocket.

use std::{io, path::Path};

use codex_hosts::{Failure, FailureKind, Phase};
use codex_rpc::{Transport, UpgradeError, connect_websocket};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};

use crate::{address::Address, limits, server::chain, way::Duplex};

/// Looks up and connects; the phases are the caller's to report.
pub(crate) async fn dial(
    address: &Address,
    entered: impl AsyncFnOnce(Phase),
) -> Result<Box<dyn Duplex>, Failure> {
    let (host, port) = match address {
        Address::Unix(path) => {
            entered(Phase::Connecting).await;
            let stream = UnixStream::connect(path).await;
            return Ok(Box::new(stream.map_err(|error| no_socket(path, &error))?));
        }
        Address::Tcp { host, port, .. } => (host.as_str(), *port),
    };
    let found = in_time(Phase::Resolving, address, lookup_host((host, port))).await?;
    let addresses: Vec<_> = found
        .map_err(|error| {
            failure(
                Phase::Resolving,
                FailureKind::Unreachable,
                format!("looking up {host}: {error}"),
            )
        })?
        .collect();
    entered(Phase::Connecting).await;
    let stream = in_time(Phase::Connecting, address, TcpStream::connect(&addresses[..])).await?;
    let stream = stream.map_err(|error| not_connected(address, &error))?;
    // A connection without these works too, and is told dead later.
    _ = tune(&stream);
    Ok(Box::new(stream))
}

/// Makes a dead peer known within [`limits::UNCONFIRMED_MAX`], and small messages quick.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(limits::KEEPALIVE_IDLE)
        .with_interval(limits::KEEPALIVE_PERIOD)
        .with_retries(limits::KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits::UNCONFIRMED_MAX))?;
    Ok(())
}

async fn in_time<T>(phase: Phase, address: &Address, what: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(limits::DIAL_PATIENCE, what).await.map_err(|_| {
        let text = format!("{address} did not answer within {:?}", limits::DIAL_PATIENCE);
        failure(phase, FailureKind::TimedOut, text)
    })
}

fn failure(phase: Phase, kind: FailureKind, message: String) -> Failure {
    Failure {
        kind,
        phase: Some(phase),
        message,
        hint: None,
        stderr: None,
    }
}

fn not_connected(address: &Address, error: &io::Error) -> Failure {
    let hint = (error.kind() == io::ErrorKind::ConnectionRefused).then(|| match address.is_local() {
        true => format!("nothing listens there: start a server with `codex app-server --listen {}`", address),
        false => "nothing listens there, or only for its own machine: servers listen at 127.0.0.1, so reach them over SSH (`codex connect HOST`, or `ssh -L`)".to_owned(),
    });
    Failure {
        hint,
        ..failure(
            Phase::Connecting,
            FailureKind::Unreachable,
            format!("connecting to {address}: {error}"),
        )
    }
}

fn no_socket(path: &Path, error: &io::Error) -> Failure {
    let start = format!(
        "start a server with `codex app-server --listen unix://{}`",
        path.display()
    );
    let (kind, what, hint) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            FailureKind::Unreachable,
            "the socket is there, and nobody listens at it any more".to_owned(),
            Some(start),
        ),
        io::ErrorKind::NotFound => (
            FailureKind::Unreachable,
            "there is no such socket".to_owned(),
            Some(start),
        ),
        io::ErrorKind::PermissionDenied => (
            FailureKind::Forbidden,
            error.to_string(),
            Some("a server's socket belongs to the user who started it".to_owned()),
        ),
        _ => (FailureKind::Unreachable, error.to_string(), None),
    };
    Failure {
        hint,
        ..failure(
            Phase::Connecting,
            kind,
            format!("connecting to {}: {what}", path.display()),
        )
    }
}

/// Asks the server to speak WebSocket.
pub(crate) async fn upgrade(
    address: &Address,
    stream: Box<dyn Duplex>,
) -> Result<Box<dyn Transport>, Failure> {
    let url = address.url();
    let upgraded = timeout(limits::UPGRADE_PATIENCE, connect_websocket(stream, &url));
    let error = match upgraded.await {
        Ok(Ok(transport)) => return Ok(Box::new(transport)),
        Ok(Err(error)) => error,
        Err(_) => {
            let text = format!(
                "{address} did not take up the WebSocket within {:?}",
                limits::UPGRADE_PATIENCE
            );
            return Err(failure(Phase::Connecting, FailureKind::TimedOut, text));
        }
    };
    let (kind, hint) = match &error {
        UpgradeError::Refused { status: 401, .. } => (
            FailureKind::Unauthorized,
            "the server asks for a token, and authentication is not supported yet: connect over SSH (`codex connect HOST`)",
        ),
        UpgradeError::Refused { status: 403, .. } => (
            FailureKind::Forbidden,
            "the server, or a proxy before it, does not let this connection in",
        ),
        UpgradeError::Refused { status: 500.., .. } => {
            (FailureKind::Unreachable, "the server has trouble of its own")
        }
        _ => (
            FailureKind::Incompatible,
            "make sure that a Codex app-server listens there, and nothing else",
        ),
    };
    Err(Failure {
        hint: Some(hint.to_owned()),
        ..failure(Phase::Connecting, kind, format!("{address}: {}", chain(&error)))
    })
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, UnixListener},
    };

    use super::*;

    async fn refused(address: &str) -> Failure {
        let address: Address = address.parse().unwrap();
        let outcome = dial(&address, async |_| ()).await;
        match outcome {
            Ok(stream) => upgrade(&address, stream).await.err().unwrap(),
            Err(failure) => failure,
        }
    }

    #[tokio::test]
    async fn a_socket_without_a_server_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let url = format!("unix://{}", path.display());
        let missing = refused(&url).await;
        assert!(missing.message.ends_with("there is no such socket"), "{missing}");
        drop(UnixListener::bind(&path).unwrap());
        let stale = refused(&url).await;
        assert!(
            stale.message.ends_with("nobody listens at it any more"),
            "{stale}"
        );
        assert_eq!(stale.kind, FailureKind::Unreachable);
        assert!(stale.hint.unwrap().contains(&format!("--listen {url}")));
    }

    #[tokio::test]
    async fn a_port_without_a_server_says_how_to_start_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let refused = refused(&format!("ws://127.0.0.1:{port}")).await;
        assert_eq!(refused.kind, FailureKind::Unreachable);
        let hint = format!("--listen ws://127.0.0.1:{port}`");
        assert!(refused.hint.unwrap().contains(&hint));
    }

    #[tokio::test]
    async fn a_server_that_refuses_the_upgrade_is_told_by_its_status() {
        for (answer, kind) in [
            ("HTTP/1.1 401 Unauthorized", FailureKind::Unauthorized),
            ("HTTP/1.1 403 Forbidden", FailureKind::Forbidden),
            ("HTTP/1.1 404 Not Found", FailureKind::Incompatible),
            ("HTTP/1.1 503 Unavailable", FailureKind::Unreachable),
            ("SSH-2.0-OpenSSH_9.2", FailureKind::Incompatible),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}", listener.local_addr().unwrap());
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                let answer = format!("{answer}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (refused, ()) = tokio::join!(refused(&url), serve);
            assert_eq!(refused.kind, kind, "{answer}: {refused}");
            assert!(refused.hint.is_some());
        }
    }
}

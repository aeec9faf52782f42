//! Listeners: real sockets, and HTTP as it is typed.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

use codex_protocol::{Id, Message, Request};
use codex_rpc::{Incoming, Transport, connect_websocket};
use codex_server::{Listen, ListenError, Listener, Signals, serve};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinSet,
};

use crate::client::{Home, PATIENCE};

async fn bind(home: &Home, url: &str) -> Result<Listener, ListenError> {
    url.parse::<Listen>()?.bind(home.server.setup()).await
}

struct Serving {
    signals: Signals,
    tasks: JoinSet<()>,
}

impl Serving {
    fn start(home: &Home, listener: Listener) -> Serving {
        let (signals, mut tasks) = (Signals::default(), JoinSet::new());
        tasks.spawn(serve(home.server.clone(), vec![listener], signals.clone()));
        Serving { signals, tasks }
    }

    async fn drained(mut self) {
        self.signals.drain.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.tasks.join_next())
            .await
            .expect("the server serves on");
        ended.unwrap().unwrap();
    }
}

/// What the server says to these bytes until it closes, or until its headers are whole.
async fn typed(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|it| it == b"\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer))
            .await
            .expect("no answer")
            .unwrap();
        if read == 0 {
            break;
        }
    }
    String::from_utf8(answer).unwrap()
}

async fn initialize(transport: &mut (impl Transport + ?Sized)) -> Value {
    let params = json!({ "clientInfo": { "name": "socket", "version": "1" } });
    let params = serde_json::value::to_raw_value(&params).unwrap();
    let request = Request {
        id: Id::Integer(1),
        method: "initialize".to_owned(),
        params: Some(params),
    };
    transport.send(Message::Request(request)).await.unwrap();
    match tokio::time::timeout(PATIENCE, transport.next())
        .await
        .expect("no answer")
        .unwrap()
        .unwrap()
    {
        Incoming::Message(Message::Response(it)) => serde_json::from_str(it.outcome.unwrap().get()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn websockets_are_served_over_loopback_with_probes_and_without_browsers() {
    let home = Home::new();
    let listener = bind(&home, "ws://127.0.0.1:0").await.unwrap();
    let address = listener.address().unwrap();
    assert!(
        listener
            .banner()
            .unwrap()
            .contains(&format!("listening on: ws://{address}\n"))
    );
    let serving = Serving::start(&home, listener);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, status) in [
        ("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "200"),
        ("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "200"),
        (
            "GET /readyz HTTP/1.1\r\nHost: x\r\nOrigin: null\r\n\r\n".to_owned(),
            "403",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://127.0.0.1\r\n{upgrade}\r\n"),
            "403",
        ),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", upgrade.replace("13", "8")),
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "405",
        ),
        (format!("GET /any HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n"), "101"),
    ] {
        let answer = typed(address, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
        if status == "101" {
            assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
            assert!(
                answer.contains("x-codex-websocket-max-unfragmented-message-bytes: 16777216"),
                "{answer}"
            );
        }
    }
    let stream = TcpStream::connect(address).await.unwrap();
    let mut transport = connect_websocket(stream, &format!("ws://{address}/"))
        .await
        .unwrap();
    let answer = initialize(&mut transport).await;
    assert!(answer["userAgent"].as_str().unwrap().starts_with("socket/"));
    serving.drained().await;
    // Told properly: a close, not a reset.
    assert!(transport.next().await.is_none());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_unix_socket_is_private_replaces_a_stale_one_and_is_removed() {
    let home = Home::new();
    let path = home.path("run/server.sock");
    let url = format!("unix://{path}");
    fs::create_dir(home.path("run")).unwrap();
    fs::set_permissions(home.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
    // Bound and left: a file that nobody listens at.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = bind(&home, &url).await.unwrap();
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let serving = Serving::start(&home, listener);
    assert!(matches!(bind(&home, &url).await, Err(ListenError::InUse(_))));
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut transport = connect_websocket(stream, "ws://localhost/").await.unwrap();
    initialize(&mut transport).await;
    serving.drained().await;
    assert!(!fs::exists(&path).unwrap());
}

#[tokio::test]
async fn a_socket_is_not_put_where_others_can_go_or_where_something_is() {
    let home = Home::new();
    fs::create_dir(home.path("open")).unwrap();
    fs::set_permissions(home.path("open"), fs::Permissions::from_mode(0o755)).unwrap();
    let open = bind(&home, &format!("unix://{}", home.path("open/s"))).await;
    assert!(matches!(open, Err(ListenError::NotPrivate(_))));
    fs::set_permissions(home.path("open"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(home.path("open/s"), "precious").unwrap();
    let file = bind(&home, &format!("unix://{}", home.path("open/s"))).await;
    assert!(matches!(file, Err(ListenError::NotASocket(_))));
    let made = bind(&home, "unix://").await.unwrap();
    let folder = home.path("codex-server");
    assert_eq!(
        fs::metadata(Path::new(&folder)).unwrap().permissions().mode() & 0o777,
        0o700
    );
    drop(made);
}

#[tokio::test]
async fn what_speaks_no_http_is_left() -> io::Result<()> {
    let home = Home::new();
    let listener = bind(&home, "ws://127.0.0.1:0").await.unwrap();
    let address = listener.address().unwrap();
    let serving = Serving::start(&home, listener);
    let answer = typed(address, "{\"id\":1,\"method\":\"initialize\"}\n\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(),
        "{answer}"
    );
    serving.drained().await;
    Ok(())
}

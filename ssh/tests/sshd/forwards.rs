//! Forwarded ports, sockets and agents.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use codex_ssh::{
    ForwardStatus, Forwards, WhenFull,
    config::{
        Query, Sources, SystemWorld, resolve,
        settings::{Forwarding, HostSettings, IdentityAgent},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
};

use crate::{
    agent::Agent,
    host::{Sshd, available, connect, free_port, until},
};

/// The forwardings of a configuration of these lines.
fn forwarding(dir: &Path, lines: &str) -> Forwarding {
    let file = dir.join("ssh_config");
    fs::write(&file, lines).unwrap();
    let resolved = resolve(&Query::host("x"), &Sources::file(&file), &mut SystemWorld::new());
    resolved.unwrap().settings.forwarding
}

async fn start(sshd: &Sshd, lines: &str) -> Forwards {
    let mut settings: HostSettings = sshd.settings();
    settings.forwarding = forwarding(sshd.dir.path(), lines);
    Arc::new(connect(settings).await.unwrap())
        .forward(WhenFull::Wait)
        .await
}

/// Answers each line with the same line.
async fn echo() -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut running = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            running.spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    (port, tasks)
}

/// Sends a text, closes that way, and reads all that comes back.
async fn talk(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn listening(forwards: &Forwards, index: usize) -> String {
    match &forwards.states()[index].state {
        ForwardStatus::Listening(at) => at.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn local_ports_and_sockets_reach_targets_behind_the_host() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let ((port, _echo), local, socket) = (echo().await, free_port(), sshd.path("socket"));
    let far = sshd.path("far");
    let _far = UnixListener::bind(&far).unwrap();
    let lines = format!(
        "LocalForward {local} 127.0.0.1:{port}\nLocalForward {0} 127.0.0.1:{port}\nStreamLocalBindUnlink yes\n",
        socket.display()
    );
    drop(UnixListener::bind(&socket).unwrap());
    let forwards = start(&sshd, &lines).await;
    assert_eq!(listening(&forwards, 0), format!("127.0.0.1:{local}"));
    let big = "x".repeat(3_000_000);
    let mut stream = TcpStream::connect(("127.0.0.1", local)).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let send = async {
        writer.write_all(big.as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut back = String::new();
    let (_, read) = tokio::join!(send, reader.read_to_string(&mut back));
    read.unwrap();
    assert!(back == big);
    let stream = UnixStream::connect(&socket).await.unwrap();
    assert_eq!(talk(stream, "by a socket").await, "by a socket");
    until("no connection is counted any more", || {
        forwards.states().iter().all(|it| it.connections == 0)
    })
    .await;
    drop(forwards);
    until("the port is free again", || {
        std::net::TcpStream::connect(("127.0.0.1", local)).is_err()
    })
    .await;
    until("the socket file is gone", || !socket.exists()).await;
}

/// Writes so many bytes on each connection that says something, and counts them.
async fn flood(bytes: usize) -> (u16, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let written = Arc::new(AtomicUsize::new(0));
    let (counter, mut tasks) = (Arc::clone(&written), JoinSet::new());
    tasks.spawn(async move {
        let mut running = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            running.spawn(async move {
                stream.read_u8().await.unwrap();
                for start in (0..bytes).step_by(CHUNK) {
                    let chunk: Vec<u8> = (start..start + CHUNK).map(pattern).collect();
                    stream.write_all(&chunk).await.unwrap();
                    counter.fetch_add(CHUNK, Ordering::Relaxed);
                }
            });
        }
    });
    (port, written, tasks)
}

/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;

/// A byte that tells when something is missing or out of order.
fn pattern(at: usize) -> u8 {
    (at / 251 + at) as u8
}

#[tokio::test]
async fn a_reader_that_waits_gets_every_byte_later_and_holds_up_nobody() {
    const BYTES: usize = 64 * CHUNK;
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let ((port, _echo), (flood, written, _flood)) = (echo().await, flood(BYTES).await);
    let (slow, quick) = (free_port(), free_port());
    let lines = format!("LocalForward {slow} 127.0.0.1:{flood}\nLocalForward {quick} 127.0.0.1:{port}\n");
    let forwards = start(&sshd, &lines).await;
    let _ = (listening(&forwards, 0), listening(&forwards, 1));
    let mut waiting = TcpStream::connect(("127.0.0.1", slow)).await.unwrap();
    waiting.write_all(b"!").await.unwrap();
    until("everything has left its source", || {
        written.load(Ordering::Relaxed) == BYTES
    })
    .await;
    let other = TcpStream::connect(("127.0.0.1", quick)).await.unwrap();
    assert_eq!(talk(other, "meanwhile").await, "meanwhile");
    let mut read = Vec::new();
    waiting.read_to_end(&mut read).await.unwrap();
    assert_eq!(read.len(), BYTES);
    assert!(read.iter().enumerate().all(|(at, byte)| *byte == pattern(at)));
}

#[tokio::test]
async fn the_mask_of_a_socket_is_that_of_the_configuration() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    for (mask, expected) in [("", 0o600), ("StreamLocalBindMask 0117\n", 0o660)] {
        let socket = sshd.path("socket");
        let forwards = start(&sshd, &format!("{mask}LocalForward {} db:1\n", socket.display())).await;
        let _ = listening(&forwards, 0);
        let mode = fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{mask}");
        drop(forwards);
        until("the socket file is gone", || !socket.exists()).await;
    }
}

#[tokio::test]
async fn what_could_not_listen_is_tried_again_and_what_listens_is_left_alone() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let (port, _echo) = echo().await;
    let near = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port_of = |it: &TcpListener| it.local_addr().unwrap().port();
    let (near_port, far_port) = (port_of(&near), port_of(&far));
    let lines = format!(
        "LocalForward {near_port} 127.0.0.1:{port}\nRemoteForward 127.0.0.1:{far_port} 127.0.0.1:{port}\n\
         DynamicForward {}\n",
        free_port()
    );
    let mut forwards = start(&sshd, &lines).await;
    let failed = |forwards: &Forwards| -> Vec<bool> {
        let states = forwards.states().into_iter();
        states
            .map(|it| matches!(it.state, ForwardStatus::Failed { .. }))
            .collect()
    };
    assert_eq!(failed(&forwards), [true, true, false]);
    assert!(!forwards.must_exit());
    drop((near, far));
    forwards.retry().await;
    assert_eq!(failed(&forwards), [false; 3], "{:?}", forwards.states());
    for port in [near_port, far_port] {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert_eq!(talk(stream, "again").await, "again");
    }
}

#[tokio::test]
async fn without_gateway_ports_no_other_address_listens() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    for (gateway, expected) in [("no", "127.0.0.1:"), ("yes", ":")] {
        let lines = format!("GatewayPorts {gateway}\nLocalForward {} db:1\n", free_port());
        let at = listening(&start(&sshd, &lines).await, 0);
        let is_open = at.starts_with("[::]:") || at.starts_with("0.0.0.0:");
        assert_eq!(is_open, gateway == "yes", "{at}");
        assert!(at.contains(expected), "{at}");
    }
    let lines = format!("LocalForward {} db:1\nClearAllForwardings yes\n", free_port());
    assert!(start(&sshd, &lines).await.states().is_empty());
}

#[tokio::test]
async fn a_dynamic_forward_speaks_socks_5_and_4a() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let ((port, _echo), local) = (echo().await, free_port());
    let forwards = start(&sshd, &format!("DynamicForward {local}\n")).await;
    let _ = listening(&forwards, 0);
    let mut five = TcpStream::connect(("127.0.0.1", local)).await.unwrap();
    five.write_all(&[5, 1, 0]).await.unwrap();
    let mut answer = [0; 2];
    five.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [5, 0]);
    let request = [&[5, 1, 0, 3, 9][..], b"127.0.0.1", &port.to_be_bytes()].concat();
    five.write_all(&request).await.unwrap();
    let mut answer = [0; 10];
    five.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..2], [5, 0]);
    assert_eq!(talk(five, "five").await, "five");

    let mut four = TcpStream::connect(("127.0.0.1", local)).await.unwrap();
    let request = [
        &[4, 1][..],
        &free_port().to_be_bytes(),
        &[0, 0, 0, 1, 0],
        b"127.0.0.1\0",
    ]
    .concat();
    four.write_all(&request).await.unwrap();
    let mut answer = [0; 8];
    four.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..2], [0, 91], "nobody listens there");
}

#[tokio::test]
async fn remote_ports_reach_targets_on_this_side() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let (port, _echo) = echo().await;
    let lines = format!(
        "RemoteForward 0 127.0.0.1:{port}\nRemoteForward 0 {}\nRemoteForward {}\n",
        sshd.path("nobody-listens").display(),
        free_port()
    );
    let forwards = start(&sshd, &lines).await;
    let far = |index| {
        listening(&forwards, index)
            .rsplit_once(':')
            .unwrap()
            .1
            .parse::<u16>()
            .unwrap()
    };
    let stream = TcpStream::connect(("127.0.0.1", far(0))).await.unwrap();
    assert_eq!(talk(stream, "from there").await, "from there");
    let closed = TcpStream::connect(("127.0.0.1", far(1))).await.unwrap();
    assert_eq!(
        talk(closed, "").await,
        "",
        "the target refuses, so the connection ends"
    );
    let mut socks = TcpStream::connect(("127.0.0.1", far(2))).await.unwrap();
    let request = [&[4, 1][..], &port.to_be_bytes(), &[127, 0, 0, 1, 0]].concat();
    socks.write_all(&request).await.unwrap();
    let mut answer = [0; 8];
    socks.read_exact(&mut answer).await.unwrap();
    assert_eq!(talk(socks, "by socks").await, "by socks");
}

#[tokio::test]
async fn what_cannot_listen_says_why_and_ends_with_exit_on_forward_failure() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("AllowTcpForwarding no");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let lines =
        format!("LocalForward 127.0.0.1:{port} db:1\nRemoteForward 0 db:1\nExitOnForwardFailure yes\n");
    let forwards = start(&sshd, &lines).await;
    let texts: Vec<String> = forwards.states().iter().map(ToString::to_string).collect();
    assert!(texts[0].contains("listening here: "), "{texts:?}");
    assert!(texts[1].contains("the server refuses to listen"), "{texts:?}");
    assert!(forwards.must_exit());
}

#[tokio::test]
async fn the_agent_is_forwarded_only_where_the_configuration_says_so() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let agent = Agent::start(sshd.dir.path());
    agent.add(&sshd.path("user"));
    let mut settings = sshd.settings();
    settings.identity_agent = IdentityAgent::Socket(agent.socket.clone());
    for (forwarded, expected) in [(None, "none\n"), (Some(agent.socket.clone()), "a test key")] {
        settings.forwarding.agent = forwarded;
        let session = connect(settings.clone()).await.unwrap();
        for _ in 0..2 {
            let mut process = session
                .exec("if [ -n \"$SSH_AUTH_SOCK\" ]; then ssh-add -l; else echo none; fi")
                .await
                .unwrap();
            let mut text = String::new();
            process.read_to_string(&mut text).await.unwrap();
            assert!(text.contains(expected), "{text}");
        }
    }
}

#[tokio::test]
async fn two_hundred_connections_at_once_are_carried_both_ways() {
    const CONNECTIONS: usize = 200;
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let ((port, _echo), local, remote) = (echo().await, free_port(), free_port());
    let lines = format!("LocalForward {local} 127.0.0.1:{port}\nRemoteForward {remote} 127.0.0.1:{port}\n");
    let forwards = start(&sshd, &lines).await;
    for (index, through) in [(0, local), (1, remote)] {
        // They stay open until all of them stand.
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(TcpStream::connect(("127.0.0.1", through)).await.unwrap());
        }
        until("all of them are carried", || {
            forwards.states()[index].connections == CONNECTIONS
        })
        .await;
        let mut talking: JoinSet<String> = streams
            .into_iter()
            .map(|it| async { talk(it, "one of many").await })
            .collect();
        while let Some(said) = talking.join_next().await {
            assert_eq!(said.unwrap(), "one of many");
        }
    }
}

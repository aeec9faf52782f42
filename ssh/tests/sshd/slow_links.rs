//! Links that carry little, or nothing any more, while much is to be sent.

use std::time::{Duration, Instant};

use codex_ssh::{Closed, Session};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::host::{PATIENCE, Sshd, available, connect};

/// Carries so many bytes a second to the server, and whatever comes back at once.
async fn slow_way(server: u16, rate: usize) -> (u16, JoinSet<()>) {
    /// Of the relay's own buffer: what waits in it is a fraction of a second.
    const PIECE: usize = 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        let (mut near_reader, mut near_writer) = near.into_split();
        let (mut far_reader, mut far_writer) = far.into_split();
        let up = async {
            let mut piece = [0; PIECE];
            while let Ok(read @ 1..) = near_reader.read(&mut piece).await {
                sleep(Duration::from_secs(1) * u32::try_from(read).unwrap() / u32::try_from(rate).unwrap())
                    .await;
                if far_writer.write_all(&piece[..read]).await.is_err() {
                    break;
                }
            }
        };
        let down = tokio::io::copy(&mut far_reader, &mut near_writer);
        let _ = tokio::join!(up, down);
    });
    (port, tasks)
}

#[tokio::test]
async fn a_slow_link_that_is_full_of_what_is_sent_is_not_taken_for_a_dead_one() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    // A dead peer is known in 4 s, and the server says by itself after 96 KiB, in 5 s, that it takes more.
    let (port, _way) = slow_way(settings.port, 20_000).await;
    settings.host_key_alias = Some(format!("[127.0.0.1]:{}", sshd.port));
    settings.port = port;
    settings.server_alive_interval = Some(Duration::from_secs(2));
    settings.server_alive_count_max = Some(1);
    let session = connect(settings).await.unwrap();
    let mut process = session.exec("head -c 140000 | wc -c").await.unwrap();
    let arrived = process.arrived();
    process.write_all(&vec![b'x'; 140_000]).await.unwrap();
    assert!(arrived.bytes() < 100_000, "{arrived:?} of what is on its way");
    let mut said = String::new();
    process.read_to_string(&mut said).await.unwrap();
    assert_eq!(said.trim(), "140000", "{:?}", process.exit().now());
    assert!((92_000..=140_000).contains(&arrived.bytes()), "{arrived:?}");
}

#[tokio::test]
async fn a_peer_that_dies_while_much_is_sent_to_it_is_known_as_soon_as_any_other() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.server_alive_interval = Some(Duration::from_secs(1));
    settings.server_alive_count_max = Some(1);
    let session = connect(settings).await.unwrap();
    // Their windows let through more than the system takes from a program: 2 MiB each, and up to 4.
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(session.exec("cat > /dev/null").await.unwrap());
    }
    let server = server_of(&session).await;
    kill(server, Signal::SIGSTOP).unwrap();
    let begun = Instant::now();
    let mut writing = JoinSet::new();
    for mut process in processes {
        writing.spawn(async move { process.write_all(&vec![0; 64 << 20]).await });
    }
    let closed = timeout(PATIENCE, session.closed()).await;
    kill(server, Signal::SIGCONT).unwrap();
    assert_eq!(closed.ok(), Some(Closed::Silent));
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    while let Some(written) = writing.join_next().await {
        assert!(
            written.unwrap().is_err(),
            "64 MiB went into a session that has ended"
        );
    }
}

/// The sshd process that serves this session: the parent of its commands.
async fn server_of(session: &Session) -> Pid {
    let mut process = session.exec("echo $PPID").await.unwrap();
    let mut said = String::new();
    process.read_to_string(&mut said).await.unwrap();
    Pid::from_raw(said.trim().parse().unwrap())
}

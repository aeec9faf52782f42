//! What is no good SSH server: nothing there, something else there, something that falls silent.

use std::time::{Duration, Instant};

use codex_ssh::{Answer, Class, Zeroizing};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::host::{connect, connect_with, connector, free_port, refused, settings};

/// Serves each connection by `serve` until the set is dropped.
async fn server<F, S>(serve: F) -> (u16, JoinSet<()>)
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            connections.spawn(serve(socket));
        }
    });
    (port, tasks)
}

#[tokio::test]
async fn texts_instead_of_ssh_are_named_and_told_apart() {
    for (text, class, words) in [
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            Class::Protocol,
            "does not speak SSH: \"HTTP/1.1 400 Bad Request\"",
        ),
        (
            "Exceeded MaxStartups\r\n",
            Class::Unreachable,
            "sends new connections away: \"Exceeded MaxStartups\"",
        ),
        (
            "Not allowed at this time\r\n",
            Class::Unreachable,
            "sends new connections away: \"Not allowed",
        ),
        ("", Class::Unreachable, "closed the connection"),
    ] {
        let (port, _tasks) = server(move |mut socket| async move {
            let _ = socket.write_all(text.as_bytes()).await;
            let _ = socket.shutdown().await;
            let _ = socket.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let error = refused(connect(settings(port)).await);
        assert_eq!(error.class(), class, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        let hint = error.hint().unwrap();
        assert_eq!(
            hint.contains("PerSourcePenalties"),
            text.contains("Not allowed"),
            "{hint}"
        );
    }
}

#[tokio::test]
async fn the_words_of_a_server_that_hangs_up_during_the_key_exchange_are_told() {
    // SSH_MSG_DISCONNECT (RFC 4253, 11.1): the code, the text and its language, in a packet without a cipher.
    let text = "too many of you";
    let mut payload = vec![1, 0, 0, 0, 12];
    payload.extend((text.len() as u32).to_be_bytes());
    payload.extend(text.as_bytes());
    payload.extend([0; 4]);
    let padding = 12 - (payload.len() + 1) % 8;
    let mut packet = ((payload.len() + padding + 1) as u32).to_be_bytes().to_vec();
    packet.push(padding as u8);
    packet.extend(payload);
    packet.resize(packet.len() + padding, 0);
    let (port, _tasks) = server(move |mut socket| {
        let packet = packet.clone();
        async move {
            let _ = socket.write_all(b"SSH-2.0-box\r\n").await;
            let _ = socket.write_all(&packet).await;
            let _ = socket.shutdown().await;
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let error = refused(connect(settings(port)).await);
    assert_eq!(error.class(), Class::Unreachable, "{error}");
    assert!(
        error
            .to_string()
            .contains("closed the connection: \"too many of you\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_closed_port_and_a_name_that_does_not_exist_are_named() {
    let error = refused(connect(settings(free_port())).await);
    assert_eq!(error.class(), Class::Unreachable);
    assert!(error.to_string().contains("refused"), "{error}");
    let mut nowhere = settings(22);
    nowhere.host_name = "does-not-exist.invalid".to_owned();
    let error = refused(connect(nowhere).await);
    assert_eq!(error.class(), Class::Resolve);
    assert!(
        error
            .to_string()
            .starts_with("resolving does-not-exist.invalid: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_within_the_limit() {
    let (port, _tasks) = server(|mut socket| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let start = Instant::now();
    let error = refused(connect(settings(port)).await);
    assert_eq!(error.class(), Class::TimedOut);
    assert!(error.to_string().contains("identification"), "{error}");
    assert!(
        (4..8).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );

    let mut hasty = settings(port);
    hasty.connect_timeout = Some(Duration::from_millis(300));
    let start = Instant::now();
    assert_eq!(refused(connect(hasty).await).class(), Class::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_server_that_stops_after_its_identification_is_given_up() {
    let (port, _tasks) = server(|mut socket| async move {
        let _ = socket.write_all(b"SSH-2.0-Silence\r\n").await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let error = refused(connect(settings(port)).await);
    assert_eq!(error.class(), Class::TimedOut);
    assert!(
        error.to_string().starts_with("exchanging keys with testhost"),
        "{error}"
    );
}

#[tokio::test]
async fn configured_algorithms_that_nobody_has_are_a_matter_of_the_configuration() {
    let (port, _tasks) = server(|mut socket| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut settings = settings(port);
    settings.ciphers = Some("3des-cbc".to_owned());
    let answer = |_: &codex_ssh::Question| Answer::Secrets(vec![Zeroizing::new(String::new())]);
    let (result, _) = connect_with(&connector(), vec![settings], answer).await;
    let error = refused(result);
    assert_eq!(error.class(), Class::Config);
    assert!(error.to_string().contains("Ciphers 3des-cbc"), "{error}");
}

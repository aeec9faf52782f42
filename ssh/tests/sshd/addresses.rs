//! Names with several addresses, and where connections come from.

use std::time::{Duration, Instant};

use codex_ssh::{Class, config::settings::AddressFamily};
use tokio::io::AsyncReadExt;

use crate::host::{Sshd, available, connect, free_port, refused, settings};

/// `SSH_CONNECTION` as the far side has it: client address and port, server address and port.
async fn seen(settings: codex_ssh::config::settings::HostSettings) -> String {
    let session = connect(settings).await.unwrap();
    let mut process = session.exec("echo $SSH_CONNECTION").await.unwrap();
    let mut text = String::new();
    process.read_to_string(&mut text).await.unwrap();
    text
}

/// Settings that name the sshd by `localhost`, which has addresses of both families.
fn by_name(sshd: &Sshd) -> codex_ssh::config::settings::HostSettings {
    let mut settings = sshd.settings();
    settings.host_name = "localhost".to_owned();
    settings.host_key_alias = Some(format!("[127.0.0.1]:{}", sshd.port));
    settings
}

#[tokio::test]
async fn a_name_whose_first_address_refuses_connects_by_the_next_one_at_once() {
    if !available() {
        return;
    }
    // It listens on 127.0.0.1 only, and ::1 comes first.
    let sshd = Sshd::start("");
    let start = Instant::now();
    let text = seen(by_name(&sshd)).await;
    assert!(text.contains("127.0.0.1"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let mut six = by_name(&sshd);
    six.address_family = AddressFamily::Inet6;
    let error = refused(connect(six).await);
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    let mut literal = sshd.settings();
    literal.address_family = AddressFamily::Inet6;
    let error = refused(connect(literal).await);
    assert!(error.to_string().contains("AddressFamily inet6"), "{error}");
    assert!(
        error.hint().unwrap().contains("AddressFamily"),
        "{:?}",
        error.hint()
    );
}

#[tokio::test]
async fn bind_address_and_bind_interface_choose_where_the_connection_comes_from() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut bound = sshd.settings();
    bound.bind_address = Some("127.0.0.9".to_owned());
    assert!(seen(bound).await.starts_with("127.0.0.9 "));
    let mut wrong = sshd.settings();
    wrong.bind_address = Some("::1".to_owned());
    let error = refused(connect(wrong).await);
    assert!(
        error.to_string().contains("BindAddress has no address"),
        "{error}"
    );
    let mut interface = sshd.settings();
    interface.network.bind_interface = Some("lo".to_owned());
    assert!(seen(interface).await.starts_with("127.0.0.1 "));
    let mut missing = sshd.settings();
    missing.network.bind_interface = Some("nowhere0".to_owned());
    let error = refused(connect(missing).await);
    assert_eq!(error.class(), Class::Resolve);
    assert!(error.to_string().contains("BindInterface nowhere0"), "{error}");
    let mut foreign = sshd.settings();
    // TEST-NET-1 of RFC 5737.
    foreign.bind_address = Some("192.0.2.1".to_owned());
    let error = refused(connect(foreign).await);
    assert!(error.to_string().contains("BindAddress 192.0.2.1: "), "{error}");
    assert!(
        error.hint().unwrap().contains("correct BindAddress"),
        "{:?}",
        error.hint()
    );
}

#[tokio::test]
async fn connection_attempts_try_again_until_the_connect_timeout() {
    let mut patient = settings(free_port());
    patient.network.connection_attempts = 2;
    let start = Instant::now();
    assert_eq!(
        refused(connect(patient.clone()).await).class(),
        Class::Unreachable
    );
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    // There is no time for a second attempt, and far less for nine.
    patient.network.connection_attempts = 9;
    patient.connect_timeout = Some(Duration::from_millis(500));
    let start = Instant::now();
    assert_eq!(refused(connect(patient).await).class(), Class::Unreachable);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// Starts it on both loopback addresses.
fn on_both() -> (Sshd, u16) {
    // The port of the second line is free on one of them, and most likely on the other.
    let port = free_port();
    (Sshd::start(&format!("ListenAddress [::1]:{port}")), port)
}

#[tokio::test]
async fn ipv6_literals_connect_in_every_spelling_and_are_known_by_one_name() {
    if !available() || std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let (sshd, port) = on_both();
    let key = std::fs::read_to_string(sshd.path("host.pub")).unwrap();
    for host in ["::1", "0:0:0:0:0:0:0:1"] {
        let mut settings = sshd.settings();
        settings.host_name = host.to_owned();
        settings.port = port;
        let line = format!("[{host}]:{port} {key}");
        std::fs::write(&settings.user_known_hosts_files[0], line).unwrap();
        assert!(seen(settings).await.contains("::1"), "{host}");
    }
}

#[tokio::test]
async fn a_name_whose_first_address_is_silent_connects_by_the_next_one_within_a_second() {
    if !available() {
        return;
    }
    // A queue that is full answers no further connection, as a dead address does.
    let Ok(silent) = std::net::TcpListener::bind("[::1]:0") else {
        return;
    };
    let port = silent.local_addr().unwrap().port();
    nix::sys::socket::listen(&silent, nix::sys::socket::Backlog::new(1).unwrap()).unwrap();
    let fill = |_| {
        let socket = tokio::net::TcpSocket::new_v6().unwrap();
        socket.connect(silent.local_addr().unwrap())
    };
    let mut filling: Vec<_> = (0..4).map(fill).map(Box::pin).collect();
    for connecting in &mut filling {
        let _ = tokio::time::timeout(Duration::from_millis(50), connecting).await;
    }
    let sshd = Sshd::start(&format!("ListenAddress 127.0.0.1:{port}"));
    let mut settings = by_name(&sshd);
    settings.port = port;
    let start = Instant::now();
    let text = seen(settings).await;
    assert!(text.contains("127.0.0.1"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

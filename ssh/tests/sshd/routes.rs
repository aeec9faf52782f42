//! Jump hosts and proxy commands.

use std::fs;

use codex_ssh::{Answer, Class, Route, Stage, config::settings::Via};
use nix::{sys::signal::kill, unistd::Pid};
use tokio::{io::AsyncReadExt, sync::mpsc};

use crate::host::{Sshd, available, connect, connect_with, connector, refused, until, write_config};

#[tokio::test]
async fn a_jump_host_carries_the_connection_and_both_host_keys_are_checked() {
    if !available() {
        return;
    }
    let (bastion, target) = (Sshd::start(""), Sshd::start(""));
    let (mut first, mut last) = (bastion.settings(), target.settings());
    (first.alias, last.alias) = ("bastion".to_owned(), "target".to_owned());
    let hops = vec![first.clone(), last.clone()];
    let (session, heard) = connect_with(&connector(), hops, |_| Answer::Refuse).await;
    let session = session.unwrap();
    assert!(heard.stages.contains(&(1, Stage::Proxy)) && heard.stages.contains(&(0, Stage::Authenticated)));
    let mut process = session.exec("echo $SSH_CONNECTION").await.unwrap();
    let mut text = String::new();
    process.read_to_string(&mut text).await.unwrap();
    assert!(text.trim().ends_with(&target.port.to_string()), "{text}");
    assert!(bastion.log().contains("direct-tcpip"));

    fs::write(&last.user_known_hosts_files[0], "").unwrap();
    let hops = vec![first.clone(), last.clone()];
    let (result, _) = connect_with(&connector(), hops, |_| Answer::Refuse).await;
    let error = refused(result);
    assert_eq!((error.class(), error.index), (Class::HostKeyUnknown, 1));

    first.identity_files = Vec::new();
    let (result, _) = connect_with(&connector(), vec![first, last], |_| Answer::Refuse).await;
    let error = refused(result);
    assert_eq!(
        (error.class(), error.index, error.hop.alias.as_str()),
        (Class::Unauthorized, 0, "bastion")
    );
}

#[tokio::test]
async fn a_bastion_that_does_not_forward_or_reach_the_target_says_so() {
    if !available() {
        return;
    }
    let target = Sshd::start("");
    for (more, port, class, words) in [
        (
            "AllowTcpForwarding no",
            target.port,
            Class::Refused,
            "administratively prohibited",
        ),
        ("", 1, Class::Unreachable, "connection refused"),
    ] {
        let bastion = Sshd::start(more);
        let mut last = target.settings();
        last.port = port;
        let hops = vec![bastion.settings(), last];
        let (result, _) = connect_with(&connector(), hops, |_| Answer::Refuse).await;
        let error = refused(result);
        assert_eq!((error.class(), error.index), (class, 1), "{error}");
        assert!(error.to_string().to_lowercase().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_command_makes_the_connection() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let config = write_config(sshd.dir.path(), sshd.port, "");
    let log = sshd.path("inetd.log");
    let mut settings = sshd.settings();
    settings.port = 22;
    settings.host_name = "behind.proxy".to_owned();
    let key = fs::read_to_string(sshd.path("host.pub")).unwrap();
    fs::write(&settings.user_known_hosts_files[0], format!("behind.proxy {key}")).unwrap();
    let command = format!("/usr/sbin/sshd -i -f {} -E {}", config.display(), log.display());
    settings.route = Via::Command(command);
    let session = connect(settings).await.unwrap();
    let mut process = session.exec("echo there").await.unwrap();
    let mut text = String::new();
    process.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "there\n");
}

#[tokio::test]
async fn a_proxy_command_that_fails_is_named_with_its_status_and_words() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.route = Via::Command("sh -c 'echo no way >&2; exit 4'".to_owned());
    let error = refused(connect(settings).await);
    assert_eq!(error.class(), Class::Unreachable);
    let text = error.to_string();
    assert!(
        text.contains("exit status: 4") && text.contains("no way"),
        "{text}"
    );
}

#[tokio::test]
async fn a_dropped_connection_attempt_ends_the_proxy_command_and_its_children() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let pids = sshd.path("pids");
    let mut settings = sshd.settings();
    let children = format!(
        "sh -c 'sleep 600 & echo $$ $! > {0}.new; mv {0}.new {0}; wait'",
        pids.display()
    );
    settings.route = Via::Command(children);
    let (sender, mut events) = mpsc::channel(16);
    let route = Route { hops: vec![settings] };
    let connector = connector();
    let listen = async { while events.recv().await.is_some() {} };
    tokio::select! {
        _ = async { tokio::join!(connector.connect(&route, sender), listen) } => panic!("sleep is no SSH server"),
        () = until("the command runs", || pids.exists()) => {}
    }
    for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
        let pid = Pid::from_raw(pid.parse().unwrap());
        // A child that nobody waits for stays as a zombie where there is no init.
        let stat = format!("/proc/{pid}/stat");
        until("the process ends", || {
            kill(pid, None).is_err() || fs::read_to_string(&stat).is_ok_and(|it| it.contains(") Z "))
        })
        .await;
    }
}

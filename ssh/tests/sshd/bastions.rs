//! One session of a jump host for all hosts behind it.

use std::time::Duration;

use codex_ssh::{Answer, Class, Connector, Session, config::settings::HostSettings};
use tokio::io::AsyncReadExt;

use crate::host::{Sshd, available, connect_with, connector, refused, until};

fn logins(sshd: &Sshd) -> usize {
    sshd.log().matches("Connection from ").count()
}

async fn behind(connector: &Connector, bastion: &HostSettings, target: &HostSettings) -> Session {
    let hops = vec![bastion.clone(), target.clone()];
    connect_with(connector, hops, |_| Answer::Refuse).await.0.unwrap()
}

async fn output(session: &Session, command: &str) -> String {
    let mut process = session.exec(command).await.unwrap();
    let mut text = String::new();
    process.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn hosts_behind_one_bastion_log_in_there_once_and_the_last_one_ends_it() {
    if !available() {
        return;
    }
    let (bastion, one, two) = (Sshd::start(""), Sshd::start(""), Sshd::start(""));
    let (connector, jump) = (connector(), bastion.settings());
    let (near, far) = (one.settings(), two.settings());
    let (first, second) = tokio::join!(behind(&connector, &jump, &near), behind(&connector, &jump, &far));
    assert_eq!(logins(&bastion), 1);
    drop(first);
    assert_eq!(output(&second, "echo still there").await, "still there\n");
    let third = behind(&connector, &jump, &one.settings()).await;
    assert_eq!(logins(&bastion), 1);
    // Other settings are another way.
    let mut other = jump.clone();
    other.compression = true;
    let fourth = behind(&connector, &other, &one.settings()).await;
    assert_eq!(logins(&bastion), 2);
    drop((second, third, fourth));
    until("both sessions end", || {
        bastion.log().matches("Connection closed by").count() == 2
    })
    .await;
    let _again = behind(&connector, &jump, &one.settings()).await;
    assert_eq!(logins(&bastion), 3);
}

#[tokio::test]
async fn a_host_whose_output_nobody_reads_does_not_delay_its_neighbours() {
    if !available() {
        return;
    }
    let (bastion, one, two) = (Sshd::start(""), Sshd::start(""), Sshd::start(""));
    let (connector, jump) = (connector(), bastion.settings());
    let stuck = behind(&connector, &jump, &one.settings()).await;
    let free = behind(&connector, &jump, &two.settings()).await;
    let mut unread = stuck
        .exec("head -c 40000000 /dev/zero; echo done >&2; cat > /dev/null")
        .await
        .unwrap();
    // Far more than the window of its channel is on its way; some of it has come when this answers.
    let mut first = [0; 1];
    unread.read_exact(&mut first).await.unwrap();
    for round in 0..5 {
        let answered = tokio::time::timeout(Duration::from_secs(20), output(&free, "echo quick")).await;
        assert_eq!(
            answered.expect("the neighbour is not stopped"),
            "quick\n",
            "{round}"
        );
        assert!(free.ping(Duration::from_secs(20)).await.unwrap() < Duration::from_secs(5));
    }
    // Nothing was lost: the rest comes when it is read.
    let mut rest = vec![0; 39_999_999];
    unread.read_exact(&mut rest).await.unwrap();
    assert!(rest.iter().all(|it| *it == 0));
}

#[tokio::test]
async fn a_refused_login_at_the_bastion_is_not_repeated_for_each_host_behind_it() {
    if !available() {
        return;
    }
    let (bastion, target) = (Sshd::start(""), Sshd::start(""));
    let mut jump = bastion.settings();
    jump.identity_files = vec![bastion.add_key("locked", "ed25519", "open sesame")];
    let connector = connector();
    let hops = || vec![jump.clone(), target.settings()];
    let (one, two) = tokio::join!(
        connect_with(&connector, hops(), |_| Answer::Refuse),
        connect_with(&connector, hops(), |_| Answer::Refuse)
    );
    assert_eq!(one.1.questions.len() + two.1.questions.len(), 1);
    for result in [one.0, two.0] {
        let error = refused(result);
        assert_eq!((error.class(), error.index), (Class::Cancelled, 0), "{error}");
    }
    assert_eq!(logins(&bastion), 1);
}

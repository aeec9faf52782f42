//! The channel that is opened ahead.

use codex_ssh::{Exit, Session};

use crate::host::{Sshd, available, connect, until};

async fn status(session: &Session, command: &str) -> Exit {
    session.exec(command).await.unwrap().exit().wait().await
}

#[tokio::test]
async fn from_the_second_command_on_a_channel_is_there_already() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(sshd.settings()).await.unwrap();
    let opened = || sshd.log().matches("session_open: channel").count();
    for round in 1..4 {
        assert_eq!(status(&session, "exit 3").await, Exit::Status(3));
        until("the next channel is opened ahead", || opened() == round + 1).await;
    }
    // Two at once: one has it, the other opens its own.
    let (one, two) = tokio::join!(status(&session, "exit 4"), status(&session, "exit 5"));
    assert_eq!((one, two), (Exit::Status(4), Exit::Status(5)));
}

#[tokio::test]
async fn a_server_that_allows_one_channel_is_asked_for_a_spare_one_once() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxSessions 1");
    let session = connect(sshd.settings()).await.unwrap();
    let refused = || sshd.log().matches("session open failed, free channel").count();
    let process = session.exec("cat").await.unwrap();
    until("the spare channel is refused", || refused() == 1).await;
    drop(process);
    for round in 1..4 {
        let closed = || sshd.log().matches("Close session: ").count() >= round;
        until("the channel is free again", closed).await;
        assert_eq!(status(&session, "exit 3").await, Exit::Status(3));
    }
    assert_eq!(refused(), 1);
}

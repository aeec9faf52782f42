//! The shell that is started ahead.

use std::time::Duration;

use codex_ssh::{Exit, Process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::host::{Sshd, available, connect, until};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_waiting_shell_runs_its_script_and_leaves_it_the_input_behind_the_line() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(sshd.settings()).await.unwrap();
    let shell = session.start_shell().await.unwrap();
    let started = || sshd.log().matches("Starting session: command").count();
    assert_eq!(started(), 1);
    let mut process = shell
        .run("printf \"<%s>\\n\"  \"a  \\\\\"; cat; exit 3")
        .await
        .unwrap();
    let (exit, mut output) = (process.exit(), String::new());
    process.write_all(b"of the script\n").await.unwrap();
    process.shutdown().await.unwrap();
    process.read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "<a  \\>\nof the script\n");
    assert_eq!(exit.wait().await, Exit::Status(3));
    assert_eq!(started(), 1, "the script had no other shell");
}

#[tokio::test]
async fn a_waiting_shell_ends_with_its_handle_and_one_that_is_gone_says_nothing() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(sshd.settings()).await.unwrap();
    let closed = || sshd.log().matches("Close session: ").count();
    drop(session.start_shell().await.unwrap());
    until("the shell without a script has ended", || closed() == 1).await;

    let shell = session.start_shell().await.unwrap();
    // It is a child of the same server, once it has taken the login shell's place.
    let kill = "until pkill -KILL -P $PPID -x sh; do sleep 0.05; done";
    let mut killer = session.exec(kill).await.unwrap();
    let mut text = String::new();
    killer.read_to_string(&mut text).await.unwrap();
    until("the shell is gone", || closed() >= 2).await;
    let said = match shell.run("echo here").await {
        Ok(mut process) => process.read_to_string(&mut text).await.unwrap_or_default(),
        Err(_) => 0,
    };
    assert_eq!((said, text.as_str()), (0, ""));
}

/// More than waits for the reader of a command.
const NOISE: usize = 5_000_000;

#[tokio::test]
async fn what_start_up_files_print_before_there_is_a_script_does_not_stop_the_session() {
    if !available() {
        return;
    }
    let noisy = format!("ForceCommand head -c {NOISE} /dev/zero; eval \"$SSH_ORIGINAL_COMMAND\"");
    let sshd = Sshd::start(&noisy);
    let session = connect(sshd.settings()).await.unwrap();
    let mut shells = Vec::new();
    for _ in 0..3 {
        shells.push(session.start_shell().await.unwrap());
    }
    let said = async |mut process: Process| {
        let mut printed = Vec::new();
        let read = timeout(PATIENCE, process.read_to_end(&mut printed)).await;
        read.expect("beside shells that nobody reads").unwrap();
        String::from_utf8(printed.split_off(NOISE)).unwrap()
    };
    assert_eq!(said(session.exec("echo here").await.unwrap()).await, "here\n");
    for shell in shells {
        assert_eq!(said(shell.run("echo there").await.unwrap()).await, "there\n");
    }
}

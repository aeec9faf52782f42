//! Commands on the far side, and what becomes of them when the connection ends.

use std::time::{Duration, Instant};

use codex_ssh::{Closed, Exit, Process, Session};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::{Sshd, available, connect, until};

const PATIENCE: Duration = Duration::from_secs(20);

async fn output(process: &mut Process) -> String {
    let mut text = String::new();
    process.read_to_string(&mut text).await.unwrap();
    text
}

/// The sshd process that serves this session: the parent of its commands.
async fn server_of(session: &Session) -> Pid {
    let mut process = session.exec("echo $PPID").await.unwrap();
    Pid::from_raw(output(&mut process).await.trim().parse().unwrap())
}

#[tokio::test]
async fn a_command_has_its_output_its_errors_and_its_exit_apart() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("AcceptEnv CODEX_*");
    let mut settings = sshd.settings();
    settings.set_env = vec![("CODEX_TEST".to_owned(), "set here".to_owned())];
    let session = connect(settings).await.unwrap();
    let mut process = session
        .exec("echo out; echo err >&2; echo $CODEX_TEST; exit 3")
        .await
        .unwrap();
    let (exit, stderr) = (process.exit(), process.stderr());
    assert_eq!(output(&mut process).await, "out\nset here\n");
    assert_eq!(exit.wait().await, Exit::Status(3));
    assert_eq!(stderr.text(), "err\n");
    for (command, expected) in [
        ("true", Exit::Status(0)),
        ("/no/such/command", Exit::Status(127)),
        (
            "kill -TERM $$",
            Exit::Signal {
                name: "TERM".to_owned(),
                message: String::new(),
            },
        ),
    ] {
        let process = session.exec(command).await.unwrap();
        assert_eq!(process.exit().wait().await, expected, "{command}");
    }
    assert!(session.ping(PATIENCE).await.unwrap() < PATIENCE);
}

#[tokio::test]
async fn twenty_megabytes_pass_through_and_shutdown_ends_stdin() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(sshd.settings()).await.unwrap();
    let process = session.exec("cat").await.unwrap();
    let exit = process.exit();
    let (mut reader, mut writer) = tokio::io::split(process);
    let sent: Vec<u8> = (0..20_000_000u32).map(|at| (at % 251) as u8).collect();
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut received));
    read.unwrap();
    assert!(received == sent, "what came back is not what was sent");
    assert_eq!(exit.wait().await, Exit::Status(0));
}

#[tokio::test]
async fn a_dropped_process_closes_its_channel_and_the_session_goes_on() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxSessions 1");
    let session = connect(sshd.settings()).await.unwrap();
    let process = session.exec("cat; echo over").await.unwrap();
    let error = session
        .exec("true")
        .await
        .err()
        .expect("only one session is allowed");
    assert!(
        error.to_string().contains("open failed"),
        "the server's words: {error}"
    );
    drop(process);
    let start = Instant::now();
    loop {
        match session.exec("echo again").await {
            Ok(mut process) => break assert_eq!(output(&mut process).await, "again\n"),
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_killed_server_ends_reads_writes_and_the_exit() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(sshd.settings()).await.unwrap();
    let server = server_of(&session).await;
    // It reads nothing, so its writer waits for window when the connection dies.
    let mut process = session.exec("sleep 60").await.unwrap();
    let exit = process.exit();
    let flood = async {
        let block = vec![0; 1 << 20];
        loop {
            if let Err(error) = process.write_all(&block).await {
                break error;
            }
        }
    };
    let cut = async {
        tokio::task::yield_now().await;
        kill(server, Signal::SIGKILL).unwrap();
    };
    let both = async { tokio::join!(flood, cut).0 };
    let error = tokio::time::timeout(PATIENCE, both)
        .await
        .expect("the write ends");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    let closed = tokio::time::timeout(PATIENCE, session.closed())
        .await
        .expect("the end is noticed");
    assert!(matches!(closed, Closed::Lost(_)), "{closed:?}");
    assert_eq!(exit.wait().await, Exit::Lost(closed));
    let mut rest = Vec::new();
    assert_eq!(process.read_to_end(&mut rest).await.unwrap(), 0);
    assert!(session.exec("true").await.is_err());
    assert!(session.ping(PATIENCE).await.is_err());
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed_by_its_missing_answers() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.server_alive_interval = Some(Duration::from_secs(1));
    settings.server_alive_count_max = Some(1);
    let session = connect(settings).await.unwrap();
    let server = server_of(&session).await;
    kill(server, Signal::SIGSTOP).unwrap();
    let start = Instant::now();
    let ping = session.ping(Duration::from_millis(200)).await;
    assert!(ping.unwrap_err().to_string().contains("no answer within 0.2 s"));
    let closed = tokio::time::timeout(PATIENCE, session.closed())
        .await
        .expect("silence is noticed");
    kill(server, Signal::SIGKILL).unwrap();
    assert_eq!(closed, Closed::Silent);
    // Without these settings it is noticed after 15 s.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_dropped_session_ends_its_connection() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(sshd.settings()).await.unwrap();
    let server = server_of(&session).await;
    let mut process = session.exec("sleep 60").await.unwrap();
    drop(session);
    let mut rest = Vec::new();
    assert_eq!(process.read_to_end(&mut rest).await.unwrap(), 0);
    assert!(matches!(process.exit().wait().await, Exit::Lost(_)));
    until("sshd ends the session", || kill(server, None).is_err()).await;
}

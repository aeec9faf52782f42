//! Servers whose administrator takes things away: channels, forwardings, time, commands.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use codex_ssh::{
    Answer, Class, ExecError, Exit, Session,
    config::settings::{HostSettings, IdentityAgent, StrictHostKeyChecking},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
};

use crate::{
    agent::Agent,
    host::{Sshd, available, connect, connect_with, connector, refused, until},
};

/// What a command says on stdout and on stderr, and how it ends.
async fn run(session: &Session, command: &str) -> (String, String, Exit) {
    let mut process = session.exec(command).await.unwrap();
    let (exit, stderr) = (process.exit(), process.stderr());
    let mut text = String::new();
    process.read_to_string(&mut text).await.unwrap();
    let end = exit.wait().await;
    (text, stderr.text(), end)
}

#[tokio::test]
async fn commands_that_are_forced_say_what_they_say() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("forced");
    fs::write(&script, "#!/bin/sh\nexec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let passes_on = format!("ForceCommand {}", script.display());
    for (more, stdout, stderr, status) in [
        (passes_on.as_str(), "here\n", "", 3),
        (
            "ForceCommand internal-sftp",
            "This service allows sftp connections only.\n",
            "",
            1,
        ),
        (
            "ForceCommand echo backups; echo no >&2; exit 7",
            "backups\n",
            "no\n",
            7,
        ),
        (
            "ForceCommand /nonexistent/program",
            "",
            "No such file or directory",
            127,
        ),
        ("PermitTTY no", "here\n", "", 3),
        ("AcceptEnv none", "here\n", "", 3),
    ] {
        let sshd = Sshd::start(more);
        let mut settings = sshd.settings();
        settings.set_env = vec![("WORD".to_owned(), "value".to_owned())];
        let session = connect(settings).await.unwrap();
        let (text, errors, end) = run(&session, "echo here; exit 3").await;
        assert_eq!((text.as_str(), end), (stdout, Exit::Status(status)), "{more}");
        assert!(errors.contains(stderr), "{more}: {errors}");
    }
}

#[tokio::test]
async fn a_server_that_opens_no_channel_or_no_folder_is_told_from_a_lost_connection() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxSessions 0");
    let session = connect(sshd.settings()).await.unwrap();
    let error = session.exec("true").await.err().unwrap();
    assert!(matches!(error, ExecError::ChannelRefused { .. }), "{error}");
    assert!(session.ping(Duration::from_secs(20)).await.is_ok());
    // It ends the connection of whom it cannot shut in.
    let sshd = Sshd::start("ChrootDirectory /nonexistent/jail");
    let session = connect(sshd.settings()).await.unwrap();
    match session.exec("true").await {
        Err(error) => assert!(
            error.to_string().starts_with("starting a command: connection"),
            "{error}"
        ),
        Ok(process) => assert!(!matches!(process.exit().wait().await, Exit::Status(0))),
    }
}

#[tokio::test]
async fn a_bastion_that_may_not_forward_there_is_named_with_what_forbids_it() {
    if !available() {
        return;
    }
    let target = Sshd::start("");
    let other = format!(
        "PermitOpen 127.0.0.1:1 127.0.0.1:{}",
        target.port.wrapping_sub(1).max(1)
    );
    for more in ["DisableForwarding yes", "PermitOpen none", &other] {
        let bastion = Sshd::start(more);
        let hops = vec![bastion.settings(), target.settings()];
        let (result, _) = connect_with(&connector(), hops, |_| Answer::Refuse).await;
        let error = refused(result);
        assert_eq!(
            (error.class(), error.index),
            (Class::Refused, 1),
            "{more}: {error}"
        );
        assert!(
            error.to_string().contains("administratively prohibited"),
            "{error}"
        );
        let hint = error.hint().unwrap();
        for part in ["AllowTcpForwarding", "DisableForwarding", "PermitOpen"] {
            assert!(hint.contains(part), "{part}: {hint}");
        }
    }
    // One that allows this very target is enough.
    let bastion = Sshd::start(&format!("PermitOpen 127.0.0.1:{}", target.port));
    let hops = vec![bastion.settings(), target.settings()];
    let (session, _) = connect_with(&connector(), hops, |_| Answer::Refuse).await;
    assert_eq!(run(&session.unwrap(), "echo here").await.0, "here\n");
}

#[tokio::test]
async fn compression_is_used_where_both_sides_want_it_and_missed_by_nobody_else() {
    if !available() {
        return;
    }
    for server in ["yes", "delayed", "no"] {
        let sshd = Sshd::start(&format!("Compression {server}"));
        for client in [true, false] {
            let mut settings = sshd.settings();
            settings.compression = client;
            let session = connect(settings).await;
            let session = session.unwrap_or_else(|error| panic!("{server} {client}: {error}"));
            let mut process = session.exec("head -c 2000000 /dev/zero").await.unwrap();
            let mut bytes = Vec::new();
            process.read_to_end(&mut bytes).await.unwrap();
            assert_eq!(bytes.len(), 2_000_000, "{server} {client}");
        }
    }
}

/// Whether this sshd knows the keyword.
fn knows(line: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    fs::write(&config, format!("{line}\nHostKey /dev/null\n")).unwrap();
    let mut test = std::process::Command::new("/usr/sbin/sshd");
    let output = test.arg("-t").arg("-f").arg(&config).output().unwrap();
    !String::from_utf8_lossy(&output.stderr).contains("Bad configuration option")
}

#[tokio::test]
async fn a_server_that_closes_idle_channels_ends_the_command_and_not_the_session() {
    const LINE: &str = "ChannelTimeout session:*=3s";
    if !available() || !knows(LINE) {
        return;
    }
    let sshd = Sshd::start(LINE);
    let mut settings: HostSettings = sshd.settings();
    settings.server_alive_interval = Some(Duration::ZERO);
    let session = connect(settings).await.unwrap();
    let process = session.exec("cat").await.unwrap();
    let exit = process.exit();
    let ended = tokio::time::timeout(crate::host::PATIENCE, exit.wait()).await;
    assert!(ended.is_ok(), "the command's end is not noticed");
    // The one that was opened ahead has used up its time, too, and is not made use of.
    let confirmed = || sshd.log().matches("confirm session").count();
    until("a channel is open ahead", || confirmed() == 2).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(121)).await;
    tokio::time::resume();
    assert_eq!(run(&session, "echo here").await.0, "here\n");
    assert!(confirmed() > 2, "{}", sshd.log());
}

#[tokio::test]
async fn a_channel_that_has_waited_for_long_serves_where_there_is_no_place_for_a_new_one() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxSessions 2");
    let mut settings: HostSettings = sshd.settings();
    settings.server_alive_interval = Some(Duration::ZERO);
    let session = connect(settings).await.unwrap();
    let _process = session.exec("cat").await.unwrap();
    until("a channel is open ahead", || {
        sshd.log().matches("confirm session").count() == 2
    })
    .await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(121)).await;
    tokio::time::resume();
    assert_eq!(run(&session, "echo here").await.0, "here\n");
}

#[tokio::test]
async fn an_idle_session_stays_up_where_the_server_asks_every_second() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("ClientAliveInterval 1\nClientAliveCountMax 2\nLoginGraceTime 3");
    let mut settings: HostSettings = sshd.settings();
    settings.server_alive_interval = Some(Duration::ZERO);
    let session = connect(settings).await.unwrap();
    let mut process = session.exec("cat").await.unwrap();
    // Far more questions than it leaves unanswered, and longer than a login may take.
    until("eight questions are asked", || {
        let log = sshd.log();
        log.matches("send packet: type 98").count() + log.matches("send packet: type 80").count() >= 8
    })
    .await;
    process.write_all(b"alive\n").await.unwrap();
    let mut line = [0; 6];
    process.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"alive\n");
}

#[tokio::test]
async fn a_link_that_breaks_during_the_login_is_no_refusal_whatever_the_banner_said() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let banner = folder.path().join("banner");
    fs::write(&banner, "AUTHORIZED USE ONLY\n").unwrap();
    let sshd = Sshd::start(&format!("Banner {}", banner.display()));
    let agent = Agent::full(&sshd, 0);
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = sshd.settings();
    settings.identity_files.clear();
    settings.port = front.local_addr().unwrap().port();
    settings.strict_host_key_checking = StrictHostKeyChecking::Off;
    let ours = sshd.path("ours");
    let (listener, real) = (UnixListener::bind(&ours).unwrap(), agent.socket.clone());
    settings.identity_agent = IdentityAgent::Socket(ours);
    let (cut, cuts) = tokio::sync::oneshot::channel();
    let mut tasks = JoinSet::new();
    // The link breaks when a signature is wanted, so that none is sent.
    tasks.spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut real = UnixStream::connect(real).await.unwrap();
        loop {
            let length = client.read_u32().await.unwrap();
            let mut request = vec![0; length as usize];
            client.read_exact(&mut request).await.unwrap();
            if request[0] == 13 {
                cut.send(()).unwrap();
                return std::future::pending().await;
            }
            real.write_all(&[&length.to_be_bytes()[..], &request].concat())
                .await
                .unwrap();
            let length = real.read_u32().await.unwrap();
            let mut answer = vec![0; length as usize];
            real.read_exact(&mut answer).await.unwrap();
            client
                .write_all(&[&length.to_be_bytes()[..], &answer].concat())
                .await
                .unwrap();
        }
    });
    let port = sshd.port;
    tasks.spawn(async move {
        let (mut near, _) = front.accept().await.unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            _ = cuts => {}
        }
    });
    let (result, heard) = connect_with(&connector(), vec![settings], |_| Answer::Refuse).await;
    let error = refused(result);
    assert!(
        heard.notices.iter().any(|it| it.contains("AUTHORIZED")),
        "{:?}",
        heard.notices
    );
    assert_eq!(error.class(), Class::Unreachable, "{error}");
    assert!(!error.to_string().contains("AUTHORIZED"), "{error}");
}

#[tokio::test]
async fn users_of_every_name_are_sent_as_they_are() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    for user in ["user@realm", "DOMAIN\\user", "first.last+tag", "j\u{f6}rg"] {
        let mut settings = sshd.settings();
        settings.user = user.to_owned();
        let error = refused(connect(settings).await);
        assert_eq!(error.class(), Class::Unauthorized, "{user}: {error}");
        assert!(
            error.to_string().contains(&format!("logging in as {user}")),
            "{error}"
        );
    }
    // As sshd's log writes them.
    for user in ["user@realm", "DOMAIN\\\\user", "first.last+tag", "j\\303\\266rg"] {
        let line = format!("Invalid user {user} from");
        assert!(sshd.log().contains(&line), "{line}: {}", sshd.log());
    }
}

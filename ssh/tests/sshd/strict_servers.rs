//! Servers that let few in, for a short time, or to do little: what they refuse is said in words.

use std::{fs, time::Duration};

use codex_ssh::{
    Answer, Class, ConnectError, Event, Failure, Outcome, Route, Words,
    config::settings::{HostSettings, IdentityAgent, Via},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::{
    agent::Agent,
    host::{Sshd, available, connect, connect_with, connector, keygen, refused, sign, write_config},
};

async fn said(settings: HostSettings, command: &str) -> String {
    let session = connect(settings).await.unwrap();
    let mut process = session.exec(command).await.unwrap();
    let mut text = String::new();
    process.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn an_agent_full_of_keys_is_too_much_for_a_server_with_two_tries_until_the_right_one_is_named() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxAuthTries 2");
    let agent = Agent::full(&sshd, 6);
    let mut settings = sshd.settings();
    settings.identity_agent = IdentityAgent::Socket(agent.socket.clone());
    settings.identity_files = Vec::new();
    let error = refused(connect(settings.clone()).await);
    assert_eq!(error.class(), Class::Unauthorized);
    assert!(
        error.to_string().contains("Too many authentication failures"),
        "{error}"
    );
    let hint = error.hint().unwrap();
    for part in [
        "too many keys",
        "MaxAuthTries",
        "IdentityFile",
        "IdentitiesOnly yes",
    ] {
        assert!(hint.contains(part), "{part}: {hint}");
    }
    // Named, and nothing else; or named among the others, which brings it to the front.
    settings.identity_files = vec![sshd.path("user")];
    for only in [true, false] {
        settings.identities_only = only;
        connect(settings.clone()).await.unwrap();
    }
    // Once taken, it is the first one.
    let memory = connector().with_memory(sshd.path("memory"));
    connect_with(&memory, vec![settings.clone()], |_| Answer::Refuse)
        .await
        .0
        .unwrap();
    settings.identity_files.clear();
    settings.identities_only = false;
    connect_with(&memory, vec![settings], |_| Answer::Refuse)
        .await
        .0
        .unwrap();
}

#[tokio::test]
async fn two_keys_are_a_chain_and_one_of_them_is_half_of_it() {
    if !available() {
        return;
    }
    for keys in ["publickey,publickey", "publickey,publickey,publickey"] {
        let sshd = Sshd::start(&format!("AuthenticationMethods {keys}"));
        let mut settings = sshd.settings();
        let error = refused(connect(settings.clone()).await);
        assert_eq!(error.class(), Class::Unauthorized);
        assert_eq!(error.tried()[0].outcome, Outcome::Partial, "{error}");
        let stranger = sshd.path("stranger");
        keygen(&stranger, "ed25519", "");
        settings.identity_files.insert(0, stranger);
        for kind in ["ecdsa", "rsa"] {
            settings.identity_files.push(sshd.add_key(kind, kind, ""));
        }
        let session = connect(settings).await;
        session.unwrap_or_else(|error| panic!("{keys}: {error}\n{}", sshd.log()));
    }
}

#[tokio::test]
async fn certificates_that_are_not_for_now_or_not_for_this_user_do_not_log_in() {
    if !available() {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let (ca, key) = (keys.path().join("ca"), keys.path().join("key"));
    keygen(&ca, "ed25519", "");
    keygen(&key, "ed25519", "");
    let sshd = Sshd::start(&format!("TrustedUserCAKeys {}.pub", ca.display()));
    let mut settings = sshd.settings();
    settings.identity_files = vec![key.clone()];
    let user = settings.user.clone();
    for (principal, validity, why) in [
        (user.as_str(), "20200101:20200201", Some("expired")),
        (&user, "20900101:20910101", Some("not yet valid")),
        ("somebody-else", "always:forever", Some("not a listed principal")),
        (&user, "always:forever", None),
    ] {
        sign(&ca, &key, &["-n", principal, "-V", validity]);
        let result = connect(settings.clone()).await;
        match why {
            None => drop(result.unwrap()),
            Some(why) => {
                let error = refused(result);
                assert_eq!(error.class(), Class::Unauthorized);
                assert!(error.to_string().contains("certificate "), "{error}");
                assert!(sshd.log().contains(why), "{why}: {}", sshd.log());
            }
        }
    }
    // As a program of the server's owner limits it.
    sign(&ca, &key, &["-n", &user, "-O", "force-command=echo forced"]);
    assert_eq!(said(settings.clone(), "echo free").await, "forced\n");
    sign(&ca, &key, &["-n", &user, "-O", "source-address=192.0.2.1"]);
    assert_eq!(refused(connect(settings).await).class(), Class::Unauthorized);
}

#[tokio::test]
async fn users_who_may_not_log_in_are_told_what_was_tried() {
    if !available() {
        return;
    }
    for more in [
        "DenyUsers *",
        "AllowUsers nobody-else",
        "PermitRootLogin no\nAllowGroups none",
    ] {
        let sshd = Sshd::start(more);
        let error = refused(connect(sshd.settings()).await);
        assert_eq!(error.class(), Class::Unauthorized);
        assert!(error.to_string().contains("denied"), "{more}: {error}");
    }
}

#[tokio::test]
async fn servers_that_need_no_terminal_or_send_much_before_the_login_are_served() {
    if !available() {
        return;
    }
    let texts = tempfile::tempdir().unwrap();
    let banner = texts.path().join("banner");
    fs::write(
        &banner,
        "\x1b]0;owned\x07\x1b[2J\u{202e} welcome \r\n".repeat(500),
    )
    .unwrap();
    for more in [
        "PermitTTY no",
        "MaxSessions 1",
        "PermitUserEnvironment yes",
        "UseDNS yes",
        "Compression no",
        "AllowTcpForwarding no\nAllowAgentForwarding no\nAllowStreamLocalForwarding no",
        "PermitUserRC no\nPrintMotd yes\nPrintLastLog yes",
        &format!("Banner {}", banner.display()),
    ] {
        let sshd = Sshd::start(more);
        assert_eq!(said(sshd.settings(), "echo here").await, "here\n", "{more}");
    }
}

#[tokio::test]
async fn a_banner_that_is_no_text_is_named_as_what_ended_the_login() {
    if !available() {
        return;
    }
    let texts = tempfile::tempdir().unwrap();
    let banner = texts.path().join("banner");
    fs::write(&banner, b"Acc\xe8s r\xe9serv\xe9\n").unwrap();
    let sshd = Sshd::start(&format!("Banner {}", banner.display()));
    let error = refused(connect(sshd.settings()).await);
    assert_eq!(error.class(), Class::Protocol, "{error}");
    let is_banner = |it: &Failure| {
        matches!(
            it,
            Failure::Illegible {
                what: Words::Text,
                ..
            }
        )
    };
    assert!(is_banner(error.kind()), "{error}");
    assert!(error.hint().unwrap().contains("Banner"), "{:?}", error.hint());
}

#[tokio::test]
async fn an_identification_that_is_too_long_is_named_as_what_cannot_be_read() {
    if !available() {
        return;
    }
    let sshd = Sshd::start(&format!("VersionAddendum {}", "x".repeat(300)));
    let error = refused(connect(sshd.settings()).await);
    let is_long = |it: &Failure| {
        let what = Words::LongIdentification;
        matches!(it, Failure::Illegible { what: it, .. } if *it == what)
    };
    assert!(is_long(error.kind()), "{error}");
    let sshd = Sshd::start(&format!("VersionAddendum {}", "x".repeat(200)));
    assert_eq!(said(sshd.settings(), "echo here").await, "here\n");
}

#[tokio::test]
async fn a_proxy_command_may_print_more_than_the_servers_identification() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let config = write_config(sshd.dir.path(), sshd.port, "");
    let log = sshd.path("inetd.log");
    let mut settings = sshd.settings();
    let noise = "i=0; while [ $i -lt 200 ]; do printf '%0300d h\\351te\\r\\n' $i; i=$((i+1)); done";
    let (config, log) = (config.display(), log.display());
    let script = sshd.path("noisy");
    fs::write(
        &script,
        format!("{noise}; exec /usr/sbin/sshd -i -f {config} -E {log}"),
    )
    .unwrap();
    settings.route = Via::Command(format!("sh {}", script.display()));
    assert_eq!(said(settings, "echo here").await, "here\n");
}

#[tokio::test]
async fn a_server_that_takes_no_more_connections_says_so_and_is_told_from_one_that_is_broken() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxStartups 1");
    // It begins a login and does not go on, so that the one place is taken.
    let mut idle = TcpStream::connect(("127.0.0.1", sshd.port)).await.unwrap();
    idle.write_all(b"SSH-2.0-idle\r\n").await.unwrap();
    idle.read_u8().await.unwrap();
    let error = refused(connect(sshd.settings()).await);
    assert_eq!(error.class(), Class::Unreachable);
    assert!(error.to_string().contains("Exceeded MaxStartups"), "{error}");
    assert!(
        error.hint().unwrap().contains("wait a minute"),
        "{:?}",
        error.hint()
    );
    drop(idle);
}

#[tokio::test]
async fn a_user_who_types_longer_than_the_server_waits_is_told_so() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("LoginGraceTime 2\nPasswordAuthentication yes");
    let mut settings = sshd.settings();
    settings.identity_files.clear();
    settings.preferred_authentications = vec!["password".to_owned()];
    let error = slow_user(settings).await;
    assert_eq!(error.class(), Class::TimedOut, "{error}");
    assert!(
        error
            .to_string()
            .contains("the server closed the connection after"),
        "{error}"
    );
    assert!(
        error.hint().unwrap().contains("LoginGraceTime"),
        "{:?}",
        error.hint()
    );
}

#[tokio::test]
async fn a_question_about_the_host_key_that_nobody_answers_in_time_is_told_from_a_lost_connection() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("LoginGraceTime 2");
    let settings = sshd.settings();
    fs::write(&settings.user_known_hosts_files[0], "").unwrap();
    let error = slow_user(settings).await;
    // Tried once more at most, where the address would be banned for each (`PerSourcePenalties`, grace-exceeded).
    assert_eq!(error.class(), Class::TimedOut, "{error}");
    assert!(
        error.to_string().contains("the answer about the host key"),
        "{error}"
    );
    assert!(
        error.hint().unwrap().contains("LoginGraceTime"),
        "{:?}",
        error.hint()
    );
}

/// Connects with a user who never answers.
async fn slow_user(settings: HostSettings) -> ConnectError {
    let (sender, mut events) = mpsc::channel(16);
    let route = Route { hops: vec![settings] };
    let connector = connector();
    let listen = async {
        let mut open = Vec::new();
        while let Some(event) = events.recv().await {
            if let Event::Question { answer, .. } = event {
                open.push(answer);
            }
        }
    };
    let both = async { tokio::join!(connector.connect(&route, sender), listen).0 };
    let result = tokio::time::timeout(Duration::from_secs(20), both).await;
    refused(result.unwrap_or_else(|_| panic!("the end is not noticed")))
}

/// Such a server asks a directory that is slow about a key that its files do not have. It waits as long again: sshd takes
/// a power of two of its least time for every refusal (`ensure_minimum_time_since`).
#[tokio::test]
async fn a_server_that_takes_longer_than_usual_for_an_answer_has_the_time_that_connect_timeout_gives() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("AuthorizedKeysCommand /usr/bin/sleep 11\nAuthorizedKeysCommandUser root");
    let mut settings = sshd.settings();
    keygen(&sshd.path("other"), "ed25519", "");
    settings.identity_files.insert(0, sshd.path("other"));
    let mut patient = settings.clone();
    patient.connect_timeout = Some(Duration::from_secs(60));
    let route = Route { hops: vec![patient] };
    let (connector, (events, _)) = (connector(), mpsc::channel(16));
    let (usual, patient) = tokio::join!(connect(settings), connector.connect(&route, events));
    let error = refused(usual);
    assert_eq!(error.class(), Class::TimedOut, "{error}");
    assert!(error.to_string().contains("no answer within 10"), "{error}");
    assert!(error.hint().unwrap().contains("ConnectTimeout"), "{error}");
    assert!(patient.is_ok(), "{:?}", patient.err());
}

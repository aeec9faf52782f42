//! Servers that leave little choice.

use codex_ssh::{
    Class, Exit, Session,
    config::settings::{HostSettings, IdentityAgent, StrictHostKeyChecking},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    agent::Agent,
    host::{Sshd, available, connect, keygen, refused, sign, until},
};

async fn output(session: &Session, command: &str) -> String {
    let mut process = session.exec(command).await.unwrap();
    let mut text = String::new();
    process.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn servers_with_one_cipher_are_served() {
    if !available() {
        return;
    }
    for cipher in [
        "aes128-ctr",
        "aes256-ctr",
        "chacha20-poly1305@openssh.com",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
    ] {
        let sshd = Sshd::start(&format!("Ciphers {cipher}"));
        let session = connect(sshd.settings()).await.unwrap();
        assert_eq!(session.peer().cipher, cipher);
        assert_eq!(output(&session, "echo whole").await, "whole\n", "{cipher}");
    }
}

#[tokio::test]
async fn servers_with_one_key_exchange_are_served() {
    if !available() {
        return;
    }
    for kex in [
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group14-sha256",
        "diffie-hellman-group16-sha512",
    ] {
        let sshd = Sshd::start(&format!("KexAlgorithms {kex}"));
        let session = connect(sshd.settings()).await.unwrap();
        assert_eq!(session.peer().kex, kex);
    }
    // One that we do not have is named with what both sides have.
    let sshd = Sshd::start("KexAlgorithms sntrup761x25519-sha512@openssh.com");
    let error = refused(connect(sshd.settings()).await);
    assert_eq!(error.class(), Class::Protocol);
    let text = error.to_string();
    assert!(
        text.contains("no common key exchange") && text.contains("it offers sntrup761"),
        "{text}"
    );
    assert!(!sshd.log().contains("userauth-request"));
}

#[tokio::test]
async fn a_server_with_an_rsa_key_only_signs_with_sha2() {
    if !available() {
        return;
    }
    let sshd = Sshd::with_key("rsa", "");
    let session = connect(sshd.settings()).await.unwrap();
    assert_eq!(session.peer().host_key, "rsa-sha2-512");
    let sshd = Sshd::with_key("rsa", "HostKeyAlgorithms ssh-rsa");
    let error = refused(connect(sshd.settings()).await);
    assert!(error.to_string().contains("no common host key"), "{error}");
    assert!(!sshd.log().contains("userauth-request"));
}

#[tokio::test]
async fn a_forced_command_takes_the_place_of_ours() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("ForceCommand echo forced: $SSH_ORIGINAL_COMMAND");
    let session = connect(sshd.settings()).await.unwrap();
    assert_eq!(
        output(&session, "codex app-server").await,
        "forced: codex app-server\n"
    );
}

#[tokio::test]
async fn a_server_that_asks_whether_we_are_alive_gets_its_answer() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("ClientAliveInterval 1\nClientAliveCountMax 1");
    let mut settings = sshd.settings();
    settings.server_alive_interval = Some(std::time::Duration::ZERO);
    let session = connect(settings).await.unwrap();
    // With one unanswered question, the server would have hung up before the third.
    until("three questions were asked", || {
        sshd.log().matches("sending client alive").count() >= 3
            || sshd.log().matches("keepalive@openssh.com").count() >= 3
            || sshd.log().matches("send packet: type 80").count() >= 4
    })
    .await;
    assert_eq!(output(&session, "echo alive").await, "alive\n");
}

#[tokio::test]
async fn new_keys_every_megabyte_lose_nothing_either_way() {
    const SIZE: usize = 50_000_000;
    if !available() {
        return;
    }
    let sshd = Sshd::start("RekeyLimit 1M");
    let mut settings: HostSettings = sshd.settings();
    settings.rekey_limit.bytes = Some(1 << 20);
    let session = connect(settings).await.unwrap();
    let sent: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let process = session.exec("cat").await.unwrap();
    let exit = process.exit();
    let (mut reader, mut writer) = tokio::io::split(process);
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut received));
    read.unwrap();
    assert!(received == sent, "what came back is not what was sent");
    assert_eq!(exit.wait().await, Exit::Status(0));
    let kexes = sshd.log().matches("SSH2_MSG_KEXINIT received").count();
    assert!(kexes > 20, "{kexes} key exchanges");
}

#[tokio::test]
async fn our_own_rekey_limit_is_kept_where_the_server_has_none() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.rekey_limit.bytes = Some(1 << 20);
    let session = connect(settings).await.unwrap();
    let mut process = session.exec("head -c 8000000 /dev/zero").await.unwrap();
    let mut received = Vec::new();
    process.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), 8_000_000);
    let kexes = sshd.log().matches("SSH2_MSG_KEXINIT received").count();
    // A window of data is on its way while keys are exchanged, so there are fewer than eight.
    assert!(kexes >= 3, "{kexes} key exchanges");
}

#[tokio::test]
async fn certificates_of_users_log_in_until_they_expire_also_from_the_agent() {
    if !available() {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let (ca, key) = (keys.path().join("ca"), keys.path().join("key"));
    keygen(&ca, "ed25519", "");
    keygen(&key, "ed25519", "");
    let trusted = format!("TrustedUserCAKeys {}.pub", ca.display());
    let sshd = Sshd::start(&trusted);
    let mut settings = sshd.settings();
    let user = settings.user.clone();
    settings.identity_files = vec![key.clone()];
    sign(&ca, &key, &["-n", &user, "-V", "20200101:20200201"]);
    let error = refused(connect(settings.clone()).await);
    assert_eq!(error.class(), Class::Unauthorized);
    assert!(sshd.log().contains("expired"), "{}", sshd.log());

    sign(&ca, &key, &["-n", &user]);
    connect(settings.clone()).await.unwrap();
    let agent = Agent::start(keys.path());
    agent.add(&key);
    settings.identity_files.clear();
    settings.identity_agent = IdentityAgent::Socket(agent.socket.clone());
    connect(settings).await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_of_a_host_is_no_proof() {
    if !available() {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let (ca, host) = (keys.path().join("ca"), keys.path().join("certified"));
    keygen(&ca, "ed25519", "");
    keygen(&host, "ed25519", "");
    sign(&ca, &host, &["-h", "-n", "127.0.0.1", "-V", "20200101:20200201"]);
    let shown = host.display();
    let sshd = Sshd::start(&format!("HostKey {shown}\nHostCertificate {shown}-cert.pub"));
    let mut settings = sshd.settings();
    let authority = std::fs::read_to_string(keys.path().join("ca.pub")).unwrap();
    let line = format!("@cert-authority [127.0.0.1]:{} {authority}", sshd.port);
    std::fs::write(&settings.user_known_hosts_files[0], line).unwrap();
    settings.strict_host_key_checking = StrictHostKeyChecking::Yes;
    let error = refused(connect(settings).await);
    assert_eq!(error.class(), Class::HostKeyUnknown);
    assert!(error.to_string().contains("has expired"), "{error}");
    assert!(!sshd.saw_login());
}

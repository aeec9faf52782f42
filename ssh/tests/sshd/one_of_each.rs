//! Servers that offer one algorithm of a kind, and keys of every type and format.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use codex_ssh::{Answer, Class, Question, Zeroizing, config::settings::StrictHostKeyChecking};

use crate::host::{Sshd, available, connect, connect_with, connector, refused};

/// The MACs that we have; those in `EXTRA` wait to be asked for.
const MACS: [&str; 4] = [
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
];
const EXTRA_MACS: [&str; 2] = ["hmac-sha1-etm@openssh.com", "hmac-sha1"];

#[tokio::test]
async fn servers_with_one_mac_are_served_or_it_is_said_which_one_is_missing() {
    if !available() {
        return;
    }
    // With AES-GCM the MAC does not matter, so that one is not offered.
    let server = |mac: &str| Sshd::start(&format!("Ciphers aes128-ctr\nMACs {mac}"));
    for mac in MACS {
        let sshd = server(mac);
        connect(sshd.settings())
            .await
            .unwrap_or_else(|error| panic!("{mac}: {error}"));
    }
    for mac in EXTRA_MACS {
        let sshd = server(mac);
        let error = refused(connect(sshd.settings()).await);
        assert!(error.to_string().contains("no common MAC (MACs)"), "{error}");
        let mut settings = sshd.settings();
        settings.macs = Some(format!("+{mac}"));
        connect(settings)
            .await
            .unwrap_or_else(|error| panic!("{mac}: {error}"));
    }
    for mac in ["umac-64@openssh.com", "umac-128-etm@openssh.com"] {
        let sshd = server(mac);
        let error = refused(connect(sshd.settings()).await);
        assert_eq!(error.class(), Class::Protocol);
        let text = error.to_string();
        assert!(
            text.contains("no common MAC (MACs)") && text.contains(&format!("it offers {mac}")),
            "{text}"
        );
        assert!(error.hint().unwrap().contains("MACs"), "{:?}", error.hint());
        assert!(!sshd.saw_login());
        // Where the cipher brings its own, the server's MACs do not matter (RFC 5647).
        let sshd = Sshd::start(&format!("MACs {mac}"));
        let session = connect(sshd.settings()).await;
        let session = session.unwrap_or_else(|error| panic!("{mac}: {error}"));
        assert_eq!(session.peer().cipher, "aes256-gcm@openssh.com");
    }
}

#[tokio::test]
async fn ciphers_and_key_exchanges_that_wait_to_be_asked_for_work_when_they_are() {
    if !available() {
        return;
    }
    for cipher in ["aes128-cbc", "aes192-cbc", "aes256-cbc", "aes192-ctr"] {
        let sshd = Sshd::start(&format!("Ciphers {cipher}"));
        let mut settings = sshd.settings();
        settings.ciphers = Some(format!("+{cipher}"));
        let session = connect(settings).await;
        let session = session.unwrap_or_else(|error| panic!("{cipher}: {error}"));
        assert_eq!(session.peer().cipher, cipher);
    }
    let sshd = Sshd::start("KexAlgorithms diffie-hellman-group14-sha1");
    let mut settings = sshd.settings();
    settings.kex_algorithms = Some("+diffie-hellman-group14-sha1".to_owned());
    let session = connect(settings).await.unwrap();
    assert_eq!(session.peer().kex, "diffie-hellman-group14-sha1");
}

#[tokio::test]
async fn servers_with_one_host_key_of_any_type_are_known_by_it() {
    if !available() {
        return;
    }
    for (kind, more, algorithm) in [
        ("ed25519", "", "ssh-ed25519"),
        ("ecdsa", "-b 256", "ecdsa-sha2-nistp256"),
        ("ecdsa", "-b 384", "ecdsa-sha2-nistp384"),
        ("ecdsa", "-b 521", "ecdsa-sha2-nistp521"),
        ("rsa", "-b 2048", "rsa-sha2-512"),
        ("rsa", "-b 4096", "rsa-sha2-512"),
    ] {
        let keys = tempfile::tempdir().unwrap();
        let key = keys.path().join("only");
        generate(&key, kind, more, "");
        let sshd = Sshd::start(&format!(
            "HostKey {}\nHostKeyAlgorithms {algorithm}",
            key.display()
        ));
        let mut settings = sshd.settings();
        let public = fs::read_to_string(keys.path().join("only.pub")).unwrap();
        let line = format!("[127.0.0.1]:{} {public}", sshd.port);
        fs::write(&settings.user_known_hosts_files[0], line).unwrap();
        settings.strict_host_key_checking = StrictHostKeyChecking::Yes;
        let session = connect(settings).await;
        let session = session.unwrap_or_else(|error| panic!("{kind} {more}: {error}"));
        assert_eq!(session.peer().host_key, algorithm);
    }
}

#[tokio::test]
async fn user_keys_of_every_size_sign_as_the_server_wants() {
    if !available() {
        return;
    }
    for accepted in ["rsa-sha2-256", "rsa-sha2-512", "ecdsa-sha2-*", "ssh-ed25519"] {
        let sshd = Sshd::start(&format!("PubkeyAcceptedAlgorithms {accepted}"));
        for (kind, more) in [
            ("rsa", "-b 2048"),
            ("rsa", "-b 4096"),
            ("ecdsa", "-b 256"),
            ("ecdsa", "-b 384"),
            ("ecdsa", "-b 521"),
            ("ed25519", ""),
        ] {
            if !accepted.contains(kind) {
                continue;
            }
            let mut settings = sshd.settings();
            settings.identity_files = vec![authorized(&sshd, kind, more, "")];
            connect(settings)
                .await
                .unwrap_or_else(|error| panic!("{kind} {more} by {accepted}: {error}\n{}", sshd.log()));
        }
    }
}

/// The ways in which OpenSSH and OpenSSL write a key with a passphrase: the type of the key, what
/// ssh-keygen is told, and what openssl(1) does to the result.
const ENCRYPTED: [(&str, &str, &str); 17] = [
    ("ed25519", "", ""),
    ("ed25519", "-Z aes128-cbc", ""),
    ("ed25519", "-Z aes256-cbc", ""),
    ("ed25519", "-Z aes128-ctr", ""),
    ("ed25519", "-Z aes256-gcm@openssh.com", ""),
    ("ed25519", "-Z aes128-gcm@openssh.com", ""),
    ("ed25519", "-Z chacha20-poly1305@openssh.com", ""),
    ("rsa", "-Z 3des-cbc", ""),
    ("rsa", "-m PEM", ""),
    ("rsa", "-m PEM", "rsa -traditional -aes256"),
    ("rsa", "-m PEM", "rsa -traditional -des3"),
    ("rsa", "-m PKCS8", ""),
    ("ecdsa", "-m PEM", ""),
    ("ecdsa", "-m PKCS8", "pkcs8 -topk8 -v2 aes-256-cbc"),
    ("rsa", "-m PKCS8", "pkcs8 -topk8 -v2 des3"),
    // What OpenSSL wrote before 1.1.
    ("rsa", "-m PKCS8", "pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA1"),
    (
        "ecdsa",
        "-m PKCS8",
        "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1",
    ),
];

#[tokio::test]
async fn keys_with_a_passphrase_open_in_every_format() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut broken = Vec::new();
    for (kind, more, converted) in ENCRYPTED {
        let key = authorized(&sshd, kind, more, "open sesame");
        if !converted.is_empty() {
            convert(&key, converted);
        }
        let mut settings = sshd.settings();
        settings.identity_files = vec![key.clone()];
        let (result, heard) = connect_with(&connector(), vec![settings.clone()], |question| match question {
            Question::Passphrase { attempt: 1, .. } => secret("wrong"),
            Question::Passphrase { attempt: 2, .. } => secret("open sesame"),
            _ => Answer::Refuse,
        })
        .await;
        if let Err(error) = result {
            broken.push(format!("{kind} {more} {converted}: {error}"));
            continue;
        }
        assert_eq!(heard.questions.len(), 2, "{kind} {more} {converted}");
        // Only the private half: what it is for is not known before it is open.
        fs::remove_file(key.with_extension("pub")).unwrap();
        let (result, _) = connect_with(&connector(), vec![settings], |_| secret("open sesame")).await;
        if let Err(error) = result {
            broken.push(format!("{kind} {more} {converted} without .pub: {error}"));
        }
    }
    assert_eq!(broken, [""; 0]);
}

fn secret(text: &str) -> Answer {
    Answer::Secrets(vec![Zeroizing::new(text.to_owned())])
}

fn generate(path: &Path, kind: &str, more: &str, passphrase: &str) {
    let done = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "a test key"])
        // Passphrases that are quickly tried.
        .args(["-a", "1"])
        .args(more.split_whitespace())
        .arg("-f")
        .arg(path)
        .status();
    assert!(done.unwrap().success(), "{kind} {more}");
}

/// A new key that may log in.
fn authorized(sshd: &Sshd, kind: &str, more: &str, passphrase: &str) -> PathBuf {
    let number = fs::read_dir(sshd.dir.path()).unwrap().count();
    let path = sshd.path(&format!("key-{kind}-{number}"));
    generate(&path, kind, more, passphrase);
    let file = sshd.path("authorized");
    let known = fs::read_to_string(&file).unwrap();
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    fs::write(&file, known + &public).unwrap();
    path
}

/// Writes the key again with openssl(1).
fn convert(key: &Path, arguments: &str) {
    let converted = key.with_extension("converted");
    let done = Command::new("openssl")
        .args(arguments.split_whitespace())
        .args([
            "-passin",
            "pass:open sesame",
            "-passout",
            "pass:open sesame",
            "-in",
        ])
        .arg(key)
        .arg("-out")
        .arg(&converted)
        .output()
        .unwrap();
    assert!(done.status.success(), "{arguments}: {done:?}");
    fs::rename(converted, key).unwrap();
}

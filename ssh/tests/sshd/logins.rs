//! Keys: in files, with passphrases, in an agent.

use std::process::Command;

use codex_ssh::{Answer, Class, Outcome, Question, Zeroizing, config::settings::IdentityAgent};

use crate::agent::Agent;
use crate::host::{Sshd, available, connect, connect_with, connector, keygen, refused};

fn secret(text: &str) -> Answer {
    Answer::Secrets(vec![Zeroizing::new(text.to_owned())])
}

#[tokio::test]
async fn key_files_of_every_type_log_in() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let mut settings = sshd.settings();
        settings.identity_files = vec![sshd.add_key(kind, kind, "")];
        let session = connect(settings)
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(
            session.peer().server_id.starts_with("SSH-2.0-OpenSSH"),
            "{:?}",
            session.peer()
        );
        session.disconnect().await;
    }
    // CVE-2023-48795: both sides must name it, and a list of algorithms must not lose it.
    let mut settings = sshd.settings();
    settings.kex_algorithms = Some("curve25519-sha256".to_owned());
    let logins = sshd.log().matches("strict KEX").count();
    assert!(logins > 0, "{}", sshd.log());
    assert_eq!(connect(settings).await.unwrap().peer().kex, "curve25519-sha256");
    assert!(sshd.log().matches("strict KEX").count() > logins);
}

#[tokio::test]
async fn a_passphrase_is_asked_again_when_wrong_and_serves_the_next_host() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.identity_files = vec![sshd.add_key("locked", "ed25519", "open sesame")];
    let connector = connector();
    let (session, heard) = connect_with(&connector, vec![settings.clone()], |question| match question {
        Question::Passphrase { attempt: 1, .. } => secret("wrong"),
        Question::Passphrase { attempt: 2, .. } => secret("open sesame"),
        other => panic!("{other:?}"),
    })
    .await;
    session.unwrap();
    assert_eq!(heard.questions.len(), 2);
    let (session, heard) = connect_with(&connector, vec![settings], |_| Answer::Refuse).await;
    session.unwrap();
    assert_eq!(heard.questions, []);
}

#[tokio::test]
async fn two_hosts_that_need_the_same_key_ask_once() {
    if !available() {
        return;
    }
    let (one, two) = (Sshd::start(""), Sshd::start(""));
    let key = one.add_key("locked", "ed25519", "open sesame");
    std::fs::copy(one.path("authorized"), two.path("authorized")).unwrap();
    let (mut first, mut second) = (one.settings(), two.settings());
    first.identity_files = vec![key.clone()];
    second.identity_files = vec![key];
    let connector = connector();
    let ((a, heard_a), (b, heard_b)) = tokio::join!(
        connect_with(&connector, vec![first], |_| secret("open sesame")),
        connect_with(&connector, vec![second], |_| secret("open sesame")),
    );
    a.unwrap();
    b.unwrap();
    assert_eq!(heard_a.questions.len() + heard_b.questions.len(), 1);
}

#[tokio::test]
async fn three_wrong_passphrases_end_the_login_and_a_refusal_cancels_it() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.identity_files = vec![sshd.add_key("locked", "ed25519", "open sesame")];
    let asked = connect_with(&connector(), vec![settings.clone()], |_| secret("wrong")).await;
    let error = refused(asked.0);
    assert_eq!((error.class(), asked.1.questions.len()), (Class::Unauthorized, 3));
    assert!(error.to_string().contains("wrong passphrase, 3 times"), "{error}");
    assert!(
        !error.to_string().contains("wrong\""),
        "no secret in the text: {error}"
    );

    let (result, _) = connect_with(&connector(), vec![settings.clone()], |_| Answer::Refuse).await;
    assert_eq!(refused(result).class(), Class::Cancelled);

    settings.batch_mode = true;
    let error = refused(connect(settings).await);
    assert_eq!(error.class(), Class::Unauthorized);
    assert!(error.to_string().contains("BatchMode"), "{error}");
}

#[tokio::test]
async fn an_agent_logs_in_and_identities_only_chooses_its_key() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let agent = Agent::full(&sshd, 7);
    let mut settings = sshd.settings();
    settings.identity_agent = IdentityAgent::Socket(agent.socket.clone());
    settings.identity_files = Vec::new();

    let error = refused(connect(settings.clone()).await);
    assert_eq!(error.class(), Class::Unauthorized);
    let denied = error.tried().iter().filter(|it| it.outcome == Outcome::Denied);
    assert_eq!(denied.count(), 5, "{error}");
    let text = error.to_string();
    assert!(text.contains("publickey a test key SHA256:"), "{text}");
    assert!(
        text.contains("IdentitiesOnly") && text.ends_with("the server accepts publickey"),
        "{text}"
    );

    // Only the public half is there: the private one is the agent's.
    std::fs::create_dir(sshd.path("public")).unwrap();
    std::fs::copy(sshd.path("user.pub"), sshd.path("public/user.pub")).unwrap();
    settings.identity_files = vec![sshd.path("public/user")];
    settings.identities_only = true;
    connect(settings.clone()).await.unwrap();

    settings.identity_agent = IdentityAgent::Socket(sshd.path("nothing"));
    let error = refused(connect(settings).await);
    assert!(error.to_string().contains("agent"), "{error}");
}

#[tokio::test]
async fn a_certificate_logs_in() {
    if !available() {
        return;
    }
    let ca = tempfile::tempdir().unwrap();
    keygen(&ca.path().join("ca"), "ed25519", "");
    let trusted = ca.path().join("ca.pub");
    let sshd = Sshd::start(&format!("TrustedUserCAKeys {}", trusted.display()));
    for kind in ["ed25519", "rsa"] {
        let key = sshd.path(&format!("certified-{kind}"));
        keygen(&key, kind, "");
        let settings = sshd.settings();
        let signed = Command::new("ssh-keygen")
            .args(["-q", "-I", "test", "-n", &settings.user, "-s"])
            .arg(ca.path().join("ca"))
            .arg(&key)
            .status();
        assert!(signed.unwrap().success());
        let mut settings = settings;
        settings.identity_files = vec![key];
        connect(settings)
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[tokio::test]
async fn the_last_words_of_a_server_that_has_enough_are_told() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxAuthTries 2");
    let mut settings = sshd.settings();
    settings.identity_files.clear();
    for number in 0..4 {
        let path = sshd.path(&format!("wrong{number}"));
        keygen(&path, "ed25519", "");
        settings.identity_files.push(path);
    }
    let error = refused(connect(settings).await);
    assert_eq!(error.class(), Class::Unauthorized);
    assert!(
        error.to_string().contains("Too many authentication failures"),
        "{error}"
    );
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_named_with_the_reason() {
    use std::os::unix::fs::PermissionsExt;
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    let open = sshd.path("open");
    keygen(&open, "ed25519", "");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let garbage = sshd.path("garbage");
    std::fs::write(&garbage, "no key").unwrap();
    settings.identity_files = vec![open, garbage, sshd.path("missing")];
    let (result, heard) = connect_with(&connector(), vec![settings], |_| Answer::Refuse).await;
    let text = refused(result).to_string();
    assert!(text.contains("others can read it: chmod 600"), "{text}");
    let [garbage, missing] = heard.notices.as_slice() else {
        panic!("{:?}", heard.notices)
    };
    assert!(
        garbage.contains("it is no key") && missing.contains("missing is missing"),
        "{:?}",
        heard.notices
    );
}

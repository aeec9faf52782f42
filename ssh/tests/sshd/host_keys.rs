//! Host keys decide before any login.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use codex_ssh::{Answer, Class, Question, config::settings::StrictHostKeyChecking};

use crate::host::{Sshd, available, connect, connect_with, connector, keygen, refused};

#[tokio::test]
async fn an_unknown_key_is_asked_about_before_any_login_and_recorded_when_accepted() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    for hashed in [false, true] {
        let mut settings = sshd.settings();
        let file = sshd.path(&format!("new-{hashed}/known_hosts"));
        settings.user_known_hosts_files = vec![file.clone()];
        settings.hash_known_hosts = hashed;
        let logged_in = sshd.log().matches("userauth-request").count();
        let (result, heard) = connect_with(&connector(), vec![settings.clone()], |_| Answer::Refuse).await;
        let error = refused(result);
        assert_eq!(error.class(), Class::HostKeyUnknown);
        assert_eq!(sshd.log().matches("userauth-request").count(), logged_in);
        assert!(!file.exists());
        let [
            Question::HostKey {
                key_type,
                fingerprint,
                randomart,
                ..
            },
        ] = heard.questions.as_slice()
        else {
            panic!("{:?}", heard.questions);
        };
        let listed = Command::new("ssh-keygen")
            .arg("-lvf")
            .arg(sshd.path("host.pub"))
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(fingerprint.as_str()) && key_type == "ED25519");
        let field = |art: &str| {
            art.lines()
                .filter(|it| it.starts_with('|'))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(field(randomart), field(&listed));

        let (result, _) = connect_with(&connector(), vec![settings.clone()], |_| Answer::Accept).await;
        result.unwrap();
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        let found = Command::new("ssh-keygen")
            .args(["-F", &format!("[127.0.0.1]:{}", sshd.port), "-f"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(found.status.success(), "OpenSSH finds the line that we wrote");
        assert_eq!(fs::read_to_string(&file).unwrap().starts_with("|1|"), hashed);

        settings.strict_host_key_checking = StrictHostKeyChecking::Yes;
        connect(settings).await.unwrap();
    }
}

#[tokio::test]
async fn a_changed_or_revoked_key_is_refused_before_any_login() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let other = sshd.path("other");
    keygen(&other, "ed25519", "");
    let other = fs::read_to_string(sshd.path("other.pub")).unwrap();
    let own = fs::read_to_string(sshd.path("host.pub")).unwrap();
    let mut settings = sshd.settings();
    let file = settings.user_known_hosts_files[0].clone();
    fs::write(&file, format!("# a comment\n[127.0.0.1]:{} {other}", sshd.port)).unwrap();
    let error = refused(connect(settings.clone()).await);
    assert_eq!(error.class(), Class::HostKeyChanged);
    let text = error.to_string();
    assert!(text.contains(&format!("{}:2", file.display())), "{text}");
    assert_eq!(text.matches("SHA256:").count(), 2, "{text}");
    let hint = error.hint().unwrap();
    let command = format!("ssh-keygen -f {} -R '[127.0.0.1]:{}'", file.display(), sshd.port);
    assert!(hint.ends_with(&command), "{hint}");
    assert!(!sshd.saw_login());

    settings.strict_host_key_checking = StrictHostKeyChecking::Off;
    let (result, heard) = connect_with(&connector(), vec![settings.clone()], |_| Answer::Refuse).await;
    result.unwrap();
    assert!(
        heard.notices.iter().any(|it| it.contains("without passwords")),
        "{:?}",
        heard.notices
    );

    let logins = sshd.log().matches("userauth-request").count();
    fs::write(&file, format!("[127.0.0.1]:{0} {own}@revoked * {own}", sshd.port)).unwrap();
    let error = refused(connect(settings).await);
    assert_eq!(error.class(), Class::HostKeyRevoked);
    assert_eq!(sshd.log().matches("userauth-request").count(), logins);
}

#[tokio::test]
async fn a_host_that_is_known_by_another_type_of_key_has_changed() {
    use StrictHostKeyChecking::{AcceptNew, Ask, Off, Yes};
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    keygen(&sshd.path("old"), "ecdsa", "");
    let old = fs::read_to_string(sshd.path("old.pub")).unwrap();
    let mut settings = sshd.settings();
    let file = settings.user_known_hosts_files[0].clone();
    let line = format!("[127.0.0.1]:{} {old}", sshd.port);
    fs::write(&file, &line).unwrap();
    for strict in [Yes, AcceptNew, Ask] {
        settings.strict_host_key_checking = strict;
        let error = refused(connect(settings.clone()).await);
        assert_eq!(error.class(), Class::HostKeyChanged, "{error}");
        assert!(error.to_string().contains("ECDSA"), "{error}");
    }
    assert!(!sshd.saw_login());
    settings.strict_host_key_checking = Off;
    let (result, heard) = connect_with(&connector(), vec![settings], |_| Answer::Refuse).await;
    result.unwrap();
    assert!(heard.notices.iter().any(|it| it.contains("without passwords")));
    assert_eq!(fs::read_to_string(&file).unwrap(), line, "nothing is recorded");
}

#[tokio::test]
async fn the_types_of_known_keys_are_asked_for_first() {
    if !available() {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let rsa = keys.path().join("rsa");
    keygen(&rsa, "rsa", "");
    let sshd = Sshd::start(&format!("HostKey {}", rsa.display()));
    let mut settings = sshd.settings();
    let public = fs::read_to_string(keys.path().join("rsa.pub")).unwrap();
    fs::write(
        &settings.user_known_hosts_files[0],
        format!("[127.0.0.1]:{} {public}", sshd.port),
    )
    .unwrap();
    settings.strict_host_key_checking = StrictHostKeyChecking::Yes;
    let session = connect(settings).await.unwrap();
    assert_eq!(session.peer().host_key, "rsa-sha2-512");
}

#[tokio::test]
async fn a_host_certificate_is_trusted_by_its_authority_and_for_its_names_only() {
    if !available() {
        return;
    }
    for (principal, class) in [
        ("127.0.0.1", None),
        ("other.example", Some(Class::HostKeyUnknown)),
    ] {
        let keys = tempfile::tempdir().unwrap();
        let (ca, host) = (keys.path().join("ca"), keys.path().join("certified"));
        keygen(&ca, "ed25519", "");
        keygen(&host, "ed25519", "");
        let signed = Command::new("ssh-keygen")
            .args(["-q", "-h", "-I", "test", "-n", principal, "-s"])
            .args([&ca, &host])
            .status();
        assert!(signed.unwrap().success());
        let shown = host.display();
        let sshd = Sshd::start(&format!("HostKey {shown}\nHostCertificate {shown}-cert.pub"));
        let mut settings = sshd.settings();
        let authority = fs::read_to_string(keys.path().join("ca.pub")).unwrap();
        let line = format!("@cert-authority [127.0.0.1]:{} {authority}", sshd.port);
        fs::write(&settings.user_known_hosts_files[0], line).unwrap();
        settings.strict_host_key_checking = StrictHostKeyChecking::Yes;
        match (connect(settings).await, class) {
            (Ok(_), None) => {}
            (Err(error), Some(class)) => {
                assert_eq!(error.class(), class);
                assert!(error.to_string().contains("other names"), "{error}");
                assert!(!sshd.saw_login());
            }
            (Ok(_), Some(_)) => panic!("trusted for {principal}"),
            (Err(error), None) => panic!("{error}"),
        }
    }
}

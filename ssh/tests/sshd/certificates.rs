//! Certificates of hosts and users that prove nothing, and what is left then.

use std::fs;

use codex_ssh::{
    Answer, Class,
    config::settings::{HostSettings, IdentityAgent, StrictHostKeyChecking},
};

use crate::{
    agent::Agent,
    host::{Heard, Sshd, available, connect, connect_with, connector, keygen, refused, sign},
};

/// A host with a certificate, whose own key, authority or neither is known.
struct Certified {
    sshd: Sshd,
    settings: HostSettings,
    keys: tempfile::TempDir,
}

/// `signed` are the arguments of ssh-keygen, `authority` and `plain` name the known keys (or nothing): `ca` has
/// signed, `certified` is the host's, `other` is a stranger's.
fn certified(signed: &[&str], authority: &str, plain: &str) -> Certified {
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name);
    for name in ["ca", "other", "certified"] {
        keygen(&path(name), "ed25519", "");
    }
    sign(&path("ca"), &path("certified"), &[&["-h"], signed].concat());
    let shown = path("certified").display().to_string();
    let sshd = Sshd::start(&format!("HostKey {shown}\nHostCertificate {shown}-cert.pub"));
    let mut settings = sshd.settings();
    settings.strict_host_key_checking = StrictHostKeyChecking::Yes;
    let known = |marker: &str, name: &str| match name {
        "" => String::new(),
        name => {
            let public = fs::read_to_string(path(&format!("{name}.pub"))).unwrap();
            format!("{marker}[127.0.0.1]:{} {public}", sshd.port)
        }
    };
    let lines = known("@cert-authority ", authority) + &known("", plain);
    fs::write(&settings.user_known_hosts_files[0], lines).unwrap();
    Certified { sshd, settings, keys }
}

async fn heard(settings: HostSettings) -> (Result<codex_ssh::Session, codex_ssh::ConnectError>, Heard) {
    connect_with(&connector(), vec![settings], |_| Answer::Refuse).await
}

const ALWAYS: [&str; 2] = ["-n", "127.0.0.1"];
const EXPIRED: [&str; 4] = ["-n", "127.0.0.1", "-V", "20200101:20200201"];
const FUTURE: [&str; 4] = ["-n", "127.0.0.1", "-V", "20900101:20910101"];

#[tokio::test]
async fn a_wrong_certificate_of_a_trusted_authority_is_refused_with_the_reason_and_nobody_is_asked() {
    if !available() {
        return;
    }
    for (signed, why) in [
        (&EXPIRED[..], "has expired"),
        (&FUTURE, "is not valid yet"),
        (&["-n", "other.example,*"], "is for other names"),
        (&[], "names no host"),
        (&["-n", "127.0.0.1", "-O", "critical:x=y"], "has critical options"),
    ] {
        for strict in [
            StrictHostKeyChecking::Yes,
            StrictHostKeyChecking::Ask,
            StrictHostKeyChecking::AcceptNew,
            StrictHostKeyChecking::Off,
        ] {
            let mut host = certified(signed, "ca", "");
            host.settings.strict_host_key_checking = strict;
            let (result, heard) = heard(host.settings).await;
            let error = refused(result);
            assert_eq!(error.class(), Class::HostKeyUnknown, "{error}");
            assert!(error.to_string().contains(why), "{why}: {error}");
            assert_eq!(heard.questions, [], "{why}");
            assert!(!host.sshd.saw_login());
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_signed_in_an_excluded_way_or_is_itself_revoked_is_no_proof() {
    if !available() {
        return;
    }
    let mut host = certified(&ALWAYS, "ca", "");
    for list in ["rsa-sha2-512", "-ssh-ed25519", "of-nobody"] {
        host.settings.host_keys.ca_signature_algorithms = Some(list.to_owned());
        let error = refused(connect(host.settings.clone()).await);
        assert!(error.to_string().contains("CASignatureAlgorithms"), "{error}");
    }
    host.settings.host_keys.ca_signature_algorithms = None;
    let file = host.settings.user_known_hosts_files[0].clone();
    let lines = fs::read_to_string(&file).unwrap();
    let certificate = fs::read_to_string(host.keys.path().join("certified-cert.pub")).unwrap();
    fs::write(&file, format!("{lines}@revoked * {certificate}")).unwrap();
    let error = refused(connect(host.settings.clone()).await);
    assert_eq!(error.class(), Class::HostKeyRevoked, "{error}");
    assert!(!host.sshd.saw_login());

    fs::write(&file, lines).unwrap();
    host.settings.host_keys.ca_signature_algorithms = Some("^ssh-ed25519".to_owned());
    connect(host.settings).await.unwrap();
}

#[tokio::test]
async fn a_name_in_a_certificate_counts_as_it_is_written() {
    if !available() {
        return;
    }
    for (principal, is_good) in [("mybox", true), ("MyBox", false)] {
        let mut host = certified(&["-n", principal], "", "");
        let file = &host.settings.user_known_hosts_files[0];
        let authority = fs::read_to_string(host.keys.path().join("ca.pub")).unwrap();
        fs::write(file, format!("@cert-authority mybox {authority}")).unwrap();
        host.settings.host_key_alias = Some("MyBox".to_owned());
        assert_eq!(connect(host.settings).await.is_ok(), is_good, "{principal}");
    }
}

#[tokio::test]
async fn a_known_key_counts_by_itself_where_its_certificate_proves_nothing() {
    if !available() {
        return;
    }
    for (signed, authority) in [
        (&ALWAYS[..], "other"),
        (&EXPIRED, "ca"),
        (&FUTURE, "ca"),
        (&["-n", "other.example"], "ca"),
    ] {
        let host = certified(signed, authority, "certified");
        let (result, heard) = heard(host.settings).await;
        result.unwrap();
        assert!(
            heard
                .notices
                .iter()
                .any(|it| it.contains("its key counts by itself")),
            "{:?}",
            heard.notices
        );
        // Another known key says that this host is not the one it was.
        let host = certified(signed, authority, "other");
        let error = refused(connect(host.settings).await);
        assert_eq!(error.class(), Class::HostKeyChanged, "{error}");
        assert!(!host.sshd.saw_login());
    }
    // A revocation counts before all others.
    let host = certified(&ALWAYS, "other", "certified");
    let file = &host.settings.user_known_hosts_files[0];
    let key = fs::read_to_string(host.keys.path().join("certified.pub")).unwrap();
    let lines = fs::read_to_string(file).unwrap();
    fs::write(file, format!("{lines}@revoked * {key}")).unwrap();
    let error = refused(connect(host.settings).await);
    assert_eq!(error.class(), Class::HostKeyRevoked, "{error}");
}

#[tokio::test]
async fn a_host_that_a_stranger_has_certified_is_asked_about_by_its_key() {
    if !available() {
        return;
    }
    let mut host = certified(&ALWAYS, "other", "");
    let (result, before) = heard(host.settings.clone()).await;
    assert_eq!(refused(result).class(), Class::HostKeyUnknown);
    assert_eq!(before.questions, []);
    assert!(
        before.notices[0].contains("authority that is not trusted"),
        "{before:?}",
        before = before.notices
    );
    assert!(!host.sshd.saw_login());
    host.settings.strict_host_key_checking = StrictHostKeyChecking::Ask;
    for questions in [1, 0] {
        let hops = vec![host.settings.clone()];
        let (session, heard) = connect_with(&connector(), hops, |_| Answer::Accept).await;
        session.unwrap();
        assert_eq!(heard.questions.len(), questions, "once accepted, it is known");
    }
}

#[tokio::test]
async fn of_a_user_certificate_that_is_refused_it_is_said_what_is_wrong_with_it() {
    if !available() {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name);
    for name in ["ca", "key"] {
        keygen(&path(name), "ed25519", "");
    }
    let sshd = Sshd::start(&format!("TrustedUserCAKeys {}.pub", path("ca").display()));
    let mut settings = sshd.settings();
    settings.identity_files = vec![path("key")];
    let user = settings.user.clone();
    let elsewhere = format!("it is for somebody-else, not for {user}");
    let cases: [(&[&str], &str); 7] = [
        (&["-n", &user, "-V", "20200101:20200201"], "it expired "),
        (&["-n", &user, "-V", "20900101:20910101"], "it is not valid yet"),
        (&["-n", "somebody-else"], &elsewhere),
        (&[], "it names no user"),
        (
            &["-n", &user, "-O", "source-address=192.0.2.1"],
            "connections from 192.0.2.1 only",
        ),
        (
            &["-n", &user, "-O", "critical:door@example.com=left"],
            "it has the critical option door@example.com",
        ),
        (&["-h", "-n", &user], "certificate for hosts, not for users"),
    ];
    for (arguments, why) in cases {
        sign(&path("ca"), &path("key"), arguments);
        let error = refused(connect(settings.clone()).await);
        assert_eq!(error.class(), Class::Unauthorized, "{error}");
        assert!(error.to_string().contains(why), "{why}: {error}");
        if arguments.first() == Some(&"-n") {
            assert!(
                error.hint().unwrap().contains("signed anew"),
                "{:?}",
                error.hint()
            );
        }
    }
    // The same from an agent, which says nothing either.
    sign(
        &path("ca"),
        &path("key"),
        &["-n", &user, "-V", "20200101:20200201"],
    );
    let agent = Agent::start(sshd.dir.path());
    agent.add(&path("key"));
    settings.identity_files.clear();
    settings.identity_agent = IdentityAgent::Socket(agent.socket.clone());
    let error = refused(connect(settings).await);
    assert!(error.to_string().contains("it expired "), "{error}");
}

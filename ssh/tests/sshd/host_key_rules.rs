//! Host keys that do not come from files alone: `KnownHostsCommand`, `UpdateHostKeys`, `RevokedHostKeys`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use codex_ssh::{
    Class,
    config::{
        Query, Sources, SystemWorld, resolve,
        settings::{HostKeyRules, StrictHostKeyChecking, UpdateHostKeys},
    },
};

use crate::host::{Sshd, available, connect, keygen, refused, until};

/// The rules of a configuration of these lines.
fn rules(dir: &Path, lines: &str) -> HostKeyRules {
    let file = dir.join("ssh_config");
    fs::write(&file, lines).unwrap();
    let resolved = resolve(&Query::host("x"), &Sources::file(&file), &mut SystemWorld::new());
    resolved.unwrap().settings.host_keys
}

fn program(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_known_hosts_command_is_asked_before_the_login_and_fails_closed() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let (dir, lookup) = (sshd.dir.path(), sshd.path("lookup"));
    let mut settings = sshd.settings();
    fs::write(&settings.user_known_hosts_files[0], "").unwrap();
    settings.strict_host_key_checking = StrictHostKeyChecking::Yes;
    let command = format!("KnownHostsCommand {} %I %H %t %f\n", lookup.display());
    settings.host_keys = rules(dir, &command);

    let asked = sshd.path("asked");
    program(&lookup, &format!("echo \"$@\" >> {}; exit 3", asked.display()));
    let error = refused(connect(settings.clone()).await);
    assert_eq!(error.class(), Class::Config);
    assert!(error.to_string().contains("exit status: 3"), "{error}");
    assert!(!sshd.log().contains("userauth-request"));

    let key = fs::read_to_string(sshd.path("host.pub")).unwrap();
    let answer = format!("echo \"$@\" >> {}; echo \"$2 {}\"", asked.display(), key.trim());
    program(&lookup, &answer);
    fs::write(&asked, "").unwrap();
    connect(settings.clone()).await.unwrap();
    let asked = fs::read_to_string(&asked).unwrap();
    let entry = format!("[127.0.0.1]:{}", sshd.port);
    let [order, name] = asked.lines().collect::<Vec<_>>()[..] else {
        panic!("{asked}")
    };
    assert_eq!(order, format!("ORDER {entry} NONE NONE"));
    assert!(
        name.starts_with(&format!("HOSTNAME {entry} ssh-ed25519 SHA256:")),
        "{name}"
    );

    // The key of a host among those of a large company.
    let many = "i=0; while [ $i -lt 20000 ]; do echo \"host$i.example.org $2\"; i=$((i+1)); done";
    let others = format!("set -- x '{}'; {many}; echo '{entry} {}'", key.trim(), key.trim());
    program(&lookup, &others);
    connect(settings.clone()).await.unwrap();

    program(&lookup, &format!("echo \"@revoked * {}\"", key.trim()));
    assert_eq!(refused(connect(settings).await).class(), Class::HostKeyRevoked);
}

#[tokio::test]
async fn the_other_keys_of_a_known_host_are_proved_and_recorded_and_old_ones_go() {
    if !available() {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let (rsa, old) = (keys.path().join("rsa"), keys.path().join("old"));
    keygen(&rsa, "rsa", "");
    keygen(&old, "ecdsa", "");
    let public = |name: &str| fs::read_to_string(keys.path().join(name)).unwrap();
    let sshd = Sshd::start(&format!("HostKey {}", rsa.display()));
    let mut settings = sshd.settings();
    let file = settings.user_known_hosts_files[0].clone();
    let before = fs::read_to_string(&file).unwrap();
    let entry = format!("[127.0.0.1]:{}", sshd.port);
    fs::write(&file, format!("{before}{entry} {}", public("old.pub"))).unwrap();
    // Without the setting, nothing changes; the server has announced its keys when a command has run.
    let session = connect(settings.clone()).await.unwrap();
    session.exec("true").await.unwrap().exit().wait().await;
    assert!(!fs::read_to_string(&file).unwrap().contains("ssh-rsa"));

    settings.host_keys.update = UpdateHostKeys::Yes;
    let _session = connect(settings.clone()).await.unwrap();
    let blob = |text: &str| text.split(' ').nth(1).unwrap().trim().to_owned();
    until("the RSA key is recorded", || {
        fs::read_to_string(&file)
            .unwrap()
            .contains(&blob(&public("rsa.pub")))
    })
    .await;
    let after = fs::read_to_string(&file).unwrap();
    assert!(!after.contains(&blob(&public("old.pub"))), "{after}");
    settings.host_key_algorithms = Some("rsa-sha2-512".to_owned());
    settings.strict_host_key_checking = StrictHostKeyChecking::Yes;
    assert_eq!(connect(settings).await.unwrap().peer().host_key, "rsa-sha2-512");
}

#[tokio::test]
async fn revoked_short_and_local_keys_follow_their_rules() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.host_keys.revoked_files = vec![sshd.path("host.pub")];
    assert_eq!(
        refused(connect(settings.clone()).await).class(),
        Class::HostKeyRevoked
    );
    let list = sshd.path("krl");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-k", "-f"])
        .args([&list, &sshd.path("host.pub")])
        .status();
    assert!(made.unwrap().success());
    settings.host_keys.revoked_files = vec![list.clone()];
    let error = refused(connect(settings.clone()).await);
    assert_eq!(error.class(), Class::HostKeyRevoked);
    assert!(
        error.to_string().contains(&format!("by {} (", list.display())),
        "{error}"
    );
    settings.host_keys.revoked_files = vec![sshd.path("missing")];
    let error = refused(connect(settings.clone()).await);
    assert!(error.to_string().contains("RevokedHostKeys"), "{error}");
    assert!(!sshd.log().contains("userauth-request"));

    let keys = tempfile::tempdir().unwrap();
    let rsa = keys.path().join("rsa");
    keygen(&rsa, "rsa", "");
    let server = Sshd::start(&format!("HostKey {}", rsa.display()));
    let mut short = server.settings();
    short.host_key_algorithms = Some("rsa-sha2-512".to_owned());
    short.host_keys.required_rsa_size = 4096;
    let error = refused(connect(short).await);
    assert!(error.to_string().contains("RequiredRSASize"), "{error}");
    assert!(!server.saw_login());

    let mut local = server.settings();
    fs::write(&local.user_known_hosts_files[0], "").unwrap();
    local.host_keys.trust_localhost = true;
    local.strict_host_key_checking = StrictHostKeyChecking::Yes;
    connect(local).await.unwrap();
}

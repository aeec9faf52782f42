//! Our reading of key revocation lists against ssh-keygen's, which writes them.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use codex_ssh::{
    config::settings::HostSettings,
    known_hosts::{KnownHosts, Verdict},
};
use russh::keys::{Certificate, PublicKey};

fn keygen(directory: &Path, args: &[&str]) -> bool {
    let mut command = Command::new("ssh-keygen");
    command.arg("-q").args(args).current_dir(directory);
    command.output().unwrap().status.success()
}

fn key(directory: &Path, name: &str, kind: &str) {
    assert!(keygen(directory, &["-t", kind, "-N", "", "-C", name, "-f", name]));
}

/// Certifies the host key `name` by `authority`, as `name-serial-authority`.
fn certify(directory: &Path, name: &str, authority: &str, serial: u64) {
    let (serial, id) = (serial.to_string(), format!("{name}-{serial}"));
    let public = format!("{name}.pub");
    let args = [
        "-h", "-s", authority, "-I", &id, "-n", "host", "-z", &serial, &public,
    ];
    assert!(keygen(directory, &args));
    let made = directory.join(format!("{name}-cert.pub"));
    fs::rename(
        made,
        directory.join(format!("{name}-{serial}-{authority}-cert.pub")),
    )
    .unwrap();
}

/// What we say about a file with a key or a certificate.
fn is_revoked(list: &Path, file: &Path) -> bool {
    let mut settings = HostSettings::plain("host", "me".to_owned(), 22);
    settings.user_known_hosts_files.clear();
    settings.global_known_hosts_files.clear();
    settings.host_keys.revoked_files = vec![list.to_owned()];
    let known = KnownHosts::load(&settings);
    let text = fs::read_to_string(file).unwrap();
    let verdict = match Certificate::from_openssh(text.trim()) {
        Ok(certificate) => known.check_certificate(&certificate, "host", 0).ok(),
        Err(_) => Some(known.check(&PublicKey::from_openssh(text.trim()).unwrap())),
    };
    match verdict {
        Some(Verdict::Revoked { file, line: None }) => {
            assert_eq!(file, list);
            true
        }
        Some(Verdict::Revoked { line, .. }) => panic!("a binary list has no line {line:?}"),
        _ => false,
    }
}

/// The same by OpenSSH: it ends with a failure for what is revoked.
fn oracle(directory: &Path, list: &Path, file: &Path) -> bool {
    !keygen(
        directory,
        &["-Q", "-f", &list.to_string_lossy(), &file.to_string_lossy()],
    )
}

/// What `ssh-keygen -k` is told, and by whom the certificates in it are signed.
fn specifications(read: impl Fn(&str) -> String) -> Vec<(String, Option<&'static str>)> {
    vec![
        ("serial: 7\n".to_owned(), Some("ca.pub")),
        ("serial: 0\n".to_owned(), Some("ca.pub")),
        ("serial: 1-64\n".to_owned(), Some("ca.pub")),
        // Close together they become a bitmap, apart a list.
        (
            "serial: 1\nserial: 3\nserial: 8\nserial: 64\nserial: 66\n".to_owned(),
            Some("other.pub"),
        ),
        (
            "serial: 2\nserial: 1000000\nserial: 18446744073709551615\n".to_owned(),
            Some("ca.pub"),
        ),
        ("id: one-7\nid: three-5\n".to_owned(), Some("other.pub")),
        ("id: one-7\nserial: 5\n".to_owned(), Some("NONE")),
        (format!("key: {}", read("one.pub")), None),
        (format!("key: {}", read("ca.pub")), None),
        (format!("sha1: {}", read("two.pub")), None),
        (format!("sha256: {}", read("three.pub")), None),
        (format!("sha256: {}", read("other.pub")), None),
        (read("one-7-ca-cert.pub"), None),
        (String::new(), None),
    ]
}

#[test]
fn every_form_of_a_revocation_means_what_it_means_to_ssh_keygen() {
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (name, kind) in [
        ("one", "ed25519"),
        ("two", "ecdsa"),
        ("three", "rsa"),
        ("ca", "ed25519"),
        ("other", "ecdsa"),
    ] {
        key(directory, name, kind);
    }
    for authority in ["ca", "other"] {
        for serial in [0, 1, 2, 7, 8, 63, 64, 65, 200, 1_000_000, u64::MAX] {
            certify(directory, "one", authority, serial);
        }
        certify(directory, "three", authority, 5);
    }
    let files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    let files: Vec<PathBuf> = files.into_iter().filter(|it| it.extension().is_some()).collect();
    assert_eq!(files.len(), 5 + 2 * 12);
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let mut found = 0;
    for (number, (specification, authority)) in specifications(read).into_iter().enumerate() {
        let (input, list) = (directory.join("input"), directory.join(format!("list{number}")));
        fs::write(&input, &specification).unwrap();
        let list_name = list.to_string_lossy();
        let mut args = vec!["-k", "-f", &list_name];
        args.extend(authority.iter().flat_map(|it| ["-s", it]));
        args.push("input");
        let made = keygen(directory, &args);
        assert_eq!(made, specification != "serial: 0\n", "{specification}");
        if !made {
            continue;
        }
        for file in &files {
            let expected = oracle(directory, &list, file);
            assert_eq!(
                is_revoked(&list, file),
                expected,
                "{specification} {}",
                file.display()
            );
            found += usize::from(expected);
        }
    }
    assert!(found > 50, "{found}");
}

//! Key files and certificates as people leave them lying about: what OpenSSH's client finds in them, we find.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use codex_ssh::{Class, config::settings::HostSettings};
use tempfile::TempDir;

use crate::host::{Sshd, available, connect, keygen, refused, sign};

/// A server that lets in by certificates, and keys that it does not know.
struct Authority {
    sshd: Sshd,
    keys: TempDir,
}

impl Authority {
    fn start(more: &str) -> Authority {
        let keys = tempfile::tempdir().unwrap();
        for name in ["ca", "stranger", "key", "other"] {
            keygen(&keys.path().join(name), "ed25519", "");
        }
        let sshd = Sshd::start(&format!(
            "TrustedUserCAKeys {}/ca.pub\n{more}",
            keys.path().display()
        ));
        Authority { sshd, keys }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.keys.path().join(name)
    }

    /// Signs `key` and puts the certificate into the file `place`.
    fn certify(&self, authority: &str, key: &str, place: &str) {
        let user = self.sshd.settings().user;
        sign(&self.path(authority), &self.path(key), &["-n", &user]);
        fs::rename(self.path(&format!("{key}-cert.pub")), self.path(place)).unwrap();
    }

    fn settings(&self, keys: &[&str], certificates: &[&str]) -> HostSettings {
        let paths = |names: &[&str]| names.iter().map(|it| self.path(it)).collect();
        HostSettings {
            identity_files: paths(keys),
            certificate_files: paths(certificates),
            ..self.sshd.settings()
        }
    }
}

#[tokio::test]
async fn a_certificate_is_found_wherever_openssh_finds_it() {
    if !available() {
        return;
    }
    let host = Authority::start("");
    host.certify("ca", "key", "certificate");
    let text = fs::read_to_string(host.path("certificate")).unwrap();
    fs::write(
        host.path("commented"),
        format!("# of the authority\r\n\r\n{text}"),
    )
    .unwrap();
    connect(host.settings(&["key"], &["commented"])).await.unwrap();
    // Named like a key, in either order.
    connect(host.settings(&["certificate", "key"], &[]))
        .await
        .unwrap();
    connect(host.settings(&["key", "certificate"], &[]))
        .await
        .unwrap();
    // In place of the public half.
    fs::write(host.path("key.pub"), text).unwrap();
    connect(host.settings(&["key"], &[])).await.unwrap();
}

#[tokio::test]
async fn who_names_a_certificate_has_named_all_of_them() {
    if !available() {
        return;
    }
    let host = Authority::start("MaxAuthTries 1");
    host.certify("ca", "key", "good");
    host.certify("stranger", "key", "key-cert.pub");
    connect(host.settings(&["key"], &["good"])).await.unwrap();
    let error = refused(connect(host.settings(&["key"], &[])).await);
    assert_eq!(error.class(), Class::Unauthorized, "{error}");
}

#[tokio::test]
async fn one_certificate_is_offered_once_however_often_it_is_named() {
    if !available() {
        return;
    }
    let host = Authority::start("");
    host.certify("stranger", "key", "key-cert.pub");
    let error = refused(connect(host.settings(&["key", "key-cert.pub"], &[])).await);
    let text = error.to_string();
    assert_eq!(text.matches("certificate ").count(), 1, "{text}");
}

#[tokio::test]
async fn a_certificate_file_that_is_of_no_use_says_why() {
    if !available() {
        return;
    }
    let host = Authority::start("");
    host.certify("ca", "other", "others");
    fs::write(host.path("notes"), "no certificate\n").unwrap();
    for (file, why) in [
        ("missing", "it is missing"),
        ("key.pub", "it is a public key, and no certificate"),
        ("notes", "it is no certificate that can be read"),
        ("others", "neither a file nor the agent has its private key"),
    ] {
        let error = refused(connect(host.settings(&["key"], &[file])).await);
        let text = error.to_string();
        let path = host.path(file).display().to_string();
        assert!(text.contains(&path) && text.contains(why), "{file}: {text}");
    }
}

#[tokio::test]
async fn what_stands_behind_a_private_key_is_not_part_of_it() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let append = |path: &Path, text: &str| {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append(&sshd.path("user"), "\nmade on a Sunday\n");
    connect(sshd.settings()).await.unwrap();
    let other = sshd.dir.path().join("second");
    keygen(&other, "ed25519", "");
    append(&sshd.path("user"), &fs::read_to_string(other).unwrap());
    connect(sshd.settings()).await.unwrap();
}

#[tokio::test]
async fn a_key_with_the_parameters_of_its_curve_before_it_logs_in() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let (key, bare) = (sshd.path("curve"), sshd.path("bare"));
    for (file, more) in [(&key, &[][..]), (&bare, &["-noout"][..])] {
        let made = Command::new("openssl")
            .args(["ecparam", "-genkey", "-name", "prime256v1", "-out"])
            .arg(file)
            .args(more)
            .status()
            .unwrap();
        assert!(made.success());
        restrict(file);
    }
    assert!(fs::read_to_string(&key).unwrap().contains("BEGIN EC PARAMETERS"));
    for file in [bare, key] {
        let public = Command::new("ssh-keygen").arg("-yf").arg(&file).output().unwrap();
        assert!(public.status.success(), "{public:?}");
        fs::write(sshd.path("authorized"), public.stdout).unwrap();
        let mut settings = sshd.settings();
        settings.identity_files = vec![file];
        connect(settings).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_that_is_not_offered_is_not_offered_by_its_second_hash_either() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let key = sshd.path("short");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let mut settings = sshd.settings();
    settings.identity_files = vec![key];
    settings.host_keys.required_rsa_size = 3072;
    let text = refused(connect(settings).await).to_string();
    assert_eq!(text.matches("RequiredRSASize excludes it").count(), 1, "{text}");
}

fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_pipe_in_place_of_a_key_file_is_not_waited_for() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let pipe = sshd.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut settings = sshd.settings();
    settings.identity_files.insert(0, pipe.clone());
    connect(settings.clone()).await.unwrap();
    settings.identity_files = vec![pipe];
    let error = refused(connect(settings).await);
    assert!(error.to_string().contains("it is a pipe"), "{error}");
}

#[tokio::test]
async fn nobody_is_asked_for_the_passphrase_of_a_key_that_cannot_be_opened_with_it() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let key = sshd.path("plain");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    for arguments in ["pkcs8 -topk8 -v1 PBE-SHA1-3DES", "rsa -traditional -camellia256"] {
        let encrypted = sshd.path("encrypted");
        let made = Command::new("openssl")
            .args(arguments.split_whitespace())
            .args(["-passout", "pass:open sesame", "-in"])
            .arg(&key)
            .arg("-out")
            .arg(&encrypted)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        restrict(&encrypted);
        let mut settings = sshd.settings();
        settings.identity_files = vec![encrypted.clone()];
        // Without a question, or `connect` fails.
        let error = refused(connect(settings).await);
        let way_out = format!("`ssh-keygen -p -f {}`", encrypted.display());
        assert!(error.to_string().contains(&way_out), "{arguments}: {error}");
    }
}

#[tokio::test]
async fn a_pipe_among_the_files_of_host_keys_is_not_waited_for() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let pipe = sshd.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut settings = sshd.settings();
    settings.host_keys.revoked_files = vec![pipe.clone()];
    let revoked = refused(connect(settings).await);
    assert!(revoked.to_string().contains("it is a pipe"), "{revoked}");
    assert!(!sshd.saw_login());
    // The key is known by the file behind it.
    let mut settings = sshd.settings();
    settings.user_known_hosts_files.insert(0, pipe);
    connect(settings).await.unwrap();
}

//! The account files of one host: who may log in there, with which shell and password.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::io::Write;
use std::os::unix::{ffi::OsStrExt, fs::PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// The user of every host.
pub(crate) const USER: &str = "dev";

/// The user and group number of [`USER`] where root starts the hosts: none that Debian hands out.
const NUMBER: u32 = 61_242;

/// The number of [`USER`] here: without root nobody can become another user.
pub(crate) fn number() -> u32 {
    let own = rustix::process::geteuid();
    if own.is_root() { NUMBER } else { own.as_raw() }
}

/// The group's number of [`USER`] here.
pub(crate) fn group() -> u32 {
    if rustix::process::geteuid().is_root() {
        NUMBER
    } else {
        rustix::process::getegid().as_raw()
    }
}

/// Writes `passwd`, `group` and `shadow` into `folder`.
pub(crate) fn write(folder: &Path, home: &Path, shell: &str, password: Option<&str>) {
    let (number, group) = (number(), group());
    let before = format!(
        "root:x:0:0:root:/root:/bin/bash\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
         sshd:x:61200:65534::/run/sshd:/usr/sbin/nologin\n\
         {USER}:x:{number}:{group}::"
    );
    // Bytes: a home need not be text.
    let passwd = [
        before.as_bytes(),
        home.as_os_str().as_bytes(),
        format!(":{shell}\n").as_bytes(),
    ]
    .concat();
    fs::write(folder.join("passwd"), passwd).unwrap();
    let groups = format!("root:x:0:\ntty:x:5:\nshadow:x:42:\nnogroup:x:65534:\n{USER}:x:{group}:\n");
    fs::write(folder.join("group"), groups).unwrap();
    let hash = password.map_or("*".to_owned(), hash);
    let shadow = format!("root:*:20000::::::\nsshd:*:20000::::::\n{USER}:{hash}:20000::::::\n");
    fs::write(folder.join("shadow"), shadow).unwrap();
    fs::set_permissions(folder.join("shadow"), fs::Permissions::from_mode(0o640)).unwrap();
}

/// Writes the PAM stack into `folder`: the password, and behind it a code of an authenticator if asked for.
pub(crate) fn write_pam(folder: &Path, authenticator: bool) {
    let mut stack = String::from("auth required pam_unix.so nodelay\n");
    if authenticator {
        let users = folder.join("oath");
        fs::write(&users, format!("HOTP {USER} - {AUTHENTICATOR_SECRET}\n")).unwrap();
        fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
        stack += &format!(
            "auth required pam_oath.so usersfile={} window=10 digits=6\n",
            users.display()
        );
    }
    stack += "account required pam_permit.so\nsession required pam_permit.so\n";
    fs::write(folder.join("pam"), stack).unwrap();
}

/// The secret of RFC 4226, appendix D, in hexadecimal.
const AUTHENTICATOR_SECRET: &str = "3132333435363738393031323334353637383930";

/// The codes an authenticator shows for a new host, in this order; each is good for one login (RFC 4226,
/// appendix D).
pub const AUTHENTICATOR_CODES: [&str; 10] = [
    "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
];

/// crypt(3) with SHA-512. Perl is on every Debian system and brings the C library's function.
fn hash(password: &str) -> String {
    let mut perl = Command::new("perl")
        .args([
            "-e",
            r#"my $p = <STDIN>; print crypt($p, '$6$rounds=1000$codextestkit$')"#,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    perl.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = perl.wait_with_output().unwrap();
    assert!(output.status.success(), "perl could not hash the password");
    String::from_utf8(output.stdout).unwrap()
}

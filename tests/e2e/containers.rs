//! Our own server on what is a host by a program of the user: a container, a root folder.

use std::{fs, process::Command};

use codex_testkit::{Client, busybox, require};

use crate::{
    install::{BIN, event, install, mounted_host, tiny},
    serving::set_hosts,
};

#[test]
fn the_words_of_a_container_that_is_not_there_are_told() {
    let client = Client::new();
    let words = r#"[hosts.box]
command = ["sh", "-c", "echo no such container: web >&2; exit 126"]
"#;
    set_hosts(&client, words);
    let outcome = install(&client, "box", tiny());
    let failure = event(&outcome, "failure");
    assert_eq!(failure["code"], "unreachable", "{failure}");
    let said = failure["stderr"].as_str().unwrap_or_default();
    assert!(said.contains("no such container: web"), "{failure}");
}

/// A bare root folder: no `/proc`, nothing but busybox.
#[test]
fn a_host_with_only_busybox_takes_the_program() {
    require!(Sshd, Busybox);
    let busybox = busybox().unwrap();
    let client = Client::new();
    let root = client.home().join("root");
    for folder in ["bin", "dev", "root"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy(&busybox, root.join("bin/busybox")).unwrap();
    let applets = Command::new(busybox).arg("--list").output().unwrap();
    let applets = String::from_utf8(applets.stdout).unwrap();
    for applet in applets.lines().filter(|it| *it != "busybox") {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let at = root.display();
    mounted_host(
        &client,
        &format!(
            "mount --rbind /dev {at}/dev; export HOME=/root PATH=/bin:/usr/sbin:/usr/bin; exec chroot {at} /bin/sh"
        ),
    );
    let outcome = install(&client, "box", tiny());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        root.join("root").join(BIN).join("codex").is_symlink(),
        "{outcome:?}"
    );
}

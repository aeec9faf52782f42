//! Our reading of `known_hosts` against ssh-keygen's.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{fs, path::Path, process::Command};

use codex_ssh::known_hosts::{Marker, add, entry_name, parse};
use russh::keys::PublicKey;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";
const NAMES: &[&str] = &[
    "host",
    "Host",
    "hosts",
    "a.corp",
    "bad.corp",
    "a.b.corp",
    "10.0.0.1",
    "[host]:2222",
    "[a.corp]:2222",
    "::1",
];

/// The line numbers that `ssh-keygen -F` names.
fn oracle(file: &Path, name: &str) -> Vec<usize> {
    let output = Command::new("ssh-keygen")
        .args(["-F", name, "-f"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers = text.lines().filter(|line| line.starts_with("# Host "));
    numbers
        .map(|line| line.split("found: line ").nth(1).unwrap())
        .map(|rest| rest.split_whitespace().next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn the_lines_about_a_host_are_those_that_ssh_keygen_finds() {
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        let required = std::env::var("CODEX_TESTS_REQUIRE").unwrap_or_default();
        assert!(
            !required.contains("sshd"),
            "there is no ssh-keygen, and it is required"
        );
        eprintln!("skipped: there is no ssh-keygen");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    let lines = [
        "# host a comment".to_owned(),
        String::new(),
        format!("host {KEY}"),
        format!("HOST,10.0.0.? {KEY} a comment"),
        format!("*.corp,!bad.corp {KEY}"),
        format!("!bad.corp,*.corp\t{KEY}"),
        format!("[host]:2222,[*.corp]:2222 {KEY}"),
        format!("  host\t\t{KEY}"),
        format!("@revoked * {KEY}"),
        format!("@cert-authority *.corp {KEY}"),
        format!("* {KEY}"),
        format!("::1,host* {KEY}\r"),
        format!("# {KEY}"),
    ];
    fs::write(&file, lines.join("\n")).unwrap();
    let key = PublicKey::from_openssh(KEY).unwrap();
    for name in ["hashed", "[host]:2222", "a.corp"] {
        add(&file, name, &key, true).unwrap();
    }
    add(&file, "host", &key, false).unwrap();
    let parsed = parse(&fs::read(&file).unwrap());
    for name in NAMES.iter().chain(&["hashed"]) {
        let name = name.to_ascii_lowercase();
        let about = parsed.iter().filter(|line| line.is_about(&name));
        let ours: Vec<usize> = about.map(|line| line.number).collect();
        assert_eq!(ours, oracle(&file, &name), "{name}");
    }
    assert_eq!(
        parsed
            .iter()
            .filter(|line| line.marker == Marker::Revoked)
            .count(),
        1
    );
    assert_eq!(
        (entry_name("A.Corp", 22), entry_name("::1", 2222)),
        ("a.corp".into(), "[::1]:2222".into())
    );
}

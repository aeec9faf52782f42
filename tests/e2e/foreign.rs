//! Hosts of other systems and processors: what cannot run there is not sent there.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, require};

use crate::{install::tiny, setting::codex};

/// Lines of a host's root that let `uname` say this.
fn called(system: &str) -> String {
    format!(
        "mkdir /run/names; printf '#!/bin/sh\\necho {system}\\n' > /run/names/uname\n\
         chmod 755 /run/names/uname; mount --bind /run/names/uname /usr/bin/uname\n"
    )
}

fn start(client: &Client, system: &str) -> Host {
    let options = HostOptions::new().codex(Codex::Absent).setup(&called(system));
    let host = Host::start(options.authorize(client.key()));
    client.add(&Alias::new("box", &host));
    host
}

/// What stands below the home of the host.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found.sort();
    found
}

#[test]
fn a_host_that_this_program_does_not_run_on_is_told_in_one_sentence_and_left_as_it_was() {
    require!(Sshd);
    for (system, may_have_a_build) in [
        ("Darwin arm64", true),
        ("Darwin x86_64", true),
        ("FreeBSD amd64", false),
        ("Linux armv7l", true),
        ("Linux riscv64", true),
        ("Linux mips", true),
    ] {
        let client = Client::new();
        let host = start(&client, system);
        let before = files(&host.home());
        let outcome = codex(&client, &["install", "box"]);
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
        let way_out = match may_have_a_build {
            true => &*format!("`codex install box --binary FILE` takes a program for {system}"),
            false => "our server runs on Linux and macOS only",
        };
        for part in [
            &format!("box is {system}, and this program is for Linux"),
            "nothing was sent [not-installed]",
            way_out,
        ] {
            assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
        }
        // It is not offered either.
        let outcome = codex(&client, &["exec", "--host", "box", "say hello"]);
        let hint = format!("from a build for {system}: `codex install box --binary FILE`");
        assert_eq!(outcome.stderr.contains(&hint), may_have_a_build, "{outcome:?}");
        assert_eq!(files(&host.home()), before, "{system}");
    }
}

#[test]
fn a_host_that_does_not_say_what_it_is_gets_nothing() {
    require!(Sshd);
    let client = Client::new();
    let _host = start(&client, "");
    let outcome = codex(&client, &["install", "box"]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("does not say what it is"), "{outcome:?}");
}

#[test]
fn a_program_that_is_said_to_be_for_the_host_and_is_not_is_taken_away_again() {
    require!(Sshd);
    let client = Client::new();
    // The name says one thing, and the processor is another.
    let (system, machine) = match cfg!(target_arch = "aarch64") {
        true => ("Linux x86_64", 62),
        false => ("Linux aarch64", 183),
    };
    let host = start(&client, system);
    let before = files(&host.home());
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("foreign");
    let mut bytes = fs::read(tiny()).unwrap();
    // e_machine (elf(5)).
    bytes[18] = machine;
    fs::write(&binary, bytes).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = codex(&client, &["install", "box", "--binary", binary.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    for part in [
        "the program does not run on box",
        "whatever its uname says [not-installed]",
        "hint: ",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
    assert_eq!(files(&host.home()), before, "{outcome:?}");
    // One for this host is refused by its name.
    let outcome = codex(&client, &["install", "box", "--binary", tiny().to_str().unwrap()]);
    assert!(
        outcome.stderr.contains(&format!("box is {system}")),
        "{outcome:?}"
    );
}

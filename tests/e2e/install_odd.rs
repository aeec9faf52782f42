//! Putting our own server on hosts where something is odd: several installations at once, programs that are missing or
//! lie, versions that vanish meanwhile, start-up files in the way of the system's `ssh`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use codex_testkit::{Alias, AppServer, Client, Codex, Host, HostOptions, require};
use serde_json::json;

use crate::{
    install::{BIN, bare_host, event, install, sha256, shell_host, tiny, version, versions},
    serving::set_hosts,
    setting::{CODEX, codex},
};

/// A host whose user finds this script in the place of one of the programs that every system has.
fn with_tool(client: &Client, name: &str, script: &str) {
    let tools = bare_host(client, &["sha256sum", "head"]);
    _ = fs::remove_file(tools.join(name));
    fs::write(tools.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The program that `codex` leads to.
fn current(client: &Client) -> PathBuf {
    client.home().join(BIN).join("codex")
}

fn parts(bin: &Path) -> usize {
    let entries = fs::read_dir(bin).unwrap().map(|it| it.unwrap().path());
    entries
        .filter(|it| it.extension().is_some_and(|it| it == "part"))
        .count()
}

#[test]
fn installations_of_one_program_at_once_all_end_well() {
    require!(Sshd);
    let client = Client::new();
    let host = Host::start(HostOptions::new().codex(Codex::Absent).authorize(client.key()));
    client.add(&Alias::new("bare", &host));
    let folder = tempfile::tempdir().unwrap();
    let binary = version(folder.path(), "large", 30_000_000);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let outcome = install(&client, "bare", &binary);
                assert_eq!(outcome.code, Some(0), "{outcome:?}");
            });
        }
    });
    let bin = host.home().join(BIN);
    assert!(fs::read(bin.join("codex")).unwrap() == fs::read(&binary).unwrap());
    assert_eq!((versions(&bin).len(), parts(&bin)), (1, 0));
}

#[test]
fn installations_of_different_programs_at_once_leave_one_that_runs() {
    let client = Client::new();
    shell_host(&client);
    let folder = tempfile::tempdir().unwrap();
    let binaries = ["a", "b", "c", "d"].map(|it| version(folder.path(), it, 1_000_000));
    for _ in 0..3 {
        thread::scope(|scope| {
            for binary in &binaries {
                let client = &client;
                scope.spawn(move || {
                    let outcome = install(client, "box", binary);
                    assert_eq!(outcome.code, Some(0), "{outcome:?}");
                });
            }
        });
        let now = fs::read(current(&client)).unwrap();
        assert!(binaries.iter().any(|it| fs::read(it).unwrap() == now));
    }
}

#[test]
fn a_version_that_another_installation_removed_is_put_there_again() {
    let client = Client::new();
    // As an installation of another version does between the two steps of this one.
    let other = "[ -e \"$HOME/once\" ] || rm -r \"$HOME/.codex/codex-server/bin/${2%/codex}\"; : >\"$HOME/once\"; \
                 exec /bin/ln \"$@\"";
    with_tool(&client, "ln", other);
    let outcome = install(&client, "box", tiny());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(fs::read(current(&client)).unwrap() == fs::read(tiny()).unwrap());
}

#[test]
fn the_link_never_stays_on_a_version_that_is_removed() {
    let client = Client::new();
    // Another installation goes back to the version that this one takes for an old one, just before that is removed.
    let other = "case $2 in */codex) q=${2%/codex}; /bin/ln -sfn \"${q##*/}/codex\" \"${q%/*}/codex\";; esac; \
                 exec /bin/rm \"$@\"";
    with_tool(&client, "rm", other);
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        let binary = version(folder.path(), name, 10);
        let outcome = install(&client, "box", &binary);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(
            fs::read(current(&client)).unwrap() == fs::read(&binary).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_part_that_its_own_session_goes_on_writing_is_taken_as_far_as_it_was_looked_at() {
    for with_head in [true, false] {
        let client = Client::new();
        // The session of an upload that was cut lives on at the host for a while: also when its part has been hashed,
        // which is the second time that the program for it runs.
        let grows = "/usr/bin/sha256sum \"$@\"; if [ -e \"$HOME/first\" ]; then \
                     for p in \"$HOME\"/.codex/codex-server/bin/*.once.part; do [ -f \"$p\" ] && echo more >>\"$p\"; done; \
                     fi; : >\"$HOME/first\"";
        with_tool(&client, "sha256sum", grows);
        if !with_head {
            fs::remove_file(client.home().join("tools/head")).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let binary = version(folder.path(), "large", 500_000);
        let bytes = fs::read(&binary).unwrap();
        let bin = client.home().join(BIN);
        fs::create_dir_all(&bin).unwrap();
        let part = bin.join(format!("{}.once.part", sha256(&binary)));
        fs::write(part, &bytes[..400_000]).unwrap();
        let outcome = install(&client, "box", &binary);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        if with_head {
            assert_eq!(event(&outcome, "installed")["sent"], bytes.len() - 400_000);
        }
        assert!(fs::read(current(&client)).unwrap() == bytes);
        assert_eq!(parts(&bin), 0);
    }
}

#[test]
fn programs_that_are_missing_or_lie_are_done_without() {
    let client = Client::new();
    with_tool(&client, "shasum", "echo usage: shasum FILE");
    let tools = client.home().join("tools");
    for name in ["tr", "wc", "cp", "readlink", "head"] {
        fs::remove_file(tools.join(name)).unwrap();
    }
    fs::remove_file(tools.join("sha256sum")).unwrap();
    fs::write(
        tools.join("sha256sum"),
        "#!/bin/sh\necho sha256sum: applet not found\nexit 127\n",
    )
    .unwrap();
    fs::set_permissions(tools.join("sha256sum"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/usr/bin/openssl", tools.join("openssl")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bin = client.home().join(BIN);
    fs::create_dir_all(&bin).unwrap();
    for (name, kept) in [("a", 1), ("b", 2), ("c", 2)] {
        let binary = version(folder.path(), name, 500_000);
        let bytes = fs::read(&binary).unwrap();
        fs::write(
            bin.join(format!("{}.once.part", sha256(&binary))),
            &bytes[..400_000],
        )
        .unwrap();
        let outcome = install(&client, "box", &binary);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(event(&outcome, "begun")["resumedAt"], 400_000);
        assert!(fs::read(bin.join("codex")).unwrap() == bytes);
        assert_eq!(versions(&bin).len(), kept, "{name}");
    }
}

#[test]
fn a_folder_of_the_users_at_the_place_of_the_link_is_left_alone() {
    let client = Client::new();
    shell_host(&client);
    let bin = client.home().join(BIN);
    fs::create_dir_all(client.home().join("mine")).unwrap();
    fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(client.home().join("mine"), bin.join("codex")).unwrap();
    let outcome = install(&client, "box", tiny());
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(
        event(&outcome, "failure")["message"]
            .as_str()
            .unwrap()
            .contains("not made by an installation")
    );
    assert_eq!(fs::read_dir(client.home().join("mine")).unwrap().count(), 0);
}

#[test]
fn start_up_files_that_print_take_the_input_or_become_another_shell_keep_no_program_away() {
    require!(Ssh, Sshd, Zsh);
    let noise = "head -c 1000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero >&2\n";
    for (rc, transport) in [
        (noise, "builtin"),
        (noise, "system"),
        ("exec zsh\n", "system"),
        ("exec dash\n", "builtin"),
        ("exec dash\n", "system"),
        ("read x; read y\n", "system"),
    ] {
        let client = Client::new();
        let options = HostOptions::new().codex(Codex::Absent).rc(rc);
        let host = Host::start(options.authorize(client.key()));
        client.add(&Alias::new("bare", &host));
        set_hosts(&client, &format!("[hosts.bare]\ntransport = \"{transport}\"\n"));
        let binary = tiny().to_str().unwrap();
        let outcome = codex(&client, &["install", "bare", "--binary", binary]);
        assert_eq!(outcome.code, Some(0), "{rc}: {outcome:?}");
        let outcome = codex(&client, &["install", "bare", "--remove"]);
        assert!(outcome.stdout.contains("removed 1 version"), "{rc}: {outcome:?}");
    }
}

#[test]
fn what_keeps_the_program_away_is_said_as_of_a_server() {
    require!(Ssh, Sshd);
    for (rc, transport, words) in [
        ("exit 1\n", "builtin", "exit status 1"),
        ("exit 1\n", "system", "exit status: 1"),
        (
            "exec >&2\n",
            "builtin",
            "takes the standard output of every command away",
        ),
    ] {
        let client = Client::new();
        let options = HostOptions::new().codex(Codex::Absent).rc(rc);
        let host = Host::start(options.authorize(client.key()));
        client.add(&Alias::new("bare", &host));
        set_hosts(&client, &format!("[hosts.bare]\ntransport = \"{transport}\"\n"));
        let binary = tiny().to_str().unwrap();
        let outcome = codex(&client, &["install", "bare", "--binary", binary]);
        assert_eq!(outcome.code, Some(3), "{rc}: {outcome:?}");
        for part in [words, ".bashrc", "[launch-failed]"] {
            assert!(outcome.stderr.contains(part), "{rc}: {part}: {outcome:?}");
        }
    }
}

#[test]
fn a_server_goes_on_to_contain_commands_when_its_program_was_removed() {
    let client = Client::new();
    let program = client.home().join("codex");
    fs::copy(CODEX, &program).unwrap();
    let mut command: Command = client.command(&program);
    command.arg("app-server");
    let mut server = AppServer::spawn(command);
    server.initialize();
    let contained = json!({ "command": ["echo", "it"], "sandboxPolicy": { "type": "readOnly" } });
    let before = server.ask("command/exec", contained.clone());
    fs::remove_file(&program).unwrap();
    // Where nothing can be contained, that is said both times.
    let after = server.ask("command/exec", contained);
    assert_eq!(
        (&after["result"], &after["error"]),
        (&before["result"], &before["error"])
    );
}

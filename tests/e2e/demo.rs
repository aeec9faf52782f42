//! `codex connect --demo`, in a terminal, in a home where everything would lead elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use codex_testkit::{Client, Tmux, require};

use crate::setting::{CODEX, codex};

/// A terminal in which the demonstration runs, and its folder for temporary files.
struct Stage {
    terminal: Tmux,
    temporary: tempfile::TempDir,
}

/// A near side whose own configuration, agent and environment break whatever uses them.
fn hostile() -> Client {
    let client = Client::new();
    client.append_config("Host *\n    ProxyCommand false\n    IdentityFile /nonexistent\n");
    client
}

/// All files below a folder with their contents.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

impl Stage {
    fn open(client: &Client) -> Stage {
        Stage::open_in(client, tempfile::tempdir().unwrap())
    }

    fn open_in(client: &Client, temporary: tempfile::TempDir) -> Stage {
        let mut environment = client.environment();
        for (name, value) in [
            ("TMPDIR", temporary.path().to_str().unwrap()),
            ("SSH_AUTH_SOCK", "/nonexistent/agent"),
            ("OPENAI_API_KEY", "never to be used"),
            ("CODEX_HOME", "/nonexistent/codex"),
        ] {
            environment.push((name.to_owned(), value.to_owned()));
        }
        let terminal = Tmux::start(&[CODEX, "connect", "--demo"], &environment, 100, 30);
        terminal.wait_for("both hosts ready", |it| {
            it.matches(" ready").count() == 2 && it.contains("type a prompt")
        });
        Stage { terminal, temporary }
    }

    /// Leaves, and looks what is left.
    fn quit(self) {
        self.terminal.send(&["C-u"]);
        self.terminal.send(&["C-c"]);
        self.terminal.send(&["C-c"]);
        assert_eq!(self.terminal.wait_for_exit(), Some(0));
        assert_eq!(
            fs::read_dir(self.temporary.path()).unwrap().count(),
            0,
            "files are left behind"
        );
    }
}

#[test]
fn two_hosts_open_without_a_configuration_and_leave_nothing_behind() {
    require!(Tmux);
    let client = hostile();
    let before = files(client.home());
    let stage = Stage::open(&client);
    let screen = stage.terminal.wait_for_text("its model is scripted");
    assert!(
        screen.contains("demo-api") && screen.contains("demo-web"),
        "{screen}"
    );
    assert!(!screen.contains("logged in"), "no login is missing: {screen}");
    stage.quit();
    assert_eq!(
        files(client.home()),
        before,
        "nothing of the user's own is touched"
    );
}

#[test]
fn what_a_killed_demonstration_leaves_is_removed_by_the_next() {
    require!(Tmux);
    let client = hostile();
    let Stage { terminal, temporary } = Stage::open(&client);
    let kill = std::process::Command::new("kill")
        .args(["-KILL", &terminal.pid().to_string()])
        .status();
    assert!(kill.unwrap().success());
    terminal.wait_for_exit();
    let left = fs::read_dir(temporary.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let stage = Stage::open_in(&client, temporary);
    assert!(!left.exists());
    stage.quit();
}

#[test]
fn a_demonstration_takes_no_other_hosts() {
    let client = Client::new();
    for args in [["connect", "--demo", "devbox"], ["connect", "--demo", "-Fconfig"]] {
        let outcome = codex(&client, &args);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains("--demo"), "{outcome:?}");
    }
}

//! `codex connect --demo`, in a terminal, in a home where everything would lead elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use codex_testkit::{Client, Tmux, require, wait};

use crate::{
    screen,
    setting::{CODEX, codex},
};

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

    /// A file in the home of one of the hosts.
    fn file(&self, path: &str) -> PathBuf {
        let runs = fs::read_dir(self.temporary.path()).unwrap();
        let runs: Vec<PathBuf> = runs.map(|it| it.unwrap().path()).collect();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].join(path)
    }

    fn prompt(&self, text: &str) {
        self.terminal.type_text(text);
        self.terminal
            .wait_for("the typed prompt", |it| it.contains(&format!("› {text}")));
        self.terminal.send(&["Enter"]);
    }

    /// Answers dialogs of this title with `key`, and all others with *yes*, until the screen holds `text`.
    /// Where no sandbox works, the checks are asked about too.
    fn answer_until(&self, title: &str, key: &str, text: &str) -> String {
        // A key that comes sooner is swallowed: it could have been meant for something else.
        let pause = Duration::from_secs(1);
        let mut pressed = Instant::now().checked_sub(pause / 2).unwrap();
        let mut look = || {
            let screen = self.terminal.screen();
            if screen.contains(text) {
                return Some(screen);
            }
            if pause <= pressed.elapsed() {
                pressed = Instant::now();
                if screen.contains(title) {
                    self.terminal.send(&[key]);
                } else if screen.contains("wants to") {
                    self.terminal.send(&["y"]);
                } else if screen.contains("needs you") {
                    self.terminal.send(&["C-y"]);
                }
            }
            None
        };
        wait::until_or(
            &format!("{text:?} on the screen"),
            wait::DEADLINE * 2,
            &mut look,
            || self.terminal.screen(),
        )
    }

    /// Leaves, and looks what is left.
    fn quit(self) {
        screen::quit(&self.terminal);
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

#[test]
fn the_scripted_model_mends_a_mistake_once_the_user_allows_it() {
    require!(Tmux);
    let stage = Stage::open(&hostile());
    let source = stage.file("demo-api/parcels/lib/shipping.sh");
    stage.prompt("fix the test");
    let screen = stage.terminal.wait_for_text("scripted demonstration model");
    assert!(
        screen.contains("scripted-demo"),
        "the model's name is shown: {screen}"
    );
    stage.answer_until("no dialog at all", "y", "wants to change files");
    assert!(
        fs::read_to_string(&source).unwrap().contains("-lt 1000"),
        "not before it is allowed"
    );
    stage.answer_until("wants to change files", "y", "now compares with");
    assert!(fs::read_to_string(&source).unwrap().contains("-le 1000"));
    stage.quit();
}

#[test]
fn a_patch_that_is_declined_changes_nothing() {
    require!(Tmux);
    let stage = Stage::open(&hostile());
    let source = stage.file("demo-api/parcels/lib/shipping.sh");
    let before = fs::read_to_string(&source).unwrap();
    stage.prompt("fix the test");
    stage.answer_until("wants to change files", "n", "You declined the patch");
    stage.terminal.wait_for_text("✓ done in");
    assert_eq!(fs::read_to_string(&source).unwrap(), before);
    stage.prompt("clean up");
    let built = stage.file("demo-api/parcels/build");
    stage.answer_until("no dialog at all", "y", "wants to run a command");
    assert!(built.exists());
    stage.answer_until("wants to run a command", "y", "was run: there is no folder");
    assert!(!built.exists());
    stage.quit();
}

#[test]
fn a_slow_command_is_interrupted_and_the_next_answer_knows_it() {
    require!(Tmux);
    let stage = Stage::open(&hostile());
    stage.prompt("something slow");
    stage.answer_until("no dialog at all", "y", "second 2 of");
    stage.terminal.send(&["Escape"]);
    stage.terminal.wait_for_text("interrupted");
    stage.prompt("make a plan");
    stage.answer_until("no dialog at all", "y", "You interrupted the turn");
    stage.quit();
}

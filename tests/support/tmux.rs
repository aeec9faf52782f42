//! A terminal: one program in a tmux server of its own, typed into and looked at.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{skip, wait};

/// What differs from tmux's defaults: nothing of the user's, no status line, no delay after ESC, and the last
/// screen stays when the program has ended.
const CONFIG: &str = "\
set -g default-terminal tmux-256color
set -g status off
set -s escape-time 0
set -s exit-empty off
set -g remain-on-exit on
set -g history-limit 5000
";

/// A running terminal; dropping it ends its program.
pub struct Tmux {
    socket: PathBuf,
    environment: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

impl Tmux {
    /// Starts a program with its arguments in a terminal of this size; a single word is run by the shell. Its environment is `environment`, with
    /// tmux's own `TERM` and `TMUX`.
    pub fn start(
        command: &[impl AsRef<OsStr>],
        environment: &[(String, String)],
        columns: u16,
        rows: u16,
    ) -> Tmux {
        let folder = tempfile::Builder::new().prefix("codex-tmux-").tempdir().unwrap();
        fs::write(folder.path().join("config"), CONFIG).unwrap();
        let socket = folder.path().join("socket");
        let tmux = Tmux {
            socket,
            environment: environment.to_vec(),
            folder,
        };
        let mut server = tmux.program();
        server.args([
            "new-session",
            "-d",
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
            "--",
        ]);
        server.args(command);
        let output = server.stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "tmux: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        tmux
    }

    /// Presses keys by tmux's names: `Enter`, `Escape`, `C-c`, `Up`, `M-x`, `F1`, …
    pub fn send(&self, keys: &[&str]) {
        self.run(&[&["send-keys", "--"], keys].concat());
    }

    /// Types the text, key by key.
    pub fn type_text(&self, text: &str) {
        self.run(&["send-keys", "-l", "--", text]);
    }

    /// Pastes the text, bracketed when the program has asked for that.
    pub fn paste(&self, text: &str) {
        self.run(&["set-buffer", "-b", "pasted", "--", text]);
        self.run(&["paste-buffer", "-p", "-d", "-b", "pasted"]);
    }

    /// Changes the terminal's size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.run(&[
            "resize-window",
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
        ]);
    }

    /// What the terminal shows, row by row, without styles.
    pub fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// What the terminal shows and what has been scrolled out of it, without styles.
    pub fn scrollback(&self) -> String {
        self.run(&["capture-pane", "-p", "-S", "-"])
    }

    /// What the terminal shows, with escape sequences for colours and styles.
    pub fn styled_screen(&self) -> String {
        self.run(&["capture-pane", "-p", "-e"])
    }

    /// The value of a tmux format, for instance `#{cursor_x},#{cursor_y}` or `#{alternate_on}`.
    pub fn ask(&self, format: &str) -> String {
        self.run(&["display-message", "-p", format]).trim_end().to_owned()
    }

    /// The number of the program's process.
    pub fn pid(&self) -> u32 {
        self.ask("#{pane_pid}").parse().unwrap()
    }

    /// Waits until the screen fits and hands it back.
    ///
    /// # Panics
    ///
    /// When it does not within [`wait::DEADLINE`]; the text holds `name` and the last screen.
    pub fn wait_for(&self, name: &str, fits: impl Fn(&str) -> bool) -> String {
        self.wait_for_within(name, wait::DEADLINE, fits)
    }

    /// As [`Tmux::wait_for`] with a deadline of the caller's.
    ///
    /// # Panics
    ///
    /// When the deadline has passed.
    pub fn wait_for_within(&self, name: &str, deadline: Duration, fits: impl Fn(&str) -> bool) -> String {
        let look = || Some(self.screen()).filter(|screen| fits(screen));
        wait::until_or(name, deadline, look, || {
            format!("the last screen:\n{}", self.screen())
        })
    }

    /// Waits until the screen holds the text and hands the screen back.
    ///
    /// # Panics
    ///
    /// When it does not within [`wait::DEADLINE`].
    pub fn wait_for_text(&self, text: &str) -> String {
        self.wait_for(&format!("{text:?} on the screen"), |screen| screen.contains(text))
    }

    /// Waits for the program's end and hands back its exit code; nothing when a signal ended it.
    ///
    /// # Panics
    ///
    /// When it does not end within [`wait::DEADLINE`].
    pub fn wait_for_exit(&self) -> Option<i32> {
        // The screen's end and the program's are two events, and tmux 3.3 now and then misses the second one
        // until another child of its own ends.
        let look = || match self
            .ask("#{pane_dead} #{?pane_dead_signal,signal,#{pane_dead_status}}")
            .as_str()
        {
            "1" => {
                self.run(&["run-shell", "true"]);
                None
            }
            ended => ended.strip_prefix("1 ").map(str::to_owned),
        };
        let status = wait::until_or("the program's end", wait::DEADLINE, look, || self.screen());
        status.parse().ok()
    }

    fn program(&self) -> Command {
        let mut command = Command::new(skip::program("tmux").unwrap());
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .arg("-S")
            .arg(&self.socket)
            .arg("-f")
            .arg(self.folder.path().join("config"));
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.program().args(arguments).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {arguments:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.program().arg("kill-server").output();
    }
}

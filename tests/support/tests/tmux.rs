//! The terminal: typing, pasting, resizing, looking, ending.
#![expect(clippy::unwrap_used, reason = "tests")]

use codex_testkit::{Tmux, require};

fn environment() -> Vec<(String, String)> {
    vec![
        ("PATH".into(), std::env::var("PATH").unwrap()),
        ("MARK".into(), "hermetic".into()),
    ]
}

#[test]
fn what_is_typed_shows_and_the_exit_code_is_kept() {
    require!(Tmux);
    let tmux = Tmux::start(
        &["sh", "-c", "echo $MARK-$HOME; cat; exit 7"],
        &environment(),
        40,
        10,
    );
    tmux.wait_for_text("hermetic-");
    tmux.type_text("hello there");
    tmux.send(&["Enter"]);
    let screen = tmux.wait_for("the line twice", |screen| {
        screen.matches("hello there").count() == 2
    });
    assert_eq!(screen.lines().count(), 10);
    tmux.paste("two\nlines\n");
    tmux.wait_for_text("lines");
    tmux.send(&["C-d"]);
    assert_eq!(tmux.wait_for_exit(), Some(7));
    assert!(tmux.screen().contains("hello there"), "the last screen is gone");
}

#[test]
fn a_resize_reaches_the_program() {
    require!(Tmux);
    let script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.02; done";
    let tmux = Tmux::start(&["sh", "-c", script], &environment(), 80, 24);
    tmux.wait_for_text("24 80");
    tmux.resize(100, 30);
    tmux.wait_for_text("30 100");
    assert_eq!(tmux.ask("#{pane_dead}"), "0");
}

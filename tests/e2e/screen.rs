//! The interface in a real terminal, on real hosts.

use std::time::{Duration, Instant};

use codex_testkit::{
    AUTHENTICATOR_CODES, Alias, Client, Host, HostOptions, KEY_PASSPHRASE, Known, Login, Model, PASSWORD,
    Reply, Step, Tmux, require, wait,
};

use crate::setting::{CODEX, devbox};

/// The binary in a terminal of this size.
fn open(client: &Client, args: &[&str], columns: u16, rows: u16) -> Tmux {
    open_with(client, args, columns, rows, &[])
}

fn open_with(client: &Client, args: &[&str], columns: u16, rows: u16, env: &[(&str, &str)]) -> Tmux {
    let words: Vec<&str> = std::iter::once(CODEX).chain(args.iter().copied()).collect();
    let mut environment = client.environment();
    environment.extend(
        env.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    Tmux::start(&words, &environment, columns, rows)
}

fn connect(client: &Client, hosts: &[&str]) -> Tmux {
    let args: Vec<&str> = std::iter::once("connect").chain(hosts.iter().copied()).collect();
    let terminal = open(client, &args, 80, 24);
    wait_for_ready(
        &terminal,
        hosts.iter().take_while(|it| !it.starts_with("--")).count(),
    );
    terminal
}

fn wait_for_ready(terminal: &Tmux, hosts: usize) {
    terminal.wait_for("all hosts ready", |it| it.matches(" ready").count() >= hosts);
}

fn send(terminal: &Tmux, text: &str) {
    terminal.type_text(text);
    terminal.wait_for("the typed prompt", |it| it.contains(text));
    terminal.send(&["Enter"]);
}

/// Answers a dialog: its keys count only when it has been seen for a moment.
fn answer(terminal: &Tmux, title: &str, key: &str) {
    // It opens by itself, or waits in the banner, which it covers.
    let screen = terminal.wait_for("the question", |it| {
        it.contains(title) || it.contains("needs you")
    });
    if !screen.contains(title) {
        terminal.send(&["C-y"]);
    }
    terminal.wait_for_text(title);
    press_until(terminal, &[key], || !terminal.screen().contains(title));
}

/// Presses keys of a dialog until they had their effect. Whatever is typed into a dialog too soon is
/// swallowed and makes it wait longer, so this types as slowly as a person, and all keys at once: of two, the
/// first one must not be swallowed alone.
pub(crate) fn press_until(terminal: &Tmux, keys: &[&str], is_done: impl Fn() -> bool) {
    let pause = Duration::from_secs(1);
    let mut pressed = Instant::now().checked_sub(pause / 2).unwrap();
    let press = || {
        if is_done() {
            return Some(());
        }
        if pause <= pressed.elapsed() {
            terminal.send(keys);
            pressed = Instant::now();
        }
        None
    };
    wait::until_or("the keys to be taken", wait::DEADLINE, press, || {
        terminal.screen()
    });
}

/// Quits from wherever the interface is, when quitting itself is not what is tested.
///
/// The second Ctrl+C counts only for a second, and the first one only clears a draft or closes what is open;
/// so they are sent at once, and again while the interface is there.
pub(crate) fn quit(terminal: &Tmux) {
    let pause = Duration::from_secs(2);
    let mut pressed: Option<Instant> = None;
    let press = || {
        if terminal.ask("#{alternate_on}") == "0" {
            return Some(());
        }
        if pressed.is_none_or(|it| pause <= it.elapsed()) {
            terminal.send(&["C-u", "C-c", "C-c"]);
            pressed = Some(Instant::now());
        }
        None
    };
    wait::until_or("the interface's end", wait::DEADLINE, press, || terminal.screen());
    assert_eq!(terminal.wait_for_exit(), Some(0), "{}", terminal.screen());
}

/// Waits for the end of the turn: what it said is on record on the host, and the next prompt begins another one.
fn wait_for_idle(terminal: &Tmux) {
    terminal.wait_for("the end of the turn", |it| {
        it.contains("› type a prompt") && !it.contains("working")
    });
}

#[test]
fn two_hosts_answer_in_one_terminal_and_the_terminal_is_given_back() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let _hosts = [devbox(&client, "devbox", &model), devbox(&client, "gpu1", &model)];
    let terminal = connect(&client, &["devbox", "gpu1"]);
    assert_eq!(terminal.ask("#{alternate_on}"), "1");
    send(&terminal, "say words from devbox");
    terminal.wait_for("the answer", |it| {
        it.lines().any(|it| it.ends_with("│words from devbox"))
    });
    terminal.send(&["C-o"]);
    terminal.send(&["2"]);
    terminal.wait_for_text("gpu1: new thread");
    terminal.wait_for_text("› type a prompt");
    send(&terminal, "say words from gpu1");
    let screen = terminal.wait_for("the other answer", |it| {
        it.lines().any(|it| it.ends_with("│words from gpu1"))
    });
    assert!(!screen.contains("words from devbox\n"), "{screen}");
    quit(&terminal);
    assert_eq!(terminal.ask("#{alternate_on}"), "0");
}

#[test]
fn commands_and_patches_wait_for_the_answer_and_get_it() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let host = devbox(&client, "devbox", &model);
    let terminal = connect(&client, &["devbox", "--cd", "work"]);
    send(&terminal, "escalate touch outside");
    terminal.wait_for_text("needs you");
    terminal.send(&["C-y"]);
    let dialog = terminal.wait_for_text("wants to run a command");
    for part in [
        "devbox (dev@127.0.0.1",
        "touch outside",
        "› n no",
        host.home().to_str().unwrap(),
    ] {
        assert!(dialog.contains(part), "{part}\n{dialog}");
    }
    assert!(host.read("work/outside").is_none());
    answer(&terminal, "wants to run a command", "y");
    wait::until("the command", wait::DEADLINE, || host.read("work/outside"));
    terminal.wait_for_text("done in");
    send(&terminal, "escalate touch never");
    answer(&terminal, "wants to run a command", "n");
    terminal.wait_for_text("declined");
    wait_for_idle(&terminal);
    send(&terminal, "patch ../beside.txt a new line");
    answer(&terminal, "wants to change files", "y");
    // The file is there a moment before its text.
    let patched = || host.read("beside.txt").filter(|it| it == "a new line\n");
    wait::until("the patch", wait::DEADLINE, patched);
    assert!(host.read("work/never").is_none());
    quit(&terminal);
}

#[test]
fn a_turn_is_steered_and_interrupted_while_it_works() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let terminal = connect(&client, &["devbox"]);
    send(&terminal, "hold a");
    terminal.wait_for_text("holding a");
    send(&terminal, "say steered");
    terminal.wait_for("the steered answer", |it| {
        it.lines().any(|it| it.ends_with("│steered"))
    });
    send(&terminal, "hold b");
    terminal.wait_for_text("holding b");
    terminal.send(&["Escape"]);
    terminal.wait_for_text("interrupted");
    quit(&terminal);
}

#[test]
fn a_killed_connection_costs_neither_the_draft_nor_the_thread() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let host = devbox(&client, "devbox", &model);
    let terminal = connect(&client, &["devbox"]);
    send(&terminal, "say before the cut");
    terminal.wait_for("the answer", |it| it.contains("│before the cut"));
    terminal.type_text("say half a draft");
    terminal.wait_for_text("› say half a draft");
    host.kill_sessions();
    // It may be back before the screen is looked at.
    let logins = || host.log().matches("Accepted publickey").count();
    terminal.wait_for("the loss", |it| !it.contains(" ready") || logins() == 2);
    terminal.type_text(" and more");
    wait::until("the second login", wait::DEADLINE, || {
        (logins() == 2).then_some(())
    });
    wait_for_ready(&terminal, 1);
    let screen = terminal.wait_for("both", |it| {
        it.contains("│before the cut") && it.contains("draft and more")
    });
    assert!(screen.contains("› say half a draft and more"), "{screen}");
    // While the thread is being opened again, the draft stays and the interface says so.
    wait::until("the next answer", wait::DEADLINE, || {
        if terminal.screen().contains("› say half a draft and more\n") {
            terminal.send(&["Enter"]);
        }
        terminal.screen().contains("│half a draft and more").then_some(())
    });
    assert_eq!(model.requests().len(), 2, "nothing was sent twice");
    quit(&terminal);
}

#[test]
fn a_host_that_hangs_leaves_typing_and_the_other_host_untouched() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let hosts = [devbox(&client, "devbox", &model), devbox(&client, "gpu1", &model)];
    let terminal = connect(&client, &["devbox", "gpu1"]);
    hosts[1].pause();
    send(&terminal, "say untouched");
    terminal.wait_for("the answer", |it| it.contains("│untouched"));
    hosts[1].resume();
    quit(&terminal);
}

#[test]
fn an_old_thread_is_listed_and_resumed() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let first = connect(&client, &["devbox"]);
    send(&first, "say remember me");
    first.wait_for("the answer", |it| it.contains("│remember me"));
    // A thread whose server ends in the turn may lose its last words.
    wait_for_idle(&first);
    quit(&first);
    let second = connect(&client, &["devbox"]);
    second.wait_for("the thread in the list", |it| {
        it.lines().any(|it| it.starts_with(" 2 say"))
    });
    second.send(&["C-o"]);
    second.send(&["2"]);
    second.wait_for("the old answer", |it| it.contains("│remember me"));
    send(&second, "say and go on");
    second.wait_for("the new answer", |it| it.contains("│and go on"));
    quit(&second);
}

#[test]
fn the_picker_connects_what_is_marked() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let _hosts = [devbox(&client, "devbox", &model), devbox(&client, "gpu1", &model)];
    client.append_config("Host *.lab !x.lab\n  User nobody\n");
    let terminal = open(&client, &["connect"], 80, 24);
    let picker = terminal.wait_for_text("Settings → Connections");
    assert!(
        picker.contains("devbox") && picker.contains("gpu1") && !picker.contains("lab"),
        "{picker}"
    );
    terminal.send(&["Space"]);
    terminal.send(&["j"]);
    terminal.send(&["Space"]);
    terminal.wait_for("two marks", |it| it.matches("[x]").count() == 2);
    terminal.send(&["Enter"]);
    wait_for_ready(&terminal, 2);
    quit(&terminal);
}

#[test]
fn logins_are_asked_in_the_interface_and_never_shown() {
    require!(Sshd, Pam, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let locked = Host::start(HostOptions::new().authorize(client.encrypted_key()).model(&model));
    client.add(&Alias::new("locked", &locked).identity(client.encrypted_key()));
    let guarded = Host::start(HostOptions::new().login(Login::TwoPrompts).model(&model));
    client.add(&Alias::new("guarded", &guarded).known(Known::No));
    let terminal = open(&client, &["connect", "locked"], 80, 24);
    let asked = terminal.wait_for_text("assphrase");
    assert!(asked.contains("locked"), "{asked}");
    type_secret(&terminal, KEY_PASSPHRASE);
    wait_for_ready(&terminal, 1);
    quit(&terminal);

    let terminal = open(&client, &["connect", "guarded"], 80, 30);
    let asked = terminal.wait_for_text(&guarded.key().fingerprint());
    assert!(asked.contains("guarded"), "{asked}");
    // The selected answer is no.
    let fingerprint = guarded.key().fingerprint();
    press_until(&terminal, &["Right", "Enter"], || {
        !terminal.screen().contains(&fingerprint)
    });
    log_in_with_two_prompts(&terminal);
    wait_for_ready(&terminal, 1);
    quit(&terminal);
}

/// Answers the questions of a host with [`Login::TwoPrompts`].
pub(crate) fn log_in_with_two_prompts(terminal: &Tmux) {
    terminal.wait_for_text("assword");
    type_secret(terminal, PASSWORD);
    terminal.wait_for("the second prompt", |it| {
        it.contains("OATH") || it.contains("One-time")
    });
    type_secret(terminal, AUTHENTICATOR_CODES[0]);
}

/// Types what must not be seen, when the dialog takes keys.
pub(crate) fn type_secret(terminal: &Tmux, secret: &str) {
    let is_mask = |it: &str| it.trim_matches(['│', '›', ' ']).starts_with('*');
    let masked = || terminal.screen().lines().any(is_mask);
    press_until(terminal, &[&secret[..1]], masked);
    // However many of the first character were taken, start over.
    terminal.send(&["C-u"]);
    wait::until("an empty field", wait::DEADLINE, || (!masked()).then_some(()));
    terminal.type_text(secret);
    let screen = terminal.wait_for("the masked secret", |it| it.contains(&"*".repeat(secret.len())));
    assert!(!screen.contains(secret), "{screen}");
    terminal.send(&["Enter"]);
}

#[test]
fn a_directory_that_is_not_there_is_said_and_the_prompt_is_kept() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let terminal = open(&client, &["connect", "devbox", "--cd", "/no/such/place"], 80, 24);
    wait_for_ready(&terminal, 1);
    terminal.type_text("say precious words");
    terminal.send(&["Enter"]);
    // The error comes before the prompt is given back: keys pressed in between would find an empty draft.
    let screen = terminal.wait_for("error and prompt", |it| {
        it.contains("✗ error: directory `/no/such/place`") && it.contains("› say precious words")
    });
    assert!(model.requests().is_empty(), "{screen}");
    quit(&terminal);
}

#[test]
fn a_hostile_answer_cannot_touch_the_terminal() {
    require!(Sshd, Official, Tmux);
    let hostile =
        "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[H\u{1b}[31m\u{9b}5mstill\u{202e} here\u{1b}P1;1|x\u{1b}\\ end";
    let model = Model::with_script(move |_| Reply::Stream(vec![Step::say(hostile)]));
    let client = Client::new();
    let _host = devbox(&client, "devbox", &model);
    let terminal = connect(&client, &["devbox"]);
    send(&terminal, "go");
    let screen = terminal.wait_for("the text", |it| it.contains("still") && it.contains("here"));
    assert!(screen.contains(" ready│"), "the screen was not cleared: {screen}");
    assert!(!terminal.ask("#{pane_title}").contains("owned"));
    quit(&terminal);
}

#[test]
fn without_colour_everything_is_still_said() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let terminal = open_with(&client, &["connect", "devbox"], 80, 24, &[("NO_COLOR", "1")]);
    wait_for_ready(&terminal, 1);
    send(&terminal, "escalate touch x");
    terminal.wait_for_text("needs you");
    let styled = terminal.styled_screen();
    let colours = ["\u{1b}[3", "\u{1b}[4", "\u{1b}[9", "38;5", "48;5", "38;2"];
    let is_colour = |it: &&str| {
        styled.match_indices(*it).any(|(at, _)| {
            let end = styled[at..].find('m').map_or(styled.len(), |it| at + it);
            let code = &styled[at + 2..end];
            !["3", "4", "39", "49"].contains(&code)
        })
    };
    assert!(!colours.iter().any(is_colour), "{styled:?}");
    quit(&terminal);
}

#[test]
fn resizing_keeps_what_was_said() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let terminal = connect(&client, &["devbox"]);
    send(&terminal, "say kept");
    terminal.wait_for("the answer", |it| it.contains("│kept"));
    terminal.resize(120, 40);
    terminal.wait_for("the wide screen", |it| {
        it.contains("│kept") && it.lines().count() >= 39
    });
    terminal.resize(40, 15);
    terminal.wait_for("the narrow screen", |it| it.lines().any(|it| it.trim() == "kept"));
    terminal.resize(10, 3);
    terminal.resize(80, 24);
    terminal.wait_for("the first size again", |it| it.contains("│kept"));
    quit(&terminal);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let terminal = connect(&client, &["devbox"]);
    let pid = terminal.pid().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    terminal.wait_for_exit();
    assert_eq!(terminal.ask("#{alternate_on}"), "0");
}

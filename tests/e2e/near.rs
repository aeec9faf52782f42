//! The interface on this machine and on servers that listen.

use codex_testkit::{Client, Model, Tmux, require, wait};

use crate::{
    screen,
    serving::{Cable, Serving, Whose, give_model, install, set_hosts},
    setting::{CODEX, devbox},
};

/// The binary in a terminal of 80 columns and 24 rows, started in the home directory.
fn open(client: &Client, args: &[&str]) -> Tmux {
    let shell = ["sh", "-c", "cd && exec \"$0\" \"$@\"", CODEX];
    let words: Vec<&str> = shell.iter().chain(args).copied().collect();
    Tmux::start(&words, &client.environment(), 80, 24)
}

/// Sends a prompt when the host is there and nothing works.
fn send(terminal: &Tmux, text: &str) {
    terminal.wait_for("an idle thread", |it| {
        it.contains(" ready") && it.contains("› type a prompt") && !it.contains("working")
    });
    terminal.type_text(text);
    terminal.wait_for("the typed prompt", |it| it.contains(text));
    terminal.send(&["Enter"]);
}

fn is_answered(terminal: &Tmux, text: &str) -> String {
    terminal.wait_for("the answer", |it| {
        it.lines().any(|line| line.ends_with(&format!("│{text}")))
    })
}

fn quit(terminal: &Tmux) {
    terminal.wait_for("the end of all turns", |it| !it.contains("working"));
    screen::quit(terminal);
}

#[test]
fn the_program_alone_opens_this_machine_and_other_hosts_can_be_had_beside_it() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    give_model(client.home(), &model);
    let _host = devbox(&client, "devbox", &model);
    let terminal = open(&client, &[]);
    terminal.wait_for("this machine to be ready", |it| {
        it.lines()
            .any(|line| line.contains("this machine") && line.contains("ready"))
    });
    send(&terminal, "run touch here");
    // A prompt that came before the model's first answer would join the turn, and the model heeds the last one.
    let made = || client.home().join("here").exists().then_some(());
    wait::until_or("the command's file", wait::DEADLINE, made, || terminal.screen());
    send_and_see(&terminal, "say words from here", "words from here");
    terminal.send(&["F2"]);
    let screen = terminal.wait_for_text("Settings → Connections");
    assert!(screen.contains("in this program"), "{screen}");
    terminal.wait_for("the list of hosts", |it| it.contains("devbox"));
    terminal.send(&["Home", "Enter"]);
    terminal.wait_for_text("devbox: new thread");
    terminal.wait_for("both hosts", |it| it.matches(" ready").count() >= 2);
    send_and_see(&terminal, "say words from devbox", "words from devbox");
    quit(&terminal);
}

fn send_and_see(terminal: &Tmux, text: &str, answer: &str) {
    send(terminal, text);
    is_answered(terminal, answer);
}

#[test]
fn threads_of_this_machine_are_there_in_the_next_run() {
    require!(Tmux);
    let (client, model) = (Client::new(), Model::start());
    give_model(client.home(), &model);
    let terminal = open(&client, &[]);
    send_and_see(&terminal, "say remember this", "remember this");
    quit(&terminal);
    let terminal = open(&client, &[]);
    terminal.wait_for("the thread in the list", |it| it.contains("say reme"));
    quit(&terminal);
}

fn shows_a_server(whose: Whose) {
    let (client, serving) = (Client::new(), Serving::tcp(whose));
    let cable = Cable::to(&serving.url);
    let terminal = open(&client, &["--remote", &cable.url]);
    send_and_see(&terminal, "say words from afar", "words from afar");
    send(&terminal, "hold a");
    terminal.wait_for_text("holding a");
    let before = cable.connections();
    cable.cut();
    // It may be back before the screen is looked at.
    wait::until("the next connection", wait::DEADLINE, || {
        (before < cable.connections()).then_some(())
    });
    terminal.wait_for("its return", |it| it.contains(" ready"));
    serving.model.gate("a").open();
    terminal.wait_for("the rest of the answer", |it| it.contains("holding a released"));
    terminal.type_text("say all is well");
    // While the thread is being opened again, the draft stays and the interface says so.
    wait::until("the next answer", wait::DEADLINE, || {
        if terminal.screen().contains("› say all is well\n") {
            terminal.send(&["Enter"]);
        }
        terminal.screen().contains("│all is well").then_some(())
    });
    quit(&terminal);
}

#[test]
fn the_interface_opens_on_the_official_server_and_survives_a_cut() {
    require!(Official, Tmux);
    shows_a_server(Whose::Official);
}

#[test]
fn the_interface_opens_on_our_server_and_survives_a_cut() {
    require!(Tmux);
    shows_a_server(Whose::Ours);
}

#[test]
fn a_host_behind_a_program_is_in_the_picker() {
    require!(Tmux);
    let (client, model) = (Client::new(), Model::start());
    give_model(client.home(), &model);
    install(&client, Whose::Ours);
    set_hosts(&client, "[hosts.web]\ncommand = [\"sh\"]\nserver = \"ours\"\n");
    let terminal = open(&client, &["connect"]);
    let screen = terminal.wait_for_text("Settings → Connections");
    assert!(screen.contains("hosts.toml:1"), "{screen}");
    terminal.send(&["Enter"]);
    terminal.wait_for_text("web: new thread");
    send_and_see(&terminal, "say words from a shell", "words from a shell");
    quit(&terminal);
}

//! The official interface in a terminal, on our app-server; the same steps on the official one prove the steps.

use std::{
    fs,
    time::{Duration, Instant},
};

use codex_testkit::{Client, Tmux, official, require, wait};

use crate::serving::{Serving, Whose};

/// What the interface shows where a prompt can be typed.
const READY: &str = "Ask Codex to do anything";

/// The one line with a red mark that is meant.
const INTERRUPTED: &str = "■ Conversation interrupted";

/// The offer of a newer model was declined before, so that no screen asks at the start.
const DECLINED: &str = "\n[notice.model_migrations]\n\"gpt-5.5\" = \"gpt-6-sol\"\n";

/// Keys that follow each other faster are a paste to the interface, and Enter is a line of it.
const TYPING: Duration = Duration::from_millis(500);

/// The official interface, connected to a server, in a home of its own.
struct Interface {
    terminal: Tmux,
    _client: Client,
}

impl Interface {
    /// Opens it with these arguments beside `--remote`.
    fn open(serving: &Serving, args: &[&str]) -> Interface {
        let client = Client::new();
        fs::create_dir(client.home().join(".codex")).unwrap();
        let config = serving.model.config_toml() + DECLINED;
        fs::write(client.home().join(".codex/config.toml"), config).unwrap();
        let program = official();
        let words = [program.to_str().unwrap()]
            .into_iter()
            .chain(args.iter().copied());
        let words: Vec<&str> = words.chain(["--remote", &serving.url]).collect();
        let terminal = Tmux::start(&words, &client.environment(), 120, 40);
        Interface {
            terminal,
            _client: client,
        }
    }

    /// Opens it and waits until a prompt can be typed.
    fn ready(serving: &Serving, args: &[&str]) -> Interface {
        let it = Interface::open(serving, args);
        it.shows(READY);
        it
    }

    /// Waits for the text, and looks for errors.
    fn shows(&self, text: &str) {
        let screen = self.terminal.wait_for(&format!("{text:?} or an error"), |it| {
            it.contains(text) || complaint(it).is_some()
        });
        assert_eq!(complaint(&screen), None, "waited for {text:?}:\n{screen}");
    }

    /// Presses a key until it had its effect.
    fn press(&self, key: &str, is_done: impl Fn(&str) -> bool) {
        let mut pressed: Option<Instant> = None;
        let press = || {
            if is_done(&self.terminal.screen()) {
                return Some(());
            }
            if pressed.is_none_or(|it| TYPING * 2 <= it.elapsed()) {
                self.terminal.send(&[key]);
                pressed = Some(Instant::now());
            }
            None
        };
        wait::until_or("the key to be taken", wait::DEADLINE, press, || {
            self.terminal.screen()
        });
    }

    /// Writes a prompt and sends it. Its first line has to be unlike those of other prompts.
    fn say(&self, prompt: &str) {
        let line = prompt.lines().next().unwrap();
        self.terminal.paste(prompt);
        let line = line.trim_start_matches('!');
        let typed = |screen: &str| composer(screen).is_some_and(|it| it.contains(line));
        self.terminal.wait_for("the prompt", typed);
        let written = Instant::now();
        wait::until("the end of a paste", wait::DEADLINE, || {
            (TYPING <= written.elapsed()).then_some(())
        });
        self.press("Enter", |it| !typed(it));
    }

    /// Answers yes to the question with this title.
    fn agree(&self, title: &str) {
        self.shows(title);
        self.press("y", |it| !it.contains(title));
    }

    /// Leaves it.
    fn quit(&self) {
        self.say("/quit");
        assert_eq!(self.terminal.wait_for_exit(), Some(0));
        let all = self.terminal.scrollback();
        assert_eq!(complaint(&all), None, "{all}");
        assert!(all.contains("Disconnected from this task"), "{all}");
    }
}

/// The line that is being written or that is chosen: the last one with the mark of a prompt, a list or a command.
fn composer(screen: &str) -> Option<&str> {
    let is_marked = |line: &&str| line.trim_start().starts_with(['›', '!']);
    screen.lines().rev().find(is_marked)
}

/// The first line with an error.
fn complaint(screen: &str) -> Option<&str> {
    let is_meant = |line: &str| line.contains(INTERRUPTED);
    screen.lines().find(|line| {
        line.starts_with('■') && !is_meant(line) || line.contains("Error:") || line.contains("panicked at")
    })
}

/// A day's work over TCP: every feature of the interface that asks something of a server.
fn everything(whose: Whose) {
    let serving = Serving::tcp(whose);
    let home = serving.work().parent().unwrap().to_owned();
    fs::write(home.join("beside.txt"), "first\nold\nlast\n").unwrap();
    let it = Interface::ready(&serving, &[]);
    it.say("say hello there friend");
    it.shows("• hello there friend");
    it.say("escalate touch ../outside.txt && echo escaped\nsay asked for it");
    it.agree("Would you like to run the following command?");
    it.shows("• asked for it");
    assert!(home.join("outside.txt").exists());
    it.say("replace ../beside.txt old => new\nsay patched it");
    it.agree("Would you like to make the following edits?");
    it.shows("• patched it");
    assert_eq!(
        fs::read_to_string(home.join("beside.txt")).unwrap(),
        "first\nnew\nlast\n"
    );
    it.say("call codex_tui.list_threads {}\nsay asked the interface");
    it.shows("• asked the interface");
    let asked = serving.model.requests().into_iter().rev();
    let listed = asked.flat_map(|it| it.outputs()).next().unwrap();
    assert!(listed.contains("say hello there friend"), "{listed}");
    it.say("!echo from-the-user");
    it.shows("You ran echo from-the-user");
    it.say("hold a");
    it.shows("• holding a");
    it.say("say steered away");
    it.shows("• steered away");
    it.say("hold b");
    it.shows("• holding b");
    it.press("Escape", |it| it.contains(INTERRUPTED));
    it.say("/rename Another name");
    it.shows("· Another name");
    it.say("/compact");
    it.shows("Context compacted");
    it.say("/fork");
    it.shows("Fork created");
    it.say("say in the fork");
    it.shows("• in the fork");
    it.quit();
}

/// A thread is found again after a restart of the server, over a socket.
fn resumed(whose: Whose) {
    let mut serving = Serving::unix(whose);
    let it = Interface::ready(&serving, &[]);
    it.say("say words to remember");
    it.shows("• words to remember");
    it.quit();
    serving.restart(|| {});
    let it = Interface::ready(&serving, &[]);
    it.say("/resume");
    it.shows("say words to remember");
    it.press("Down", |it| {
        composer(it).is_some_and(|it| it.contains("say words"))
    });
    it.press("Enter", |it| it.contains("• words to remember"));
    it.say("say more words");
    it.shows("• more words");
    it.quit();
    let it = Interface::ready(&serving, &["resume", "--last"]);
    it.shows("• more words");
    it.quit();
}

#[test]
fn the_official_interface_works_on_the_official_server() {
    require!(Official, Tmux);
    everything(Whose::Official);
}

#[test]
fn the_official_interface_works_on_our_server() {
    require!(Official, Tmux);
    everything(Whose::Ours);
}

#[test]
fn the_official_interface_finds_threads_of_the_official_server_again() {
    require!(Official, Tmux);
    resumed(Whose::Official);
}

#[test]
fn the_official_interface_finds_threads_of_our_server_again() {
    require!(Official, Tmux);
    resumed(Whose::Ours);
}

/// Runs another command of the official program on a server: what it says, whether it succeeded.
fn command(serving: &Serving, args: &[&str]) -> (String, bool) {
    let client = Client::new();
    fs::create_dir(client.home().join(".codex")).unwrap();
    fs::write(
        client.home().join(".codex/config.toml"),
        serving.model.config_toml(),
    )
    .unwrap();
    let mut command = std::process::Command::new(official());
    command.args(args).args(["--remote", &serving.url]).env_clear();
    command.envs(
        client
            .environment()
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&said).into_owned(),
        output.status.success(),
    )
}

#[test]
fn the_other_commands_of_the_official_program_work_on_our_server_or_say_why_not() {
    require!(Official, Tmux);
    let serving = Serving::tcp(Whose::Ours);
    let mut server = codex_testkit::AppServer::connect(&serving.url);
    server.initialize();
    let thread = server.start_thread(&serving.work().display().to_string());
    server.start_turn(&thread, "say something to keep");
    server.finish_turn();
    let archived = |server: &mut codex_testkit::AppServer| {
        let list = server.call("thread/list", serde_json::json!({ "archived": true }));
        list["data"].as_array().unwrap().len()
    };
    assert!(command(&serving, &["archive", &thread]).1);
    assert_eq!(archived(&mut server), 1);
    assert!(command(&serving, &["unarchive", &thread]).1);
    assert_eq!(archived(&mut server), 0);
    let (said, is_done) = command(&serving, &["queue", "--thread", &thread, "--message", "later"]);
    assert!(
        !is_done && said.contains("does not support thread/queue/add"),
        "{said}"
    );
    let agents = Interface::open(&serving, &["agents"]);
    agents.shows("say something to keep");
    drop(agents);
    assert!(command(&serving, &["delete", "--force", &thread]).1);
    let gone = server.ask("thread/read", serde_json::json!({ "threadId": thread }));
    assert!(gone["error"].is_object(), "{gone}");
}

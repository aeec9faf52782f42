//! A login's questions on the user's terminal, for commands without a UI.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
};

use codex_hosts::{Hop, HostKey, Prompt, Question, Reply, Secret};
use codex_tui::text::sanitize::{sanitize, sanitize_line};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use zeroize::Zeroizing;

/// Whether there is somebody to ask: a terminal that is not the one our data goes through.
pub(crate) fn can_ask() -> bool {
    open_terminal().is_ok()
}

/// The terminal's settings before a question, put back when this is dropped: whoever gives up while a
/// password is being typed must not leave a terminal without echo.
pub(crate) struct SavedTerminal {
    terminal: File,
    settings: Termios,
}

impl SavedTerminal {
    pub(crate) fn save() -> Option<SavedTerminal> {
        let terminal = open_terminal().ok()?;
        let settings = termios::tcgetattr(&terminal).ok()?;
        Some(SavedTerminal { terminal, settings })
    }
}

impl Drop for SavedTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no settings.
        _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.settings);
    }
}

fn open_terminal() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

/// Asks on the terminal and waits for the answer. Anything but a clear yes, and a closed terminal, is a
/// refusal.
pub(crate) fn ask(question: &Question) -> Reply {
    match question {
        Question::HostKey { hop, key } => {
            let mut text = format!(
                "The authenticity of {} can't be established.\n{} key fingerprint is {}\n",
                describe(hop),
                sanitize_line(&key.key_type),
                sanitize_line(&key.fingerprint),
            );
            for line in &key.randomart {
                text += &format!("{}\n", sanitize_line(line));
            }
            confirm(&format!("{text}Is this the right host? Type yes to trust it: "))
        }
        Question::UpdateHostKeys {
            hop,
            added,
            removed,
            known_hosts_file,
        } => {
            let file = sanitize_line(&known_hosts_file.to_string_lossy()).into_owned();
            confirm(&format!(
                "{}Type yes to record it in {file}: ",
                changed_keys(hop, added, removed)
            ))
        }
        Question::Confirm { hop, text } => {
            let text = format!("{}:\n{}\n", describe(hop), sanitize(text).trim());
            confirm(&format!("{text}Type yes to agree: "))
        }
        Question::Passphrase { hop, key, attempt } => {
            let text = format!(
                "{}Passphrase of {} for {}: ",
                again(*attempt),
                sanitize_line(&key.to_string_lossy()),
                describe(hop)
            );
            secrets(vec![read_secret(&text)])
        }
        Question::Password { hop, attempt } => secrets(vec![read_secret(&format!(
            "{}Password for {}: ",
            again(*attempt),
            describe(hop)
        ))]),
        Question::KeyboardInteractive {
            hop,
            name,
            instructions,
            prompts,
        } => {
            let mut text = format!("{} asks:\n", describe(hop));
            for part in [name, instructions]
                .into_iter()
                .filter(|it| !it.trim().is_empty())
            {
                text += &format!("{}\n", sanitize(part).trim());
            }
            secrets(read_answers(text, prompts))
        }
    }
}

/// Asks one prompt after another, the first one behind `text`, until one is not answered.
fn read_answers(mut text: String, prompts: &[Prompt]) -> Vec<Option<Zeroizing<String>>> {
    let mut answers = Vec::new();
    for prompt in prompts {
        text += &format!("{} ", sanitize_line(&prompt.text).trim_end());
        let answer = if prompt.echo {
            read_line(&text)
        } else {
            read_secret(&text)
        };
        let is_answered = answer.is_some();
        answers.push(answer);
        if !is_answered {
            break;
        }
        text.clear();
    }
    answers
}

/// Only `yes` is one.
fn confirm(prompt: &str) -> Reply {
    match read_line(prompt) {
        Some(line) if line.trim() == "yes" => Reply::Accept,
        Some(_) | None => Reply::Refuse,
    }
}

fn changed_keys(hop: &Hop, added: &[HostKey], removed: &[HostKey]) -> String {
    let mut text = format!(
        "{} says that its keys have changed, and proves it:\n",
        describe(hop)
    );
    for (what, keys) in [("new", added), ("old", removed)] {
        for key in keys {
            let (kind, print) = (sanitize_line(&key.key_type), sanitize_line(&key.fingerprint));
            text += &format!("{what}: {kind} {print}\n");
        }
    }
    text
}

/// What a question is about, in a few words.
pub(crate) fn describe_question(question: &Question) -> String {
    match question {
        Question::HostKey { key, .. } => format!(
            "whether its {} key {} is right",
            sanitize_line(&key.key_type),
            sanitize_line(&key.fingerprint)
        ),
        Question::UpdateHostKeys { .. } => "whether its changed keys may be recorded".to_owned(),
        Question::Confirm { .. } => "for a yes or a no".to_owned(),
        Question::Passphrase { key, .. } => {
            format!("for the passphrase of {}", sanitize_line(&key.to_string_lossy()))
        }
        Question::Password { .. } => "for a password".to_owned(),
        Question::KeyboardInteractive { .. } => "for a login dialogue".to_owned(),
    }
}

pub(crate) fn describe(hop: &Hop) -> String {
    let role = if hop.is_jump { " (jump host)" } else { "" };
    let text = format!(
        "{} [{}@{}:{}]{role}",
        hop.alias, hop.user, hop.host_name, hop.port
    );
    sanitize_line(&text).into_owned()
}

fn again(attempt: u32) -> &'static str {
    if attempt > 1 { "That was not right. " } else { "" }
}

fn secrets(answers: Vec<Option<Zeroizing<String>>>) -> Reply {
    let answers: Option<Vec<Secret>> = answers.into_iter().map(|it| it.map(Secret::new)).collect();
    answers.map_or(Reply::Refuse, Reply::Secrets)
}

fn read_secret(prompt: &str) -> Option<Zeroizing<String>> {
    // The library asks first and hides then: what is typed or pasted in between would be seen.
    let saved = SavedTerminal::save()?;
    let mut hidden = saved.settings.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    termios::tcsetattr(&saved.terminal, OptionalActions::Now, &hidden).ok()?;
    let answer = rpassword::prompt_password(prompt).ok().map(Zeroizing::new);
    if answer.is_none() {
        end_line(&saved.terminal);
    }
    answer
}

fn read_line(prompt: &str) -> Option<Zeroizing<String>> {
    let mut terminal = open_terminal().ok()?;
    terminal.write_all(prompt.as_bytes()).ok()?;
    let mut line = Zeroizing::new(String::new());
    match BufReader::new(&terminal).read_line(&mut line) {
        Ok(1..) => Some(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned())),
        Ok(0) | Err(_) => {
            end_line(&terminal);
            None
        }
    }
}

/// What is said after a question that was not answered (Ctrl+D) stands in a line of its own.
fn end_line(mut terminal: &File) {
    // A terminal that is gone shows nothing more.
    _ = terminal.write_all(b"\n");
}

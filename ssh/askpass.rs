//! `SSH_ASKPASS`: questions without a terminal, as ssh(1) describes it under *ENVIRONMENT*.

use std::{io, path::PathBuf};

use zeroize::Zeroizing;

use crate::{
    event::{Answer, Hop, HostKey, Question},
    limits, program,
};

/// A program that asks the user, e.g. in a window of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Askpass {
    program: PathBuf,
}

impl Askpass {
    /// The program that has to ask, or `None` where the caller asks: `SSH_ASKPASS` names it,
    /// `SSH_ASKPASS_REQUIRE` is `never`, `prefer` or `force`, and without it the program asks only where
    /// there is a display and no terminal. `env` looks up environment variables.
    pub fn from_env(env: impl Fn(&str) -> Option<String>, has_terminal: bool) -> Option<Askpass> {
        let set = |name: &str| env(name).filter(|it| !it.is_empty());
        let program = set("SSH_ASKPASS")?;
        let display = set("DISPLAY").or_else(|| set("WAYLAND_DISPLAY")).is_some();
        let asks = match set("SSH_ASKPASS_REQUIRE").as_deref() {
            Some(it) if it.eq_ignore_ascii_case("never") => false,
            Some(it) if it.eq_ignore_ascii_case("force") => true,
            Some(it) if it.eq_ignore_ascii_case("prefer") => display,
            _ => display && !has_terminal,
        };
        asks.then(|| Askpass {
            program: PathBuf::from(program),
        })
    }

    /// Asks. A program that fails or is cancelled is a refusal; there is no limit to the user's time.
    pub(crate) async fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::HostKey { .. } => self.host_key(question).await,
            Question::UpdateHostKeys { .. } => self.update(question).await,
            Question::Passphrase { key, .. } => {
                let text = format!("Enter passphrase for key '{}': ", key.display());
                self.secrets(&[text]).await
            }
            Question::Password { host, .. } => {
                let text = format!("{}@{}'s password: ", host.user, host.host_name);
                self.secrets(&[text]).await
            }
            Question::KeyboardInteractive {
                host,
                name,
                instructions,
                prompts,
            } => {
                let Hop { user, host_name, .. } = host;
                let before = [name, instructions].into_iter().filter(|it| !it.is_empty());
                let before: String = before.map(|it| format!("{it}\n")).collect();
                let text = |text: &str| format!("{before}({user}@{host_name}) {text}");
                let texts: Vec<String> = prompts.iter().map(|it| text(&it.text)).collect();
                self.secrets(&texts).await
            }
        }
    }

    async fn host_key(&self, question: &Question) -> Answer {
        let Question::HostKey {
            host,
            key_type,
            fingerprint,
            randomart,
            known,
            ..
        } = question
        else {
            return Answer::Refuse;
        };
        let known: String = known.iter().map(|it| format!("{}\n", it.as_another())).collect();
        let text = format!(
            "The authenticity of host '{host}' can't be established.\n{key_type} key fingerprint is \
             {fingerprint}.\n{randomart}\n{known}Are you sure you want to continue connecting \
             (yes/no/[fingerprint])? "
        );
        match self.confirms(&text, fingerprint).await {
            true => Answer::Accept,
            false => Answer::Refuse,
        }
    }

    /// Whether the user typed `yes` or this fingerprint. As with OpenSSH, what is neither that nor a no is asked about
    /// again.
    async fn confirms(&self, question: &str, fingerprint: &str) -> bool {
        let mut text = question;
        for _ in 0..limits::ASKPASS_ANSWERS {
            let Ok(said) = self.ask(text).await else {
                return false;
            };
            let answer = said.split_whitespace().next().unwrap_or_default();
            if answer.eq_ignore_ascii_case("yes") || answer == fingerprint {
                return true;
            }
            if answer.is_empty() || answer.eq_ignore_ascii_case("no") {
                return false;
            }
            text = "Please type 'yes', 'no' or the fingerprint: ";
        }
        false
    }

    async fn update(&self, question: &Question) -> Answer {
        let Question::UpdateHostKeys {
            host, added, removed, ..
        } = question
        else {
            return Answer::Refuse;
        };
        let mut text = format!(
            "'{host}' says that its host keys have changed, and has proved that it has the new ones.\n"
        );
        for (what, keys) in [("new:", added), ("old:", removed)] {
            for HostKey {
                key_type,
                fingerprint,
            } in keys
            {
                text += &format!("{what} {key_type} {fingerprint}\n");
            }
        }
        match self
            .ask(&format!("{text}Record this in known_hosts (yes/no)? "))
            .await
        {
            Ok(answer) if answer.trim() == "yes" => Answer::Accept,
            _ => Answer::Refuse,
        }
    }

    async fn secrets(&self, texts: &[String]) -> Answer {
        let mut answers = Vec::new();
        for text in texts {
            match self.ask(text).await {
                Ok(answer) => answers.push(answer),
                Err(_) => return Answer::Refuse,
            }
        }
        Answer::Secrets(answers)
    }

    async fn ask(&self, text: &str) -> io::Result<Zeroizing<String>> {
        let words = [self.program.to_string_lossy().into_owned(), visible(text)];
        let said = program::run(&words, &[], None, limits::PROGRAM_OUTPUT).await?;
        if !said.success {
            return Err(io::Error::other(said.ending));
        }
        let line = said.output.split(|it| matches!(it, b'\n' | b'\r')).next();
        let line = std::str::from_utf8(line.unwrap_or_default());
        line.map(|it| Zeroizing::new(it.to_owned()))
            .map_err(io::Error::other)
    }
}

/// A text whose words may be the server's, for a program that may print it on a terminal: control characters are
/// spelled as OpenSSH spells them, by the octal numbers of vis(3).
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => visible.push(letter),
            it if it.is_control() => {
                let bytes = it.to_string().into_bytes();
                visible.extend(bytes.iter().map(|it| format!("\\{it:03o}")));
            }
            it => visible.push(it),
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{Answer, Askpass, Hop, Question, visible};

    #[test]
    fn control_characters_of_a_question_are_spelled() {
        for (text, expected) in [
            ("Password: ", "Password: "),
            ("one\ntwo\tthree \u{fc}", "one\ntwo\tthree \u{fc}"),
            ("\x1b]0;title\x07", "\\033]0;title\\007"),
            ("\r\0\x7f\u{9b}", "\\015\\000\\177\\302\\233"),
        ] {
            assert_eq!(visible(text), expected, "{text:?}");
        }
    }

    /// What becomes of a host key when the program says these lines, one at a time, and how often it was asked.
    async fn decide(lines: &str) -> (bool, usize) {
        let dir = tempfile::tempdir().unwrap();
        let (program, said, asked) = (
            dir.path().join("ask"),
            dir.path().join("said"),
            dir.path().join("asked"),
        );
        fs::write(&said, lines).unwrap();
        let (said, log) = (said.display(), asked.display());
        let script =
            format!("#!/bin/sh\necho asked >> {log}\nhead -n \"$(wc -l < {log})\" {said} | tail -n 1\n");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let host = Hop {
            alias: "box".to_owned(),
            user: "me".to_owned(),
            host_name: "box".to_owned(),
            port: 22,
        };
        let question = Question::HostKey {
            host,
            key_type: "ED25519".to_owned(),
            fingerprint: "SHA256:right".to_owned(),
            randomart: String::new(),
            known_hosts_file: None,
            known: Vec::new(),
        };
        let answer = Askpass { program }.answer(&question).await;
        let times = fs::read_to_string(&asked).unwrap().lines().count();
        (matches!(answer, Answer::Accept), times)
    }

    #[tokio::test]
    async fn a_host_key_is_asked_about_again_until_the_answer_is_one() {
        for (lines, expected) in [
            ("yes\n", (true, 1)),
            ("YES\n", (true, 1)),
            (" SHA256:right\n", (true, 1)),
            ("no\n", (false, 1)),
            ("\n", (false, 1)),
            ("y\nsha256:right\nyes\n", (true, 3)),
            ("SHA256:wrong\nno\nyes\n", (false, 2)),
            ("what\n", (false, 5)),
        ] {
            assert_eq!(decide(lines).await, expected, "{lines:?}");
        }
    }

    #[test]
    fn the_environment_decides_who_asks() {
        for (variables, has_terminal, expected) in [
            (vec![], false, false),
            (vec![("SSH_ASKPASS", "/x")], false, false),
            (vec![("SSH_ASKPASS", "/x"), ("DISPLAY", ":0")], false, true),
            (vec![("SSH_ASKPASS", "/x"), ("DISPLAY", ":0")], true, false),
            (
                vec![("SSH_ASKPASS", "/x"), ("SSH_ASKPASS_REQUIRE", "force")],
                true,
                true,
            ),
            (
                vec![("SSH_ASKPASS", "/x"), ("SSH_ASKPASS_REQUIRE", "FORCE")],
                true,
                true,
            ),
            (
                vec![("SSH_ASKPASS", "/x"), ("SSH_ASKPASS_REQUIRE", "prefer")],
                true,
                false,
            ),
            (
                vec![
                    ("SSH_ASKPASS", "/x"),
                    ("SSH_ASKPASS_REQUIRE", "prefer"),
                    ("WAYLAND_DISPLAY", "w"),
                ],
                true,
                true,
            ),
            (
                vec![
                    ("SSH_ASKPASS", "/x"),
                    ("SSH_ASKPASS_REQUIRE", "never"),
                    ("DISPLAY", ":0"),
                ],
                false,
                false,
            ),
        ] {
            let env = |name: &str| {
                let found = variables.iter().find(|it| it.0 == name);
                found.map(|it| it.1.to_owned())
            };
            let asks = Askpass::from_env(env, has_terminal).is_some();
            assert_eq!(asks, expected, "{variables:?} {has_terminal}");
        }
    }
}

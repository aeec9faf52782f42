//! What OpenSSH's client asks through `SSH_ASKPASS`, in our words.
//!
//! It passes one text and, in `SSH_ASKPASS_PROMPT`, a kind (ssh(1), *ENVIRONMENT*). The text is all there is to
//! tell a password from a host key; what is not recognized is shown as it is.

use std::path::PathBuf;

use codex_hosts::{Hop, HostKeyQuestion, Prompt, Question};

/// What a prompt wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// A yes or a no: `SSH_ASKPASS_PROMPT=confirm`.
    Confirm,
    /// Nothing: it is shown until the client ends it. `SSH_ASKPASS_PROMPT=none`, e.g. for the touch of a token.
    Notice,
}

/// A hop with what else is needed to tell of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) hop: Hop,
    pub(crate) host_key_alias: Option<String>,
    pub(crate) known_hosts_file: Option<PathBuf>,
}

/// What a refusal of a question comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The client is told no, and goes on.
    GoesOn,
    /// The login ends: whoever cancels a password must not have an empty one sent.
    Cancels,
    /// The login ends, and the host's key was not accepted.
    Distrusts,
}

/// A prompt in our words.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) refusal: Refusal,
    /// A password or passphrase, which is the same each time; other texts may be used up by one login.
    pub(crate) is_lasting: bool,
}

/// Reads a prompt. `places` are the hops in order, the host itself last and never missing; `attempt` counts how
/// often this very text was asked, from 1.
pub(crate) fn read(text: &str, kind: Kind, places: &[Place], target: &Place, attempt: u32) -> Asked {
    if kind == Kind::Confirm {
        return confirm(text, target);
    }
    if text.contains("(yes/no") {
        return match host_key(text, places, target) {
            Some(question) => Asked {
                question,
                refusal: Refusal::Distrusts,
                is_lasting: false,
            },
            None => confirm(text, target),
        };
    }
    if let Some(key) = between(text, "Enter passphrase for key '", "': ") {
        let question = Question::Passphrase {
            hop: target.hop.clone(),
            key: PathBuf::from(key),
            attempt,
        };
        return secret(question, true);
    }
    let from_password = between(text, "", "'s password: ");
    let from_dialogue = between(text, "(", ") Password: ");
    if let Some((user, host)) = from_password.or(from_dialogue).and_then(|it| it.rsplit_once('@')) {
        let mut found = places.iter().filter(|it| it.is(user, host));
        // A place that is not clear is told in the client's words: a password must not go to another host.
        if let (Some(place), None) = (found.next(), found.next()) {
            let hop = place.hop.clone();
            return secret(Question::Password { hop, attempt }, true);
        }
    }
    if between(text, "Enter PIN for ", ": ").is_some() {
        return secret(in_its_words(target, PIN_ADVICE, text.trim_end()), false);
    }
    let (instructions, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text));
    secret(in_its_words(target, instructions, last), from_password.is_some())
}

/// Said with a token's PIN, since the question names the host, which does not ask it.
const PIN_ADVICE: &str = "The system's ssh asks this. Tokens lock themselves after a few wrong PINs.";

fn in_its_words(target: &Place, instructions: &str, text: &str) -> Question {
    Question::KeyboardInteractive {
        hop: target.hop.clone(),
        name: String::new(),
        instructions: instructions.to_owned(),
        prompts: vec![Prompt {
            text: text.to_owned(),
            echo: false,
        }],
    }
}

fn secret(question: Question, is_lasting: bool) -> Asked {
    Asked {
        question,
        refusal: Refusal::Cancels,
        is_lasting,
    }
}

fn confirm(text: &str, target: &Place) -> Asked {
    Asked {
        question: Question::Confirm {
            hop: target.hop.clone(),
            text: text.trim_end().to_owned(),
        },
        refusal: Refusal::GoesOn,
        is_lasting: false,
    }
}

impl Place {
    fn is(&self, user: &str, host: &str) -> bool {
        let names = [
            Some(&self.hop.host_name),
            Some(&self.hop.alias),
            self.host_key_alias.as_ref(),
        ];
        let mut names = names.into_iter().flatten();
        self.hop.user == user && names.any(|it| it.eq_ignore_ascii_case(host))
    }

    /// Whether this is the host that a question about a key names: `name`, `[name]:port`, perhaps with an address
    /// in parentheses behind it.
    fn is_named(&self, named: &str) -> bool {
        let named = named.split(' ').next().unwrap_or(named);
        let (name, port) = (&self.hop.host_name, self.hop.port);
        let with_port = format!("[{name}]:{port}");
        let alias = self.host_key_alias.as_deref();
        alias == Some(named) || named == with_port || (port == 22 && named.eq_ignore_ascii_case(name))
    }
}

/// The question about an unknown host key. All that the client says of it goes along: it knows under which other
/// names it has seen the key.
fn host_key(text: &str, places: &[Place], target: &Place) -> Option<Question> {
    let is_print = |it: &&str| it.contains(" key fingerprint is");
    let line = text.lines().find(is_print)?;
    let (key_type, print) = line.split_once(" key fingerprint is")?;
    let fingerprint = print.trim_start_matches(':').trim().trim_end_matches('.');
    let named = between(
        text.lines().next()?,
        "The authenticity of host '",
        "' can't be established.",
    )?;
    let place = places
        .iter()
        .rev()
        .find(|it| it.is_named(named))
        .unwrap_or(target);
    let rest = text.lines().filter(|it| !is_print(it) && !it.contains("(yes/no"));
    let key = HostKeyQuestion {
        key_type: key_type.to_owned(),
        fingerprint: fingerprint.to_owned(),
        randomart: rest.map(str::to_owned).collect(),
        known_hosts_file: place.known_hosts_file.clone(),
    };
    let hop = place.hop.clone();
    Some(Question::HostKey { hop, key })
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.strip_suffix(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(alias: &str, host_name: &str, port: u16) -> Place {
        Place {
            hop: Hop {
                alias: alias.to_owned(),
                user: "dev".to_owned(),
                host_name: host_name.to_owned(),
                port,
                is_jump: alias == "bastion",
            },
            host_key_alias: None,
            known_hosts_file: Some(format!("/{alias}").into()),
        }
    }

    fn places() -> [Place; 2] {
        [
            place("bastion", "gate.example", 22),
            place("devbox", "10.0.0.4", 2222),
        ]
    }

    fn asked(text: &str, kind: Kind) -> Asked {
        let places = places();
        read(text, kind, &places, &places[1], 2)
    }

    #[test]
    fn passwords_belong_to_the_hop_that_is_named() {
        for (text, alias) in [
            ("dev@10.0.0.4's password: ", "devbox"),
            ("dev@GATE.example's password: ", "bastion"),
            ("(dev@10.0.0.4) Password: ", "devbox"),
        ] {
            let asked = asked(text, Kind::Text);
            let Question::Password { hop, attempt: 2 } = asked.question else {
                panic!("{text}")
            };
            assert_eq!(hop.alias, alias, "{text}");
            assert!(asked.is_lasting && asked.refusal == Refusal::Cancels);
        }
    }

    #[test]
    fn a_password_of_nobody_we_know_or_of_two_is_told_in_the_clients_words() {
        let twins = [place("a", "127.0.0.1", 1), place("b", "127.0.0.1", 2)];
        for (text, places) in [
            ("root@10.0.0.4's password: ", &places()),
            ("dev@127.0.0.1's password: ", &twins),
        ] {
            let asked = read(text, Kind::Text, places, &places[1], 1);
            let Question::KeyboardInteractive { prompts, .. } = asked.question else {
                panic!("{text}")
            };
            assert_eq!(prompts[0].text, text);
        }
    }

    #[test]
    fn codes_and_pins_are_not_lasting_and_keep_what_stands_before_them() {
        let asked = asked("(dev@10.0.0.4) Token from\nyour phone: ", Kind::Text);
        assert!(!asked.is_lasting);
        let Question::KeyboardInteractive {
            instructions,
            prompts,
            ..
        } = asked.question
        else {
            panic!()
        };
        assert_eq!(instructions, "(dev@10.0.0.4) Token from");
        assert_eq!(
            (prompts[0].text.as_str(), prompts[0].echo),
            ("your phone:", false)
        );
    }

    #[test]
    fn the_pin_of_a_token_is_asked_by_this_machine_and_never_remembered() {
        for text in [
            "Enter PIN for 'key ring': ",
            "Enter PIN for ED25519-SK key /home/me/.ssh/id_ed25519_sk: ",
        ] {
            let asked = asked(text, Kind::Text);
            assert!(!asked.is_lasting, "{text}");
            let Question::KeyboardInteractive {
                instructions,
                prompts,
                ..
            } = asked.question
            else {
                panic!("{text}")
            };
            assert_eq!(
                (instructions.as_str(), prompts[0].text.as_str()),
                (PIN_ADVICE, text.trim_end())
            );
        }
    }

    #[test]
    fn a_passphrase_names_its_key() {
        let asked = asked("Enter passphrase for key '/home/me/.ssh/id': ", Kind::Text);
        assert!(
            matches!(asked.question, Question::Passphrase { key, .. } if key.as_os_str() == "/home/me/.ssh/id")
        );
    }

    #[test]
    fn an_unknown_host_key_is_a_question_about_a_host_key() {
        // Until 10.0 there is no colon before the fingerprint.
        for colon in ["", ":"] {
            let text = format!(
                "The authenticity of host '[10.0.0.4]:2222 ([10.0.0.4]:2222)' can't be established.\n\
                 ED25519 key fingerprint is{colon} SHA256:abc.\nThis key is not known by any other names.\n\
                 Are you sure you want to continue connecting (yes/no/[fingerprint])? "
            );
            let asked = asked(&text, Kind::Text);
            assert_eq!(asked.refusal, Refusal::Distrusts);
            let Question::HostKey { hop, key } = asked.question else {
                panic!()
            };
            assert_eq!(
                (hop.alias.as_str(), key.fingerprint.as_str()),
                ("devbox", "SHA256:abc")
            );
            assert_eq!(key.key_type, "ED25519");
            assert_eq!(key.randomart[1], "This key is not known by any other names.");
            assert_eq!(key.known_hosts_file, Some("/devbox".into()));
        }
    }

    #[test]
    fn other_yes_or_no_questions_are_shown_as_they_are_and_no_is_an_answer() {
        for (text, kind) in [
            ("Accept updated hostkeys? (yes/no): ", Kind::Text),
            ("Allow shared connection to devbox? ", Kind::Confirm),
        ] {
            let asked = asked(text, kind);
            assert_eq!(asked.refusal, Refusal::GoesOn);
            assert!(
                matches!(asked.question, Question::Confirm { text: shown, .. } if shown == text.trim_end())
            );
        }
    }
}

//! Questions of logins that got no answer, and what a failure that came of one says about it.

use codex_hosts::{Failure, FailureKind, Question};

use super::ask;

/// Why nobody could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nobody {
    NoTerminal,
    /// `--batch` is given.
    Batch,
}

impl Nobody {
    fn why(self) -> &'static str {
        match self {
            Nobody::NoTerminal => "there is no terminal to ask on",
            Nobody::Batch => "--batch answers nothing",
        }
    }
}

/// A question without an answer.
pub(crate) struct Unanswered {
    question: String,
    /// `None`: the user was asked.
    nobody: Option<Nobody>,
}

impl Unanswered {
    /// As long as nobody has answered it.
    pub(crate) fn asked(question: &Question) -> Unanswered {
        Unanswered::new(question, None)
    }

    pub(crate) fn by(question: &Question, nobody: Nobody) -> Unanswered {
        Unanswered::new(question, Some(nobody))
    }

    fn new(question: &Question, nobody: Option<Nobody>) -> Unanswered {
        let hop = ask::describe(question.hop());
        let question = format!("{hop} asks {}", ask::describe_question(question));
        Unanswered { question, nobody }
    }

    /// The question, and why it has no answer.
    pub(crate) fn text(&self) -> String {
        let question = &self.question;
        match self.nobody {
            None => format!("{question} and got no answer"),
            Some(nobody) => format!("{question}, and {}", nobody.why()),
        }
    }

    /// Adds this to a failure that came of it. Where nobody could be asked, another try alone does not help.
    pub(crate) fn explain(&self, failure: &mut Failure) {
        let why = match failure.kind {
            FailureKind::Cancelled => self.text(),
            // The failure itself says which key it is about, and whose.
            FailureKind::HostKeyUnknown => match self.nobody {
                None => return,
                Some(nobody) => nobody.why().to_owned(),
            },
            _ => return,
        };
        failure.message = format!("{}: {why}", failure.message);
        let way = match self.nobody {
            Some(Nobody::NoTerminal) => {
                "run it in a terminal, or let SSH_ASKPASS name a program that answers (with SSH_ASKPASS_REQUIRE=force)"
            }
            Some(Nobody::Batch) => "leave out --batch and answer",
            None => return,
        };
        if failure.kind == FailureKind::Cancelled {
            failure.hint = Some(format!(
                "{way}; a key that is in the agent (ssh-add) asks nothing"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use codex_hosts::Hop;

    use super::*;

    fn explained(kind: FailureKind, nobody: Option<Nobody>) -> Failure {
        let hop = Hop {
            alias: "devbox".to_owned(),
            user: "me".to_owned(),
            host_name: "h".to_owned(),
            port: 22,
            is_jump: false,
        };
        let question = Question::Password { hop, attempt: 1 };
        let mut failure = Failure {
            kind,
            phase: None,
            message: "no".to_owned(),
            hint: Some("connect again and answer".to_owned()),
            stderr: None,
        };
        Unanswered::new(&question, nobody).explain(&mut failure);
        failure
    }

    #[test]
    fn whoever_could_not_be_asked_is_not_told_to_answer() {
        for (nobody, why, hint) in [
            (None, "and got no answer", "connect again and answer"),
            (Some(Nobody::NoTerminal), "no terminal to ask on", "SSH_ASKPASS"),
            (
                Some(Nobody::Batch),
                "--batch answers nothing",
                "leave out --batch",
            ),
        ] {
            let failure = explained(FailureKind::Cancelled, nobody);
            let asks = "no: devbox [me@h:22] asks for a password";
            assert!(failure.message.starts_with(asks), "{failure}");
            assert!(failure.message.ends_with(why), "{failure}");
            assert!(
                failure.hint.as_ref().is_some_and(|it| it.contains(hint)),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn a_key_that_nobody_could_accept_is_named_once() {
        let failure = explained(FailureKind::HostKeyUnknown, Some(Nobody::NoTerminal));
        assert_eq!(failure.message, "no: there is no terminal to ask on");
        assert_eq!(explained(FailureKind::HostKeyUnknown, None).message, "no");
    }

    #[test]
    fn what_came_of_something_else_says_nothing_of_a_question() {
        let failure = explained(FailureKind::Unreachable, Some(Nobody::NoTerminal));
        assert_eq!(failure.message, "no");
        assert_eq!(failure.hint.as_deref(), Some("connect again and answer"));
    }
}

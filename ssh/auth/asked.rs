//! The methods that ask the user: `password` and `keyboard-interactive`, or their memory of this run.

use russh::client::{Handle, KeyboardInteractiveAuthResponse as Interactive};
use zeroize::Zeroizing;

use super::{
    login::{State, Told, denied, told},
    passwords::Account,
    plan::Method,
};
use crate::{
    client::Client,
    error::Failure,
    event::{Answer, Prompt, Question},
    limits,
};

/// russh reads no SSH_MSG_USERAUTH_PASSWD_CHANGEREQ (RFC 4252, 8), so such a server is only silent.
const PASSWORD_STEP: &str =
    "waiting for the answer to the password (has it expired? then change it with `ssh`)";

/// The answer to a keyboard-interactive question for the password.
struct Recalled {
    account: Account,
    answer: Zeroizing<String>,
    /// It came from memory.
    known: bool,
}

impl State<'_> {
    pub(super) async fn password(
        &mut self,
        handle: &mut Handle<Client>,
        attempt: u32,
    ) -> Result<Told, Failure> {
        let account = Account::of(self.settings);
        if let Some(known) = self.passwords.of(&account) {
            let told = self.send_password(handle, &known).await?;
            if !matches!(told, Told::Denied { .. }) {
                return Ok(told);
            }
            self.passwords.forget(&account);
        }
        let question = Question::Password {
            host: self.hop.clone(),
            attempt,
        };
        let password = self.conversation.ask_secret(question, "the password").await?;
        let told = self.send_password(handle, &password).await?;
        if matches!(told, Told::Accepted | Told::Partial(_)) {
            self.passwords.remember(account, password);
        }
        Ok(told)
    }

    async fn send_password(&mut self, handle: &mut Handle<Client>, password: &str) -> Result<Told, Failure> {
        let user = self.settings.user.as_str();
        // russh clears its copy after use.
        let sent = handle.authenticate_password(user, password);
        let sent = self.within(limits::AUTH_PASSWORD, PASSWORD_STEP, sent).await?;
        self.sent = true;
        let told = told(sent);
        self.write_down(Method::Password, String::new(), &told);
        Ok(told)
    }

    pub(super) async fn interactive(&mut self, handle: &mut Handle<Client>) -> Result<Told, Failure> {
        loop {
            let mut recalled = None;
            let told = self.exchange(handle, &mut recalled).await?;
            match (&told, recalled) {
                // The password was changed meanwhile: now the user is asked.
                (Told::Denied { .. }, Some(it)) if it.known => self.passwords.forget(&it.account),
                (Told::Accepted | Told::Partial(_), Some(it)) => {
                    self.passwords.remember(it.account, it.answer);
                    return Ok(told);
                }
                _ => return Ok(told),
            }
        }
    }

    /// One exchange from its start to its verdict. `recalled` gets the answer to a question for the password.
    async fn exchange(
        &mut self,
        handle: &mut Handle<Client>,
        recalled: &mut Option<Recalled>,
    ) -> Result<Told, Failure> {
        const STEP: &str = "waiting for the next keyboard-interactive question";
        let user = self.settings.user.as_str();
        let started = handle.authenticate_keyboard_interactive_start(user, None::<String>);
        let mut answer = self.bounded(STEP, started).await?;
        let mut asked = false;
        for _ in 0..limits::INTERACTIVE_ROUNDS {
            let told = match answer {
                Ok(Interactive::InfoRequest {
                    name,
                    instructions,
                    prompts,
                }) => {
                    asked |= !prompts.is_empty();
                    let responses = self.respond(name, instructions, prompts, recalled).await?;
                    self.sent = asked;
                    let sent = handle.authenticate_keyboard_interactive_respond(responses);
                    answer = self.within(limits::AUTH_ANSWER, STEP, sent).await?;
                    continue;
                }
                Ok(Interactive::Success) => Told::Accepted,
                Ok(Interactive::Failure {
                    remaining_methods,
                    partial_success,
                }) => denied(&remaining_methods, partial_success, asked),
                Err(_) => Told::Closed,
            };
            self.write_down(Method::KeyboardInteractive, String::new(), &told);
            return Ok(told);
        }
        Err(Failure::Protocol {
            step: format!("logging in as {user}"),
            source: "the server does not stop asking questions".into(),
        })
    }

    async fn respond(
        &mut self,
        name: String,
        instructions: String,
        prompts: Vec<russh::client::Prompt>,
        recalled: &mut Option<Recalled>,
    ) -> Result<Vec<String>, Failure> {
        if prompts.is_empty() {
            // RFC 4256, 3.2: such a request only tells something, and wants an empty answer.
            let text = [name, instructions].join("\n").trim().to_owned();
            if !text.is_empty() {
                self.report.notice(text).await;
            }
            return Ok(Vec::new());
        }
        let count = prompts.len();
        let prompt = |it: russh::client::Prompt| Prompt {
            text: it.prompt,
            echo: it.echo,
        };
        let prompts: Vec<Prompt> = prompts.into_iter().map(prompt).collect();
        let account = Account::of_prompts(self.settings, &prompts);
        // A second question for the password in one exchange says that the first answer was wrong.
        if let Some(account) = &account
            && recalled.is_none()
            && let Some(answer) = self.passwords.of(account)
        {
            let text = answer.as_str().to_owned();
            *recalled = Some(Recalled {
                account: account.clone(),
                answer,
                known: true,
            });
            return Ok(vec![text]);
        }
        self.needs_user |= account.is_none();
        let host = self.hop.clone();
        let question = Question::KeyboardInteractive {
            host,
            name,
            instructions,
            prompts,
        };
        match self
            .conversation
            .ask(question, "the answer to the server's question")
            .await?
        {
            Answer::Secrets(secrets) if secrets.len() == count => {
                if let (Some(account), [answer]) = (account, secrets.as_slice()) {
                    let (answer, known) = (answer.clone(), false);
                    *recalled = Some(Recalled {
                        account,
                        answer,
                        known,
                    });
                }
                Ok(secrets.iter().map(|secret| secret.as_str().to_owned()).collect())
            }
            _ => Err(Failure::Cancelled("the server's question".to_owned())),
        }
    }
}

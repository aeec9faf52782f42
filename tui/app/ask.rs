//! Everything that waits for the user, in the order in which it came: logins, approvals, questions.

use std::time::{Duration, Instant};

use codex_hosts::{HostId, Question, QuestionId, Reply, Secret};
use codex_protocol::{Id, ServerRequest, v2};
use serde_json::{Value, json};
use v2::ApprovalDecision;

use super::{
    PaneId,
    form::{Form, Input},
};
use crate::{effect::Effect, keymap::Context};

/// A dialog that opens by itself ignores keys until none came for so long: they were meant for what was
/// there before.
pub const GRACE: Duration = Duration::from_millis(300);
/// Who pressed a key less than this ago is typing: nothing opens by itself.
pub const TYPING: Duration = Duration::from_secs(1);
/// Questions of one host that wait. A host that asks more is refused.
pub const ASKS_PER_HOST_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Something that waits for the user. It has no `Debug`: it may hold typed secrets.
pub struct Ask {
    pub id: AskId,
    pub host: HostId,
    /// The thread that waits; none for a login.
    pub pane: Option<PaneId>,
    pub kind: AskKind,
    pub choices: Vec<Choice>,
    /// Index into the choices. Never an approval until the user moves it there.
    pub selected: usize,
    pub form: Form,
}

pub enum AskKind {
    Login(QuestionId, Question),
    Server(Id, ServerRequest),
}

/// A decision that a dialog offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Accept,
    AcceptForSession,
    /// A rule for a prefix of the command is written on the host.
    AcceptRule,
    Decline,
    CancelTurn,
}

impl Choice {
    pub fn label(self) -> &'static str {
        match self {
            Choice::Accept => "yes",
            Choice::AcceptForSession => "yes, for this session",
            Choice::AcceptRule => "yes, always for this prefix",
            Choice::Decline => "no",
            Choice::CancelTurn => "no, and stop the turn",
        }
    }

    pub fn key(self) -> crate::keymap::Command {
        match self {
            Choice::Accept => crate::keymap::Command::Accept,
            Choice::AcceptForSession => crate::keymap::Command::AcceptForSession,
            Choice::AcceptRule => crate::keymap::Command::AcceptRule,
            Choice::Decline => crate::keymap::Command::Decline,
            Choice::CancelTurn => crate::keymap::Command::CancelTurn,
        }
    }
}

/// The dialog that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialog {
    pub ask: AskId,
    /// Keys count from here on; `None` when the user opened it.
    pub ready_at: Option<Instant>,
    /// Lines scrolled in its text.
    pub scroll: u16,
}

impl Ask {
    pub fn login(id: AskId, host: HostId, question_id: QuestionId, question: Question) -> Ask {
        let form = match &question {
            Question::HostKey { .. } | Question::UpdateHostKeys { .. } | Question::Confirm { .. } => {
                Form::default()
            }
            Question::Passphrase { .. } => Form::secret("passphrase"),
            Question::Password { .. } => Form::secret("password"),
            Question::KeyboardInteractive { prompts, .. } => Form::prompts(prompts),
        };
        let choices = match &question {
            Question::HostKey { .. } | Question::UpdateHostKeys { .. } | Question::Confirm { .. } => {
                vec![Choice::Decline, Choice::Accept]
            }
            Question::Passphrase { .. }
            | Question::Password { .. }
            | Question::KeyboardInteractive { .. } => Vec::new(),
        };
        Ask {
            id,
            host,
            pane: None,
            kind: AskKind::Login(question_id, question),
            choices,
            selected: 0,
            form,
        }
    }

    /// `None` for a request that nobody here understands.
    pub fn server(
        id: AskId,
        host: HostId,
        pane: PaneId,
        request_id: Id,
        request: ServerRequest,
    ) -> Option<Ask> {
        let mut form = Form::default();
        let choices = match &request {
            ServerRequest::CommandApproval(params) => {
                let mut choices = vec![Choice::Accept, Choice::AcceptForSession];
                if params
                    .proposed_execpolicy_amendment
                    .as_ref()
                    .is_some_and(|it| !it.is_empty())
                {
                    choices.push(Choice::AcceptRule);
                }
                choices.extend([Choice::Decline, Choice::CancelTurn]);
                choices
            }
            ServerRequest::FileChangeApproval(_) => vec![
                Choice::Accept,
                Choice::AcceptForSession,
                Choice::Decline,
                Choice::CancelTurn,
            ],
            ServerRequest::PermissionsApproval(_) => {
                vec![Choice::Accept, Choice::AcceptForSession, Choice::Decline]
            }
            ServerRequest::UserInput(params) => {
                form = Form::questions(&params.questions);
                Vec::new()
            }
            ServerRequest::Elicitation(params) => {
                form = params
                    .requested_schema
                    .as_ref()
                    .map(Form::schema)
                    .unwrap_or_default();
                match form.fields.is_empty() {
                    true => vec![Choice::Accept, Choice::Decline, Choice::CancelTurn],
                    false => Vec::new(),
                }
            }
            ServerRequest::Unknown { .. } => return None,
        };
        let selected = choices.iter().position(|it| *it == Choice::Decline).unwrap_or(0);
        Some(Ask {
            id,
            host,
            pane: Some(pane),
            kind: AskKind::Server(request_id, request),
            choices,
            selected,
            form,
        })
    }

    pub fn context(&self) -> Context {
        match (&self.kind, self.choices.is_empty()) {
            (AskKind::Login(..), false) => Context::HostKey,
            (AskKind::Server(..), false) => Context::Approval,
            (_, true) => Context::Form,
        }
    }

    /// The answer for a choice; `None` when the choice is not offered.
    pub fn decide(&self, choice: Choice) -> Option<Effect> {
        if !self.choices.contains(&choice) {
            return None;
        }
        let (id, request) = match &self.kind {
            AskKind::Login(id, _) => {
                let reply = if choice == Choice::Accept {
                    Reply::Accept
                } else {
                    Reply::Refuse
                };
                return Some(Effect::Answer(self.host.clone(), *id, reply));
            }
            AskKind::Server(id, request) => (id, request),
        };
        let result = match request {
            ServerRequest::CommandApproval(params) => {
                let rule = params.proposed_execpolicy_amendment.clone().unwrap_or_default();
                approval(choice, rule)
            }
            ServerRequest::FileChangeApproval(_) => approval(choice, Vec::new()),
            ServerRequest::PermissionsApproval(params) => {
                let granted = match choice {
                    Choice::Accept | Choice::AcceptForSession => params.permissions.clone(),
                    Choice::AcceptRule | Choice::Decline | Choice::CancelTurn => json!({}),
                };
                let scope = if choice == Choice::AcceptForSession {
                    "session"
                } else {
                    "turn"
                };
                to_value(&v2::PermissionsApprovalResponse {
                    permissions: granted,
                    scope: Some(scope.to_owned()),
                })
            }
            ServerRequest::Elicitation(_) => {
                let action = match choice {
                    Choice::Accept | Choice::AcceptForSession | Choice::AcceptRule => "accept",
                    Choice::Decline => "decline",
                    Choice::CancelTurn => "cancel",
                };
                elicited(action, (action == "accept").then(|| json!({})))
            }
            ServerRequest::UserInput(_) | ServerRequest::Unknown { .. } => return None,
        };
        Some(Effect::Reply(self.host.clone(), id.clone(), result))
    }

    /// The answer made of the form; `None` when a field is not right yet.
    pub fn submit(&mut self) -> Option<Effect> {
        match &self.kind {
            AskKind::Login(id, _) => {
                let secrets = self.form.fields.iter_mut().map(|it| match &mut it.input {
                    Input::Secret(secret) => Secret::new(secret.take()),
                    Input::Text(_) | Input::Options { .. } => Secret::new(it.answer().into()),
                });
                let reply = Reply::Secrets(secrets.collect());
                Some(Effect::Answer(self.host.clone(), *id, reply))
            }
            AskKind::Server(id, ServerRequest::UserInput(_)) => {
                let answers = self.form.fields.iter_mut().map(|it| {
                    let answer = v2::UserInputAnswer {
                        answers: vec![it.answer()],
                    };
                    (it.key.clone(), answer)
                });
                let response = v2::UserInputResponse {
                    answers: answers.collect(),
                };
                Some(Effect::Reply(self.host.clone(), id.clone(), to_value(&response)))
            }
            AskKind::Server(id, _) => {
                let content = self.form.content()?;
                let result = elicited("accept", Some(Value::Object(content)));
                Some(Effect::Reply(self.host.clone(), id.clone(), result))
            }
        }
    }

    /// The answer that refuses a form.
    pub fn refuse(&self) -> Effect {
        match &self.kind {
            AskKind::Login(id, _) => Effect::Answer(self.host.clone(), *id, Reply::Refuse),
            AskKind::Server(id, ServerRequest::UserInput(_)) => {
                // The protocol has no refusal here: no answers is what it takes.
                let response = to_value(&v2::UserInputResponse::default());
                Effect::Reply(self.host.clone(), id.clone(), response)
            }
            AskKind::Server(id, _) => Effect::Reply(self.host.clone(), id.clone(), elicited("decline", None)),
        }
    }
}

fn approval(choice: Choice, rule: Vec<String>) -> Value {
    let decision = match choice {
        Choice::Accept => ApprovalDecision::Accept,
        Choice::AcceptForSession => ApprovalDecision::AcceptForSession,
        Choice::AcceptRule => ApprovalDecision::AcceptWithExecpolicyAmendment {
            execpolicy_amendment: rule,
        },
        Choice::Decline => ApprovalDecision::Decline,
        Choice::CancelTurn => ApprovalDecision::Cancel,
    };
    to_value(&v2::ApprovalResponse { decision })
}

fn elicited(action: &str, content: Option<Value>) -> Value {
    to_value(&v2::ElicitationResponse {
        action: action.to_owned(),
        content,
    })
}

/// These are plain structs of strings: they always have a JSON form.
fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

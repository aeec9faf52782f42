//! Questions of a thread to its users: kept while they are open, put again to whoever comes later.

use std::collections::BTreeMap;

use codex_agent::{
    ports::CallId,
    run::Command,
    turn::{Answer as Decision, Question},
};
use codex_protocol::{
    ItemId, TurnId,
    v2::{ApprovalDecision, ApprovalResponse, ThreadActiveFlag},
};
use codex_threads::{PendingApproval, Record};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    calls::{Called, Waiting},
    owner::Owner,
};
use crate::{connection::Connection, notice::Notice, questions::Answer};

/// The question whether a command may run.
const COMMAND_APPROVAL: &str = "item/commandExecution/requestApproval";

/// A question of an MCP server, or about one of its tools. It is void when nobody waits for the answer any more.
pub(super) struct Elicited {
    pub(super) turn: TurnId,
    pub(super) params: Value,
    /// The client's answer, as it came.
    pub(super) answer: oneshot::Sender<Value>,
}

/// What the hands of a turn want of the thread's users and their clients.
pub(super) enum Wish {
    Elicit(Elicited),
    Call(Called),
}

/// What is kept of a question that is open no more.
pub(super) fn resolved(id: i64) -> Record {
    Record::ApprovalResolved {
        request_id: id.into(),
    }
}

/// Who waits for an answer.
pub(super) enum Waits {
    /// The turn, with a call. Kept over a restart.
    Call(CallId),
    /// The hands of the turn.
    Hands(oneshot::Sender<Value>),
    /// The hands of the turn; clients answer by themselves.
    Client(Waiting),
}

/// One open question, by its id on the wire.
pub(super) struct Open {
    pub(super) turn: TurnId,
    pub(super) waits: Waits,
    pub(super) method: &'static str,
    pub(super) params: Value,
}

/// A thread's open questions, oldest first: ids grow.
#[derive(Default)]
pub(super) struct Asked(pub(super) BTreeMap<i64, Open>);

impl Asked {
    pub(super) fn of(&self, turn: &TurnId, call: &CallId) -> Option<i64> {
        let is_it = |it: &Open| it.turn == *turn && matches!(&it.waits, Waits::Call(id) if id == call);
        let found = self.0.iter().find(|(_, it)| is_it(it));
        found.map(|(id, _)| *id)
    }
}

impl Owner {
    /// Opens a question; it is told with [`Owner::put`] once its record is on disk.
    pub(super) fn open_question(&mut self, turn: &TurnId, call: &CallId, question: &Question) -> Record {
        let id = self.server.questions().open(self.answers.clone());
        let (method, item, params) = self.params(turn, question);
        let record = Record::ApprovalAsked(PendingApproval {
            request_id: id.into(),
            turn_id: turn.clone(),
            item_id: Some(item),
            method: method.to_owned(),
            params: params.clone(),
        });
        let open = Open {
            turn: turn.clone(),
            waits: Waits::Call(call.clone()),
            method,
            params,
        };
        self.asked.0.insert(id, open);
        record
    }

    fn params(&self, turn: &TurnId, question: &Question) -> (&'static str, ItemId, Value) {
        match question {
            Question::Command {
                item_id,
                command,
                cwd,
                reason,
                actions,
                amendment,
                started_at,
            } => {
                let rule = json!({ "acceptWithExecpolicyAmendment": { "execpolicy_amendment": amendment } });
                let params = json!({
                    "kind": "command",
                    "threadId": self.id,
                    "turnId": turn,
                    "itemId": item_id,
                    "startedAtMs": started_at,
                    "environmentId": "local",
                    "reason": reason,
                    "command": command,
                    "cwd": cwd,
                    "commandActions": actions,
                    "proposedExecpolicyAmendment": amendment,
                    "availableDecisions": ["accept", "acceptForSession", rule, "decline", "cancel"],
                });
                (COMMAND_APPROVAL, item_id.clone(), params)
            }
            Question::Patch {
                item_id,
                reason,
                started_at,
            } => {
                let params = json!({
                    "threadId": self.id,
                    "turnId": turn,
                    "itemId": item_id,
                    "startedAtMs": started_at,
                    "reason": reason,
                    "grantRoot": null,
                });
                ("item/fileChange/requestApproval", item_id.clone(), params)
            }
        }
    }

    /// Tells a question to all subscribers.
    pub(super) fn put(&mut self, turn: &TurnId, call: &CallId) {
        self.show_status();
        let Some(id) = self.asked.of(turn, call) else {
            return;
        };
        if let Some(open) = self.asked.0.get(&id) {
            for subscriber in &self.subscribers {
                subscriber.ask(id, open.method, &open.params);
            }
        }
    }

    /// Tells the open questions to somebody who has just come.
    pub(super) fn put_again(&mut self, connection: &Connection) {
        for (id, open) in &mut self.asked.0 {
            connection.ask(*id, open.method, &open.params);
            if let Waits::Client(waiting) = &mut open.waits {
                waiting.add(connection);
            }
        }
    }

    /// The flags of an active thread.
    pub(super) fn flags(&self) -> Vec<ThreadActiveFlag> {
        let mut flags = Vec::new();
        if self.asked.0.values().any(|it| matches!(it.waits, Waits::Call(_))) {
            flags.push(ThreadActiveFlag::WaitingOnApproval);
        }
        if self
            .asked
            .0
            .values()
            .any(|it| matches!(it.waits, Waits::Hands(_)))
        {
            flags.push(ThreadActiveFlag::WaitingOnUserInput);
        }
        flags
    }

    /// Takes an answer to the turn that waits for it.
    pub(super) fn answered(&mut self, answer: Answer) {
        let (turn, call, is_command) = match self.asked.0.get(&answer.question) {
            None => return self.server.questions().close(answer.question),
            Some(Open {
                waits: Waits::Hands(_),
                ..
            }) => return self.answered_hands(answer),
            Some(Open {
                waits: Waits::Client(_),
                ..
            }) => return self.answered_call(answer),
            Some(Open {
                turn,
                waits: Waits::Call(call),
                method,
                ..
            }) => (turn.clone(), call.clone(), *method == COMMAND_APPROVAL),
        };
        let decision = match answer.outcome {
            Ok(value) => match serde_json::from_str::<ApprovalResponse>(value.get()) {
                Ok(response) => Decision::Decision(response.decision),
                Err(error) => Decision::Failed(format!("the client's answer was not understood: {error}")),
            },
            Err(error) => Decision::Failed(format!("the client answered with an error: {}", error.message)),
        };
        if let Decision::Failed(why) = &decision {
            // Nobody else would tell the user why nothing happens.
            self.warn(&format!("the question was not answered: {why}"));
        }
        if let Err(error) = self.append(resolved(answer.question)) {
            // It stays open: an answer that is lost in a crash would be an answer that was never given.
            tracing::error!(%error, thread = %self.id, "an answer could not be kept");
            return self.server.questions().reopen(answer.question);
        }
        self.resolve(answer.question);
        let is_run = matches!(
            &decision,
            Decision::Decision(
                ApprovalDecision::Accept
                    | ApprovalDecision::AcceptForSession
                    | ApprovalDecision::AcceptWithExecpolicyAmendment { .. }
            )
        );
        // A command that is not run ends first.
        self.shows_status_late = is_command && !is_run;
        if !self.shows_status_late {
            self.show_status();
        }
        self.command(
            &turn,
            Command::Decide {
                call,
                answer: decision,
            },
        );
    }

    fn answered_hands(&mut self, answer: Answer) {
        let taken = self.resolve(answer.question);
        if let (Some(Waits::Hands(hands)), Ok(value)) = (taken, answer.outcome)
            && let Ok(value) = serde_json::from_str(value.get())
        {
            // The call may be over meanwhile; then nobody waits.
            _ = hands.send(value);
        }
        self.show_status();
    }

    /// Does what the hands of the turn want.
    pub(super) fn fulfil(&mut self, wish: Wish) {
        match wish {
            Wish::Elicit(question) => self.elicit(question),
            Wish::Call(called) => self.call_clients(called),
        }
    }

    /// Puts a question of an MCP server to the users.
    fn elicit(&mut self, question: Elicited) {
        self.forget_void();
        let id = self.server.questions().open(self.answers.clone());
        let open = Open {
            turn: question.turn,
            waits: Waits::Hands(question.answer),
            method: "mcpServer/elicitation/request",
            params: question.params,
        };
        for subscriber in &self.subscribers {
            subscriber.ask(id, open.method, &open.params);
        }
        self.asked.0.insert(id, open);
        self.show_status();
    }

    /// Takes back the questions for whose answers nobody waits any more.
    pub(super) fn forget_void(&mut self) {
        let is_void = |open: &Open| match &open.waits {
            Waits::Call(_) => false,
            Waits::Hands(hands) => hands.is_closed(),
            Waits::Client(waiting) => waiting.answer.is_closed(),
        };
        let void: Vec<i64> = self
            .asked
            .0
            .iter()
            .filter(|(_, open)| is_void(open))
            .map(|(id, _)| *id)
            .collect();
        for id in void {
            self.resolve(id);
        }
    }

    /// Forgets a question and tells that it has no meaning any more. `None`: it was not open.
    pub(super) fn resolve(&mut self, id: i64) -> Option<Waits> {
        self.server.questions().close(id);
        let open = self.asked.0.remove(&id)?;
        let params = json!({ "threadId": self.id, "requestId": id });
        self.tell(&Notice::new("serverRequest/resolved", &params));
        Some(open.waits)
    }

    /// The questions of a turn, or all.
    pub(super) fn questions_of(&self, turn: Option<&TurnId>) -> Vec<i64> {
        let is_of = |open: &Open| turn.is_none_or(|it| open.turn == *it);
        self.asked
            .0
            .iter()
            .filter(|(_, open)| is_of(open))
            .map(|(id, _)| *id)
            .collect()
    }
}

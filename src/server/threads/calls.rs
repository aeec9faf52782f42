//! Calls of tools that clients run: put to all subscribers, ended by the first who can answer.

use codex_protocol::{
    CODE_METHOD_NOT_FOUND,
    v2::{DynamicToolCallParams, DynamicToolCallResponse},
};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    ask::{Asked, Open, Waits},
    owner::Owner,
};
use crate::{
    connection::{Connection, ConnectionId},
    questions::Answer,
};

const TOOL_CALL: &str = "item/tool/call";

/// The largest answer that is taken, in bytes of JSON; a larger one fails the call. Images are the reason for large
/// ones.
const ANSWER_BYTES_MAX: usize = 24 << 20;

/// A call that somebody shall run. It is void when nobody waits for the answer any more.
pub(super) struct Called {
    pub(super) params: DynamicToolCallParams,
    /// Why there is none, in words for the model.
    pub(super) answer: oneshot::Sender<Result<DynamicToolCallResponse, String>>,
}

/// A call that waits. There is no time limit: a tool may wait for people, or for other threads. The user can
/// interrupt the turn, and the call ends when all who could answer are gone.
pub(super) struct Waiting {
    pub(super) answer: oneshot::Sender<Result<DynamicToolCallResponse, String>>,
    /// Those who may still answer.
    asked: Vec<Connection>,
}

impl Waiting {
    pub(super) fn add(&mut self, connection: &Connection) {
        self.leave(connection.id());
        self.asked.push(connection.clone());
    }

    pub(super) fn leave(&mut self, id: ConnectionId) {
        self.asked.retain(|it| it.id() != id);
    }

    fn is_deserted(&self) -> bool {
        self.asked.iter().all(|it| it.closed().is_cancelled())
    }

    /// Waits until all who could answer are gone.
    async fn deserted(&self) {
        for connection in &self.asked {
            connection.closed().cancelled().await;
        }
    }
}

impl Asked {
    /// Waits until there is a call that nobody can answer any more; for ever where there is none. Cancel-safe.
    pub(super) async fn deserted(&self) {
        let calls = self.0.values().filter_map(|it| match &it.waits {
            Waits::Client(waiting) => Some(Box::pin(waiting.deserted())),
            _ => None,
        });
        let calls: Vec<_> = calls.collect();
        match calls.is_empty() {
            true => std::future::pending().await,
            false => drop(futures_util::future::select_all(calls).await),
        }
    }
}

impl Owner {
    /// Puts a call to all subscribers. Which of them has the tool is not known: the one that brought it may have
    /// come back under another connection.
    pub(super) fn call_clients(&mut self, called: Called) {
        self.forget_void();
        if called.answer.is_closed() {
            return;
        }
        let id = self.server.questions().open_to_each(self.answers.clone());
        let turn = called.params.turn_id.clone();
        let waiting = Waiting {
            answer: called.answer,
            asked: self.subscribers.clone(),
        };
        let open = Open {
            turn,
            params: json!(called.params),
            method: TOOL_CALL,
            waits: Waits::Client(waiting),
        };
        for subscriber in &self.subscribers {
            subscriber.ask(id, open.method, &open.params);
        }
        self.asked.0.insert(id, open);
    }

    /// Takes an answer to the call that waits for it. That a client does not know the method says nothing about
    /// the others.
    pub(super) fn answered_call(&mut self, answer: Answer) {
        let result = match answer.outcome {
            Ok(raw) if ANSWER_BYTES_MAX < raw.get().len() => Err(format!(
                "the client's answer is larger than {ANSWER_BYTES_MAX} bytes"
            )),
            Ok(raw) => serde_json::from_str::<DynamicToolCallResponse>(raw.get())
                .map_err(|error| format!("the client's answer was not understood: {error}")),
            Err(error) if error.code == CODE_METHOD_NOT_FOUND => {
                if let Some(Open {
                    waits: Waits::Client(waiting),
                    ..
                }) = self.asked.0.get_mut(&answer.question)
                {
                    waiting.leave(answer.connection);
                    if !waiting.is_deserted() {
                        return;
                    }
                }
                Err("no client of this thread knows how to run tools".to_owned())
            }
            Err(error) => Err(format!("the client answered with an error: {}", error.message)),
        };
        self.end_call(answer.question, result);
    }

    fn end_call(&mut self, id: i64, result: Result<DynamicToolCallResponse, String>) {
        if let Some(Waits::Client(waiting)) = self.resolve(id) {
            // The call may be over meanwhile; then nobody waits.
            _ = waiting.answer.send(result);
        }
    }

    /// Somebody does not listen to the thread any more.
    pub(super) fn left(&mut self, id: ConnectionId) {
        for open in self.asked.0.values_mut() {
            if let Waits::Client(waiting) = &mut open.waits {
                waiting.leave(id);
            }
        }
        self.end_deserted();
    }

    /// Fails the calls that nobody can answer any more.
    pub(super) fn end_deserted(&mut self) {
        let is_deserted =
            |open: &Open| matches!(&open.waits, Waits::Client(waiting) if waiting.is_deserted());
        let deserted: Vec<i64> = self
            .asked
            .0
            .iter()
            .filter(|(_, open)| is_deserted(open))
            .map(|(id, _)| *id)
            .collect();
        for id in deserted {
            let why = "no client that could run the tool is connected";
            self.end_call(id, Err(why.to_owned()));
        }
    }
}

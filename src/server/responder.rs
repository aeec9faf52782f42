//! An answer that must be given exactly once.

use codex_protocol::{Id, Message, Response};
use serde::Serialize;

use crate::{
    connection::{Connection, Slot},
    refusal::Refusal,
};

/// The right and the duty to answer one request. Dropped, it answers *internal error*.
pub struct Responder {
    connection: Connection,
    pending: Option<(Id, Option<Slot>)>,
}

impl Responder {
    pub(crate) fn new(connection: Connection, id: Id, slot: Option<Slot>) -> Responder {
        Responder {
            connection,
            pending: Some((id, slot)),
        }
    }

    /// Answers. On the wire before everything that is told to this connection afterwards.
    pub fn answer(self, answer: &impl Serialize) {
        match serde_json::value::to_raw_value(answer) {
            Ok(answer) => self.settle(Ok(answer)),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                self.settle(Err(Refusal::unanswered()));
            }
        }
    }

    /// Answers with an error.
    pub fn refuse(self, refusal: Refusal) {
        self.settle(Err(refusal));
    }

    pub(crate) fn conclude(self, result: Result<impl Serialize, Refusal>) {
        match result {
            Ok(answer) => self.answer(&answer),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn settle(mut self, outcome: Result<codex_protocol::Params, Refusal>) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Result<codex_protocol::Params, Refusal>) {
        let Some((id, slot)) = self.pending.take() else {
            return;
        };
        let outcome = outcome.map_err(Refusal::into_error);
        self.connection
            .push(Message::Response(Response { id, outcome }), slot);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.pending.is_some() {
            self.send(Err(Refusal::unanswered()));
        }
    }
}

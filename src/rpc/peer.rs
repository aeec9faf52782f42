//! One end of a JSON-RPC conversation, without I/O and without a clock.
//!
//! Methods come in three kinds: `handle_*` for what arrives, commands ([`Peer::call`],
//! [`Peer::notify`], [`Peer::reply`]) for what we want, `poll_*` for what the driver must do.
//! After every `handle_*` or command, drain the `poll_*`.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use codex_protocol::{ErrorObject, Id, Message, Notification, Params, Request, Response};

use crate::transport::Incoming;

/// What became of a call.
pub type Outcome = Result<Params, CallError>;

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The peer answered with an error.
    #[error("{}", .0.message)]
    Refused(ErrorObject),
    #[error("no answer to {method} within {waited:?}")]
    TimedOut { method: String, waited: Duration },
    #[error("the answer to {method} has {bytes} bytes, more than is read")]
    TooLong { method: String, bytes: usize },
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Whether the call had an effect is not known.
    #[error("the connection closed before {method} was answered")]
    Closed { method: String },
}

/// More calls are outstanding than [`Limits::outstanding_max`] allows.
#[derive(Debug, thiserror::Error)]
#[error("too many calls are waiting for an answer")]
pub struct Busy;

/// Names a call of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(i64);

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many calls may wait for their answers. The official server refuses requests beyond about 140.
    pub outstanding_max: usize,
}

#[derive(Debug)]
pub enum Event {
    /// A call of ours ended.
    Answered(CallId, Outcome),
    Request(Request),
    Notification(Notification),
    /// Something that is no message; why, and how it begins.
    Malformed(String),
    /// An answer to nothing we asked: late, duplicate or invented.
    Stray(Id),
}

pub struct Peer {
    limits: Limits,
    next_id: i64,
    outstanding: BTreeMap<CallId, Outstanding>,
    transmits: VecDeque<Message>,
    events: VecDeque<Event>,
}

struct Outstanding {
    method: String,
    asked_at: Instant,
    deadline: Option<Instant>,
}

impl Peer {
    pub fn new(limits: Limits) -> Peer {
        Peer {
            limits,
            next_id: 0,
            outstanding: BTreeMap::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Asks. The call ends by its answer, after `patience`, or with the connection.
    pub fn call(
        &mut self,
        now: Instant,
        method: &str,
        params: Option<Params>,
        patience: Option<Duration>,
    ) -> Result<CallId, Busy> {
        if self.limits.outstanding_max <= self.outstanding.len() {
            return Err(Busy);
        }
        let id = CallId(self.next_id);
        self.next_id += 1;
        let deadline = patience.map(|it| now + it);
        self.outstanding.insert(
            id,
            Outstanding {
                method: method.to_owned(),
                asked_at: now,
                deadline,
            },
        );
        let request = Request {
            id: Id::Integer(id.0),
            method: method.to_owned(),
            params,
        };
        self.transmits.push_back(Message::Request(request));
        Ok(id)
    }

    pub fn notify(&mut self, method: &str, params: Option<Params>) {
        let notification = Notification {
            method: method.to_owned(),
            params,
            emitted_at_ms: None,
        };
        self.transmits.push_back(Message::Notification(notification));
    }

    /// Answers a [`Event::Request`].
    pub fn reply(&mut self, id: Id, outcome: Result<Params, ErrorObject>) {
        self.transmits
            .push_back(Message::Response(Response { id, outcome }));
    }

    pub fn handle_incoming(&mut self, incoming: Incoming) {
        let event = match incoming {
            Incoming::Message(Message::Request(it)) => Event::Request(it),
            Incoming::Message(Message::Notification(it)) => Event::Notification(it),
            Incoming::Message(Message::Response(Response { id, outcome })) => match self.take(&id) {
                Some((call, _)) => Event::Answered(call, outcome.map_err(CallError::Refused)),
                None => Event::Stray(id),
            },
            Incoming::Malformed { why, beginning, .. } => Event::Malformed(format!("{why}: {beginning}")),
            Incoming::TooLong { bytes, id } => match id.and_then(|it| self.take(&it)) {
                Some((call, it)) => Event::Answered(
                    call,
                    Err(CallError::TooLong {
                        method: it.method,
                        bytes,
                    }),
                ),
                None => Event::Malformed(format!("a line of {bytes} bytes was skipped: more than is read")),
            },
        };
        self.events.push_back(event);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |it: &Outstanding| it.deadline.is_some_and(|deadline| deadline <= now);
        for (id, it) in self.outstanding.extract_if(.., |_, it| is_due(it)) {
            let error = CallError::TimedOut {
                method: it.method,
                waited: now - it.asked_at,
            };
            self.events.push_back(Event::Answered(id, Err(error)));
        }
    }

    /// The transport ended: every outstanding call gets its answer.
    pub fn handle_close(&mut self) {
        for (id, it) in std::mem::take(&mut self.outstanding) {
            self.events
                .push_back(Event::Answered(id, Err(CallError::Closed { method: it.method })));
        }
    }

    pub fn poll_transmit(&mut self) -> Option<Message> {
        self.transmits.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outstanding.values().filter_map(|it| it.deadline).min()
    }

    /// Messages that wait to be written.
    pub fn backlog(&self) -> usize {
        self.transmits.len()
    }

    /// Calls that wait for their answers.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    fn take(&mut self, id: &Id) -> Option<(CallId, Outstanding)> {
        let Id::Integer(id) = id else { return None };
        self.outstanding.remove_entry(&CallId(*id))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Call(Option<u64>),
        Answer(i64),
        TooLong(i64),
        Advance(u64),
        Close,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => proptest::option::of(1u64..50).prop_map(Step::Call),
            4 => (0i64..40).prop_map(Step::Answer),
            1 => (0i64..40).prop_map(Step::TooLong),
            2 => (0u64..60).prop_map(Step::Advance),
            1 => Just(Step::Close),
        ]
    }

    proptest! {
        #[test]
        fn every_call_is_answered_exactly_once(steps in prop::collection::vec(step(), 0..200)) {
            let (mut now, mut peer) = (Instant::now(), Peer::new(Limits { outstanding_max: 8 }));
            let (mut asked, mut answered) = (BTreeSet::new(), BTreeSet::new());
            for it in steps.into_iter().chain([Step::Close]) {
                match it {
                    Step::Call(patience) => {
                        let called = peer.call(now, "m", None, patience.map(Duration::from_millis));
                        asked.extend(called.ok());
                    }
                    Step::Answer(id) => {
                        let outcome = Ok(RawValue::from_string("null".into()).unwrap());
                        let response = Response { id: Id::Integer(id), outcome };
                        peer.handle_incoming(Incoming::Message(Message::Response(response)));
                    }
                    Step::TooLong(id) => {
                        peer.handle_incoming(Incoming::TooLong { bytes: 9, id: Some(Id::Integer(id)) });
                    }
                    Step::Advance(ms) => {
                        now += Duration::from_millis(ms);
                        peer.handle_timeout(now);
                    }
                    Step::Close => peer.handle_close(),
                }
                while peer.poll_transmit().is_some() {}
                while let Some(event) = peer.poll_event() {
                    if let Event::Answered(id, _) = event {
                        prop_assert!(answered.insert(id), "{id:?} answered twice");
                    }
                }
                prop_assert!(peer.outstanding() <= 8);
                prop_assert!(peer.poll_timeout().is_none_or(|it| now < it));
            }
            prop_assert_eq!(asked, answered);
        }
    }
}

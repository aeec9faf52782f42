//! Questions of the server to its users: who asked, and where the answer goes.
//!
//! A question may be put to several connections under one id, and put again to one that comes later. The
//! first answer counts; an answer to a question that is not open is ignored, as the official server does.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use codex_protocol::{ErrorObject, Id, Params};
use tokio::sync::mpsc;

use crate::connection::ConnectionId;

/// What somebody answered.
#[derive(Debug)]
pub struct Answer {
    pub question: i64,
    /// Who answered.
    pub connection: ConnectionId,
    pub outcome: Result<Params, ErrorObject>,
}

/// The open questions of one server process.
#[derive(Default)]
pub struct Questions(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: i64,
    asked: BTreeMap<i64, Asked>,
}

struct Asked {
    answers: mpsc::Sender<Answer>,
    /// Everybody's answer counts until the question is closed.
    of_each: bool,
    /// An answer is being delivered or looked at.
    answered: bool,
}

impl Questions {
    /// Opens a question: its id on the wire, unique in this process. Its answer goes to `answers`, which
    /// the asker keeps receiving from.
    pub fn open(&self, answers: mpsc::Sender<Answer>) -> i64 {
        self.add(answers, false)
    }

    /// Opens a question that some of the asked may be unable to answer: all answers go to `answers` until it is
    /// closed.
    pub fn open_to_each(&self, answers: mpsc::Sender<Answer>) -> i64 {
        self.add(answers, true)
    }

    fn add(&self, answers: mpsc::Sender<Answer>, of_each: bool) -> i64 {
        let mut open = self.lock();
        let id = open.next;
        open.next += 1;
        open.asked.insert(
            id,
            Asked {
                answers,
                of_each,
                answered: false,
            },
        );
        id
    }

    /// The answer was of no use: the next one counts.
    pub fn reopen(&self, id: i64) {
        if let Some(asked) = self.lock().asked.get_mut(&id) {
            asked.answered = false;
        }
    }

    /// The question is settled; whatever is still answered is ignored.
    pub fn close(&self, id: i64) {
        self.lock().asked.remove(&id);
    }

    /// Where an answer to `id` goes, if one is waited for.
    pub(crate) fn take(&self, id: &Id) -> Option<(i64, mpsc::Sender<Answer>)> {
        let Id::Integer(id) = id else { return None };
        let mut open = self.lock();
        let asked = open.asked.get_mut(id).filter(|it| !it.answered)?;
        asked.answered = !asked.of_each;
        Some((*id, asked.answers.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

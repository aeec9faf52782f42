//! Tells the user where a hop stands and asks what only the user knows.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    askpass::Askpass,
    event::{Answer, Event, Question, Stage},
};

/// The events of one hop.
#[derive(Clone)]
pub(crate) struct Report {
    hop: usize,
    events: mpsc::Sender<Event>,
    askpass: Option<Askpass>,
    has_asked: Arc<AtomicBool>,
}

impl Report {
    pub(crate) fn new(hop: usize, events: mpsc::Sender<Event>) -> Report {
        Report {
            hop,
            events,
            askpass: None,
            has_asked: Arc::default(),
        }
    }

    /// Whether anything was asked so far.
    pub(crate) fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }

    /// Questions go to this program, not to the listener.
    pub(crate) fn asking_by(mut self, askpass: Option<Askpass>) -> Report {
        self.askpass = askpass;
        self
    }

    pub(crate) async fn stage(&self, stage: Stage) {
        // Who does not listen still gets the connection.
        let hop = self.hop;
        let _ = self.events.send(Event::Stage { hop, stage }).await;
    }

    pub(crate) async fn notice(&self, text: String) {
        let hop = self.hop;
        let _ = self.events.send(Event::Notice { hop, text }).await;
    }

    /// For russh's own task, which lives as long as the session: it must not keep the events open.
    pub(crate) fn weak(&self) -> WeakReport {
        WeakReport {
            hop: self.hop,
            events: self.events.downgrade(),
            askpass: self.askpass.clone(),
        }
    }

    /// Waits without limit. Nobody there to ask is a refusal.
    pub(crate) async fn ask(&self, question: Question) -> Answer {
        self.has_asked.store(true, Ordering::Relaxed);
        if let Some(askpass) = &self.askpass {
            return askpass.answer(&question).await;
        }
        let (event, answered) = asking(self.hop, question);
        if self.events.send(event).await.is_err() {
            return Answer::Refuse;
        }
        answered.await.unwrap_or(Answer::Refuse)
    }
}

fn asking(hop: usize, question: Question) -> (Event, oneshot::Receiver<Answer>) {
    let (answer, answered) = oneshot::channel();
    let event = Event::Question {
        hop,
        question,
        answer,
    };
    (event, answered)
}

pub(crate) struct WeakReport {
    hop: usize,
    events: mpsc::WeakSender<Event>,
    askpass: Option<Askpass>,
}

impl WeakReport {
    /// Waits without limit, as long as there is somebody who listens. `None`: there is nobody.
    pub(crate) async fn ask(&self, question: Question) -> Option<Answer> {
        if let Some(askpass) = &self.askpass {
            return Some(askpass.answer(&question).await);
        }
        let (event, answered) = asking(self.hop, question);
        self.events.upgrade()?.send(event).await.ok()?;
        answered.await.ok()
    }

    /// Does not wait: a notice that finds no room is dropped.
    pub(crate) fn notice(&self, text: String) {
        let hop = self.hop;
        if let Some(events) = self.events.upgrade() {
            let _ = events.try_send(Event::Notice { hop, text });
        }
    }
}

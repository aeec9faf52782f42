//! Tells the user where a hop stands and asks what only the user knows.

use tokio::sync::{mpsc, oneshot};

use crate::event::{Answer, Event, Question, Stage};

/// The events of one hop.
#[derive(Clone)]
pub(crate) struct Report {
    hop: usize,
    events: mpsc::Sender<Event>,
}

impl Report {
    pub(crate) fn new(hop: usize, events: mpsc::Sender<Event>) -> Report {
        Report { hop, events }
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

    /// For russh's own task, which must not wait: a notice that finds no room is dropped.
    pub(crate) fn notice_now(&self, text: String) {
        let hop = self.hop;
        let _ = self.events.try_send(Event::Notice { hop, text });
    }

    /// Waits without limit. Nobody there to ask is a refusal.
    pub(crate) async fn ask(&self, question: Question) -> Answer {
        let (answer, answered) = oneshot::channel();
        let hop = self.hop;
        let event = Event::Question {
            hop,
            question,
            answer,
        };
        if self.events.send(event).await.is_err() {
            return Answer::Refuse;
        }
        answered.await.unwrap_or(Answer::Refuse)
    }
}

//! Questions during a login: unbounded in time, but they end when the server goes.

use tokio::{sync::watch, time::Instant};
use zeroize::Zeroizing;

use crate::{
    ask::Report,
    error::Failure,
    event::{Answer, Question},
    link::Gone,
    session::Closed,
};

pub(crate) struct Conversation<'a> {
    pub(crate) report: &'a Report,
    pub(crate) gone: &'a Gone,
    pub(crate) ended: watch::Receiver<Option<Closed>>,
}

impl Conversation<'_> {
    pub(crate) async fn ask(&self, question: Question, what: &str) -> Result<Answer, Failure> {
        let (mut ended, asked) = (self.ended.clone(), Instant::now());
        let impatient = |text: String| Failure::Impatient {
            what: what.to_owned(),
            waited: asked.elapsed().as_secs(),
            text,
        };
        tokio::select! {
            answer = self.report.ask(question) => Ok(answer),
            closed = ended.wait_for(Option::is_some) => {
                let closed = closed.ok().and_then(|closed| closed.clone());
                Err(impatient(closed.as_ref().map(words).unwrap_or_default()))
            }
            () = self.gone.wait() => Err(impatient(String::new())),
        }
    }

    pub(crate) async fn ask_secret(
        &self,
        question: Question,
        what: &str,
    ) -> Result<Zeroizing<String>, Failure> {
        match self.ask(question, what).await? {
            Answer::Secrets(mut secrets) if secrets.len() == 1 => Ok(secrets.pop().unwrap_or_default()),
            _ => Err(Failure::Cancelled(what.to_owned())),
        }
    }
}

/// The server's own words, when the end came with any.
pub(crate) fn words(closed: &Closed) -> String {
    match closed {
        Closed::ByServer(text) => text.clone(),
        _ => String::new(),
    }
}

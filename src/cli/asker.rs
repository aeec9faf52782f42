//! The questions of several hosts on the one terminal, for commands without a UI.

use std::collections::VecDeque;

use codex_hosts::{Question, Reply};
use tokio::task::{JoinSet, spawn_blocking};

use super::ask;

/// Asks one question at a time; `T` says whose it is. Meanwhile the hosts go on.
///
/// Dropping it while a question is open puts the terminal back, whatever was being typed. The thread that
/// reads ends with the process.
pub(crate) struct Asker<T> {
    asking: JoinSet<(T, Reply)>,
    /// Held while a question is on the terminal.
    terminal: Option<ask::SavedTerminal>,
    /// A login asks one question at a time, so that these are no more than the hosts.
    waiting: VecDeque<(T, Question)>,
}

impl<T: Send + 'static> Asker<T> {
    pub(crate) fn new() -> Asker<T> {
        Asker {
            asking: JoinSet::new(),
            terminal: None,
            waiting: VecDeque::new(),
        }
    }

    /// Asks this, after the questions before it.
    pub(crate) fn push(&mut self, whose: T, question: Question) {
        self.waiting.push_back((whose, question));
        self.ask_next();
    }

    /// Forgets what waits and is not to be asked any more. A question that is on the terminal stays there.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&T) -> bool) {
        self.waiting.retain(|(whose, _)| is_wanted(whose));
    }

    /// Whether a question is on the terminal.
    pub(crate) fn is_asking(&self) -> bool {
        !self.asking.is_empty()
    }

    /// The next answer; waits for ever while nothing is asked. Dropping the future loses nothing.
    pub(crate) async fn answered(&mut self) -> (T, Reply) {
        loop {
            match self.asking.join_next().await {
                Some(Ok(answered)) => {
                    self.terminal = None;
                    self.ask_next();
                    return answered;
                }
                // No task of these is ever aborted, and none panics.
                Some(Err(_)) => (),
                None => std::future::pending().await,
            }
        }
    }

    fn ask_next(&mut self) {
        if self.is_asking() {
            return;
        }
        if let Some((whose, question)) = self.waiting.pop_front() {
            self.terminal = ask::SavedTerminal::save();
            self.asking.spawn(async move {
                let reply = spawn_blocking(move || ask::ask(&question)).await;
                (whose, reply.unwrap_or(Reply::Refuse))
            });
        }
    }
}

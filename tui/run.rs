//! The one loop: take all that is ready, update, perform, draw at most once a frame.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, Write},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    app::{App, Start},
    editor,
    effect::Effect,
    event::Event,
    input::{EventSource, Keyboard},
    signals::{Signal, Signals, stop_job},
    terminal::Terminal,
    view::Cache,
};

/// Events that are taken before a frame is considered: bounds the time until a key shows.
const DRAIN_MAX: usize = 512;
/// 60 frames a second are as many as can be seen.
const FRAME_TIME: Duration = Duration::from_millis(16);
/// Effects that wait for the outside. Beyond it nothing more is taken in, so that nothing is lost.
const EFFECTS_MAX: usize = 1024;

/// All that the interface knows of the world.
pub struct Outside {
    pub events: mpsc::Receiver<Event>,
    /// Gets every effect but those that concern the terminal. Closed when the interface ended.
    pub effects: mpsc::Sender<Effect>,
}

/// Why the interface could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the terminal could not be used")]
    Terminal(#[source] io::Error),
    #[error("the terminal's input could not be read")]
    Input(#[source] io::Error),
    #[error("signal handlers could not be installed")]
    Signals(#[source] io::Error),
}

/// What a future gives without waiting.
///
/// It is polled with the task's own waker: crossterm's stream keeps the waker of its first poll until
/// something comes, so a poll with any other one would lose the next key.
async fn ready_now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(it) => Poll::Ready(Some(it)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Runs the interface on the process's terminal until the user quits, a signal ends it, or the outside
/// is gone. The terminal is given back in every case.
pub async fn run(start: Start, outside: Outside) -> Result<(), RunError> {
    let signals = Signals::of_process().map_err(RunError::Signals)?;
    let terminal = Terminal::open(start.in_tmux).map_err(RunError::Terminal)?;
    let app = App::new(start, now());
    run_on(app, terminal, Keyboard::new(), signals, outside).await
}

/// The same over any terminal and any source of keys.
pub(crate) async fn run_on<W: Write>(
    app: App,
    terminal: Terminal<W>,
    keys: impl EventSource,
    signals: Signals,
    outside: Outside,
) -> Result<(), RunError> {
    let mut runner = Runner {
        app,
        terminal,
        keys,
        cache: Cache::default(),
        waiting: VecDeque::new(),
        editors: JoinSet::new(),
        dirty: true,
        drawn_at: None,
        ended: false,
    };
    let ended = runner.run(signals, outside).await;
    let left = runner.terminal.leave().map_err(RunError::Terminal);
    if let Some(text) = runner.app.farewell() {
        // The terminal may be gone: that is no reason to fail at the end.
        let _ = runner.terminal.say(&text);
    }
    ended.and(left)
}

struct Runner<W: Write, K: EventSource> {
    app: App,
    terminal: Terminal<W>,
    keys: K,
    cache: Cache,
    /// For the outside, in order.
    waiting: VecDeque<Effect>,
    /// The one editor that has the terminal, if any.
    editors: JoinSet<io::Result<Option<String>>>,
    dirty: bool,
    drawn_at: Option<Instant>,
    ended: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
enum Arrival {
    Outside(Option<Event>),
    Key(Option<io::Result<crossterm::event::Event>>),
    Signal(Signal),
    Edited(Option<String>),
    /// Room for one waiting effect; `None` when nobody takes effects any more.
    Room,
    OutsideGone,
    Time,
}

impl<W: Write, K: EventSource> Runner<W, K> {
    async fn run(&mut self, mut signals: Signals, mut outside: Outside) -> Result<(), RunError> {
        self.terminal.enter().map_err(RunError::Terminal)?;
        let (width, height) = self.terminal.size();
        self.feed(Event::Terminal(crossterm::event::Event::Resize(width, height)))?;
        let mut effects = Vec::new();
        self.app.begin(now(), &mut effects);
        self.perform(effects)?;
        while !self.ended {
            self.draw_if_due()?;
            let arrival = self.wait(&mut signals, &mut outside).await;
            self.take(arrival)?;
            self.drain(&mut outside).await?;
        }
        self.flush(&outside);
        Ok(())
    }

    async fn wait(&mut self, signals: &mut Signals, outside: &mut Outside) -> Arrival {
        let wake = self.wake();
        let has_room = self.waiting.len() < EFFECTS_MAX;
        tokio::select! {
            event = outside.events.recv(), if has_room => Arrival::Outside(event),
            key = self.keys.next(), if has_room => Arrival::Key(key),
            signal = signals.next() => Arrival::Signal(signal),
            Some(done) = self.editors.join_next() => Arrival::Edited(done.ok().and_then(Result::ok).flatten()),
            permit = outside.effects.reserve(), if !self.waiting.is_empty() => match (permit, self.waiting.pop_front()) {
                (Ok(permit), Some(effect)) => {
                    permit.send(effect);
                    Arrival::Room
                }
                (Ok(_), None) => Arrival::Room,
                (Err(_), _) => Arrival::OutsideGone,
            },
            () = sleep_until(wake) => Arrival::Time,
        }
    }

    fn take(&mut self, arrival: Arrival) -> Result<(), RunError> {
        match arrival {
            Arrival::Outside(Some(event)) => self.feed(event),
            Arrival::Key(Some(Ok(event))) => self.feed(Event::Terminal(event)),
            Arrival::Key(Some(Err(error))) => Err(RunError::Input(error)),
            Arrival::Outside(None) | Arrival::Key(None) | Arrival::OutsideGone => {
                self.ended = true;
                Ok(())
            }
            Arrival::Signal(signal) => self.handle_signal(signal),
            Arrival::Edited(text) => {
                self.terminal.enter().map_err(RunError::Terminal)?;
                self.keys.resume();
                self.feed(Event::Edited(text))
            }
            Arrival::Room => Ok(()),
            Arrival::Time => match self.app.deadline() {
                Some(deadline) if deadline <= now() => self.feed(Event::Tick),
                _ => Ok(()),
            },
        }
    }

    async fn drain(&mut self, outside: &mut Outside) -> Result<(), RunError> {
        for _ in 0..DRAIN_MAX {
            if self.ended || EFFECTS_MAX <= self.waiting.len() {
                break;
            }
            if let Some(key) = ready_now(self.keys.next()).await {
                self.take(Arrival::Key(key))?;
            } else if let Ok(event) = outside.events.try_recv() {
                self.feed(event)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn feed(&mut self, event: Event) -> Result<(), RunError> {
        if let Event::Terminal(crossterm::event::Event::Resize(width, height)) = event {
            self.terminal.resize((width, height));
        }
        self.dirty = true;
        let mut effects = Vec::new();
        self.app.update(now(), event, &mut effects);
        self.perform(effects)
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Result<(), RunError> {
        for effect in effects {
            match effect {
                Effect::Quit => self.ended = true,
                Effect::Bell => self.terminal.bell().map_err(RunError::Terminal)?,
                Effect::Copy(text) => self.terminal.copy(&text).map_err(RunError::Terminal)?,
                Effect::Suspend => self.suspend()?,
                Effect::Redraw => self.terminal.redraw().map_err(RunError::Terminal)?,
                Effect::Edit(text) => self.edit(text)?,
                Effect::Host(..)
                | Effect::Install(..)
                | Effect::Call(..)
                | Effect::Reply(..)
                | Effect::Refuse(..)
                | Effect::Answer(..) => {
                    self.waiting.push_back(effect);
                }
            }
        }
        Ok(())
    }

    fn edit(&mut self, text: String) -> Result<(), RunError> {
        let Some(command) = self.app.editor().map(str::to_owned) else {
            return Ok(());
        };
        self.keys.pause();
        self.terminal.leave().map_err(RunError::Terminal)?;
        self.editors.spawn_blocking(move || editor::edit(&command, &text));
        Ok(())
    }

    fn handle_signal(&mut self, signal: Signal) -> Result<(), RunError> {
        match signal {
            Signal::End => self.ended = true,
            Signal::Interrupt if self.editors.is_empty() => self.ended = true,
            Signal::Interrupt => (),
            Signal::Stop => self.suspend()?,
            Signal::Continue if self.editors.is_empty() => {
                self.terminal.enter().map_err(RunError::Terminal)?;
                self.dirty = true;
            }
            Signal::Continue => (),
        }
        Ok(())
    }

    fn suspend(&mut self) -> Result<(), RunError> {
        let had_terminal = self.editors.is_empty();
        if had_terminal {
            self.terminal.leave().map_err(RunError::Terminal)?;
        }
        stop_job().map_err(RunError::Terminal)?;
        if had_terminal {
            self.terminal.enter().map_err(RunError::Terminal)?;
            let (width, height) = self.terminal.size();
            self.feed(Event::Terminal(crossterm::event::Event::Resize(width, height)))?;
        }
        Ok(())
    }

    fn draw_if_due(&mut self) -> Result<(), RunError> {
        let now = now();
        let is_due = self
            .drawn_at
            .is_none_or(|it| FRAME_TIME <= now.duration_since(it));
        if !self.dirty || !is_due || !self.editors.is_empty() || self.ended {
            return Ok(());
        }
        let seen = self
            .terminal
            .draw(&self.app, &mut self.cache, now)
            .map_err(RunError::Terminal)?;
        self.drawn_at = Some(now);
        self.dirty = false;
        let mut effects = Vec::new();
        self.app.saw(seen, &mut effects);
        self.perform(effects)
    }

    /// When there is something to do although nothing arrives.
    fn wake(&self) -> Option<Instant> {
        let frame = match self.drawn_at {
            Some(at) if self.dirty && self.editors.is_empty() => Some(at + FRAME_TIME),
            _ => None,
        };
        frame.into_iter().chain(self.app.deadline()).min()
    }

    /// What is still waiting goes out as far as there is room: nobody waits for a program that ends.
    fn flush(&mut self, outside: &Outside) {
        while let Some(effect) = self.waiting.pop_front() {
            if outside.effects.try_send(effect).is_err() {
                break;
            }
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

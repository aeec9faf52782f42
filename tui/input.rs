//! Where keys come from: the terminal, or a script in tests.

use std::{future::Future, io};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;

/// A source of terminal events.
pub trait EventSource {
    /// The next event; `None` when there will be no more. Dropping the future loses no event.
    fn next(&mut self) -> impl Future<Output = Option<io::Result<Event>>> + Send;

    /// Stops reading, so that another program can have the terminal's input.
    fn pause(&mut self);

    fn resume(&mut self);
}

/// The process's own terminal.
pub(crate) struct Keyboard {
    /// Absent while another program reads from the terminal: the stream's thread would take its keys.
    stream: Option<EventStream>,
}

impl Keyboard {
    pub(crate) fn new() -> Keyboard {
        Keyboard {
            stream: Some(EventStream::new()),
        }
    }
}

impl EventSource for Keyboard {
    async fn next(&mut self) -> Option<io::Result<Event>> {
        match &mut self.stream {
            Some(stream) => stream.next().await,
            None => std::future::pending().await,
        }
    }

    fn pause(&mut self) {
        self.stream = None;
    }

    fn resume(&mut self) {
        self.stream = Some(EventStream::new());
    }
}

//! What the interface wants done.

use codex_hosts::{Command, HostId, QuestionId, Reply};
use codex_protocol::{ClientRequest, Id};
use serde_json::Value;

use crate::event::Ticket;

/// A wish of the model's. The model never does anything itself.
///
/// It has no `Debug`: an answer to a login's question may be a secret.
#[derive(Clone, PartialEq)]
pub enum Effect {
    /// Connect or disconnect. A host that is not known yet is added under this name.
    Host(HostId, Command),
    /// Puts our own server on the host, as `Start::offer` says, and connects.
    Install(HostId),
    Call(HostId, Ticket, ClientRequest),
    /// Answers a request of the server with this result.
    Reply(HostId, Id, Value),
    /// Tells the server that we do not know this request.
    Refuse(HostId, Id),
    /// Answers a login's question.
    Answer(HostId, QuestionId, Reply),
    /// Opens the user's editor with this text; comes back as `Event::Edited`.
    Edit(String),
    /// Puts text on the user's clipboard (OSC 52).
    Copy(String),
    /// Rings the bell: somebody needs the user while the terminal has no focus.
    Bell,
    /// Gives the terminal back and stops the process, until it is continued.
    Suspend,
    /// Writes the whole screen again.
    Redraw,
    Quit,
}

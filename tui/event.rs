//! What the interface can be told.

pub use codex_hosts::{CallFailure, Ticket};
use codex_hosts::{Forwarded, HostEvent, HostId, Question, QuestionId};
use codex_protocol::{ClientResponse, Id, ServerNotification, ServerRequest, v2};

/// Everything that can happen to an [`App`](crate::app::App).
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time goes through a channel of few, and an answer is what most of them are for"
)]
#[derive(Clone, Debug)]
pub enum Event {
    /// A key, a paste, a new size, a change of focus.
    Terminal(crossterm::event::Event),
    /// Time went by; sent only while something on the screen depends on it.
    Tick,
    Host(HostId, HostEvent),
    /// A line of the host's that the user may want to see: a banner, a configuration warning.
    Notice(HostId, String),
    /// The handshake's answer. Follows every (re)connection, before the host's status is ready.
    Initialized(HostId, v2::InitializeResponse),
    Notification(HostId, ServerNotification),
    /// The server asks; answered by [`Effect::Reply`](crate::effect::Effect::Reply) with the same id.
    /// Ids are unique per server process: a reconnect may start again at 0.
    Request(HostId, Id, ServerRequest),
    /// What became of an [`Effect::Call`](crate::effect::Effect::Call).
    Answered(HostId, Ticket, Result<ClientResponse, CallFailure>),
    /// A login asks the user.
    Asked(HostId, QuestionId, Question),
    /// The forwardings of a connected host, all of them with each change.
    Forwards(HostId, Vec<Forwarded>),
    /// The question is void: its attempt ended.
    Withdrawn(HostId, QuestionId),
    /// How an [`Effect::Install`](crate::effect::Effect::Install) goes on. That it failed says the status.
    Installing(HostId, Installing),
    /// The editor was closed; `None` when it failed or changed nothing.
    Edited(Option<String>),
}

/// How far our server is on its way to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installing {
    /// Bytes of `total` that are there already, before anything is sent.
    Begun { there: u64, total: u64 },
    /// Bytes of `total` that are there, or on the way.
    Sent { sent: u64, total: u64 },
    /// It is there, and is started next.
    Installed,
}

//! The forwardings of a host, as they are talked about.

use std::fmt;

/// One forwarding and how it does. The texts come from the user's configuration and from this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Where it listens or shall listen: `localhost:8080`, or a path.
    pub listen: String,
    /// Where connections lead: `127.0.0.1:80`, a path, or `SOCKS` where each client says it.
    pub target: String,
    /// Whether the host listens, and connections lead to this side.
    pub is_remote: bool,
    pub state: ForwardedState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardedState {
    Opening,
    Open,
    /// Nothing listens; it is tried again as long as the host is connected.
    Failed {
        /// What was tried and why it failed: a lowercase fragment.
        why: String,
        /// What the user can do.
        hint: String,
    },
}

impl Forwarded {
    /// Where it listens and where it leads, with this arrow between them.
    pub fn path(&self, arrow: &str) -> String {
        let side = if self.is_remote {
            " (listens on the host)"
        } else {
            ""
        };
        format!("{} {arrow} {}{side}", self.listen, self.target)
    }
}

/// For people: `localhost:8080 -> 127.0.0.1:80`, and why it is not open.
impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path("->"))?;
        match &self.state {
            ForwardedState::Opening => f.write_str(": opening"),
            ForwardedState::Open => Ok(()),
            ForwardedState::Failed { why, hint } => write!(f, ": {why}; {hint}"),
        }
    }
}

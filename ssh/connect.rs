//! Makes a session, hop by hop.

use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::{
    error::{ConnectError, Failure},
    event::{Event, Hop},
    route::Route,
    session::Session,
};

/// Makes connections. One for all hosts of a process: a passphrase typed for one host serves the
/// others.
pub struct Connector {
    local: Local,
}

/// What connections need to know about this machine.
#[derive(Clone, Debug)]
pub struct Local {
    /// Runs `ProxyCommand`s: the user's shell, else `/bin/sh`.
    pub shell: PathBuf,
}

impl Connector {
    pub fn new(local: Local) -> Connector {
        Connector { local }
    }

    /// Connects and logs in, hop by hop. Each host key is checked before anything secret is sent.
    ///
    /// Every step that asks nobody has a limit. Dropping the future ends everything that it began.
    pub async fn connect(&self, route: &Route, events: mpsc::Sender<Event>) -> Result<Session, ConnectError> {
        let _ = (&self.local.shell, events);
        let hop = Hop {
            alias: String::new(),
            user: String::new(),
            host_name: String::new(),
            port: 0,
        };
        let _ = route;
        Err(ConnectError::new(
            0,
            hop,
            Failure::Config("the route has no hop".to_owned()),
        ))
    }
}

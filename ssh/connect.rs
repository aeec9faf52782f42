//! Makes a session, hop by hop.

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use crate::{
    ask::Report,
    askpass::Askpass,
    auth::{Keyring, Login, Memory, Passwords, login},
    config::settings::{Forwarding, HostSettings, UpdateHostKeys, Via},
    dial, doors,
    error::{ConnectError, Failure},
    event::{Event, Hop, Stage},
    handshake::{Secured, greet, secure},
    host_key::{self, Declined, Updater},
    limits,
    link::{Carrier, Link},
    proxy::Proxy,
    route::Route,
    search::{Places, Search},
    session::{Parts, Session},
    shared::{Lease, Shared},
    through,
};

/// Makes connections. One for all hosts of a process: a passphrase typed for one host serves the
/// others, a password serves the next connections to its host, and a jump host's session carries all hosts behind it.
pub struct Connector {
    local: Local,
    keyring: Keyring,
    memory: Arc<Memory>,
    passwords: Passwords,
    askpass: Option<Askpass>,
    shared: Shared,
    declined: Declined,
    places: Places,
}

/// What connections need to know about this machine.
#[derive(Clone, Debug)]
pub struct Local {
    /// Runs `ProxyCommand`s: the user's shell, else `/bin/sh`.
    pub shell: PathBuf,
}

impl Default for Local {
    fn default() -> Local {
        Local {
            shell: PathBuf::from("/bin/sh"),
        }
    }
}

/// The session of a jump host, if there is one.
type Reached = Result<Option<Lease>, ConnectError>;

impl Connector {
    pub fn new(local: Local) -> Connector {
        Connector {
            local,
            keyring: Keyring::default(),
            memory: Arc::default(),
            passwords: Passwords::default(),
            askpass: None,
            shared: Shared::default(),
            declined: Declined::default(),
            places: Places::default(),
        }
    }

    /// Remembers in `file`, beyond this process, which key each host took: that key is offered first.
    /// The file holds names of hosts and fingerprints of public keys, and belongs to this crate. Blocks on the disk.
    #[must_use]
    pub fn with_memory(mut self, file: PathBuf) -> Connector {
        self.memory = Arc::new(Memory::at(file));
        self
    }

    /// Lets a program ask the user in place of [`Event::Question`].
    #[must_use]
    pub fn with_askpass(mut self, askpass: Option<Askpass>) -> Connector {
        self.askpass = askpass;
        self
    }

    /// Connects and logs in, hop by hop. Each host key is checked before anything secret is sent.
    ///
    /// Every step that asks nobody has a limit. Dropping the future ends everything that it began.
    /// A receiver that is gone answers every question with a refusal.
    pub async fn connect(&self, route: &Route, events: mpsc::Sender<Event>) -> Result<Session, ConnectError> {
        self.make(route, events, None).await
    }

    /// The same for a host that was connected before and has gone silent: it is connected within a second of its
    /// being there again, as long as this lasts.
    ///
    /// Its last address is tried while its name is looked up, and knocked at again each second until
    /// `ConnectTimeout`; a connection that was made is kept while the server says nothing, see [`Search`]. For all
    /// that, its sshd never sees more than one connection at a time. `ConnectionAttempts` does not count here.
    ///
    /// A jump host that is there is asked every 5 s to connect, and cannot take back what it has begun: up to two
    /// connections more reach the sshd behind it when its network carries again, and are closed at once. A
    /// `ProxyCommand` is given [`Search::unread`] and [`Search::program`].
    pub async fn search(
        &self,
        route: &Route,
        events: mpsc::Sender<Event>,
        search: Search,
    ) -> Result<Session, ConnectError> {
        self.make(route, events, Some(search)).await
    }

    /// Waits until the first server on the way to a host that has gone silent says what it is, and leaves it: for
    /// those who connect in a way that waits longer and longer between its tries. The server sees one connection more,
    /// without a login.
    ///
    /// # Errors
    ///
    /// It did not say so in the time that [`search`](Connector::search) gives it.
    pub async fn find(
        &self,
        route: &Route,
        events: mpsc::Sender<Event>,
        search: Search,
    ) -> Result<(), ConnectError> {
        let Some(first) = route.hops.first() else {
            return Ok(());
        };
        let report = self.report(0, &events);
        let search = Some(search);
        let found = async {
            let link = self.link(first, None, &report, search).await?;
            let limit = banner_limit(first, &link, Duration::ZERO, search);
            greet(link, first, &report, limit).await
        };
        found
            .await
            .map_err(|it| ConnectError::new(0, Hop::from(first), it))
    }

    async fn make(
        &self,
        route: &Route,
        events: mpsc::Sender<Event>,
        search: Option<Search>,
    ) -> Result<Session, ConnectError> {
        let Some((target, before)) = route.hops.split_last() else {
            let hop = Hop {
                alias: String::new(),
                user: String::new(),
                host_name: String::new(),
                port: 0,
            };
            let failure = Failure::Config("the route has no hop".to_owned());
            return Err(ConnectError::new(0, hop, failure));
        };
        let via = self.via(before, target, &events, search).await?;
        let report = self.report(before.len(), &events);
        if let Some(command) = &target.remote_command {
            let text = format!("RemoteCommand {command:?} is not run: this client starts its own");
            report.notice(text).await;
        }
        let session = self.hop(target, via, &report, search).await;
        session.map_err(|it| ConnectError::new(before.len(), Hop::from(target), it))
    }

    /// The session of the last of these hops, which leads to `next` and which other hosts may use already. `None`: no
    /// hops.
    fn via<'a>(
        &'a self,
        hops: &'a [HostSettings],
        next: &'a HostSettings,
        events: &'a mpsc::Sender<Event>,
        search: Option<Search>,
    ) -> Pin<Box<dyn Future<Output = Reached> + Send + 'a>> {
        Box::pin(async move {
            let Some((last, before)) = hops.split_last() else {
                return Ok(None);
            };
            let report = self.report(before.len(), events);
            let connect = || async {
                let via = self.via(before, last, events, search).await?;
                let session = self.hop(&jump(last), via, &report, search).await;
                session.map_err(|it| ConnectError::new(before.len(), Hop::from(last), it))
            };
            let slot = self.shared.slot(hops);
            let is_usable = |it: &Session| search.is_none() || through::is_usable(it, next);
            slot.get(is_usable, connect).await.map(Some)
        })
    }

    fn report(&self, hop: usize, events: &mpsc::Sender<Event>) -> Report {
        Report::new(hop, events.clone()).asking_by(self.askpass.clone())
    }

    async fn hop(
        &self,
        settings: &HostSettings,
        via: Option<Lease>,
        report: &Report,
        search: Option<Search>,
    ) -> Result<Session, Failure> {
        let start = Instant::now();
        let (known, link) = tokio::join!(host_key::load(settings), self.link(settings, via, report, search));
        let (link, known) = (link?, known?);
        let banner = banner_limit(settings, &link, start.elapsed(), search);
        let mut secured = secure(link, settings, &known, report, banner).await?;
        let work = Login {
            settings,
            trust: secured.verified.trust,
            keyring: &self.keyring,
            memory: &self.memory,
            passwords: &self.passwords,
            report,
            gone: &secured.gone,
            ended: secured.ended.clone(),
            last_words: &secured.last_words,
        };
        let logged_in = login(&mut secured.handle, work).await?;
        report.stage(Stage::Authenticated).await;
        if let Some(address) = secured.peer.address {
            self.places.keep(settings, address);
        }
        let learn = settings.host_keys.update != UpdateHostKeys::No && secured.verified.learn;
        let Secured {
            handle,
            verified,
            announced,
            doors,
            ended,
            refusal,
            peer,
            cut,
            carrier,
            ..
        } = secured;
        let declined = &self.declined;
        let updater = learn.then(|| Updater::new(settings, known, announced, report.weak(), declined));
        let forwarding = verified.trust.forwarding(&settings.forwarding);
        let agent = doors::serve_agent(&doors, &forwarding, ended.clone());
        let name = settings.alias.clone();
        let environment = [settings.send_env.as_slice(), &settings.set_env].concat();
        let session = Session::new(Parts {
            handle,
            ended,
            refusal,
            name,
            peer,
            logged_in,
            environment,
            cut,
            carrier,
            updater,
            doors,
            forwarding,
            is_guarded: settings.server_alive_interval != Some(Duration::ZERO),
        });
        if let Some(agent) = agent {
            session.spawn(agent);
        }
        Ok(session)
    }

    async fn link(
        &self,
        settings: &HostSettings,
        via: Option<Lease>,
        report: &Report,
        search: Option<Search>,
    ) -> Result<Link, Failure> {
        if let Some(via) = via {
            report.stage(Stage::Proxy).await;
            return match search {
                Some(_) => through::search(settings, via, report).await,
                None => through::connect(settings, via).await,
            };
        }
        match &settings.route {
            Via::Command(command) => {
                report.stage(Stage::Proxy).await;
                let shell = &self.local.shell;
                let patience = search.map(|it| it.unread);
                let started = Proxy::start(shell, command, patience);
                let (io, proxy, intake) = started.map_err(|error| Failure::Proxy {
                    command: command.clone(),
                    ending: format!("{}: {error}", shell.display()),
                    stderr: String::new(),
                })?;
                Ok(Link::proxy(io, proxy, intake))
            }
            Via::Direct | Via::Jump(_) => {
                let limit = settings.connect_timeout.unwrap_or(limits::CONNECT);
                match search {
                    Some(_) => dial::search(settings, report, limit, self.places.get(settings)).await,
                    None => dial::tcp(settings, report, limit).await,
                }
            }
        }
    }
}

/// As OpenSSH's `ssh -W` sees a jump host: it leads to the next one and to nothing else, and one that cannot be trusted
/// with that is not used.
fn jump(settings: &HostSettings) -> HostSettings {
    HostSettings {
        forwarding: Forwarding {
            exit_on_failure: true,
            ..Forwarding::default()
        },
        ..settings.clone()
    }
}

/// `ConnectTimeout` bounds everything up to the identification.
fn banner_limit(settings: &HostSettings, link: &Link, spent: Duration, search: Option<Search>) -> Duration {
    if let Some(search) = search {
        let limit = match &link.carrier {
            Carrier::Proxy(_) => search.program,
            Carrier::Nothing | Carrier::Session(_) => search.silence,
        };
        return limit.max(settings.connect_timeout.unwrap_or_default());
    }
    match (settings.connect_timeout, &link.carrier) {
        (Some(limit), _) => limit.saturating_sub(spent),
        (None, Carrier::Proxy(_)) => limits::BANNER_PROXY,
        (None, _) => limits::BANNER,
    }
}

#[cfg(test)]
mod tests {
    use super::{Connector, Local, Route, Session};

    fn assert_send<T: Send>(value: T) -> T {
        value
    }

    /// Never called: it holds if it compiles.
    fn _exec_can_be_spawned(session: &Session) {
        drop(assert_send(session.exec("true")));
        drop(assert_send(session.closed()));
        drop(assert_send(session.ping(std::time::Duration::ZERO)));
    }

    #[tokio::test]
    async fn connecting_can_be_spawned_and_needs_a_hop() {
        let connector = Connector::new(Local::default());
        let (events, _listener) = tokio::sync::mpsc::channel(1);
        let route = Route { hops: Vec::new() };
        let result = assert_send(connector.connect(&route, events)).await;
        let error = result.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the route has no hop");
    }
}

//! To a host by the system's `ssh`, for what this program's own SSH cannot do: GSSAPI, PKCS#11, host-based logins,
//! algorithms. Its standard streams carry the conversation, and its questions come to the user as all others do.

mod askpass;
mod offer;
mod prompt;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use codex_hosts::{Failure, FailureKind, HostId, Hop, Phase, Report};
use codex_ssh::{
    Answer, Route,
    config::{Query, settings::HostSettings},
};
use tokio::{
    io::AsyncReadExt,
    sync::oneshot,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use zeroize::Zeroizing;

pub use askpass::askpass_main;
pub(crate) use offer::{offer, version};

use crate::{
    attempt::{FromAttempt, Reporter},
    child::Child,
    launch::{self, NOISE_BYTES_MAX, Server},
    limits,
    reach::bad,
    run::FleetConfig,
    server::{Started, launched, nonce, said},
    witness::{SSH_FAILED, Witness},
};
use askpass::{Caller, Desk};
use prompt::{Asked, Kind, Place, Refusal};

/// Who answers the questions of the system's `ssh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// The user, through this process.
    User,
    /// The program that `SSH_ASKPASS` names: there is no terminal.
    Program,
    /// Nobody: what would be asked fails.
    Nobody,
}

/// The system's `ssh`, and what is known of it in this run. It has no `Debug`: it remembers secrets.
pub struct System {
    file: Option<PathBuf>,
    helper: PathBuf,
    asking: Asking,
    /// Hosts for which the user has agreed to it.
    agreed: Mutex<BTreeSet<HostId>>,
    /// Passwords and passphrases that were right, by what asked for them: a host that comes back, and the second
    /// command of an installation, do not ask again.
    remembered: Mutex<BTreeMap<String, Zeroizing<String>>>,
}

impl System {
    /// `file` is the configuration to read instead of the usual ones. `helper` is this very program: `ssh` starts
    /// it for each question, and it must call [`askpass_main`] first.
    pub fn new(file: Option<PathBuf>, helper: PathBuf, asking: Asking) -> System {
        System {
            file,
            helper,
            asking,
            agreed: Mutex::default(),
            remembered: Mutex::default(),
        }
    }

    /// Asks nobody from now on.
    pub fn batch(&mut self) {
        self.asking = Asking::Nobody;
    }

    /// Whether the user has agreed to go to this host by the system's `ssh`.
    pub(crate) fn is_agreed(&self, id: &HostId) -> bool {
        held(&self.agreed).contains(id)
    }

    fn recall(&self, key: &str) -> Option<Zeroizing<String>> {
        held(&self.remembered).get(key).cloned()
    }

    fn remember(&self, answers: BTreeMap<String, Zeroizing<String>>) {
        let mut remembered = held(&self.remembered);
        remembered.extend(answers);
        while limits::REMEMBERED_MAX < remembered.len() {
            remembered.pop_first();
        }
    }

    /// The words before the destination that name it and its configuration.
    fn destination(&self, query: &Query) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(file) = &self.file {
            words.extend(["-F".to_owned(), file.display().to_string()]);
        }
        if let Some(user) = &query.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = query.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words
    }

    /// The command line. What it says wins over the configuration (ssh_config(5)), so it says only what a stream of
    /// bytes to a command of ours needs, and what has no value there.
    fn argv(&self, query: &Query, settings: Option<&HostSettings>, line: &str) -> Vec<String> {
        let mut words = vec!["ssh".to_owned()];
        words.extend(self.destination(query));
        words.extend(["-T", "-e", "none"].map(str::to_owned));
        let mut options = [
            // No window is opened, no port, and no command but ours is run: as over our own SSH.
            "ForwardX11=no",
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            // A connection that the user has opened is used: its login may have cost a touch or a code. None is
            // opened for others: it would go on when this program has ended, or end with it under their feet.
            "ControlMaster=no",
        ]
        .map(str::to_owned)
        .to_vec();
        if self.asking == Asking::Nobody {
            options.push("BatchMode=yes".to_owned());
        }
        if settings.is_some_and(|it| it.connect_timeout.is_none()) {
            options.push(format!("ConnectTimeout={}", limits::SYSTEM_CONNECT_S));
        }
        if settings.is_some_and(|it| it.server_alive_interval.is_none()) {
            let (interval, count) = limits::SYSTEM_ALIVE;
            options.push(format!("ServerAliveInterval={interval}"));
            options.push(format!("ServerAliveCountMax={count}"));
        }
        words.extend(options.into_iter().flat_map(|it| ["-o".to_owned(), it]));
        words.extend(["--".to_owned(), query.host.clone(), line.to_owned()]);
        words
    }
}

fn held<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that runs on a host. Its shell has said something already.
pub(crate) struct Opened {
    pub(crate) child: Child,
    pub(crate) printed: BytesMut,
}

/// Starts the server on the host.
pub(crate) async fn launch(
    id: &HostId,
    config: &FleetConfig,
    server: &Server,
    reporter: &Reporter,
) -> Result<(Child, Started), Failure> {
    let nonce = nonce();
    let line = launch::command_line(&nonce, server);
    let Opened { child, printed } = open(id, config, &line, reporter).await?;
    let witness = Witness::System(child.watch());
    launched(id, &nonce, child, printed, &witness, server).await
}

/// Logs in and runs a command, and waits until something comes back.
pub(crate) async fn open(
    id: &HostId,
    config: &FleetConfig,
    line: &str,
    reporter: &Reporter,
) -> Result<Opened, Failure> {
    let query = Query::parse(&id.0).map_err(|error| bad(error.to_string(), None))?;
    let route = route(config, &query).await;
    let system = &config.system;
    let settings = route.as_ref().and_then(|it| it.hops.last());
    let argv = system.argv(&query, settings, line);
    let desk = match system.asking {
        Asking::User => Some(Desk::open(&system.helper).map_err(|error| no_desk(&error))?),
        Asking::Program | Asking::Nobody => None,
    };
    let variables: Vec<(&str, OsString)> = match &desk {
        Some(desk) => desk.environment(),
        None => vec![("SSH_ASKPASS_REQUIRE", "force".into())],
    };
    let configured = settings.and_then(|it| it.connect_timeout).unwrap_or_default();
    let patience = limits::SYSTEM_PATIENCE.max(configured.saturating_add(limits::PHASE_MARGIN));
    let allowed = patience.saturating_add(limits::PHASE_MARGIN);
    reporter.report(Report::Allowed(allowed)).await;
    reporter.report(Report::Entered(Phase::Connecting)).await;
    let child = Child::start_with(&argv, variables).map_err(|error| not_started(&error))?;
    let login = Login {
        id,
        system,
        places: places(&query, route.as_ref()),
        desk,
        asked: BTreeMap::new(),
        answers: BTreeMap::new(),
        patience,
        reporter,
    };
    let opened = login.through(child).await?;
    let said = opened.child.watch().stderr(limits::STDERR_LINES);
    if !said.is_empty() {
        // The banner, and warnings of the client's.
        reporter.send(FromAttempt::Notice(said)).await;
    }
    reporter.report(Report::Entered(Phase::Launching)).await;
    Ok(opened)
}

/// What our own reading of the configuration says of the hops. It names them in questions; the client's reading is
/// what counts, so that a configuration that we refuse is no obstacle.
async fn route(config: &FleetConfig, query: &Query) -> Option<Route> {
    let (resolver, query) = (Arc::clone(&config.resolver), query.clone());
    let resolved = spawn_blocking(move || resolver(&query)).await;
    resolved.ok()?.ok().map(|(route, _)| route)
}

/// The hops as questions name them; at least the host itself.
fn places(query: &Query, route: Option<&Route>) -> Vec<Place> {
    let Some(route) = route.filter(|it| !it.hops.is_empty()) else {
        let hop = Hop {
            alias: query.host.clone(),
            user: query.user.clone().unwrap_or_default(),
            host_name: query.host.clone(),
            port: query.port.unwrap_or(22),
            is_jump: false,
        };
        return vec![Place {
            hop,
            host_key_alias: None,
            known_hosts_file: None,
        }];
    };
    let place = |(index, it): (usize, &HostSettings)| Place {
        hop: hop(route, index, it),
        host_key_alias: it.host_key_alias.clone(),
        known_hosts_file: it.user_known_hosts_files.first().cloned(),
    };
    route.hops.iter().enumerate().map(place).collect()
}

fn hop(route: &Route, index: usize, settings: &HostSettings) -> Hop {
    Hop {
        alias: settings.alias.clone(),
        user: settings.user.clone(),
        host_name: settings.host_name.clone(),
        port: settings.port,
        is_jump: index + 1 < route.hops.len(),
    }
}

fn no_desk(error: &io::Error) -> Failure {
    let message = format!("making a private folder for the questions of ssh: {error}");
    bad(message, Some("check that TMPDIR, or /tmp, can be written to".to_owned()))
}

fn not_started(error: &io::Error) -> Failure {
    let (message, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            "there is no `ssh` in PATH, which `transport = \"system\"` needs".to_owned(),
            "install OpenSSH's client, or take `transport = \"auto\"`",
        ),
        _ => (
            format!("starting the system's ssh: {error}"),
            "run `ssh -V` in a terminal",
        ),
    };
    bad(message, Some(hint.to_owned()))
}

/// A login of the client's, with its questions.
struct Login<'a> {
    id: &'a HostId,
    system: &'a System,
    /// Never empty; the host itself is the last one.
    places: Vec<Place>,
    desk: Option<Desk>,
    /// How often each text was asked.
    asked: BTreeMap<String, u32>,
    /// What was answered and may be remembered once it was right.
    answers: BTreeMap<String, Zeroizing<String>>,
    /// Between two signs of life.
    patience: Duration,
    reporter: &'a Reporter,
}

impl Login<'_> {
    /// Waits for the first sign of the host's shell, and answers meanwhile.
    async fn through(mut self, mut child: Child) -> Result<Opened, Failure> {
        let mut printed = BytesMut::with_capacity(NOISE_BYTES_MAX / 16);
        let mut deadline = Instant::now() + self.patience;
        loop {
            let caller = tokio::select! {
                read = child.read_buf(&mut printed) => match read {
                    Ok(1..) => break,
                    _ => return Err(failed(self.id, &child).await),
                },
                caller = next(&mut self.desk) => caller,
                () = sleep_until(deadline) => return Err(self.late(&child)),
            };
            let watch = child.watch();
            let answered = tokio::select! {
                answered = self.answer(caller) => answered,
                // The server gave up while the user was thinking.
                _ = watch.ended() => return Err(failed(self.id, &child).await),
            };
            if let Err((failure, caller)) = answered {
                // First the client: with a caller that is gone it would go on, with an empty answer.
                drop(child);
                drop(caller);
                return Err(failure);
            }
            deadline = Instant::now() + self.patience;
        }
        self.system.remember(self.answers);
        Ok(Opened { child, printed })
    }

    async fn answer(&mut self, caller: Caller) -> Result<(), (Failure, Caller)> {
        let Some(target) = self.places.last() else {
            return Ok(());
        };
        if caller.kind == Kind::Notice {
            let text = caller.text.clone();
            if let Some(desk) = &mut self.desk {
                desk.hold(caller);
            }
            self.reporter.send(FromAttempt::Notice(text)).await;
            return Ok(());
        }
        let count = self.asked.entry(caller.text.clone()).or_default();
        *count += 1;
        let attempt = *count;
        let asked = prompt::read(&caller.text, caller.kind, &self.places, target, attempt);
        let key = format!("{}\n{}", self.id, caller.text);
        if asked.is_lasting && attempt == 1
            && let Some(answer) = self.system.recall(&key)
        {
            caller.answer(&answer).await;
            return Ok(());
        }
        let Asked {
            question,
            refusal,
            is_lasting,
        } = asked;
        self.reporter.report(Report::Entered(Phase::Authenticating)).await;
        let (answering, answer) = oneshot::channel();
        self.reporter.send(FromAttempt::Question(question, answering)).await;
        match (answer.await, refusal) {
            (Ok(Answer::Accept), _) => caller.answer("yes").await,
            (Ok(Answer::Secrets(secrets)), _) => {
                let secret = secrets.into_iter().next().unwrap_or_default();
                caller.answer(&secret).await;
                if is_lasting {
                    self.answers.insert(key, secret);
                }
            }
            (Ok(Answer::Refuse) | Err(_), Refusal::GoesOn) if caller.kind == Kind::Text => {
                caller.answer("no").await;
            }
            (Ok(Answer::Refuse) | Err(_), Refusal::GoesOn) => drop(caller),
            (Ok(Answer::Refuse) | Err(_), Refusal::Cancels | Refusal::Distrusts) => {
                return Err((self.refused(refusal), caller));
            }
        }
        Ok(())
    }

    /// The user ended it.
    fn refused(&self, refusal: Refusal) -> Failure {
        let (kind, phase, message) = match refusal {
            Refusal::Distrusts => (
                FailureKind::HostKeyUnknown,
                Phase::Connecting,
                format!("the host key of {} was not accepted", self.id),
            ),
            Refusal::Cancels | Refusal::GoesOn => (
                FailureKind::Cancelled,
                Phase::Authenticating,
                format!("logging in to {} by the system's ssh: cancelled", self.id),
            ),
        };
        Failure {
            kind,
            phase: Some(phase),
            message,
            hint: words::hint(kind, &self.id.0),
            stderr: None,
        }
    }

    fn late(&self, child: &Child) -> Failure {
        let phase = match self.asked.is_empty() {
            true => Phase::Connecting,
            false => Phase::Authenticating,
        };
        Failure {
            kind: FailureKind::TimedOut,
            phase: Some(phase),
            message: format!(
                "the system's ssh to {}: no answer within {:?}",
                self.id, self.patience
            ),
            hint: words::hint(FailureKind::TimedOut, &self.id.0),
            stderr: said(&[], &Witness::System(child.watch())),
        }
    }
}

/// The next caller; without a desk there is none.
async fn next(desk: &mut Option<Desk>) -> Caller {
    if let Some(desk) = desk {
        // A desk that breaks gets no more callers: the client's own limits end the login.
        if let Ok(caller) = desk.asked().await {
            return caller;
        }
    }
    std::future::pending().await
}

/// What the end of a client means that has not got through.
async fn failed(id: &HostId, child: &Child) -> Failure {
    let watch = child.watch();
    let status = tokio::time::timeout(limits::LAST_WORDS_PATIENCE, watch.ended()).await;
    let status = status.ok().flatten();
    let said = watch.stderr(limits::STDERR_LINES);
    let failed = status.is_none_or(|it| matches!(it.code(), Some(SSH_FAILED) | None));
    let (kind, phase) = match (failed, words::meaning(&said)) {
        (true, Some(meaning)) => meaning,
        // Words of no known kind: nothing is known to become better by itself.
        (true, None) => (FailureKind::Protocol, Phase::Connecting),
        (false, _) => (FailureKind::LaunchFailed, Phase::Launching),
    };
    let ending = match (said.lines().last(), status) {
        (Some(last), _) => last.trim().to_owned(),
        (None, Some(status)) => status.to_string(),
        (None, None) => "it closed its output".to_owned(),
    };
    let what = match failed {
        true => "the system's ssh did not get through",
        false => "the login shell did not start codex",
    };
    Failure {
        kind,
        phase: Some(phase),
        message: format!("{what} to {id}: {ending}"),
        hint: words::hint(kind, &id.0),
        stderr: Some(said).filter(|it| !it.is_empty()),
    }
}

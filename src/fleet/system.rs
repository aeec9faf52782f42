//! To a host by the system's `ssh`, for what this program's own SSH cannot do: GSSAPI, PKCS#11, host-based logins,
//! algorithms, and a connection of the user's own `ssh` that spares a login. Its standard streams carry the
//! conversation, and its questions come to the user as all others do.

mod askpass;
mod login;
mod master;
mod offer;
mod prompt;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;
use codex_hosts::{Failure, FailureKind, HostId, Met, Phase, Report, Search};
use codex_ssh::{
    Route,
    config::{Query, settings::HostSettings},
};
use tokio::{io::AsyncWriteExt, task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

pub use askpass::askpass_main;
pub(crate) use master::Lender;
use master::Master;
pub(crate) use offer::{offer, version};

use crate::{
    around::{Detour, How, begins, end_input, is_said},
    attempt::{FromAttempt, Reporter},
    child::Child,
    launch::{self, Server},
    limits,
    reach::bad,
    run::FleetConfig,
    server::{Started, launched, nonce, not_begun, without_ours},
    ssh,
    witness::Witness,
};
use askpass::Desk;
use login::Login;

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

    fn forget(&self, key: &str) {
        held(&self.remembered).remove(key);
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
    fn argv(
        &self,
        query: &Query,
        settings: Option<&HostSettings>,
        master: Master,
        line: &str,
    ) -> Vec<String> {
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
        if master == Master::Stuck {
            options.push("ControlPath=none".to_owned());
        }
        // An older client knows only what its own configuration may have.
        for keyword in settings.iter().flat_map(|it| &it.beyond.sessionless) {
            options.push(match *keyword {
                "sessiontype" => "SessionType=default".to_owned(),
                other => format!("{other}=no"),
            });
        }
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
    let line = launch::command_line_with_input(&nonce, server);
    let Opened { child, printed } = open(id, config, (&nonce, &line), reporter).await?;
    let witness = Witness::System(child.watch());
    let (child, mut started) = launched(id, &nonce, child, printed, &witness, server).await?;
    started.detour = launch::shell_of(&nonce, &mut started.noise).map(Detour::Shell);
    Ok((child, started))
}

/// Waits until a host that is looked for is there, before its login is begun: the client's kernel waits longer and
/// longer between two packets, and a client that is ended may have begun a login or asked for something. So it is one of
/// our own connections that looks, and the client is started once, when somebody has answered it.
///
/// It goes as far as the first server on the way. What is behind a jump host is left to the client.
pub(crate) async fn find(
    id: &HostId,
    config: &FleetConfig,
    search: Search,
    reporter: &Reporter,
) -> Result<(), Failure> {
    let query = Query::parse(&id.0).map_err(|error| bad(error.to_string(), None))?;
    let Some(route) = route(config, &query).await else {
        return Ok(());
    };
    if let Some(longest) = route.hops.first().and_then(|it| it.connect_timeout) {
        let longest = longest.saturating_add(limits::PHASE_MARGIN);
        reporter.report(Report::Allowed(longest)).await;
    }
    let hands_over = route.hops.iter().any(|it| it.beyond.proxy_use_fdpass);
    if hands_over
        || config
            .system
            .master(&query, &route, limits::MASTER_PATIENCE)
            .await
            == Master::Lends
    {
        return Ok(());
    }
    match ssh::find(config, &route, search, reporter).await {
        // What else may be wrong, the client sees and says for itself.
        Err(failure) if matches!(failure.kind, FailureKind::TimedOut | FailureKind::Unreachable) => {
            Err(failure)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Logs in and runs a line with [`launch::DRAIN`] in it, and waits until something comes back.
///
/// It has its input at once: when the login has ended and a start-up file stands in the way, nobody can see from here.
pub(crate) async fn open(
    id: &HostId,
    config: &FleetConfig,
    (nonce, line): (&str, &str),
    reporter: &Reporter,
) -> Result<Opened, Failure> {
    let query = Query::parse(&id.0).map_err(|error| bad(error.to_string(), None))?;
    let route = route(config, &query).await;
    let system = &config.system;
    let settings = route.as_ref().and_then(|it| it.hops.last());
    let master = match &route {
        Some(route) => {
            let found = system.master(&query, route, limits::MASTER_COMMAND_PATIENCE);
            found.await
        }
        None => Master::None,
    };
    if master == Master::Stuck {
        let text = "the connection that `ssh` holds open does not answer: another one is made".to_owned();
        reporter.send(FromAttempt::Notice(text)).await;
    }
    let argv = system.argv(&query, settings, master, line);
    // Also where nobody can be asked: a jump host's client does not hear of our BatchMode.
    let desk = match system.asking {
        Asking::User | Asking::Nobody => Some(Desk::open(&system.helper).map_err(|error| no_desk(&error))?),
        Asking::Program => None,
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
    reporter.report(Report::Met(Met::Program)).await;
    let mut child = Child::start_with(&argv, variables).map_err(|error| not_started(&error))?;
    // A pipe has room for it. A client that does not read shows itself by its end, or by its silence.
    let input = launch::fed(line, nonce);
    _ = timeout(limits::LAUNCH_PATIENCE, child.write_all(input.as_bytes())).await;
    let places = login::places(&query, route.as_ref());
    let login = Login::new(id, system, places, desk, patience, reporter);
    let mut opened = login.through(child, nonce).await?;
    let said = without_ours(&opened.child.watch().stderr(limits::STDERR_LINES));
    if !said.is_empty() {
        // The banner, and warnings of the client's.
        reporter.send(FromAttempt::Notice(said)).await;
    }
    reporter.report(Report::Entered(Phase::Launching)).await;
    let word = launch::first_word(nonce);
    let begun = begins(&word, &mut opened.child, &mut opened.printed);
    match timeout(limits::LAUNCH_PATIENCE, begun).await {
        Ok(true) => end_input(&mut opened.child, nonce).await,
        // Whoever waits for the mark says why there is none.
        Ok(false) => (),
        Err(_) => {
            let watch = opened.child.watch();
            let is_astray = is_said(nonce, &watch.stderr(limits::STDERR_LINES));
            let how = if is_astray { How::Astray } else { How::Late };
            not_begun(id, how, &opened.printed, &Witness::System(watch))?;
        }
    }
    Ok(opened)
}

/// What our own reading of the configuration says of the hops. It names them in questions; the client's reading is
/// what counts, so that a configuration that we refuse is no obstacle.
async fn route(config: &FleetConfig, query: &Query) -> Option<Route> {
    let (resolver, query) = (Arc::clone(&config.resolver), query.clone());
    let resolved = spawn_blocking(move || resolver(&query)).await;
    resolved.ok()?.ok().map(|(route, _)| route)
}

fn no_desk(error: &io::Error) -> Failure {
    let message = format!("making a private folder for the questions of ssh: {error}");
    bad(
        message,
        Some("check that TMPDIR, or /tmp, can be written to".to_owned()),
    )
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn argv(system: &System, host: &str, settings: Option<&HostSettings>) -> String {
        let query = Query::parse(host).unwrap();
        system.argv(&query, settings, Master::None, "exec sh").join(" ")
    }

    #[test]
    fn the_command_line_says_where_to_and_what_a_stream_of_bytes_needs() {
        let system = System::new(Some("/my config".into()), "codex".into(), Asking::User);
        let said = argv(&system, "me@devbox:2222", None);
        assert!(
            said.starts_with("ssh -F /my config -l me -p 2222 -T -e none -o "),
            "{said}"
        );
        assert!(said.ends_with(" -- devbox exec sh"), "{said}");
        for option in [
            "ControlMaster=no",
            "RemoteCommand=none",
            "ForwardX11=no",
            "PermitLocalCommand=no",
        ] {
            assert!(said.contains(&format!("-o {option}")), "{said}");
        }
        // The configuration's own BatchMode, limits and control path stay what they are.
        for word in ["BatchMode", "ConnectTimeout", "ServerAlive", "ControlPath"] {
            assert!(!said.contains(word), "{said}");
        }
    }

    #[test]
    fn limits_are_given_only_where_the_configuration_has_none() {
        let system = System::new(None, "codex".into(), Asking::User);
        let mut settings = HostSettings::plain("devbox", "me", 22);
        let said = argv(&system, "devbox", Some(&settings));
        assert!(said.contains("-o ConnectTimeout=15"), "{said}");
        assert!(
            said.contains("-o ServerAliveInterval=15 -o ServerAliveCountMax=4"),
            "{said}"
        );
        settings.connect_timeout = Some(Duration::from_secs(3));
        settings.server_alive_interval = Some(Duration::ZERO);
        let said = argv(&system, "devbox", Some(&settings));
        assert!(
            !said.contains("ConnectTimeout") && !said.contains("ServerAlive"),
            "{said}"
        );
    }

    #[test]
    fn what_keeps_a_command_from_running_or_from_its_connection_is_set_aside() {
        let system = System::new(None, "codex".into(), Asking::User);
        let mut settings = HostSettings::plain("devbox", "me", 22);
        let query = Query::parse("devbox").unwrap();
        let said = |settings: &_, master| system.argv(&query, Some(settings), master, "exec sh").join(" ");
        let plain = said(&settings, Master::Lends);
        for option in ["SessionType", "StdinNull", "ForkAfter", "ControlPath"] {
            assert!(!plain.to_lowercase().contains(&option.to_lowercase()), "{plain}");
        }
        settings.beyond.sessionless = vec!["sessiontype", "stdinnull"];
        let set_aside = said(&settings, Master::Stuck);
        for option in ["SessionType=default", "stdinnull=no", "ControlPath=none"] {
            assert!(set_aside.contains(&format!("-o {option}")), "{set_aside}");
        }
    }

    #[test]
    fn without_anybody_to_ask_the_client_asks_nothing() {
        let mut system = System::new(None, "codex".into(), Asking::User);
        assert!(!argv(&system, "h", None).contains("BatchMode"));
        system.batch();
        assert!(argv(&system, "h", None).contains("-o BatchMode=yes"));
    }
}

//! Starts commands: checks them, confines them, and wires up their streams.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    net::unix::pipe,
    process::Child,
    sync::{Notify, OnceCell, mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use crate::{
    command::{Command, Stdin},
    keeper::{self, EndOfInput, Keeper, Reader, Watch, Writer},
    leash::{Hold, Leash},
    output::{CHUNKS_MAX, CaptureLimits, Chunks, Recorder, Stream},
    process::{INPUT_MAX, Life, Process},
    program,
    raw::{self, Isolation},
    sandbox::{Confinement, Mechanism, Place, Preflight, Refusal, Rules, examine},
    terminal::Terminal,
};

/// Where sandboxes are tried out: a directory in which this process may write.
const TRIAL_DIRECTORY: &str = "/tmp";

/// A command that was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("running a command: {0}")]
    Invalid(&'static str),
    #[error("running `{0}`: no such program")]
    NotFound(String),
    #[error("running a command in `{}`: no such directory", .0.display())]
    WorkingDirectory(PathBuf),
    #[error("confining a command")]
    Refused(#[from] Refusal),
    #[error("confining a command: {0}")]
    Sandbox(String),
    #[error("starting `{program}`")]
    Start { program: String, source: io::Error },
}

impl SpawnError {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            SpawnError::Refused(refusal) => Some(refusal.hint()),
            SpawnError::Sandbox(_) => Some("run `codex doctor` to see what this host can enforce".to_owned()),
            SpawnError::NotFound(_) => Some("install it, or check the environment's `PATH`".to_owned()),
            SpawnError::Invalid(_) | SpawnError::WorkingDirectory(_) | SpawnError::Start { .. } => None,
        }
    }
}

/// Starts commands. One for the whole process, shared.
#[derive(Debug)]
pub struct Runner {
    helper: PathBuf,
    only: Option<Mechanism>,
    preflight: OnceCell<Preflight>,
}

impl Runner {
    /// `helper` is a binary that calls [`crate::sandbox_main`] for [`crate::SANDBOX_MODE`], absolute: our own. On
    /// Linux `/proc/self/exe` is best, which stays this binary when a newer one takes its place.
    pub fn new(helper: PathBuf) -> Runner {
        Runner {
            helper,
            only: None,
            preflight: OnceCell::new(),
        }
    }

    /// As [`Runner::new`], with one mechanism and no other to fall back to.
    pub fn with_mechanism(helper: PathBuf, mechanism: Mechanism) -> Runner {
        Runner {
            helper,
            only: Some(mechanism),
            preflight: OnceCell::new(),
        }
    }

    /// Returns what this host can enforce. Found out once, by trying; takes some milliseconds.
    pub async fn preflight(&self) -> &Preflight {
        self.preflight
            .get_or_init(|| examine(&self.helper, Path::new(TRIAL_DIRECTORY), self.only))
            .await
    }

    /// Starts a command. What its policy wants and this host cannot enforce is refused. Needs a tokio runtime.
    pub async fn spawn(&self, command: Command) -> Result<(Process, Chunks), SpawnError> {
        check(&command)?;
        let path = command.environment.get("PATH").map(String::as_str);
        let name = command.argv.first().map(String::as_str).unwrap_or_default();
        let program =
            program::find(name, path, &command.cwd).ok_or_else(|| SpawnError::NotFound(name.to_owned()))?;
        let tmpdir = command.environment.get("TMPDIR").map(Path::new);
        let place = Place {
            cwd: &command.cwd,
            tmpdir,
            hidden: &command.hidden,
        };
        match Confinement::resolve(&command.sandbox, place)? {
            Confinement::None => start_direct(&program, &command.argv, &command),
            Confinement::Rules(rules) => self.spawn_confined(&program, rules, command).await,
        }
    }

    fn refusal(preflight: &Preflight, command: &Command) -> SpawnError {
        let (reasons, fix) = preflight.complaints();
        Refusal::NoMechanism {
            policy: command.sandbox.label().to_owned(),
            reasons,
            fix,
        }
        .into()
    }
}

fn check(command: &Command) -> Result<(), SpawnError> {
    if command.argv.is_empty() {
        return Err(SpawnError::Invalid("it has no program"));
    }
    let variables = command.environment.iter();
    if command
        .argv
        .iter()
        .chain(variables.clone().flat_map(|(name, value)| [name, value]))
        .any(|word| word.contains('\0'))
    {
        return Err(SpawnError::Invalid(
            "its arguments or environment contain a NUL byte",
        ));
    }
    if variables
        .into_iter()
        .any(|(name, _)| name.is_empty() || name.contains('='))
    {
        return Err(SpawnError::Invalid(
            "its environment has a name that is empty or contains `=`",
        ));
    }
    if !command.cwd.is_absolute() || !command.cwd.is_dir() {
        return Err(SpawnError::WorkingDirectory(command.cwd.clone()));
    }
    Ok(())
}

/// Our ends of a command's streams.
struct Ends {
    readers: Vec<(Stream, Reader)>,
    writer: Option<(Writer, EndOfInput)>,
    master: Option<OwnedFd>,
}

/// What a command's streams are made of.
struct Wiring {
    stdin: Stdin,
    terminal: Option<Terminal>,
    capture: CaptureLimits,
    time_out: Option<Duration>,
}

impl Wiring {
    fn of(command: &Command) -> io::Result<Wiring> {
        let terminal = command.terminal.map(Terminal::open).transpose()?;
        Ok(Wiring {
            stdin: command.stdin,
            terminal,
            capture: command.capture,
            time_out: command.time_out,
        })
    }

    fn spawn(self, mut command: std::process::Command) -> io::Result<(Child, Ends)> {
        match self.terminal {
            Some(Terminal { master, slave }) => {
                command
                    .stdin(slave.try_clone()?)
                    .stdout(slave.try_clone()?)
                    .stderr(slave);
                let child = tokio::process::Command::from(command).spawn()?;
                let reader = pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?;
                let writer = pipe::Sender::from_owned_fd_unchecked(master.try_clone()?)?;
                let ends = Ends {
                    readers: vec![(Stream::Stdout, Box::new(reader))],
                    writer: Some((Box::new(writer), EndOfInput::Type)),
                    master: Some(master),
                };
                Ok((child, ends))
            }
            None => {
                let stdin = match self.stdin {
                    Stdin::Null => Stdio::null(),
                    Stdin::Piped => Stdio::piped(),
                };
                command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = tokio::process::Command::from(command).spawn()?;
                let mut readers: Vec<(Stream, Reader)> = Vec::new();
                readers.extend(
                    child
                        .stdout
                        .take()
                        .map(|out| (Stream::Stdout, Box::new(out) as Reader)),
                );
                readers.extend(
                    child
                        .stderr
                        .take()
                        .map(|err| (Stream::Stderr, Box::new(err) as Reader)),
                );
                let writer = child
                    .stdin
                    .take()
                    .map(|stdin| (Box::new(stdin) as Writer, EndOfInput::Close));
                Ok((
                    child,
                    Ends {
                        readers,
                        writer,
                        master: None,
                    },
                ))
            }
        }
    }
}

/// Starts a command as our own child.
fn start_direct(program: &Path, argv: &[String], command: &Command) -> Result<(Process, Chunks), SpawnError> {
    use std::os::unix::process::CommandExt;
    let failed = |source| SpawnError::Start {
        program: program.display().to_string(),
        source,
    };
    let mut child = std::process::Command::new(program);
    child
        .args(argv.get(1..).unwrap_or_default())
        .current_dir(&command.cwd)
        .env_clear()
        .envs(&command.environment);
    if let Some(name) = argv.first() {
        child.arg0(name);
    }
    let isolation = Isolation {
        keep: Vec::new(),
        takes_terminal: command.terminal.is_some(),
        confine: None,
    };
    raw::isolate(&mut child, isolation);
    let wiring = Wiring::of(command).map_err(failed)?;
    let (capture, time_out) = (wiring.capture, wiring.time_out);
    let (child, ends) = wiring.spawn(child).map_err(failed)?;
    let leader = child.id().unwrap_or_default();
    let hold = Hold::Session {
        leader: leader.cast_signed(),
    };
    Ok(attend(leader, hold, Watch::Child(child), ends, capture, time_out))
}

/// Gives a started command its tasks.
fn attend(
    pid: u32,
    hold: Hold,
    watch: Watch,
    ends: Ends,
    capture: CaptureLimits,
    time_out: Option<Duration>,
) -> (Process, Chunks) {
    let leash = Arc::new(Leash::new(hold));
    let recorder = Arc::new(Recorder::new(capture));
    let requests = Arc::new(Notify::new());
    let (life, seen) = watch::channel(Life::Running);
    let (chunks, queue) = mpsc::channel(CHUNKS_MAX);
    let mut tasks = JoinSet::new();
    let mut input = None;
    if let Some((writer, end)) = ends.writer {
        let (sender, receiver) = mpsc::channel(INPUT_MAX);
        tasks.spawn(keeper::write(writer, receiver, end));
        input = Some(sender);
    }
    let keeper = Keeper {
        watch,
        leash: leash.clone(),
        requests: requests.clone(),
        life,
        readers: ends.readers,
        chunks,
        recorder: recorder.clone(),
        started: Instant::now(),
        time_out,
    };
    tasks.spawn(keeper.run());
    let input = Mutex::new(input);
    let process = Process {
        pid,
        leash,
        life: seen,
        requests,
        recorder,
        input,
        master: ends.master,
        _tasks: tasks,
    };
    (process, Chunks { queue })
}

#[cfg(target_os = "linux")]
pub(crate) use supervised::{next_report, trial};

#[cfg(target_os = "linux")]
mod supervised {
    use std::{
        fs::File,
        os::{fd::AsRawFd, unix::net::UnixStream},
    };

    use tokio::{
        io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
        time::timeout,
    };

    use super::*;
    use crate::{
        process::Status,
        sandbox::{RUN, Report, SANDBOX_MODE, SPEC_BYTES_MAX, Spec},
    };

    /// Until the supervisor has read what is to be run and started it.
    const SETUP_PATIENCE: Duration = Duration::from_secs(10);
    /// How long one trial of a mechanism may take.
    const TRIAL_PATIENCE: Duration = Duration::from_secs(5);
    /// A report is a short line; a reason may quote a path.
    const REPORT_BYTES_MAX: u64 = 64 * 1024;

    impl Runner {
        pub(super) async fn spawn_confined(
            &self,
            program: &Path,
            rules: Rules,
            command: Command,
        ) -> Result<(Process, Chunks), SpawnError> {
            if !command.unix_sockets.is_empty() {
                return Err(Refusal::UnixSockets.into());
            }
            let preflight = self.preflight().await;
            let enforcement = preflight
                .enforcement
                .clone()
                .ok_or_else(|| Self::refusal(preflight, &command))?;
            let failed = |source| SpawnError::Start {
                program: program.display().to_string(),
                source,
            };
            let wiring = Wiring::of(&command).map_err(failed)?;
            let terminal = wiring
                .terminal
                .as_ref()
                .and_then(|terminal| device_of(&terminal.slave));
            let spec = Spec {
                enforcement,
                rules,
                program: program.to_owned(),
                argv: command.argv,
                cwd: command.cwd,
                environment: command.environment,
                terminal,
            };
            start(&self.helper, &spec, wiring).await
        }
    }

    fn device_of(slave: &File) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        let name = rustix::termios::ttyname(slave, Vec::new()).ok()?;
        Some(std::ffi::OsString::from_vec(name.into_bytes()).into())
    }

    async fn start(helper: &Path, spec: &Spec, wiring: Wiring) -> Result<(Process, Chunks), SpawnError> {
        let failed = |source| SpawnError::Start {
            program: helper.display().to_string(),
            source,
        };
        let mut line = serde_json::to_vec(spec).map_err(|error| SpawnError::Sandbox(error.to_string()))?;
        line.push(b'\n');
        if line.len() > SPEC_BYTES_MAX {
            return Err(SpawnError::Invalid("its arguments and environment are too long"));
        }
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        let mut supervisor = std::process::Command::new(helper);
        supervisor
            .args([SANDBOX_MODE, RUN, &theirs.as_raw_fd().to_string()])
            .env_clear()
            .current_dir("/");
        // The command takes the terminal, in a session below the supervisor's.
        let isolation = Isolation {
            keep: vec![theirs.as_raw_fd()],
            takes_terminal: false,
            confine: None,
        };
        raw::isolate(&mut supervisor, isolation);
        let (capture, time_out) = (wiring.capture, wiring.time_out);
        let (child, ends) = wiring.spawn(supervisor).map_err(failed)?;
        drop(theirs);
        control.set_nonblocking(true).map_err(failed)?;
        let stream =
            tokio::net::UnixStream::from_std(control.try_clone().map_err(failed)?).map_err(failed)?;
        let mut reports = BufReader::new(stream);
        let setup = async {
            reports.write_all(&line).await.ok()?;
            next_report(&mut reports).await
        };
        // An error drops `control`, at which the supervisor kills and ends.
        match timeout(SETUP_PATIENCE, setup).await {
            Ok(Some(Report::Started)) => {}
            Ok(Some(Report::Failed(reason))) => return Err(SpawnError::Sandbox(reason)),
            Ok(_) => {
                return Err(SpawnError::Sandbox(
                    "the sandbox's supervisor ended early".to_owned(),
                ));
            }
            Err(_) => {
                let reason =
                    format!("waited {SETUP_PATIENCE:?} for the sandbox's supervisor to start the command");
                return Err(SpawnError::Sandbox(reason));
            }
        }
        let pid = child.id().unwrap_or_default();
        let hold = Hold::Supervisor {
            pid: pid.cast_signed(),
            control,
        };
        Ok(attend(
            pid,
            hold,
            Watch::Supervisor(child, reports),
            ends,
            capture,
            time_out,
        ))
    }

    /// Returns the supervisor's next report, or `None` if it says no more.
    pub(crate) async fn next_report(reports: &mut BufReader<tokio::net::UnixStream>) -> Option<Report> {
        let mut line = Vec::new();
        reports
            .take(REPORT_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .await
            .ok()?;
        serde_json::from_slice(&line).ok()
    }

    /// Runs a command under a mechanism that is not chosen yet. Succeeds if the command exits with zero.
    pub(crate) async fn trial(helper: &Path, spec: Spec) -> Result<(), String> {
        let wiring = Wiring {
            stdin: Stdin::Null,
            terminal: None,
            capture: CaptureLimits::USUAL,
            time_out: Some(TRIAL_PATIENCE),
        };
        let (process, chunks) = start(helper, &spec, wiring)
            .await
            .map_err(|error| error.to_string())?;
        drop(chunks);
        let exit = process.wait().await;
        if exit.status == Status::Exited(0) {
            return Ok(());
        }
        let printed = process.output().stderr.text();
        let outcome = match exit.status {
            Status::NotRun(reason) => reason,
            Status::Exited(code) => format!("a trial in it ended with {code}"),
            Status::Signaled(signal) => format!("a trial in it ended by signal {signal}"),
        };
        Err(match printed.trim() {
            "" => outcome,
            said => format!("{outcome}: {said}"),
        })
    }
}

#[cfg(not(target_os = "linux"))]
impl Runner {
    async fn spawn_confined(
        &self,
        program: &Path,
        rules: Rules,
        command: Command,
    ) -> Result<(Process, Chunks), SpawnError> {
        use crate::sandbox::{SEATBELT_PROGRAM, seatbelt_profile};
        let preflight = self.preflight().await;
        if preflight.chosen().is_none() {
            return Err(Self::refusal(preflight, &command));
        }
        let word = |text: std::ffi::OsString| {
            text.into_string()
                .map_err(|_| SpawnError::Invalid("a path of its sandbox is not UTF-8"))
        };
        let mut argv = vec![SEATBELT_PROGRAM.to_owned()];
        for argument in seatbelt_profile(&rules, &command.unix_sockets).arguments() {
            argv.push(word(argument)?);
        }
        argv.extend(["--".to_owned(), word(program.into())?]);
        argv.extend(command.argv.iter().skip(1).cloned());
        start_direct(Path::new(SEATBELT_PROGRAM), &argv, &command)
    }
}

//! The process between us and a sandboxed command: sets the sandbox up, ends what is to be ended, cleans up.
//!
//! It outlives the process that started it: when the control stream ends, for whatever reason, it kills the
//! command with everything that descends from it, and removes what it put into the file system.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::Command,
    time::Duration,
};

use rustix::{
    fs::MemfdFlags,
    pipe::PipeFlags,
    process::{Signal, WaitOptions},
    thread::{CapabilitySet, CapabilitySets},
};
use tokio::{
    io::AsyncReadExt,
    process::Child,
    signal::unix::{SignalKind, signal},
};

use super::{
    barrier::{Barrier, Standing},
    bubblewrap::{self, Descriptors, User, Variant},
    helper::{ENTER, SANDBOX_MODE},
    landlock,
    rules::Missing,
    seccomp::{self, Internet},
    spec::{Enforcement, Report, SPEC_BYTES_MAX, Spec, TERMINATE},
};
use crate::{
    family,
    raw::{self, Isolation},
};

/// How long killed processes are waited for; the kernel needs a moment for each.
const REAP_PATIENCE: Duration = Duration::from_secs(2);
const REAP_PAUSE: Duration = Duration::from_millis(2);
/// Bubblewrap's status lines: three short ones.
const STATUS_BYTES_MAX: u64 = 16 * 1024;

/// Runs the command whose [`Spec`] comes over the control stream, a descriptor of this number. Returns the exit
/// code of this process, which nobody reads.
pub(crate) fn supervise(control: RawFd) -> i32 {
    let Ok(control) = raw::adopt(control) else {
        return 2;
    };
    let mut control = UnixStream::from(control);
    let outcome = read_spec(&mut control).and_then(|(spec, asked)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(run(&spec, &control, asked))
    });
    let report = outcome.unwrap_or_else(|error| Report::Failed(chain(&error)));
    i32::from(say(&control, &report).is_err())
}

/// Reads the first line; what follows it already is a request to end.
fn read_spec(control: &mut UnixStream) -> io::Result<(Spec, bool)> {
    let mut line = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = control.read(&mut piece)?;
        if count == 0 || line.len() > SPEC_BYTES_MAX {
            return Err(io::Error::other("reading what is to be run: no whole line came"));
        }
        line.extend_from_slice(&piece[..count]);
        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            return Ok((
                serde_json::from_slice(&line[..end])?,
                line[end + 1..].contains(&TERMINATE),
            ));
        }
    }
}

fn say(mut control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    control.write_all(&line)
}

async fn run(spec: &Spec, control: &UnixStream, asked: bool) -> io::Result<Report> {
    // Processes that lose their parents become ours, so that none is out of reach.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut interrupts = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ];
    let [terminate, interrupt, hangup] = &mut interrupts;
    let (started, barriers) = start(spec)?;
    let mut child = started.child;
    let mut control_stream = {
        let stream = control.try_clone()?;
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)?
    };
    // Descriptions are shared between clones, but reports are short and the other side reads them.
    let _ = say(control, &Report::Started);
    release_standard_streams()?;
    if asked {
        pass_on(&spec.enforcement, Signal::TERM);
    }
    let mut request = [0; 1];
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            read = control_stream.read(&mut request) => match read {
                Ok(1..) => pass_on(&spec.enforcement, Signal::TERM),
                Ok(0) | Err(_) => break kill(&mut child).await?,
            },
            _ = terminate.recv() => break kill(&mut child).await?,
            _ = interrupt.recv() => break kill(&mut child).await?,
            _ = hangup.recv() => break kill(&mut child).await?,
        }
    };
    end_descendants().await;
    drop(barriers);
    if let Some(mut lines) = started.status {
        let mut text = String::new();
        let _ = (&mut lines).take(STATUS_BYTES_MAX).read_to_string(&mut text);
        // Bubblewrap says an exit code only for a command that it started.
        if !text.contains("\"exit-code\"") && status.code().is_some_and(|code| code != 0) {
            return Ok(Report::Failed(
                "bubblewrap ended before it started the command".to_owned(),
            ));
        }
    }
    Ok(report(status))
}

/// Inside bubblewrap: makes standard input the controlling terminal and becomes the command. `ourselves` is the
/// number of the descriptor through which this binary was started.
pub(crate) fn enter(ourselves: RawFd, command: &[OsString]) -> i32 {
    const CANNOT_RUN: i32 = 126;
    let Some((program, arguments)) = command.split_first() else {
        return CANNOT_RUN;
    };
    // Closed when the command starts.
    let Ok(_ourselves) = raw::adopt(ourselves) else {
        return CANNOT_RUN;
    };
    let session =
        rustix::process::setsid().and_then(|_| rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()));
    let error = match session {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error.into(),
    };
    let _ = writeln!(io::stderr(), "codex: starting `{}`: {error}", program.display());
    CANNOT_RUN
}

fn report(status: std::process::ExitStatus) -> Report {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Report::Exited(code),
        (None, signal) => Report::Signaled(signal.unwrap_or_default()),
    }
}

async fn kill(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    let _ = child.start_kill();
    child.wait().await
}

struct Started {
    child: Child,
    /// Bubblewrap's status lines, not blocking.
    status: Option<File>,
}

fn start(spec: &Spec) -> io::Result<(Started, Vec<Barrier>)> {
    match &spec.enforcement {
        Enforcement::Bubblewrap { program, variant } => start_bubblewrap(spec, program, *variant),
        Enforcement::Landlock => start_landlock(spec).map(|started| (started, Vec::new())),
    }
}

fn start_bubblewrap(spec: &Spec, program: &PathBuf, variant: Variant) -> io::Result<(Started, Vec<Barrier>)> {
    let (protected, barriers) = raise_barriers(spec)?;
    // A network namespace of its own contains internet sockets, so that tests can use the loopback interface.
    let filter = seccomp::filter(Internet::Allowed).map_err(io::Error::other)?;
    let seccomp = in_memory("seccomp", &seccomp::bytes(&filter))?;
    let (status_end, status) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let descriptors = Descriptors {
        seccomp: seccomp.as_raw_fd(),
        status: status.as_raw_fd(),
    };
    let user = if rustix::process::geteuid().is_root() {
        User::Root
    } else {
        User::Ordinary
    };
    let options = bubblewrap::options(spec, variant, user, &protected, descriptors);
    let arguments = in_memory("arguments", &bubblewrap::terminated(&options))?;
    let ourselves = File::open("/proc/self/exe")?;
    let mut keep = vec![arguments.as_raw_fd(), descriptors.seccomp, descriptors.status];
    let mut command = Command::new(program);
    command
        .env_clear()
        .arg("--args")
        .arg(arguments.as_raw_fd().to_string())
        .arg("--");
    if spec.terminal.is_some() {
        keep.push(ourselves.as_raw_fd());
        let number = ourselves.as_raw_fd().to_string();
        command
            .arg(format!("/proc/self/fd/{number}"))
            .args([SANDBOX_MODE, ENTER, &number]);
    }
    command
        .arg(&spec.program)
        .args(spec.argv.get(1..).unwrap_or_default());
    // Bubblewrap itself stays out of the terminal's session: an interrupt typed there would end it, and with it
    // everything inside.
    let isolation = Isolation {
        keep,
        takes_terminal: false,
        confine: None,
    };
    raw::isolate(&mut command, isolation);
    let child = spawn(command, "bubblewrap")?;
    Ok((
        Started {
            child,
            status: Some(File::from(status_end)),
        },
        barriers,
    ))
}

fn raise_barriers(spec: &Spec) -> io::Result<(Vec<PathBuf>, Vec<Barrier>)> {
    let (mut protected, mut barriers) = (Vec::new(), Vec::new());
    for entry in &spec.rules.protected {
        if entry.path.symlink_metadata().is_ok_and(|data| !data.is_dir())
            || entry.missing == Missing::Creatable
        {
            if entry.path.exists() {
                protected.push(entry.path.clone());
            }
            continue;
        }
        let standing = Barrier::raise(&entry.path).map_err(|error| {
            io::Error::other(format!(
                "keeping `{}` from being created: {error}",
                entry.path.display()
            ))
        })?;
        match standing {
            Standing::Barrier(barrier) => barriers.push(barrier),
            Standing::Occupied => {}
            Standing::OutOfReach => continue,
        }
        protected.push(entry.path.clone());
    }
    Ok((protected, barriers))
}

fn start_landlock(spec: &Spec) -> io::Result<Started> {
    let internet = if spec.rules.network {
        Internet::Allowed
    } else {
        Internet::Denied
    };
    let filter = seccomp::filter(internet).map_err(io::Error::other)?;
    let ruleset = landlock::prepare(&spec.rules, spec.terminal.as_deref())
        .map_err(|error| io::Error::other(chain(&error)))?;
    let mut ruleset = Some(ruleset);
    let mut command = Command::new(&spec.program);
    command
        .args(spec.argv.get(1..).unwrap_or_default())
        .current_dir(&spec.cwd);
    if let Some(name) = spec.argv.first() {
        command.arg0(name);
    }
    command.env_clear().envs(&spec.environment);
    let bind_life = die_with_supervisor();
    let confine = move || {
        bind_life()?;
        give_up_capabilities()?;
        rustix::thread::set_no_new_privs(true)?;
        let ruleset = ruleset.take().ok_or(io::ErrorKind::Unsupported)?;
        let status = ruleset.restrict_self().map_err(|_| io::ErrorKind::Unsupported)?;
        if status.ruleset == ::landlock::RulesetStatus::NotEnforced {
            return Err(io::ErrorKind::Unsupported.into());
        }
        seccompiler::apply_filter(&filter).map_err(|_| io::ErrorKind::Unsupported.into())
    };
    let isolation = Isolation {
        keep: Vec::new(),
        takes_terminal: spec.terminal.is_some(),
        confine: Some(Box::new(confine)),
    };
    raw::isolate(&mut command, isolation);
    Ok(Started {
        child: spawn(command, "the command under Landlock and seccomp")?,
        status: None,
    })
}

/// Returns a step of the new process by which it dies when this one is killed. The signal comes with the end of
/// the thread that started it, and the supervisor has only one.
fn die_with_supervisor() -> impl Fn() -> io::Result<()> + Send + Sync {
    let supervisor = Some(rustix::process::getpid());
    move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have been killed before the call.
        if rustix::process::getppid() == supervisor {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
}

/// A user without privileges has nothing to give up, and is then denied nothing here.
fn give_up_capabilities() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    for capability in CapabilitySet::all().iter() {
        // Needs a capability itself; `no_new_privs` keeps what is left in the set out of reach.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    let none = CapabilitySet::empty();
    Ok(rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?)
}

fn spawn(command: Command, what: &str) -> io::Result<Child> {
    tokio::process::Command::from(command)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("starting {what}: {error}")))
}

fn in_memory(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let descriptor = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?;
    let mut file = File::from(descriptor);
    file.write_all(bytes)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

/// The command alone holds its pipes and its terminal, so that their ends are seen when it lets go of them.
fn release_standard_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}

/// Signals the command and all that it started, but not bubblewrap, whose end would kill them at once.
fn pass_on(enforcement: &Enforcement, signal: Signal) {
    // Bubblewrap is one process outside and the first one inside the namespace.
    let distance_min = match enforcement {
        Enforcement::Bubblewrap { .. } => 3,
        Enforcement::Landlock => 1,
    };
    let found = family::descendants(&family::table(), std::process::id().cast_signed());
    let targets: Vec<i32> = found
        .into_iter()
        .filter(|(_, distance)| *distance >= distance_min)
        .map(|(pid, _)| pid)
        .collect();
    family::signal_each(&targets, signal);
}

/// Kills what outlived the command, repeatedly, because a process may start another one meanwhile.
async fn end_descendants() {
    let deadline = tokio::time::Instant::now() + REAP_PATIENCE;
    loop {
        let found = family::descendants(&family::table(), std::process::id().cast_signed());
        let pids: Vec<i32> = found.into_iter().map(|(pid, _)| pid).collect();
        family::signal_each(&pids, Signal::KILL);
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        if pids.is_empty() || tokio::time::Instant::now() > deadline {
            return;
        }
        tokio::time::sleep(REAP_PAUSE).await;
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

//! Puts our own server on a host over the connection that is there, and removes it again.
//!
//! The host needs sshd and a POSIX system, nothing else: the program is the standard input of a small script.
//! It is kept by its hash (`…/codex-server/bin/SHA256/codex`) beside a symbolic link `codex` that is switched
//! with rename(2), so whatever is running, or starting, finds either the old program or the new one.

mod program;
mod refusal;
mod script;
mod upload;

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use codex_hosts::{Failure, FailureKind, HostId, Phase, Report};
use codex_ssh::{Arrived, Process, Session};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use upload::Upload;

pub use program::{Program, ProgramError};
pub(crate) use program::{is_like_this_machine, is_supported};

use crate::{
    around::{self, Script},
    attempt::{FromAttempt, Reporter},
    child::Child,
    launch::{self, Noise, Server},
    limits,
    run::FleetConfig,
    server::{nonce, not_begun, not_launched, not_started, said, why_never_ran},
    system,
    witness::{Ended, Witness},
};

/// What `codex install` changes on a host before anything else is done there.
#[derive(Clone, Debug)]
pub enum Install {
    Put {
        program: Arc<Program>,
        /// Whether the server is started then. Otherwise the connection is held until it is given up.
        then_connect: bool,
    },
    /// Removes what was ever put there.
    Remove,
}

/// How an installation goes on. What comes from the host is not sanitized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallEvent {
    /// The host has said where the program goes.
    Begun {
        /// e.g. `Linux x86_64`.
        system: String,
        directory: String,
        /// Bytes that an earlier upload has left there.
        resumed_at: u64,
        /// The program's bytes.
        total: u64,
        /// Better folders in which no program can be written or run.
        passed_over: String,
    },
    /// So many of the program's bytes are there, or on the way where it is not known what is there.
    Sent {
        sent: u64,
        total: u64,
    },
    Installed(Installed),
    /// By folder, how many versions were removed.
    Removed(Vec<(String, u32)>),
}

/// A program that is on a host now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The symbolic link that leads to it.
    pub path: String,
    /// What it says when it is run there.
    pub version: String,
    /// Nothing had to be sent.
    pub was_there: bool,
    /// Bytes sent in this run.
    pub sent: u64,
    /// Older versions that were removed: the last one stays.
    pub removed: u32,
}

/// An upload that does not arrive as it was sent is tried so often, before the host is believed.
const TRIES_MAX: u32 = 2;
/// An upload that another one took over is begun so often: each time it waits for the other one, so that only one more
/// each time can come between.
const TAKEN_TRIES_MAX: u32 = 5;

/// Carries out the order over SSH.
pub(crate) async fn over_ssh(
    id: &HostId,
    session: &Session,
    order: &Install,
    server: &Server,
    reporter: &Reporter,
) -> Result<(), Failure> {
    check_server(id, order, server)?;
    for attempt in 1.. {
        let dialog = begin(id, session, order, attempt, reporter).await?;
        if dialog.carry_out(order, attempt).await? == Outcome::Done {
            break;
        }
    }
    finish(order).await;
    Ok(())
}

/// Starts the script; in another way, as the launch does, where start-up files keep it from beginning.
async fn begin<'a>(
    id: &'a HostId,
    session: &Session,
    order: &Install,
    attempt: u32,
    reporter: &'a Reporter,
) -> Result<Dialog<'a, Process>, Failure> {
    let nonce = nonce();
    let script = Script {
        nonce: &nonce,
        plain: &line(&nonce, order, attempt, ""),
        around: &line(&nonce, order, attempt, launch::DRAIN),
        ends: false,
        patience: limits::LAUNCH_PATIENCE,
    };
    let begun = around::begin(session, &script).await;
    let begun = begun.map_err(|error| not_started(&error))?;
    let witness = Witness::Ssh(begun.process.exit(), begun.process.stderr());
    let arrived = begun.process.arrived();
    not_begun(id, begun.how, &begun.printed, &witness)?;
    let mut dialog = Dialog::new(id, begun.process, witness, nonce, reporter);
    (dialog.printed, dialog.arrived) = (begun.printed, Some(arrived));
    Ok(dialog)
}

/// Carries out the order over the system's `ssh`.
pub(crate) async fn by_system(
    id: &HostId,
    config: &FleetConfig,
    order: &Install,
    server: &Server,
    reporter: &Reporter,
) -> Result<(), Failure> {
    check_server(id, order, server)?;
    for attempt in 1.. {
        let nonce = nonce();
        let line = line(&nonce, order, attempt, launch::DRAIN);
        let opened = system::open(id, config, (&nonce, &line), reporter).await?;
        let witness = Witness::System(opened.child.watch());
        let mut dialog = Dialog::new(id, opened.child, witness, nonce, reporter);
        dialog.printed = opened.printed;
        if dialog.carry_out(order, attempt).await? == Outcome::Done {
            break;
        }
    }
    finish(order).await;
    Ok(())
}

/// Carries out the order through a shell that a program of the user gives.
pub(crate) async fn by_command(
    id: &HostId,
    argv: &[String],
    order: &Install,
    server: &Server,
    reporter: &Reporter,
) -> Result<(), Failure> {
    check_server(id, order, server)?;
    for attempt in 1.. {
        let nonce = nonce();
        let started = Child::start(argv).map_err(|error| {
            let program = argv.first().map(String::as_str).unwrap_or_default();
            not_launched(FailureKind::BadConfig, format!("starting `{program}`: {error}"))
        });
        let mut stream = started?;
        let line = format!("{}\n", line(&nonce, order, attempt, ""));
        // A program that does not read shows itself by its end, or by its silence.
        _ = timeout(limits::LAUNCH_PATIENCE, stream.write_all(line.as_bytes())).await;
        let witness = Witness::Child(stream.watch());
        let dialog = Dialog::new(id, stream, witness, nonce, reporter);
        if dialog.carry_out(order, attempt).await? == Outcome::Done {
            break;
        }
    }
    finish(order).await;
    Ok(())
}

/// Where there is nothing that a program could be sent over.
pub(crate) fn impossible(id: &HostId) -> Failure {
    Failure {
        hint: Some("install it from a host of SSH, or with a program that gives a shell there".to_owned()),
        ..not_launched(
            FailureKind::BadConfig,
            format!("nothing can be put on {id}: it is not reached through a shell"),
        )
    }
}

/// A server that would not be started afterwards is not what the user wants.
fn check_server(id: &HostId, order: &Install, server: &Server) -> Result<(), Failure> {
    let connects = matches!(order, Install::Put { then_connect, .. } if *then_connect);
    if !connects || server.may_be_installed() {
        return Ok(());
    }
    let message = format!("the settings of {id} want another server: {}", server.wanted());
    Err(Failure {
        hint: Some("set `server = \"auto\"` or `\"ours\"` for it in hosts.toml".to_owned()),
        ..not_launched(FailureKind::NotInstalled, message)
    })
}

/// Without a server to be started, the connection has nothing more to do, and its end would be a loss.
async fn finish(order: &Install) {
    match order {
        Install::Put {
            then_connect: true, ..
        } => (),
        Install::Put { .. } | Install::Remove => std::future::pending().await,
    }
}

/// `attempt` counts from 1. `prelude` is run before the script listens.
fn line(nonce: &str, order: &Install, attempt: u32, prelude: &str) -> String {
    match order {
        Install::Put { program, .. } => {
            script::put(nonce, program.sha256(), program.length(), prelude, 1 < attempt)
        }
        Install::Remove => script::remove(nonce, prelude),
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Done,
    /// What arrived was not what was sent, or somebody else took over.
    Again,
}

/// The conversation with the script.
struct Dialog<'a, S> {
    id: &'a HostId,
    stream: S,
    witness: Witness,
    nonce: String,
    reporter: &'a Reporter,
    printed: BytesMut,
    noise: Noise,
    /// Whether a line of the script's has come.
    was_heard: bool,
    /// Where it is known what of the input has got there.
    arrived: Option<Arrived>,
}

/// What the host said about the place.
struct Place {
    directory: String,
    is_there: bool,
    /// Of a part that can be continued; 0 when there is none.
    resumed_at: u64,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Dialog<'a, S> {
    fn new(
        id: &'a HostId,
        stream: S,
        witness: Witness,
        nonce: String,
        reporter: &'a Reporter,
    ) -> Dialog<'a, S> {
        Dialog {
            id,
            stream,
            witness,
            nonce,
            reporter,
            printed: BytesMut::new(),
            noise: Noise::default(),
            was_heard: false,
            arrived: None,
        }
    }

    /// `attempt` counts from 1: a failure that another one may mend is none.
    async fn carry_out(mut self, order: &Install, attempt: u32) -> Result<Outcome, Failure> {
        let program = match order {
            Install::Remove => {
                self.remove().await?;
                return Ok(Outcome::Done);
            }
            Install::Put { program, .. } => program,
        };
        let place = self.agree(program).await?;
        let from = if place.is_there {
            program.length()
        } else {
            place.resumed_at
        };
        let mut upload = Upload::new(from, program.length(), self.arrived.clone());
        if place.is_there {
            self.send(b"use\n").await;
        } else {
            let word = format!("put {}\n", place.resumed_at);
            self.send(word.as_bytes()).await;
            self.upload(program, &mut upload).await?;
        }
        // The end of input is what the script waits for; a stream that is gone has ended.
        _ = self.stream.shutdown().await;
        let fields = self.verdict(&mut upload).await?;
        let tries = match fields[0].as_str() {
            "corrupt" => TRIES_MAX,
            "taken" => TAKEN_TRIES_MAX,
            _ => 1,
        };
        if attempt < tries {
            return Ok(Outcome::Again);
        }
        if fields[0] != "done" {
            return Err(self.refusal(&fields, program).await);
        }
        let sent = match place.is_there {
            true => 0,
            false => program.length() - place.resumed_at,
        };
        let installed = Installed {
            version: field(&fields, 1),
            path: field(&fields, 2),
            was_there: place.is_there,
            sent,
            removed: field(&fields, 3).parse().unwrap_or(0),
        };
        self.tell(InstallEvent::Installed(installed)).await;
        Ok(Outcome::Done)
    }

    /// Finds out whether the program runs there, and where it goes. Until the first word of ours the host has
    /// changed nothing.
    async fn agree(&mut self, program: &Program) -> Result<Place, Failure> {
        let fields = self.hear(limits::LAUNCH_PATIENCE).await?;
        let system = field(&fields, 1);
        if !program.runs_on(&system) {
            let (id, ours) = (self.id, program.system());
            if system.trim().is_empty() {
                let message = format!(
                    "{id} does not say what it is (`uname -sm` prints nothing), and this program is for {ours}: nothing was sent"
                );
                let hint = format!("see what `ssh {id} uname -sm` prints");
                return Err(self.not_installed(message, Some(hint)));
            }
            let message = format!("{id} is {system}, and this program is for {ours}: nothing was sent");
            return Err(self.not_installed(message, Some(build_hint(id, &system))));
        }
        self.send(b"go\n").await;
        let fields = self.hear_when_free().await?;
        if fields[0] != "place" {
            return Err(self.refusal(&fields, program).await);
        }
        let is_there = field(&fields, 2) == "y";
        let length = field(&fields, 3).parse().unwrap_or(0);
        // A part with other bytes in it would be found out only at the end.
        let is_ours = 0 < length && program.sha256_of_first(length).as_ref() == fields.get(4);
        let place = Place {
            directory: field(&fields, 1),
            is_there,
            resumed_at: if is_ours { length } else { 0 },
        };
        self.tell(InstallEvent::Begun {
            system,
            directory: place.directory.clone(),
            resumed_at: place.resumed_at,
            total: program.length(),
            passed_over: field(&fields, 5).trim().to_owned(),
        })
        .await;
        Ok(place)
    }

    /// The next marked line that does not say that another upload goes on.
    async fn hear_when_free(&mut self) -> Result<Vec<String>, Failure> {
        let deadline = Instant::now() + limits::INSTALL_OTHER_PATIENCE;
        let mut is_told = false;
        loop {
            let fields = self.hear(limits::INSTALL_PATIENCE).await?;
            if fields[0] != "busy" {
                return Ok(fields);
            }
            if deadline <= Instant::now() {
                let patience = limits::INSTALL_OTHER_PATIENCE;
                let message = format!("another upload to {} goes on since {patience:?}", self.id);
                return Err(self.not_installed(message, None));
            }
            self.reporter.report(Report::Entered(Phase::Launching)).await;
            if !std::mem::replace(&mut is_told, true) {
                let text = format!(
                    "another upload of the program to {} is under way: waiting for it",
                    self.id
                );
                self.reporter.send(FromAttempt::Notice(text)).await;
            }
        }
    }

    async fn remove(&mut self) -> Result<(), Failure> {
        _ = self.stream.shutdown().await;
        let mut removed = Vec::new();
        loop {
            let fields = self.hear(limits::INSTALL_PATIENCE).await?;
            match fields[0].as_str() {
                "end" => break,
                "host" => {}
                _ => removed.push((field(&fields, 1), field(&fields, 2).parse().unwrap_or(0))),
            }
        }
        self.tell(InstallEvent::Removed(removed)).await;
        Ok(())
    }

    /// Says something to the script; one that is gone shows itself when it is listened to.
    async fn send(&mut self, word: &[u8]) {
        let send = async {
            self.stream.write_all(word).await?;
            self.stream.flush().await
        };
        _ = timeout(limits::INSTALL_PATIENCE, send).await;
    }

    /// Tells how it goes on, which also starts the phase's clock again.
    async fn tell(&mut self, event: InstallEvent) {
        self.reporter.report(Report::Entered(Phase::Launching)).await;
        self.reporter.send(FromAttempt::Install(event)).await;
    }

    /// The next marked line of the script; it has at least one field. While it is waited for, the phase's clock
    /// starts again and again.
    async fn hear(&mut self, patience: Duration) -> Result<Vec<String>, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            let until = deadline.min(Instant::now() + limits::LAUNCH_PATIENCE);
            match timeout_at(until, self.read_line()).await {
                Ok(Some(fields)) => return Ok(fields),
                Ok(None) => return Err(self.ended().await),
                Err(_) if Instant::now() < deadline => {
                    self.reporter.report(Report::Entered(Phase::Launching)).await;
                }
                Err(_) => break,
            }
        }
        Err(self.said_nothing(patience))
    }

    fn said_nothing(&self, patience: Duration) -> Failure {
        let message = format!("{} said nothing within {patience:?}", self.id);
        Failure {
            stderr: said(&self.printed, &self.witness),
            ..not_launched(FailureKind::LaunchFailed, message)
        }
    }

    /// `None` when there is none. Nothing is lost when this is given up.
    async fn read_line(&mut self) -> Option<Vec<String>> {
        loop {
            if let Some(fields) = take_line(&self.nonce, &mut self.printed) {
                self.was_heard = true;
                return Some(fields);
            }
            if !self.noise.read(&mut self.stream, &mut self.printed).await {
                return None;
            }
        }
    }

    /// Why there is no line.
    async fn ended(&mut self) -> Failure {
        let why = match self.witness.ended().await {
            Some(Ended::Lost(why)) => return not_launched(FailureKind::Unreachable, why),
            // A container may come back, as a host may.
            Some(Ended::Exited(why)) if matches!(self.witness, Witness::Child(_)) => {
                return Failure {
                    stderr: said(&self.printed, &self.witness),
                    ..not_launched(FailureKind::Unreachable, why)
                };
            }
            Some(Ended::Exited(exit)) => format!(": {exit}"),
            Some(Ended::Closed) => ": its channel was closed".to_owned(),
            None => launch::too_much(),
        };
        if !self.was_heard && !launch::runs(&self.nonce, &self.printed) {
            let said = said(&self.printed, &self.witness);
            let hint = why_never_ran(self.id, &why, said.as_deref().unwrap_or_default());
            let message = format!("the login shell did not run the command that installs codex{why}");
            return Failure {
                hint: Some(hint),
                stderr: said,
                ..not_launched(FailureKind::LaunchFailed, message)
            };
        }
        let failure = format!("the installation on {} ended{why}", self.id);
        Failure {
            hint: Some(format!("look at what `ssh {} true` prints", self.id)),
            stderr: said(&self.printed, &self.witness),
            ..not_launched(FailureKind::LaunchFailed, failure)
        }
    }

    fn not_installed(&self, message: String, hint: Option<String>) -> Failure {
        Failure {
            hint,
            stderr: said(&[], &self.witness),
            ..not_launched(FailureKind::NotInstalled, message)
        }
    }

    /// What the script's refusal means.
    async fn refusal(&mut self, fields: &[String], program: &Program) -> Failure {
        // What its programs wrote to stderr is complete only then.
        _ = self.witness.ended().await;
        let (message, hint) = refusal::words(self.id, fields, program);
        self.not_installed(message, hint)
    }
}

/// What helps where this program cannot run.
fn build_hint(id: &HostId, system: &str) -> String {
    match is_supported(system) {
        true => format!("`codex install {id} --binary FILE` takes a program for {system}"),
        false => "our server runs on Linux and macOS only".to_owned(),
    }
}

fn field(fields: &[String], index: usize) -> String {
    fields.get(index).cloned().unwrap_or_default()
}

/// What a line of the script begins with.
fn mark(nonce: &str) -> String {
    format!("\x1ecodex-{nonce}\t")
}

/// Takes everything up to the end of the next marked line out of the buffer.
fn take_line(nonce: &str, buffer: &mut BytesMut) -> Option<Vec<String>> {
    let mark = mark(nonce);
    let start = memchr::memmem::find(buffer, mark.as_bytes())?;
    let end = start + memchr::memchr(b'\n', &buffer[start..])?;
    let line = String::from_utf8_lossy(&buffer[start + mark.len()..end]).into_owned();
    _ = buffer.split_to(end + 1);
    Some(
        line.trim_end_matches('\r')
            .split('\t')
            .map(str::to_owned)
            .collect(),
    )
}

#[cfg(test)]
mod tests;

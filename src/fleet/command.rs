//! To a host by a program of the user whose standard streams are those of a shell there.

use std::time::Duration;

use bytes::BytesMut;
use codex_hosts::{Failure, FailureKind, HostId, Met, Phase, Report, Search};
use tokio::{
    io::AsyncWriteExt,
    time::{sleep, timeout},
};

use crate::{
    attempt::Reporter,
    child::Child,
    launch::{self, Server, command_line},
    limits,
    server::{NoMark, Started, marked, nonce, not_launched, said, started},
    witness::{Ended, Witness},
};

/// Starts the server.
///
/// A program that leads to a host that is looked for may be on its way for ever, like the connection that was lost: one
/// that has taken nothing of what it is to carry, and says nothing, is ended in time and started again by the next
/// attempt. There is never more than one: it may be logging in, or asking.
pub(crate) async fn launch(
    id: &HostId,
    argv: &[String],
    server: &Server,
    search: Option<Search>,
    reporter: &Reporter,
) -> Result<(Child, Started), Failure> {
    reporter.report(Report::Met(Met::Program)).await;
    let command = argv.join(" ");
    let mut child = Child::start(argv).map_err(|error| {
        let program = argv.first().map(String::as_str).unwrap_or_default();
        Failure {
            hint: Some("correct `command` in the settings of the host".to_owned()),
            ..not_launched(FailureKind::BadConfig, format!("starting `{program}`: {error}"))
        }
    })?;
    let witness = Witness::Child(child.watch());
    let nonce = nonce();
    let line = format!("{}\n", command_line(&nonce, server));
    // A program that does not read shows itself by its end, or by its silence.
    _ = timeout(limits::LAUNCH_PATIENCE, child.write_all(line.as_bytes())).await;
    let mut printed = BytesMut::new();
    if let Some(search) = search
        && let patience = patience(search, argv)
        && is_ignored(patience, &mut child, &mut printed).await
    {
        let message = format!("`{command}` did not get through within {patience:?}");
        return Err(Failure {
            hint: Some("see whether the host is up and the network carries; it is tried again".to_owned()),
            ..far_away(not_launched(FailureKind::TimedOut, message))
        });
    }
    let (kind, why) = match marked(&nonce, &mut child, &mut printed).await {
        Ok(found) => return Ok((child, started(id, found, printed, server)?)),
        Err(NoMark::Late) => (
            FailureKind::LaunchFailed,
            format!(" within {:?}", limits::LAUNCH_PATIENCE),
        ),
        Err(NoMark::Ended) => match witness.ended().await {
            // Once more would be one more login that fails.
            Some(_) if codex_ssh::is_refused_login(&witness.stderr()) => {
                (FailureKind::Unauthorized, format!(": {}", witness.stderr()))
            }
            // The way is down, as a host that does not answer is: a container may come back.
            Some(Ended::Exited(why) | Ended::Lost(why)) => (FailureKind::Unreachable, format!(": {why}")),
            Some(Ended::Closed) | None => (FailureKind::LaunchFailed, launch::too_much()),
        },
    };
    let failure = Failure {
        hint: Some(format!(
            "run `{command}` in a terminal: it must give a POSIX shell that reads its standard input"
        )),
        stderr: said(&printed, &witness),
        ..not_launched(kind, format!("`{command}` did not start codex{why}"))
    };
    // It has started there before, and nothing on the host has begun: what is missing is the way.
    Err(match (search, failure.kind) {
        (Some(_), _) if launch::runs(&nonce, &printed) => failure,
        (Some(_), FailureKind::Unreachable) => far_away(failure),
        (Some(_), FailureKind::LaunchFailed) if printed.is_empty() => far_away(Failure {
            kind: FailureKind::TimedOut,
            ..failure
        }),
        _ => failure,
    })
}

/// What the program may have for taking its input. OpenSSH's client takes it after its login: until then a server that
/// is stopped may have its connection, and counts each that is given up (`PerSourcePenalties`).
fn patience(search: Search, argv: &[String]) -> Duration {
    let logs_in = argv.iter().any(|it| it == "ssh" || it.ends_with("/ssh"));
    match logs_in {
        true => search.program,
        false => search.unread,
    }
}

/// Whether the program has done nothing in the time that it has for that: nothing was taken, nothing said.
async fn is_ignored(patience: Duration, child: &mut Child, printed: &mut BytesMut) -> bool {
    use tokio::io::AsyncReadExt;
    tokio::select! {
        _ = child.read_buf(printed) => false,
        () = sleep(patience) => !child.has_taken_input() && child.watch().stderr(1).is_empty(),
    }
}

/// The same before anybody there was reached.
fn far_away(failure: Failure) -> Failure {
    Failure {
        phase: Some(Phase::Connecting),
        ..failure
    }
}

//! The program's bytes on their way, and how much of them is there.

use codex_hosts::{Failure, FailureKind};
use codex_ssh::Arrived;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{Dialog, InstallEvent, Program};
use crate::{limits, server::not_launched};

/// How far an upload is.
pub(super) struct Upload {
    /// What an earlier one has left there.
    from: u64,
    total: u64,
    handed_over: u64,
    /// What of everything that was written to its script the host has got, and had got before, where that is known: what
    /// is on its way may be megabytes, which are minutes of a slow link.
    arrived: Option<(Arrived, u64)>,
    /// When it was told last, and what; none: it is to be told in any case.
    told: (Option<Instant>, u64),
}

impl Upload {
    pub(super) fn new(from: u64, total: u64, arrived: Option<Arrived>) -> Upload {
        Upload {
            from,
            total,
            handed_over: from,
            arrived: arrived.map(|it| (it.clone(), it.bytes())),
            told: (Some(Instant::now()), from),
        }
    }

    /// Bytes of the program that are there, as far as is known.
    fn sent(&self) -> u64 {
        match &self.arrived {
            Some((arrived, before)) => self.handed_over.min(self.from + (arrived.bytes() - before)),
            None => self.handed_over,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialog<'_, S> {
    /// Sends what is not there yet. A host that takes nothing more has said why.
    pub(super) async fn upload(&mut self, program: &Program, upload: &mut Upload) -> Result<(), Failure> {
        let start = usize::try_from(upload.from).unwrap_or(usize::MAX);
        let mut rest = program.bytes.get(start..).unwrap_or_default();
        let mut moved = (Instant::now(), upload.sent());
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(limits::INSTALL_PIECE)];
            match timeout(limits::INSTALL_PERIOD, self.stream.write(piece)).await {
                Ok(Ok(taken @ 1..)) => {
                    rest = &rest[taken..];
                    upload.handed_over += taken as u64;
                    moved.0 = Instant::now();
                }
                Ok(_) => return Ok(()),
                Err(_) if moved.1 != upload.sent() => moved = (Instant::now(), upload.sent()),
                Err(_) if limits::INSTALL_PATIENCE <= moved.0.elapsed() => {
                    let message = format!("{} took nothing for {:?}", self.id, limits::INSTALL_PATIENCE);
                    return Err(not_launched(FailureKind::TimedOut, message));
                }
                Err(_) => {}
            }
            self.progress(upload, upload.sent()).await;
        }
        Ok(())
    }

    /// What the host says at the end, for which all that is still on its way is waited for.
    pub(super) async fn verdict(&mut self, upload: &mut Upload) -> Result<Vec<String>, Failure> {
        let deadline = Instant::now() + limits::INSTALL_END_PATIENCE;
        while Instant::now() < deadline {
            match timeout(limits::INSTALL_PERIOD, self.read_line()).await {
                Ok(Some(fields)) => {
                    // It has read all, or said why not.
                    if upload.handed_over == upload.total && upload.from < upload.total {
                        upload.arrived = None;
                        upload.told.0 = None;
                    }
                    self.progress(upload, upload.sent()).await;
                    return Ok(fields);
                }
                Ok(None) => return Err(self.ended().await),
                Err(_) => self.progress(upload, upload.sent()).await,
            }
        }
        Err(self.said_nothing(limits::INSTALL_END_PATIENCE))
    }

    /// Tells how far it is, now and then, and lets the phase's clock start again where that takes long.
    async fn progress(&mut self, upload: &mut Upload, sent: u64) {
        let (last, before) = upload.told;
        let has_been = |period| last.is_none_or(|it| period <= it.elapsed());
        let is_due = sent != before && has_been(limits::INSTALL_PERIOD);
        if is_due || has_been(limits::LAUNCH_PATIENCE) {
            upload.told = (Some(Instant::now()), sent);
            let total = upload.total;
            self.tell(InstallEvent::Sent { sent, total }).await;
        }
    }
}

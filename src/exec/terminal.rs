//! Pseudo-terminals: the master side, which we keep, and the slave side, which the command gets.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::command::TerminalSize;

/// What a terminal takes for the end of the input (VEOF, termios(3)).
pub(crate) const END_OF_INPUT: u8 = 4;

/// A new terminal.
pub(crate) struct Terminal {
    /// Does not block.
    pub(crate) master: OwnedFd,
    pub(crate) slave: File,
}

impl Terminal {
    pub(crate) fn open(size: TerminalSize) -> io::Result<Terminal> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        resize(&master, size)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed())
            .open(OsStr::from_bytes(name.as_bytes()))?;
        rustix::fs::fcntl_setfl(
            &master,
            rustix::fs::fcntl_getfl(&master)? | rustix::fs::OFlags::NONBLOCK,
        )?;
        Ok(Terminal { master, slave })
    }
}

/// Sets the size; the command's foreground group gets `SIGWINCH`.
pub(crate) fn resize(master: &OwnedFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(master, size)?)
}

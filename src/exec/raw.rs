//! The only unsafe code of the crate: what happens between fork and exec, and numbers that become descriptors.
#![expect(
    unsafe_code,
    reason = "`pre_exec` and descriptors by number have no safe form in the standard library"
)]

use std::{
    io,
    os::fd::{BorrowedFd, RawFd},
    os::unix::process::CommandExt,
    process::Command,
};

#[cfg(target_os = "linux")]
use std::os::fd::{FromRawFd, OwnedFd};

/// What a new process does to itself before it becomes its program.
pub(crate) struct Isolation {
    /// Descriptors which the program keeps. All others above standard error are closed when it starts.
    pub(crate) keep: Vec<RawFd>,
    /// Standard input, a terminal, becomes the controlling terminal of the new session.
    pub(crate) takes_terminal: bool,
    /// The last step: the sandbox's own restrictions. It must make system calls only, or run in a process of
    /// one thread.
    pub(crate) confine: Option<Box<dyn FnMut() -> io::Result<()> + Send + Sync>>,
}

/// Makes the command the leader of a session and process group of its own, without any terminal but its own.
pub(crate) fn isolate(command: &mut Command, mut isolation: Isolation) {
    let step = move || -> io::Result<()> {
        rustix::process::setsid()?;
        // SAFETY: standard input is open in the child; the borrow ends before exec.
        let stdin = unsafe { BorrowedFd::borrow_raw(0) };
        if isolation.takes_terminal {
            rustix::process::ioctl_tiocsctty(stdin)?;
        }
        close_others_on_exec();
        forget_ignored_signals();
        for &number in &isolation.keep {
            // SAFETY: the caller of `isolate` holds these descriptors open until the command is spawned.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
        }
        isolation.confine.as_mut().map_or(Ok(()), |confine| confine())
    };
    // SAFETY: the closure makes system calls and touches only memory that it owns; it takes no lock and
    // allocates nothing before `confine`, whose contract is said at its field.
    unsafe { command.pre_exec(step) };
}

/// A process that was started by `nohup` or in the background of a script ignores signals, and so would every
/// command, which could not even ask for them (POSIX, `trap`).
fn forget_ignored_signals() {
    const STANDARD_MAX: libc::c_int = 31;
    for signal in 1..=STANDARD_MAX {
        // SAFETY: sets no handler. For the two signals that cannot be changed it fails.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Descriptors which somebody gave this process without the close-on-exec flag must not reach a command.
#[cfg(target_os = "linux")]
fn close_others_on_exec() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: a system call without pointers. Kernels before 5.11 refuse it, and then such descriptors leak as
    // they do from any other program.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
}

#[cfg(not(target_os = "linux"))]
fn close_others_on_exec() {}

#[cfg(target_os = "linux")]
/// Takes over a descriptor that the process which started us left open under this number.
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the borrow asks the kernel whether the number is open and is not kept.
    rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) })?;
    // SAFETY: the number is open, and by the contract of the hidden mode nobody else in this fresh process owns
    // it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

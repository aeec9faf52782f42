//! Contains commands: what a policy means on this host, and the mechanisms that hold a command to it.

#[cfg(target_os = "linux")]
mod barrier;
#[cfg(target_os = "linux")]
mod bubblewrap;
mod helper;
#[cfg(target_os = "linux")]
mod landlock;
mod preflight;
mod rules;
mod seatbelt;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(target_os = "linux")]
mod spec;
#[cfg(target_os = "linux")]
mod supervisor;

pub use helper::{SANDBOX_MODE, sandbox_main};
pub use preflight::{Finding, Mechanism, Outcome, Preflight};
pub use rules::{Confinement, Missing, Place, Protected, Refusal, Rules};
pub use seatbelt::{SEATBELT_PROGRAM, SeatbeltProfile, seatbelt_profile};

pub(crate) use preflight::examine;
#[cfg(target_os = "linux")]
pub(crate) use {
    helper::RUN,
    spec::{Report, SPEC_BYTES_MAX, Spec, TERMINATE},
};

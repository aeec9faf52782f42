//! The binary against real hosts: sshd, the official codex, and a scripted model.
#![expect(clippy::unwrap_used, reason = "tests")]

mod app_server;
mod bad_input;
mod codes;
mod compare;
mod containers;
mod demo;
mod doctor;
mod exec;
mod faults;
mod foreign;
mod forward;
mod generate;
mod hosts;
mod install;
mod install_odd;
mod launch;
mod local;
mod logins;
mod masters;
mod mistyped;
mod near;
mod official_tui;
mod our_server;
mod remote;
mod screen;
mod serving;
mod setting;
mod shells;
mod shells_examined;
mod system_logins;
mod transport;
mod wire;

//! What `ssh_config(5)` says about a host.

pub mod settings;

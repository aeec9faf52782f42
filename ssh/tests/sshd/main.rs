//! Connections to a real sshd.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the helpers of tests fail and skip as tests do"
)]

mod accounts;
mod addresses;
mod agent;
mod agents;
mod ahead;
mod asking;
mod bastions;
mod before_credentials;
mod certificates;
mod chains;
mod changed_keys;
mod forwards;
mod host;
mod host_key_rules;
mod host_keys;
mod key_files;
mod logins;
mod one_of_each;
mod pam;
mod processes;
mod restricted;
mod routes;
mod servers;
mod slow_links;
mod spare;
mod strict_servers;
mod unusable_keys;
mod updates;
mod zoo;

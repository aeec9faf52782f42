//! What the configuration decided about one host, in types.

use std::{path::PathBuf, time::Duration};

/// The effective settings of one hop: values are expanded, defaults are filled in.
///
/// Field names follow the keywords of ssh_config(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// The name as the user or a `ProxyJump` gave it (without user and port).
    pub alias: String,
    /// Where to connect: a name or an address, without brackets.
    pub host_name: String,
    pub user: String,
    pub port: u16,
    pub route: Via,
    /// `IdentityFile` in order. OpenSSH's default names when the configuration has none.
    pub identity_files: Vec<PathBuf>,
    /// Whether [`identity_files`](Self::identity_files) come from the configuration: a missing
    /// default file is normal, a missing configured one is worth a notice.
    pub identity_files_configured: bool,
    pub certificate_files: Vec<PathBuf>,
    pub identities_only: bool,
    pub identity_agent: IdentityAgent,
    pub user_known_hosts_files: Vec<PathBuf>,
    pub global_known_hosts_files: Vec<PathBuf>,
    pub host_key_alias: Option<String>,
    pub strict_host_key_checking: StrictHostKeyChecking,
    pub hash_known_hosts: bool,
    /// Bounds DNS, TCP and the SSH banner of this hop. `None`: the caller's own limit.
    pub connect_timeout: Option<Duration>,
    /// `None`: not configured. `Some(ZERO)`: switched off by the user.
    pub server_alive_interval: Option<Duration>,
    pub server_alive_count_max: Option<u32>,
    pub tcp_keep_alive: bool,
    pub address_family: AddressFamily,
    pub bind_address: Option<String>,
    pub compression: bool,
    pub batch_mode: bool,
    pub pubkey_authentication: bool,
    pub password_authentication: bool,
    pub kbd_interactive_authentication: bool,
    pub number_of_password_prompts: u32,
    /// Method names in the order to try; OpenSSH's order when not configured.
    pub preferred_authentications: Vec<String>,
    /// Algorithm lists as written (with `+`, `-`, `^`), when configured.
    pub ciphers: Option<String>,
    pub kex_algorithms: Option<String>,
    pub macs: Option<String>,
    pub host_key_algorithms: Option<String>,
    pub pubkey_accepted_algorithms: Option<String>,
    /// Shown as a notice: the command that we start is our own.
    pub remote_command: Option<String>,
    pub set_env: Vec<(String, String)>,
}

/// How this hop is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    Direct,
    /// `ProxyJump`, first hop first.
    Jump(Vec<JumpHost>),
    /// `ProxyCommand`, tokens expanded, to be run by the user's shell.
    Command(String),
}

/// One destination of a `ProxyJump` list; its own settings are resolved by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JumpHost {
    pub host: String,
    pub user: Option<String>,
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityAgent {
    /// `IdentityAgent none`, or nothing is configured and `SSH_AUTH_SOCK` is unset.
    Off,
    Socket(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrictHostKeyChecking {
    /// Refuse unknown hosts.
    Yes,
    /// Add unknown hosts without asking; refuse changed keys.
    AcceptNew,
    /// Ask about unknown hosts; refuse changed keys.
    Ask,
    /// Add unknown hosts without asking; with a changed key go on, but without passwords.
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFamily {
    Any,
    Inet,
    Inet6,
}

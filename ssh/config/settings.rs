//! What the configuration decided about one host, in types.

use std::{path::PathBuf, time::Duration};

pub use super::tokens::CommandTemplate;

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
    /// The variables of this process that `SendEnv` chose, with their values.
    pub send_env: Vec<(String, String)>,
    pub rekey_limit: RekeyLimit,
    pub network: Network,
    pub host_keys: HostKeyRules,
    pub add_keys_to_agent: AddKeysToAgent,
    pub forwarding: Forwarding,
    pub beyond: Beyond,
}

impl HostSettings {
    /// What a step of the key exchange or of the login may take that is usually done within `limit`: more where
    /// `ConnectTimeout` gives more. Who sets a minute knows a slow host, e.g. one whose sshd waits for a name server.
    pub(crate) fn patience(&self, limit: Duration) -> Duration {
        limit.max(self.connect_timeout.unwrap_or_default())
    }

    /// What holds for a host without any configuration: OpenSSH's defaults, without keys, agent and
    /// `known_hosts` files, which are the caller's to name.
    pub fn plain(alias: impl Into<String>, user: impl Into<String>, port: u16) -> HostSettings {
        let alias = alias.into();
        HostSettings {
            host_name: alias.clone(),
            alias,
            user: user.into(),
            port,
            route: Via::Direct,
            identity_files: Vec::new(),
            identity_files_configured: true,
            certificate_files: Vec::new(),
            identities_only: false,
            identity_agent: IdentityAgent::Off,
            user_known_hosts_files: Vec::new(),
            global_known_hosts_files: Vec::new(),
            host_key_alias: None,
            strict_host_key_checking: StrictHostKeyChecking::Ask,
            hash_known_hosts: false,
            connect_timeout: None,
            server_alive_interval: None,
            server_alive_count_max: None,
            tcp_keep_alive: true,
            address_family: AddressFamily::Any,
            bind_address: None,
            compression: false,
            batch_mode: false,
            pubkey_authentication: true,
            password_authentication: true,
            kbd_interactive_authentication: true,
            number_of_password_prompts: 3,
            preferred_authentications: ["publickey", "keyboard-interactive", "password"]
                .map(str::to_owned)
                .to_vec(),
            ciphers: None,
            kex_algorithms: None,
            macs: None,
            host_key_algorithms: None,
            pubkey_accepted_algorithms: None,
            remote_command: None,
            set_env: Vec::new(),
            send_env: Vec::new(),
            rekey_limit: RekeyLimit::default(),
            network: Network::default(),
            host_keys: HostKeyRules::default(),
            add_keys_to_agent: AddKeysToAgent::No,
            forwarding: Forwarding::default(),
            beyond: Beyond::default(),
        }
    }
}

/// What the configuration allows and only another client can do: for the caller to know when this one fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// `PKCS11Provider`: the library of a token.
    pub pkcs11_provider: Option<String>,
    /// `GSSAPIAuthentication`.
    pub gssapi: bool,
    /// `HostbasedAuthentication`.
    pub hostbased: bool,
    /// `ControlPath`: another client may have a connection there.
    pub control_path: bool,
    /// Those of `SessionType`, `StdinNull` and `ForkAfterAuthentication` that keep a client from carrying a command
    /// and its input, in lower case.
    pub sessionless: Vec<&'static str>,
    /// `ProxyUseFdpass`: the `ProxyCommand` hands a socket over.
    pub proxy_use_fdpass: bool,
}

/// When new session keys are agreed on; `None`: as the cipher needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RekeyLimit {
    /// After so many bytes in one direction.
    pub bytes: Option<u64>,
    pub time: Option<Duration>,
}

/// How sockets are made, beyond `AddressFamily` and `BindAddress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// `BindInterface`: the name of an interface whose address the connection comes from.
    pub bind_interface: Option<String>,
    /// How often all addresses are tried, with a second between two tries. At least 1.
    pub connection_attempts: u32,
    /// The IP type-of-service byte of sessions without a terminal, when `IPQoS` is configured.
    pub ip_qos: Option<u8>,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            bind_interface: None,
            connection_attempts: 1,
            ip_qos: None,
        }
    }
}

/// What decides about host keys, beyond the files and `StrictHostKeyChecking`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKeyRules {
    /// `KnownHostsCommand`: a program whose output counts as one more `known_hosts` file.
    pub command: Option<CommandTemplate>,
    /// `CheckHostIP`: the address must be known by the same key.
    pub check_ip: bool,
    /// `UpdateHostKeys`: whether keys that a known host proves to have as well are recorded.
    pub update: UpdateHostKeys,
    /// `RevokedHostKeys`: keys that are never accepted, for any host.
    pub revoked_files: Vec<PathBuf>,
    /// `CASignatureAlgorithms`: how an authority may have signed the certificate of a host. SHA-1 is never taken.
    pub ca_signature_algorithms: Option<String>,
    /// `RequiredRSASize`, in bits: shorter RSA keys are refused.
    pub required_rsa_size: u32,
    /// `NoHostAuthenticationForLocalhost`: any key is good for a loopback address.
    pub trust_localhost: bool,
    /// No keyword: where the server has a known key that this client cannot verify, the connection fails with
    /// [`HostKeyBeyond`](crate::Failure::HostKeyBeyond) before the user is asked about another key. For callers that
    /// have another client.
    pub leave_beyond: bool,
}

impl Default for HostKeyRules {
    fn default() -> HostKeyRules {
        HostKeyRules {
            command: None,
            check_ip: false,
            update: UpdateHostKeys::No,
            revoked_files: Vec::new(),
            ca_signature_algorithms: None,
            required_rsa_size: 1024,
            trust_localhost: false,
            leave_beyond: false,
        }
    }
}

/// Whether what a known host says about its keys changes `known_hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateHostKeys {
    No,
    /// After the login, if the user says so.
    Ask,
    Yes,
}

/// Whether keys that were opened from files are given to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddKeysToAgent {
    No,
    /// `confirm`: the agent asks before each use. `lifetime`: the agent forgets the key after it.
    Yes {
        confirm: bool,
        lifetime: Option<Duration>,
    },
    /// The user is asked first.
    Ask,
}

/// Connections that are passed through the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// `LocalForward`, `RemoteForward` and `DynamicForward`; empty with `ClearAllForwardings`.
    pub list: Vec<Forward>,
    /// `ForwardAgent`: the socket of the agent that commands on the host may use.
    pub agent: Option<PathBuf>,
    /// Whether other machines may use local ports that name no address.
    pub gateway_ports: bool,
    /// `ExitOnForwardFailure`.
    pub exit_on_failure: bool,
    /// `StreamLocalBindUnlink`: a socket file that is in the way is removed.
    pub unlink: bool,
    /// `StreamLocalBindMask`, as of umask(2); `None`: 0177.
    pub mask: Option<u32>,
    /// `PermitRemoteOpen`: where the SOCKS server of a `RemoteForward` may connect; `None`: anywhere.
    pub permit_remote_open: Option<Vec<(String, Option<u16>)>>,
}

/// One forwarding of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The end that listens is the host's.
    pub is_remote: bool,
    pub listen: Endpoint,
    pub target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `None`: no address is named, which `GatewayPorts` decides. Port 0, on the host only: any.
    Tcp {
        host: Option<String>,
        port: u16,
    },
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    /// Each connection names its own, by SOCKS.
    Socks,
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

//! From values in text to [`HostSettings`]: tokens, homes, defaults and types.

mod conflicts;
mod rules;

use std::{path::PathBuf, time::Duration};

use super::{
    backend,
    destination::{self, Query},
    forward, keywords,
    problem::{ConfigError, Origin, Problems, Severity},
    resolve::{Resolved, Setting, Table},
    settings::{AddressFamily, Beyond, HostSettings, IdentityAgent, JumpHost, StrictHostKeyChecking, Via},
    tokens::{Facts, TokenError, Tokens},
    world::World,
};

/// OpenSSH's default identity files, below `~/.ssh`. Those for key types that no release offers by
/// default any more (`id_dsa`, `id_xmss`) are not tried.
const IDENTITY_FILES: &[&str] = &["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];

const AUTHENTICATIONS: &str = "gssapi-with-mic,hostbased,publickey,keyboard-interactive,password";

/// The literal that means the variable of the same name.
const AUTH_SOCK: &str = "SSH_AUTH_SOCK";

/// Makes the answer of [`resolve`](super::resolve) from the values that won.
pub(super) fn build(
    query: &Query,
    host_name: String,
    table: Table,
    problems: Problems,
    world: &mut dyn World,
) -> Result<Resolved, ConfigError> {
    let origins = table
        .iter()
        .filter_map(|(name, it)| Some(((*name).to_owned(), it.origin.clone()?)))
        .collect();
    let mut it = Builder {
        query,
        host_name,
        table,
        problems,
        world,
        tokens: Tokens::default(),
        refusal: None,
    };
    it.before_tokens();
    it.settle_conflicts();
    let jumps = it.jumps()?;
    let user = it.user(jumps.last())?;
    it.tokens = it.tokens_of(&user, jumps.last(), false);
    it.expand_trust()?;
    it.expand_texts();
    it.refuse_loop(&user, jumps.last())?;
    let settings = it.settings(user, jumps);
    let mut table = it.table;
    for (name, value) in [("user", &settings.user), ("hostname", &settings.host_name)] {
        let origin = table.get(name).and_then(|it| it.origin.clone());
        table.insert(
            name,
            Setting {
                values: vec![value.clone()],
                origin,
            },
        );
    }
    Ok(Resolved {
        settings,
        origins,
        problems: it.problems.into_list(),
        refusal: it.refusal,
        host_argument: query.host.clone(),
        lines: super::resolve::Lines::new(),
        values: table,
    })
}

struct Builder<'a> {
    query: &'a Query,
    host_name: String,
    table: Table,
    problems: Problems,
    world: &'a mut dyn World,
    tokens: Tokens,
    refusal: Option<ConfigError>,
}

impl Builder<'_> {
    fn get(&self, keyword: &str) -> Option<&str> {
        let given = self
            .table
            .get(keyword)
            .and_then(|it| it.values.first())
            .map(String::as_str);
        given.or_else(|| keywords::find(keyword).and_then(|it| it.default))
    }

    fn yes(&self, keyword: &str) -> bool {
        self.get(keyword).is_some_and(|it| matches!(it, "yes" | "true"))
    }

    fn all(&self, keyword: &str) -> Vec<String> {
        self.table
            .get(keyword)
            .map(|it| it.values.clone())
            .unwrap_or_default()
    }

    /// A text that may be switched off with `none`.
    fn text(&self, keyword: &str) -> Option<String> {
        self.get(keyword)
            .filter(|it| !it.eq_ignore_ascii_case("none"))
            .map(str::to_owned)
    }

    fn origin(&self, keyword: &str) -> Origin {
        let known = self.table.get(keyword).and_then(|it| it.origin.clone());
        known.unwrap_or_else(|| Origin::new("".as_ref(), 0))
    }

    fn refuse(&self, keyword: &str, what: impl std::fmt::Display) -> ConfigError {
        ConfigError::Setting {
            origin: self.origin(keyword),
            message: format!("{keyword}: {what}"),
        }
    }

    /// For values that are looked at when the connection is made: they refuse that alone.
    fn refuse_connection(&mut self, keyword: &str, what: impl std::fmt::Display) {
        let message = format!("{keyword}: {what}");
        self.problems
            .add(&self.origin(keyword), Severity::Warning, true, message);
        let refusal = self.refuse(keyword, what);
        self.refusal.get_or_insert(refusal);
    }

    /// What is decided by the texts as they were written.
    fn before_tokens(&mut self) {
        if let Some(alias) = self.table.get_mut("hostkeyalias") {
            alias.values.iter_mut().for_each(|it| it.make_ascii_lowercase());
        }
        if !self.table.contains_key("updatehostkeys") {
            let files = self.all("userknownhostsfile");
            let usual = files.is_empty() || files == ["~/.ssh/known_hosts"];
            let update = usual && self.get("verifyhostkeydns") == Some("false");
            let values = vec![if update { "true" } else { "false" }.to_owned()];
            self.table
                .insert("updatehostkeys", Setting { values, origin: None });
        }
    }

    fn jumps(&self) -> Result<Vec<JumpHost>, ConfigError> {
        let Some(list) = self.text("proxyjump") else {
            return Ok(Vec::new());
        };
        let hops = list
            .split(',')
            .map(|it| destination::hop(it, &|it| self.world.service_port(it)));
        hops.collect::<Result<_, _>>()
            .map_err(|it| self.refuse("proxyjump", it))
    }

    /// `User` takes tokens, but not those that depend on it.
    fn user(&self, jump: Option<&JumpHost>) -> Result<String, ConfigError> {
        let Some(text) = self.get("user") else {
            return Ok(self.world.local_user());
        };
        if self.query.user.is_some() {
            return Ok(text.to_owned());
        }
        let user = self
            .tokens_of("", jump, true)
            .expand_all(text, &|name| self.world.env(name));
        let user = user.map_err(|it| self.refuse("user", it))?;
        // What was written literally is the user's own business; what came from outside is checked.
        if user != text && !destination::is_user_name(&user) {
            return Err(self.refuse("user", format!("{user:?} is not a user name")));
        }
        Ok(user)
    }

    fn tokens_of(&self, user: &str, jump: Option<&JumpHost>, without_user: bool) -> Tokens {
        let home = self.world.home();
        let facts = Facts {
            original: &self.query.host,
            host: &self.host_name,
            host_key_alias: self.get("hostkeyalias").unwrap_or(&self.query.host),
            port: self.port(),
            user,
            jump: jump.map_or("", |it| &it.host),
            local_user: &self.world.local_user(),
            local_host: &self.world.host_name(),
            home: &home.to_string_lossy(),
            uid: self.world.uid(),
        };
        if without_user {
            Tokens::without_user(&facts)
        } else {
            Tokens::of(&facts)
        }
    }

    fn port(&self) -> u16 {
        self.get("port").and_then(|it| it.parse().ok()).unwrap_or(22)
    }

    fn expand(&self, text: &str) -> Result<String, TokenError> {
        self.tokens.expand_all(text, &|name| self.world.env(name))
    }

    /// `~`, `%` tokens and variables of a path. What cannot be expanded is reported and left out; for
    /// keys OpenSSH finds out only when it connects, so `ssh -G` is no error then.
    fn path(&mut self, keyword: &str, text: &str) -> Option<String> {
        let expanded = self.expanded_path(text);
        expanded
            .map_err(|error| {
                let message = format!("{keyword}: {text:?} is left out: {error}");
                let severity = match keyword {
                    "identityfile" | "certificatefile" => Severity::Warning,
                    _ => Severity::Error,
                };
                self.problems.add(&self.origin(keyword), severity, true, message);
            })
            .ok()
    }

    fn expanded_path(&self, text: &str) -> Result<String, String> {
        self.expand(&self.with_home(text)?).map_err(|it| it.to_string())
    }

    /// A path that may begin with `~` or `~user`.
    fn with_home(&self, text: &str) -> Result<String, String> {
        let Some(rest) = text.strip_prefix('~') else {
            return Ok(text.to_owned());
        };
        let (user, path) = rest.split_once('/').unwrap_or((rest, ""));
        let home = match user {
            "" => Some(self.world.home()),
            user => self.world.home_of(user),
        };
        let home = home.ok_or("there is no such user")?;
        let home = home.to_string_lossy();
        Ok(format!(
            "{}/{}",
            home.trim_end_matches('/'),
            path.trim_start_matches('/')
        ))
    }

    /// Files that decide about trust. As in OpenSSH, one that cannot be named refuses the host: without it a revocation
    /// would be missed, or the default files believed, which the configuration does not want.
    fn expand_trust(&mut self) -> Result<(), ConfigError> {
        for keyword in ["revokedhostkeys", "userknownhostsfile"] {
            let values = self.all(keyword);
            let expand = |text: &String| match text.as_str() {
                "none" => Ok(text.clone()),
                text => self.expanded_path(text),
            };
            let expanded = values.iter().map(expand).collect::<Result<Vec<_>, _>>();
            let expanded = expanded.map_err(|error| self.refuse(keyword, error))?;
            if let Some(setting) = self.table.get_mut(keyword) {
                setting.values = expanded;
            }
        }
        Ok(())
    }

    /// Expands what `ssh -G` shows expanded, in place.
    fn expand_texts(&mut self) {
        for keyword in ["controlpath", "forwardagent", "identityagent"] {
            let values = self.all(keyword);
            let values = values.iter().filter_map(|it| match it.as_str() {
                "none" | AUTH_SOCK | "yes" | "no" => Some(it.clone()),
                text => self.path(keyword, text),
            });
            let values: Vec<_> = values.collect();
            if let Some(setting) = self.table.get_mut(keyword) {
                setting.values = values;
            }
        }
        for keyword in [
            "dynamicforward",
            "localforward",
            "remoteforward",
            "remotecommand",
            "setenv",
            "versionaddendum",
        ] {
            let values = self.all(keyword);
            let mut expanded = Vec::new();
            for text in values {
                let result = match (keyword, text.split_once('=')) {
                    _ if text == "none" => Ok(text.clone()),
                    ("setenv", Some((name, value))) => self.expand(value).map(|it| format!("{name}={it}")),
                    ("remotecommand", _) => self.tokens.expand(&text),
                    ("dynamicforward" | "localforward" | "remoteforward", _) => {
                        forward::with_paths(&text, &|it| self.tokens.expand(it))
                    }
                    _ => self.expand(&text),
                };
                match result {
                    Ok(it) => expanded.push(it),
                    Err(error) => {
                        let message = format!("{keyword}: {text:?} is left out: {error}");
                        self.problems
                            .add(&self.origin(keyword), Severity::Error, true, message);
                    }
                }
            }
            if let Some(setting) = self.table.get_mut(keyword) {
                setting.values = expanded;
            }
        }
    }

    /// A host that is its own last hop would wait for itself.
    fn refuse_loop(&self, user: &str, jump: Option<&JumpHost>) -> Result<(), ConfigError> {
        let Some(jump) = jump else { return Ok(()) };
        let same_user = jump.user.as_deref().is_none_or(|it| it == user);
        if jump.host == self.host_name && jump.port.unwrap_or(22) == self.port() && same_user {
            return Err(self.refuse(
                "proxyjump",
                format!("{} would be reached through itself", jump.host),
            ));
        }
        Ok(())
    }

    fn route(&mut self, jumps: Vec<JumpHost>) -> Via {
        if !jumps.is_empty() {
            return Via::Jump(jumps);
        }
        let Some(text) = self.text("proxycommand") else {
            return Via::Direct;
        };
        match self.tokens.only("hknpr").expand(&text) {
            Ok(command) => Via::Command(command),
            Err(error) => {
                self.refuse_connection("proxycommand", error);
                Via::Command(text)
            }
        }
    }

    fn identity_agent(&self) -> IdentityAgent {
        let socket = |it: Option<String>| {
            let path = it.filter(|it| !it.is_empty()).map(PathBuf::from);
            path.map_or(IdentityAgent::Off, IdentityAgent::Socket)
        };
        match self.get("identityagent") {
            None | Some(AUTH_SOCK) => socket(self.world.env(AUTH_SOCK)),
            Some("none") => IdentityAgent::Off,
            Some(text) => match text.strip_prefix('$') {
                Some(variable) => socket(self.world.env(variable)),
                None => socket(Some(text.to_owned())),
            },
        }
    }

    fn identity_files(&mut self) -> Vec<PathBuf> {
        if !self.table.contains_key("identityfile") {
            let home = self.world.home();
            return IDENTITY_FILES
                .iter()
                .map(|it| home.join(".ssh").join(it))
                .collect();
        }
        let files = self
            .all("identityfile")
            .into_iter()
            .filter(|it| !it.eq_ignore_ascii_case("none"));
        files
            .collect::<Vec<_>>()
            .iter()
            .filter_map(|it| self.path("identityfile", it))
            .map(PathBuf::from)
            .collect()
    }

    fn known_hosts(&self, keyword: &str, default: &[PathBuf]) -> Vec<PathBuf> {
        match self.all(keyword).as_slice() {
            [] => default.to_vec(),
            [none] if none.eq_ignore_ascii_case("none") => Vec::new(),
            files => files.iter().map(PathBuf::from).collect(),
        }
    }

    /// Without tokens. `ssh -G` shows their `~`, and takes one of nobody, so that is no error here either.
    fn system_known_hosts(&mut self, default: &[PathBuf]) -> Vec<PathBuf> {
        let keyword = "globalknownhostsfile";
        let mut files = self.known_hosts(keyword, default);
        for file in &mut files {
            let text = file.to_string_lossy().into_owned();
            match self.with_home(&text) {
                Ok(path) => *file = PathBuf::from(path),
                Err(error) => {
                    let message = format!("{keyword}: {text:?} cannot be read: {error}");
                    self.problems
                        .add(&self.origin(keyword), Severity::Warning, true, message);
                }
            }
        }
        files
    }

    fn strict_host_key_checking(&self) -> StrictHostKeyChecking {
        match self.get("stricthostkeychecking") {
            Some("true") => StrictHostKeyChecking::Yes,
            Some("accept-new") => StrictHostKeyChecking::AcceptNew,
            Some("false") => StrictHostKeyChecking::Off,
            _ => StrictHostKeyChecking::Ask,
        }
    }

    fn address_family(&self) -> AddressFamily {
        match self.get("addressfamily") {
            Some("inet") => AddressFamily::Inet,
            Some("inet6") => AddressFamily::Inet6,
            _ => AddressFamily::Any,
        }
    }

    fn preferred_authentications(&self) -> Vec<String> {
        let list = self.get("preferredauthentications").unwrap_or(AUTHENTICATIONS);
        list.split(',')
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn settings(&mut self, user: String, jumps: Vec<JumpHost>) -> HostSettings {
        let typed = backend::typed(&self.table);
        let set = |it: &Self, keyword: &str| it.table.get(keyword).and_then(|it| it.values.first().cloned());
        let number = |it: &Self, keyword: &str| set(it, keyword).and_then(|it| it.parse::<u32>().ok());
        let home = self.world.home().join(".ssh");
        let user_hosts = [home.join("known_hosts"), home.join("known_hosts2")];
        let system = self.world.system_dir();
        let system_hosts = [system.join("ssh_known_hosts"), system.join("ssh_known_hosts2")];
        let identity_files = self.identity_files();
        let certificates = self.all("certificatefile");
        let certificate_files = certificates
            .iter()
            .filter_map(|it| self.path("certificatefile", it));
        let certificate_files = certificate_files.map(PathBuf::from).collect();
        let set_env = self.all("setenv");
        let set_env = set_env.iter().filter_map(|it| it.split_once('='));
        HostSettings {
            alias: self.query.host.clone(),
            host_name: self.host_name.clone(),
            user,
            port: typed.port.unwrap_or_else(|| self.port()),
            route: self.route(jumps),
            identity_files,
            identity_files_configured: self.table.contains_key("identityfile"),
            certificate_files,
            identities_only: self.yes("identitiesonly"),
            identity_agent: self.identity_agent(),
            user_known_hosts_files: self.known_hosts("userknownhostsfile", &user_hosts),
            global_known_hosts_files: self.system_known_hosts(&system_hosts),
            host_key_alias: set(self, "hostkeyalias"),
            strict_host_key_checking: self.strict_host_key_checking(),
            hash_known_hosts: self.yes("hashknownhosts"),
            connect_timeout: typed.connect_timeout.filter(|it| *it != Duration::ZERO),
            server_alive_interval: typed.server_alive_interval,
            server_alive_count_max: number(self, "serveralivecountmax"),
            tcp_keep_alive: typed.tcp_keep_alive.unwrap_or_else(|| self.yes("tcpkeepalive")),
            address_family: self.address_family(),
            bind_address: set(self, "bindaddress"),
            compression: typed.compression.unwrap_or_else(|| self.yes("compression")),
            batch_mode: self.yes("batchmode"),
            // `unbound` and `host-bound` are kinds of yes.
            pubkey_authentication: self.get("pubkeyauthentication") != Some("false"),
            password_authentication: self.yes("passwordauthentication"),
            kbd_interactive_authentication: self.yes("kbdinteractiveauthentication"),
            number_of_password_prompts: self
                .get("numberofpasswordprompts")
                .and_then(|it| it.parse().ok())
                .unwrap_or(3),
            preferred_authentications: self.preferred_authentications(),
            ciphers: typed.ciphers,
            kex_algorithms: typed.kex_algorithms,
            macs: typed.macs,
            host_key_algorithms: typed.host_key_algorithms,
            pubkey_accepted_algorithms: typed.pubkey_accepted_algorithms,
            remote_command: self.text("remotecommand"),
            set_env: set_env.map(|it| (it.0.to_owned(), it.1.to_owned())).collect(),
            send_env: self.send_env(),
            rekey_limit: self.rekey_limit(),
            network: self.network(),
            host_keys: self.host_key_rules(),
            add_keys_to_agent: self.add_keys_to_agent(),
            forwarding: self.forwarding(),
            beyond: Beyond {
                pkcs11_provider: self.text("pkcs11provider"),
                gssapi: self.yes("gssapiauthentication"),
                hostbased: self.yes("hostbasedauthentication"),
                control_path: self.text("controlpath").is_some(),
                sessionless: self.sessionless(),
                proxy_use_fdpass: self.yes("proxyusefdpass"),
            },
        }
    }
}

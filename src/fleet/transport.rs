//! Who speaks SSH to a host: this program, or the system's `ssh`. What this program cannot do is found out from the
//! configuration, or from the failure; the transport is never changed without the user's word.

use std::{path::Path, str::FromStr};

use codex_ssh::{Attempt, ConnectError, Failure as SshFailure, Outcome, Route, Words, config::settings};
use settings::{HostSettings, IdentityAgent};

/// Who speaks SSH to a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// This program; where it cannot, the user is asked whether the system's `ssh` shall go on.
    #[default]
    Auto,
    /// This program, whatever comes.
    Builtin,
    /// The system's `ssh`.
    System,
}

/// A text that names no transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no transport: use \"auto\", \"builtin\" or \"system\"")]
pub struct NoTransport(String);

impl FromStr for Transport {
    type Err = NoTransport;

    fn from_str(text: &str) -> Result<Transport, NoTransport> {
        match text {
            "auto" => Ok(Transport::Auto),
            "builtin" => Ok(Transport::Builtin),
            "system" => Ok(Transport::System),
            _ => Err(NoTransport(text.to_owned())),
        }
    }
}

/// Something that a hop needs and that only the system's `ssh` may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// Counts from the first hop of the route.
    pub(crate) hop: usize,
    pub(crate) what: What,
    /// A password of the user's was refused before: nobody is asked to try yet another way then, since servers lock
    /// out who keeps failing.
    pub(crate) after_refusal: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// `PKCS11Provider`, with this library.
    Pkcs11(String),
    /// Methods of RFC 4252 and RFC 4462 that are not part of this program.
    Logins(Vec<&'static str>),
    /// Key files whose private half is in a FIDO token.
    SecurityKey(String),
    /// The server has none of the algorithms of this program.
    Algorithms {
        /// The keyword of ssh_config(5), in lower case, as `ssh -G` prints it.
        keyword: &'static str,
        theirs: Vec<String>,
    },
    /// The host is known by keys of these algorithms, it has them, and this program cannot verify them.
    HostKeys(Vec<&'static str>),
    /// What the server says before the session stands, and why the library cannot read it.
    Words(Words),
    /// The configuration leaves none of the algorithms of this program.
    Configured {
        /// As in [`What::Algorithms`].
        keyword: &'static str,
        list: String,
    },
}

/// The lists of algorithms: as ssh_config(5) spells their keywords, as `ssh -G` does, and what is in them.
const LISTS: [(&str, &str, &str); 5] = [
    ("KexAlgorithms", "kexalgorithms", "key exchanges"),
    ("HostKeyAlgorithms", "hostkeyalgorithms", "host keys"),
    ("Ciphers", "ciphers", "ciphers"),
    ("MACs", "macs", "MACs"),
    (
        "PubkeyAcceptedAlgorithms",
        "pubkeyacceptedalgorithms",
        "signatures",
    ),
];

/// The methods that this program has not, that the configuration allows and the server takes, in OpenSSH's order.
fn foreign(settings: &HostSettings, takes: impl Fn(&str) -> bool) -> Option<What> {
    let beyond = &settings.beyond;
    let methods: Vec<_> = [
        ("gssapi-with-mic", beyond.gssapi),
        ("gssapi-keyex", beyond.gssapi),
        ("hostbased", beyond.hostbased),
    ]
    .into_iter()
    .filter(|(method, on)| *on && is_preferred(settings, method) && takes(method))
    .map(|(method, _)| method)
    .collect();
    (!methods.is_empty()).then_some(What::Logins(methods))
}

fn is_preferred(settings: &HostSettings, method: &str) -> bool {
    settings.preferred_authentications.iter().any(|it| it == method)
}

impl Need {
    /// What the settings of a route show before anything is tried: only what leaves this program no login at all.
    /// `GSSAPIAuthentication yes` alone is no such sign (distributions set it for all hosts), nor is a
    /// `PKCS11Provider` beside other keys, which may be the right ones. `exists` tells whether a file is there.
    pub(crate) fn before(route: &Route, exists: &dyn Fn(&Path) -> bool) -> Option<Need> {
        route.hops.iter().enumerate().find_map(|(hop, settings)| {
            let what = no_login(settings).or_else(|| only_token(settings, exists))?;
            Some(Need {
                hop,
                what,
                after_refusal: false,
            })
        })
    }

    /// What a failure shows. Host keys that are unknown, changed or revoked, and logins that the user ended, show
    /// nothing: another transport must not be a way around them. Nor does a connection that was cut, or whose packets
    /// were damaged.
    pub(crate) fn after(error: &ConnectError, route: &Route) -> Option<Need> {
        let (what, after_refusal) = shown(error.kind(), route.hops.get(error.index)?)?;
        Some(Need {
            hop: error.index,
            what,
            after_refusal,
        })
    }

    /// What is missing, and that it is this program's own SSH that has it not.
    pub(crate) fn explained(&self, route: &Route) -> String {
        let text = self.text(route);
        match self.what {
            What::Words(_) => text,
            What::HostKeys(_) => format!("{text}, which this program's own SSH cannot verify"),
            _ => format!("{text}, which this program's own SSH cannot do"),
        }
    }

    /// What is missing, as a sentence without its end.
    pub(crate) fn text(&self, route: &Route) -> String {
        let name = route.hops.get(self.hop).map_or("", |it| it.alias.as_str());
        match &self.what {
            What::Pkcs11(library) => {
                format!("{name} uses keys of a PKCS#11 token (PKCS11Provider {library})")
            }
            What::Logins(methods) => format!("{name} takes {}", methods.join(" and ")),
            What::SecurityKey(file) => format!("{name} uses a security key ({file})"),
            What::Algorithms { keyword, theirs } => {
                format!("{name} has only {} {}", kind_of(keyword), theirs.join(", "))
            }
            What::HostKeys(algorithms) => {
                format!("{name} is known by its host key {}", algorithms.join(" and "))
            }
            What::Words(what) => {
                format!("the words of {name} could not be read by the built-in client ({what})")
            }
            What::Configured { keyword, list } => {
                format!("the configuration wants {} {list} for {name}", kind_of(keyword))
            }
        }
    }
}

/// What a failure shows to be missing, and whether a password of the user's was refused before.
fn shown(failure: &SshFailure, settings: &HostSettings) -> Option<(What, bool)> {
    Some(match failure {
        SshFailure::NoCommonAlgorithm { kind, theirs, .. } => {
            let (_, keyword, _) = LISTS.into_iter().find(|(name, ..)| kind.contains(name))?;
            let theirs = theirs.clone();
            (What::Algorithms { keyword, theirs }, false)
        }
        SshFailure::NoAlgorithmLeft { keyword, list, .. } => {
            let (_, keyword, _) = LISTS.into_iter().find(|(name, ..)| name == keyword)?;
            let list = list.clone();
            (What::Configured { keyword, list }, false)
        }
        SshFailure::Unauthorized { tried, accepts, .. } => (
            untried(settings, tried, accepts)?,
            tried.iter().any(is_refused_secret),
        ),
        SshFailure::HostKeyBeyond { algorithms, .. } => (What::HostKeys(algorithms.clone()), false),
        SshFailure::Illegible { what, tried, .. } => {
            (What::Words(*what), tried.iter().any(is_refused_secret))
        }
        _ => return None,
    })
}

fn kind_of(keyword: &str) -> &'static str {
    let found = LISTS.iter().find(|it| it.1 == keyword);
    found.map_or("algorithms", |it| it.2)
}

/// The logins that a configuration allows, when this program has none of them.
fn no_login(settings: &HostSettings) -> Option<What> {
    let own = [
        ("publickey", settings.pubkey_authentication),
        ("keyboard-interactive", settings.kbd_interactive_authentication),
        ("password", settings.password_authentication),
    ];
    if own
        .iter()
        .any(|(method, on)| *on && is_preferred(settings, method))
    {
        return None;
    }
    foreign(settings, |_| true)
}

/// The token, when there is no key but its own.
fn only_token(settings: &HostSettings, exists: &dyn Fn(&Path) -> bool) -> Option<What> {
    let library = settings.beyond.pkcs11_provider.clone()?;
    let has_agent = matches!(&settings.identity_agent, IdentityAgent::Socket(it) if exists(it));
    let has_key = settings.identity_files.iter().any(|it| exists(it));
    (settings.pubkey_authentication && !has_agent && !has_key).then_some(What::Pkcs11(library))
}

/// What the configuration allows, the server takes and this program has not.
fn untried(settings: &HostSettings, tried: &[Attempt], accepts: &[String]) -> Option<What> {
    let takes = |method: &str| accepts.iter().any(|it| it == method);
    let foreign = foreign(settings, takes);
    if foreign.is_some() {
        return foreign;
    }
    if !takes("publickey") {
        return None;
    }
    if let Some(library) = &settings.beyond.pkcs11_provider {
        return Some(What::Pkcs11(library.clone()));
    }
    let in_token =
        |it: &&Attempt| matches!(&it.outcome, Outcome::Skipped(why) if why.contains("security key"));
    let skipped = tried.iter().find(in_token)?;
    Some(What::SecurityKey(skipped.what.clone()))
}

fn is_refused_secret(attempt: &Attempt) -> bool {
    matches!(attempt.method, "password" | "keyboard-interactive") && attempt.outcome == Outcome::Denied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> HostSettings {
        let mut settings = HostSettings::plain("devbox", "me", 22);
        settings.preferred_authentications = [
            "gssapi-with-mic",
            "hostbased",
            "publickey",
            "keyboard-interactive",
            "password",
        ]
        .map(str::to_owned)
        .to_vec();
        settings
    }

    fn before(settings: HostSettings, there: &str) -> Option<What> {
        let route = Route { hops: vec![settings] };
        Need::before(&route, &|it| it == Path::new(there)).map(|it| it.what)
    }

    #[test]
    fn a_configuration_shows_a_need_only_when_it_leaves_no_other_login() {
        let prefer = |methods: &[&str], gssapi: bool, hostbased: bool| {
            let mut settings = settings();
            settings.preferred_authentications = methods.iter().map(|&it| it.to_owned()).collect();
            (settings.beyond.gssapi, settings.beyond.hostbased) = (gssapi, hostbased);
            before(settings, "")
        };
        let gssapi = Some(What::Logins(vec!["gssapi-with-mic"]));
        assert_eq!(prefer(&["gssapi-with-mic"], true, false), gssapi);
        assert_eq!(
            prefer(&["gssapi-with-mic"], false, false),
            None,
            "it is switched off"
        );
        assert_eq!(prefer(&["gssapi-with-mic", "publickey"], true, false), None);
        let hostbased = Some(What::Logins(vec!["hostbased"]));
        assert_eq!(prefer(&["hostbased"], true, true), hostbased);
        let mut weak = settings();
        weak.beyond.gssapi = true;
        assert_eq!(
            before(weak.clone(), ""),
            None,
            "distributions set it for all hosts"
        );
        weak.pubkey_authentication = false;
        weak.password_authentication = false;
        weak.kbd_interactive_authentication = false;
        assert_eq!(before(weak, ""), gssapi);
    }

    #[test]
    fn a_token_is_needed_where_there_is_no_other_key() {
        let mut token = settings();
        token.beyond.pkcs11_provider = Some("/p11.so".to_owned());
        token.identity_files = vec!["/id".into()];
        token.identity_agent = IdentityAgent::Socket("/agent".into());
        let need = Some(What::Pkcs11("/p11.so".to_owned()));
        assert_eq!(before(token.clone(), "/nothing"), need);
        assert_eq!(before(token.clone(), "/id"), None);
        assert_eq!(before(token.clone(), "/agent"), None);
        token.pubkey_authentication = false;
        assert_eq!(before(token, "/nothing"), None);
    }

    #[test]
    fn a_refused_login_shows_what_was_allowed_taken_and_not_tried() {
        let attempt = |method, outcome| Attempt {
            method,
            what: "id_sk".to_owned(),
            outcome,
        };
        let untried = |gssapi: bool, library: Option<&str>, tried: &[Attempt], accepts: &str| {
            let mut settings = settings();
            settings.beyond.gssapi = gssapi;
            settings.beyond.pkcs11_provider = library.map(str::to_owned);
            let accepts: Vec<String> = accepts.split(',').map(str::to_owned).collect();
            super::untried(&settings, tried, &accepts)
        };
        let denied = [attempt("publickey", Outcome::Denied)];
        let gssapi = Some(What::Logins(vec!["gssapi-with-mic"]));
        assert_eq!(untried(true, None, &denied, "publickey,gssapi-with-mic"), gssapi);
        assert_eq!(untried(false, None, &denied, "publickey,gssapi-with-mic"), None);
        assert_eq!(untried(true, None, &denied, "publickey"), None);
        let token = Some(What::Pkcs11("/p".to_owned()));
        assert_eq!(untried(false, Some("/p"), &denied, "publickey"), token);
        assert_eq!(untried(false, Some("/p"), &denied, "password"), None);
        let why = "a security key works only through the agent: add it with ssh-add".to_owned();
        let skipped = [attempt("publickey", Outcome::Skipped(why))];
        let key = Some(What::SecurityKey("id_sk".to_owned()));
        assert_eq!(untried(false, None, &skipped, "publickey"), key);
        assert!(is_refused_secret(&attempt("password", Outcome::Denied)));
        assert!(!is_refused_secret(&denied[0]));
        assert!(is_refused_secret(&attempt(
            "keyboard-interactive",
            Outcome::Denied
        )));
        assert!(!is_refused_secret(&attempt(
            "keyboard-interactive",
            Outcome::Unasked
        )));
    }

    #[test]
    fn words_that_cannot_be_read_are_a_need_and_a_broken_connection_is_none() {
        let (step, what) = ("logging in".to_owned(), Words::Text);
        let illegible = |outcome| {
            let tried = vec![Attempt {
                method: "password",
                what: String::new(),
                outcome,
            }];
            let step = step.clone();
            shown(&SshFailure::Illegible { step, what, tried }, &settings())
        };
        assert_eq!(illegible(Outcome::Partial), Some((What::Words(what), false)));
        assert_eq!(illegible(Outcome::Denied), Some((What::Words(what), true)));
        let source = "Wrong packet authentication code".into();
        let text = String::new();
        for broken in [
            SshFailure::Protocol {
                step: step.clone(),
                source,
            },
            SshFailure::Closed {
                step: step.clone(),
                text: text.clone(),
            },
            SshFailure::NotSsh { target: step, text },
        ] {
            assert_eq!(shown(&broken, &settings()), None, "{broken}");
        }
    }

    #[test]
    fn transports_have_three_names() {
        assert_eq!("system".parse(), Ok(Transport::System));
        assert_eq!("auto".parse(), Ok(Transport::default()));
        assert!("ssh".parse::<Transport>().is_err());
    }
}

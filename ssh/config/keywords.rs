//! Every keyword of ssh_config(5), once: its kind of value, its default and what it means here.
//!
//! The table follows OpenSSH 10.5 and still knows what older releases had. Where releases differ, the
//! newest decides: `Match !final` asks for no second pass, `ProxyJump none` leaves room for a later
//! `ProxyCommand`, `User`, `SetEnv` and `Include` take tokens, `Match` splits its line like any other.
//! Two exceptions: `ssh-dss` in a list is still read, and the last `StreamLocalBindMask` wins as in all
//! releases before 10.6.

use std::{collections::HashMap, sync::LazyLock};

/// The release whose rules this interpreter follows, as `Match version` sees it.
pub(crate) const RELEASE: &str = "OpenSSH_10.5p1";

/// How a value is written. Names in capitals of OpenSSH's own output are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Host,
    Match,
    Include,
    /// `yes` or `no`.
    Flag,
    /// One of the words at the left, which means the word at the right.
    Choice(&'static [(&'static str, &'static str)]),
    Number,
    /// Seconds or `1h30m`; `none` leaves the keyword unset.
    Time,
    Port,
    Text,
    /// The rest of the line, for a shell.
    Command,
    /// Names; the first line wins; `none` must stand alone.
    List,
    /// One name for each line; lines add up.
    Collected,
    Jump,
    SendEnv,
    SetEnv,
    Algorithms(Family),
    Forward(Direction),
    AgentPath,
    ForwardAgent,
    AddKeysToAgent,
    ControlPersist,
    RekeyLimit,
    EscapeChar,
    IpQos,
    TunnelDevice,
    Mask,
    PermitRemoteOpen,
    Domains,
    Cnames,
    ObscureTiming,
    ChannelTimeout,
    /// Refuses to connect.
    Refuse,
    /// Accepted by OpenSSH and without meaning.
    Ignored,
    /// Not built into OpenSSH any more; it says so and goes on.
    Unsupported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Local,
    Remote,
    Dynamic,
}

/// Which algorithms a list chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Cipher,
    Kex,
    Mac,
    Key,
    Signature,
}

/// What this client makes of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It decides something.
    Applied,
    /// It cannot matter here, and why.
    Idle(&'static str),
    /// It asks for something that is not done, and why: worth a warning with file and line.
    Missing(&'static str),
}

pub(crate) struct Keyword {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// As `ssh -G` prints it; `None` when it prints nothing or the value depends on others.
    pub(crate) default: Option<&'static str>,
    pub(crate) effect: Effect,
}

const fn word(name: &'static str, kind: Kind, default: Option<&'static str>, effect: Effect) -> Keyword {
    Keyword {
        name,
        kind,
        default,
        effect,
    }
}

use Effect::{Applied, Idle, Missing};
use Kind::{
    AddKeysToAgent, AgentPath, Algorithms, ChannelTimeout, Choice, Cnames, Collected, Command,
    ControlPersist, Domains, EscapeChar, Flag, Forward, ForwardAgent, IpQos, Jump, List, Mask, Number,
    ObscureTiming, PermitRemoteOpen, Port, Refuse, RekeyLimit, SendEnv, SetEnv, Text, Time, TunnelDevice,
};

const GSSAPI: &str = "Kerberos logins and key exchanges are not part of this client";
const HOSTBASED: &str = "only ssh-keysign of the system may read this machine's host key";
const LOGS: &str = "this client keeps no such log";
const NO_X11: &str = "nothing that is run here shows windows";
const OWN_COMMAND: &str = "the command that is run is this client's own";
const OWN_SESSION: &str = "the session is this process's own; its channels need no control socket";
const RETIRED: &str = "no release of OpenSSH follows it any more";
const TERMINAL: &str = "no terminal is opened on the far side";

const ASK: &[(&str, &str)] = &[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("ask", "ask"),
];
const CANONICALIZE: &[(&str, &str)] = &[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("always", "always"),
];
const COMPRESSION: &[(&str, &str)] = &[("yes", "yes"), ("no", "no")];
const CONTROL_MASTER: &[(&str, &str)] = &[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("auto", "auto"),
    ("ask", "ask"),
    ("autoask", "autoask"),
];
const FAMILY: &[(&str, &str)] = &[("inet", "inet"), ("inet6", "inet6"), ("any", "any")];
const FINGERPRINT: &[(&str, &str)] = &[
    ("md5", "MD5"),
    ("sha1", "SHA1"),
    ("sha256", "SHA256"),
    ("sha384", "SHA384"),
    ("sha512", "SHA512"),
];
const HOST_KEY_CHECKING: &[(&str, &str)] = &[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("off", "false"),
    ("ask", "ask"),
    ("accept-new", "accept-new"),
];
const LOG_FACILITY: &[(&str, &str)] = &[
    ("daemon", "DAEMON"),
    ("user", "USER"),
    ("auth", "AUTH"),
    ("authpriv", "AUTHPRIV"),
    ("local0", "LOCAL0"),
    ("local1", "LOCAL1"),
    ("local2", "LOCAL2"),
    ("local3", "LOCAL3"),
    ("local4", "LOCAL4"),
    ("local5", "LOCAL5"),
    ("local6", "LOCAL6"),
    ("local7", "LOCAL7"),
];
const LOG_LEVEL: &[(&str, &str)] = &[
    ("quiet", "QUIET"),
    // The name of it in Debian's builds.
    ("silent", "QUIET"),
    ("fatal", "FATAL"),
    ("error", "ERROR"),
    ("info", "INFO"),
    ("verbose", "VERBOSE"),
    ("debug", "DEBUG"),
    ("debug1", "DEBUG"),
    ("debug2", "DEBUG2"),
    ("debug3", "DEBUG3"),
];
const PUBKEY: &[(&str, &str)] = &[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("unbound", "unbound"),
    ("host-bound", "host-bound"),
];
const SESSION: &[(&str, &str)] = &[
    ("none", "none"),
    ("subsystem", "subsystem"),
    ("default", "default"),
];
const TTY: &[(&str, &str)] = &[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("force", "force"),
    ("auto", "auto"),
];
const TUNNEL: &[(&str, &str)] = &[
    ("ethernet", "ethernet"),
    ("point-to-point", "point-to-point"),
    ("true", "point-to-point"),
    ("yes", "point-to-point"),
    ("false", "false"),
    ("no", "false"),
];
const WEAK_CRYPTO: &[(&str, &str)] = &[
    ("true", "yes"),
    ("yes", "yes"),
    ("false", "no"),
    ("no", "no"),
    ("no-pq-kex", "no"),
];

/// In the order of `ssh -G`, as far as it matters to a reader.
#[rustfmt::skip]
pub(crate) const KEYWORDS: &[Keyword] = &[
    word("host", Kind::Host, None, Applied),
    word("match", Kind::Match, None, Applied),
    word("include", Kind::Include, None, Applied),
    word("user", Text, None, Applied),
    word("hostname", Text, None, Applied),
    word("port", Port, Some("22"), Applied),
    word("addressfamily", Choice(FAMILY), Some("any"), Applied),
    word("batchmode", Flag, Some("no"), Applied),
    word("canonicalizefallbacklocal", Flag, Some("yes"), Applied),
    word("canonicalizehostname", Choice(CANONICALIZE), Some("false"), Applied),
    word("checkhostip", Flag, Some("no"), Applied),
    word("compression", Choice(COMPRESSION), Some("no"), Applied),
    word("controlmaster", Choice(CONTROL_MASTER), Some("false"), Idle(OWN_SESSION)),
    word("enablesshkeysign", Flag, Some("no"), Missing(HOSTBASED)),
    word("clearallforwardings", Flag, Some("no"), Applied),
    word("exitonforwardfailure", Flag, Some("no"), Applied),
    word("fingerprinthash", Choice(FINGERPRINT), Some("SHA256"), Idle("fingerprints are SHA256 here, the form that every tool prints")),
    word("forwardx11", Flag, Some("no"), Missing(NO_X11)),
    word("forwardx11trusted", Flag, Some("no"), Idle(NO_X11)),
    word("gatewayports", Flag, Some("no"), Applied),
    // Debian's own file asks for it on every host: one method of several, so no reason to warn each time.
    word("gssapiauthentication", Flag, Some("no"), Idle(GSSAPI)),
    word("gssapidelegatecredentials", Flag, Some("no"), Idle(GSSAPI)),
    word("hashknownhosts", Flag, Some("no"), Applied),
    word("hostbasedauthentication", Flag, Some("no"), Missing(HOSTBASED)),
    word("identitiesonly", Flag, Some("no"), Applied),
    word("kbdinteractiveauthentication", Flag, Some("yes"), Applied),
    word("nohostauthenticationforlocalhost", Flag, Some("no"), Applied),
    word("passwordauthentication", Flag, Some("yes"), Applied),
    word("permitlocalcommand", Flag, Some("no"), Idle("no command is run on this machine after a login")),
    word("proxyusefdpass", Flag, Some("no"), Missing("the proxy's pipes carry the connection, and it passes none over")),
    word("pubkeyauthentication", Choice(PUBKEY), Some("true"), Applied),
    word("requesttty", Choice(TTY), Some("auto"), Idle(TERMINAL)),
    word("sessiontype", Choice(SESSION), Some("default"), Idle(OWN_COMMAND)),
    word("stdinnull", Flag, Some("no"), Idle(OWN_COMMAND)),
    word("forkafterauthentication", Flag, Some("no"), Idle(OWN_COMMAND)),
    word("streamlocalbindunlink", Flag, Some("no"), Applied),
    word("stricthostkeychecking", Choice(HOST_KEY_CHECKING), Some("ask"), Applied),
    word("tcpkeepalive", Flag, Some("yes"), Applied),
    word("tunnel", Choice(TUNNEL), Some("false"), Missing("it needs a network device of this machine")),
    word("verifyhostkeydns", Choice(ASK), Some("false"), Missing("SSHFP records are not asked for, so no key is trusted because of them: known_hosts decides")),
    word("visualhostkey", Flag, Some("no"), Idle("the picture is shown with every question about a host key")),
    word("updatehostkeys", Choice(ASK), None, Applied),
    word("enableescapecommandline", Flag, Some("no"), Idle(TERMINAL)),
    word("warnweakcrypto", Choice(WEAK_CRYPTO), Some("yes"), Idle("weak algorithms are offered only where the configuration names them")),
    word("canonicalizemaxdots", Number, Some("1"), Applied),
    word("connectionattempts", Number, Some("1"), Applied),
    word("forwardx11timeout", Time, Some("1200"), Idle(NO_X11)),
    word("numberofpasswordprompts", Number, Some("3"), Applied),
    word("serveralivecountmax", Number, Some("3"), Applied),
    word("serveraliveinterval", Time, Some("0"), Applied),
    word("requiredrsasize", Number, Some("1024"), Applied),
    word("obscurekeystroketiming", ObscureTiming, Some("yes"), Idle(TERMINAL)),
    word("bindaddress", Text, None, Applied),
    word("bindinterface", Text, None, Applied),
    word("ciphers", Algorithms(Family::Cipher), None, Applied),
    word("controlpath", Text, None, Idle("a connection that `ssh` holds open there is used through `ssh`, where a login would need the user")),
    word("hostkeyalgorithms", Algorithms(Family::Key), None, Applied),
    word("hostkeyalias", Text, None, Applied),
    word("hostbasedacceptedalgorithms", Algorithms(Family::Key), None, Idle("it concerns hostbased logins, which warn by themselves")),
    word("identityagent", AgentPath, None, Applied),
    word("ignoreunknown", Text, None, Applied),
    word("kbdinteractivedevices", Text, None, Idle("the server chooses its devices; OpenSSH's sshd ignores the list")),
    word("kexalgorithms", Algorithms(Family::Kex), None, Applied),
    word("casignaturealgorithms", Algorithms(Family::Signature), None, Applied),
    word("localcommand", Command, None, Idle("no command is run on this machine after a login")),
    word("remotecommand", Command, None, Applied),
    word("loglevel", Choice(LOG_LEVEL), Some("INFO"), Idle(LOGS)),
    word("macs", Algorithms(Family::Mac), None, Applied),
    word("pkcs11provider", Text, None, Missing("add the token's keys to an agent: ssh-add -s")),
    word("securitykeyprovider", Text, Some("internal"), Missing("add the token's keys to an agent: ssh-add")),
    word("preferredauthentications", Text, None, Applied),
    word("pubkeyacceptedalgorithms", Algorithms(Family::Key), None, Applied),
    word("xauthlocation", Text, Some("/usr/bin/xauth"), Idle(NO_X11)),
    word("knownhostscommand", Command, None, Applied),
    word("tag", Text, None, Applied),
    word("versionaddendum", Command, None, Idle("the identification line names this client alone")),
    word("dynamicforward", Forward(Direction::Dynamic), None, Applied),
    word("localforward", Forward(Direction::Local), None, Applied),
    word("remoteforward", Forward(Direction::Remote), None, Applied),
    word("identityfile", Collected, None, Applied),
    word("canonicaldomains", Domains, Some("none"), Applied),
    word("certificatefile", Collected, None, Applied),
    word("globalknownhostsfile", List, Some("/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"), Applied),
    word("userknownhostsfile", List, None, Applied),
    word("revokedhostkeys", List, Some("none"), Applied),
    word("sendenv", SendEnv, None, Applied),
    word("setenv", SetEnv, None, Applied),
    word("logverbose", List, Some("none"), Idle(LOGS)),
    word("channeltimeout", ChannelTimeout, Some("none"), Idle("idle channels are kept: what runs on them decides when they end")),
    word("permitremoteopen", PermitRemoteOpen, Some("any"), Applied),
    word("addkeystoagent", AddKeysToAgent, Some("false"), Applied),
    word("forwardagent", ForwardAgent, Some("no"), Applied),
    word("connecttimeout", Time, Some("none"), Applied),
    word("tunneldevice", TunnelDevice, Some("any:any"), Idle("it concerns Tunnel, which warns by itself")),
    word("canonicalizepermittedcnames", Cnames, Some("none"), Missing("names are not followed through CNAME records")),
    word("controlpersist", ControlPersist, Some("no"), Idle(OWN_SESSION)),
    word("escapechar", EscapeChar, Some("~"), Idle(TERMINAL)),
    word("ipqos", IpQos, Some("ef cs0"), Applied),
    word("rekeylimit", RekeyLimit, Some("0 0"), Applied),
    word("streamlocalbindmask", Mask, Some("0177"), Applied),
    word("syslogfacility", Choice(LOG_FACILITY), Some("USER"), Idle(LOGS)),
    word("proxycommand", Command, None, Applied),
    word("proxyjump", Jump, None, Applied),
    word("refuseconnection", Refuse, None, Applied),
    // Debian and others build these in; they say nothing unless GSSAPI is used.
    word("gssapikeyexchange", Flag, None, Missing(GSSAPI)),
    word("gssapitrustdns", Flag, None, Idle(GSSAPI)),
    word("gssapirenewalforcesrekey", Flag, None, Idle(GSSAPI)),
    word("gssapiclientidentity", Text, None, Idle(GSSAPI)),
    word("gssapiserveridentity", Text, None, Idle(GSSAPI)),
    word("gssapikexalgorithms", Text, None, Idle(GSSAPI)),
    word("protocol", Kind::Ignored, None, Idle(RETIRED)),
    word("cipher", Kind::Ignored, None, Idle(RETIRED)),
    word("fallbacktorsh", Kind::Ignored, None, Idle(RETIRED)),
    word("globalknownhostsfile2", Kind::Ignored, None, Idle(RETIRED)),
    word("rhostsauthentication", Kind::Ignored, None, Idle(RETIRED)),
    word("userknownhostsfile2", Kind::Ignored, None, Idle(RETIRED)),
    // Of Debian's builds.
    word("useblacklistedkeys", Kind::Ignored, None, Idle(RETIRED)),
    word("useroaming", Kind::Ignored, None, Idle(RETIRED)),
    word("usersh", Kind::Ignored, None, Idle(RETIRED)),
    word("useprivilegedport", Kind::Ignored, None, Idle(RETIRED)),
    word("afstokenpassing", Kind::Unsupported, None, Idle(RETIRED)),
    word("kerberosauthentication", Kind::Unsupported, None, Idle(RETIRED)),
    word("kerberostgtpassing", Kind::Unsupported, None, Idle(RETIRED)),
    word("rsaauthentication", Kind::Unsupported, None, Idle(RETIRED)),
    word("rhostsrsaauthentication", Kind::Unsupported, None, Idle(RETIRED)),
    word("compressionlevel", Kind::Unsupported, None, Idle(RETIRED)),
    #[cfg(target_os = "macos")]
    word("usekeychain", Flag, None, Missing("the keychain of the system is not read: ssh-add --apple-load-keychain fills an agent from it")),
];

/// Other spellings, most of them from older releases.
const ALIASES: &[(&str, &str)] = &[
    ("challengeresponseauthentication", "kbdinteractiveauthentication"),
    ("dsaauthentication", "pubkeyauthentication"),
    ("hostbasedkeytypes", "hostbasedacceptedalgorithms"),
    ("identityfile2", "identityfile"),
    ("keepalive", "tcpkeepalive"),
    // Debian's name of it, as `setuptimeout` is.
    ("protocolkeepalives", "serveraliveinterval"),
    ("pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms"),
    ("setuptimeout", "serveraliveinterval"),
    ("skeyauthentication", "kbdinteractiveauthentication"),
    ("smartcarddevice", "pkcs11provider"),
    ("tisauthentication", "kbdinteractiveauthentication"),
];

/// The keyword that `name` (in lower case) means.
pub(crate) fn find(name: &str) -> Option<&'static Keyword> {
    /// A file of ten thousand hosts asks for tens of thousands of keywords.
    static BY_NAME: LazyLock<HashMap<&str, &Keyword>> = LazyLock::new(|| {
        let names = KEYWORDS.iter().map(|it| (it.name, it));
        let targets = |alias: &&str| KEYWORDS.iter().find(|it| it.name == *alias);
        let aliases = ALIASES.iter().filter_map(|it| Some((it.0, targets(&it.1)?)));
        names.chain(aliases).collect()
    });
    BY_NAME.get(name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_is_there_once_and_in_lower_case() {
        let mut names: Vec<_> = KEYWORDS
            .iter()
            .map(|it| it.name)
            .chain(ALIASES.iter().map(|it| it.0))
            .collect();
        assert!(names.iter().all(|it| {
            it.bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
        }));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_alias_leads_to_a_keyword() {
        for (alias, target) in ALIASES {
            assert_eq!(find(alias).map(|it| it.name), Some(*target));
        }
    }
}

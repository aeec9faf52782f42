//! Every keyword that a release of OpenSSH knows means something here.

use super::Machine;
use crate::config::{
    Severity,
    keywords::{self, Effect, KEYWORDS, Kind},
};

/// The keywords of OpenSSH 9.2.
const OF_9_2: &str = "\
    addkeystoagent addressfamily afstokenpassing batchmode bindaddress bindinterface canonicaldomains \
    canonicalizefallbacklocal canonicalizehostname canonicalizemaxdots canonicalizepermittedcnames \
    casignaturealgorithms certificatefile challengeresponseauthentication checkhostip cipher ciphers \
    clearallforwardings compression compressionlevel connectionattempts connecttimeout controlmaster \
    controlpath controlpersist dsaauthentication dynamicforward enableescapecommandline enablesshkeysign \
    escapechar exitonforwardfailure fallbacktorsh fingerprinthash forkafterauthentication forwardagent \
    forwardx11 forwardx11timeout forwardx11trusted gatewayports globalknownhostsfile \
    globalknownhostsfile2 gssapiauthentication gssapidelegatecredentials hashknownhosts host \
    hostbasedacceptedalgorithms hostbasedauthentication hostbasedkeytypes hostkeyalgorithms hostkeyalias \
    hostname identitiesonly identityagent identityfile identityfile2 ignoreunknown include ipqos \
    kbdinteractiveauthentication kbdinteractivedevices keepalive kerberosauthentication \
    kerberostgtpassing kexalgorithms knownhostscommand localcommand localforward loglevel logverbose \
    macs match nohostauthenticationforlocalhost numberofpasswordprompts passwordauthentication \
    permitlocalcommand permitremoteopen pkcs11provider port preferredauthentications protocol \
    proxycommand proxyjump proxyusefdpass pubkeyacceptedalgorithms pubkeyacceptedkeytypes \
    pubkeyauthentication rekeylimit remotecommand remoteforward requesttty requiredrsasize \
    revokedhostkeys rhostsauthentication rhostsrsaauthentication rsaauthentication securitykeyprovider \
    sendenv serveralivecountmax serveraliveinterval sessiontype setenv skeyauthentication \
    smartcarddevice stdinnull streamlocalbindmask streamlocalbindunlink stricthostkeychecking \
    syslogfacility tcpkeepalive tisauthentication tunnel tunneldevice updatehostkeys useprivilegedport \
    user userknownhostsfile userknownhostsfile2 useroaming usersh verifyhostkeydns visualhostkey \
    xauthlocation";

/// What came after 9.2, up to 10.6.
const OF_10: &str = "\
    channeltimeout obscurekeystroketiming refuseconnection tag versionaddendum warnweakcrypto";

/// Patches of distributions.
const OF_DISTRIBUTIONS: &str = "gssapikeyexchange gssapitrustdns gssapirenewalforcesrekey \
    gssapiclientidentity gssapiserveridentity gssapikexalgorithms";

#[test]
fn every_keyword_of_openssh_is_in_the_table() {
    for name in [OF_9_2, OF_10, OF_DISTRIBUTIONS]
        .iter()
        .flat_map(|it| it.split_whitespace())
    {
        assert!(keywords::find(name).is_some(), "{name} is a keyword of OpenSSH");
    }
}

#[test]
fn what_is_not_followed_has_a_reason() {
    for keyword in KEYWORDS {
        if let Effect::Idle(why) | Effect::Missing(why) = keyword.effect {
            assert!(
                why.split(' ').count() > 3,
                "{}: {why:?} explains nothing",
                keyword.name
            );
        }
    }
}

#[test]
fn what_is_not_followed_is_said_with_file_and_line() {
    for keyword in KEYWORDS {
        let (severity, value) = match (keyword.effect, keyword.kind) {
            (Effect::Missing(_), Kind::Flag) => (Severity::Warning, "yes"),
            (Effect::Idle(_), Kind::Flag) => (Severity::Note, "yes"),
            (Effect::Missing(_), Kind::Text) => (Severity::Warning, "/x"),
            (Effect::Idle(_), Kind::Ignored) => (Severity::Note, "x"),
            (Effect::Idle(_), Kind::Unsupported) => (Severity::Warning, "x"),
            _ => continue,
        };
        let config = format!("RemoteCommand ls\nHost box\n {} {value}\n", keyword.name);
        let resolved = Machine::with(&[("config", &config)]).ask("box");
        let said = resolved.problems.iter().find(|it| it.line == 3 && it.in_effect);
        let said = said.map(|it| (it.severity, it.file.ends_with(".ssh/config")));
        assert_eq!(said, Some((severity, true)), "{}", keyword.name);
    }
}

#[test]
fn a_broken_block_hides_no_other_alias() {
    let broken = [
        "Port 0",
        "User \"open",
        "FooBar x",
        "Compression",
        "ProxyJump u@",
        "Match colour red",
        "Match",
        "Host \"\"",
        "Include \"\"",
        "Include %z",
        "Ciphers rot13",
        "LocalForward x",
        "Port 22 23",
    ];
    for line in broken {
        let config = format!("Host first\n User one\nHost broken\n {line}\nHost last\n User two\n");
        let mut machine = Machine::with(&[("config", &config)]);
        let sources = crate::config::Sources::default_for(&machine);
        let (found, _) = crate::config::aliases(&sources, &mut machine).unwrap();
        let names: Vec<_> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["first", "broken", "last"], "{line}");
        for (host, user) in [("first", "one"), ("last", "two")] {
            let resolved = machine.ask(host);
            assert_eq!(resolved.settings.user, user, "{line}");
            let said = resolved
                .problems
                .iter()
                .filter(|it| it.severity == Severity::Error);
            assert_eq!(said.map(|it| it.line).collect::<Vec<_>>(), [4], "{line}");
        }
    }
}

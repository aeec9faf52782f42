//! The settings around a login, in types.

use std::{path::PathBuf, time::Duration};

use super::Machine;
use crate::config::{
    Query, Sources, resolve,
    settings::{AddKeysToAgent, Endpoint, Forward, HostSettings, Target, UpdateHostKeys},
};

fn ask(config: &str) -> HostSettings {
    let mut machine = Machine::with(&[("config", config)]);
    machine.env.insert("LC_ALL".to_owned(), "C".to_owned());
    machine.env.insert("LC_TIME".to_owned(), "de_DE".to_owned());
    machine.env.insert("SECRET".to_owned(), "x".to_owned());
    machine
        .env
        .insert("SSH_AUTH_SOCK".to_owned(), "/run/agent".to_owned());
    machine.ask("box").settings
}

#[test]
fn files_of_trust_that_cannot_be_named_refuse_the_host_and_those_of_the_system_know_home() {
    let settings = ask("GlobalKnownHostsFile ~/hosts /etc/%h\nUserKnownHostsFile ~other/%n\n");
    let files = [PathBuf::from("/home/me/hosts"), PathBuf::from("/etc/%h")];
    assert_eq!(settings.global_known_hosts_files, files);
    let files = [PathBuf::from("/home/other/box")];
    assert_eq!(settings.user_known_hosts_files, files);
    for line in [
        "UserKnownHostsFile ~/known_hosts ${NOBODY_SETS_THIS}/more",
        "UserKnownHostsFile ~nobody/known_hosts",
        "RevokedHostKeys ${NOBODY_SETS_THIS}/revoked",
    ] {
        let mut machine = Machine::with(&[("config", line)]);
        let sources = Sources::default_for(&machine);
        let error = resolve(&Query::host("box"), &sources, &mut machine).unwrap_err();
        let keyword = line.split(' ').next().unwrap().to_ascii_lowercase();
        assert!(error.to_string().contains(&keyword), "{line}: {error}");
    }
    let mut machine = Machine::with(&[("config", "GlobalKnownHostsFile ~nobody/hosts")]);
    let problems = machine.ask("box").problems;
    assert!(problems.iter().any(|it| it.message.contains("no such user")));
}

#[test]
fn forwardings_are_read_with_their_tokens_and_cleared_when_asked() {
    let config = "LocalForward 8080 localhost:80\nLocalForward [::1]:1 /run/%h.sock\nRemoteForward 0 db:5432\n\
                  RemoteForward 1080\nDynamicForward /run/%r/socks\nGatewayPorts yes\n";
    let forwarding = ask(config).forwarding;
    let tcp = |host: Option<&str>, port| Endpoint::Tcp {
        host: host.map(str::to_owned),
        port,
    };
    let to = |host: &str, port| Target::Tcp {
        host: host.to_owned(),
        port,
    };
    let expected = [
        (false, tcp(None, 8080), to("localhost", 80)),
        (
            false,
            tcp(Some("::1"), 1),
            Target::Unix(PathBuf::from("/run/box.sock")),
        ),
        (true, tcp(None, 0), to("db", 5432)),
        (true, tcp(None, 1080), Target::Socks),
        (
            false,
            Endpoint::Unix(PathBuf::from("/run/me/socks")),
            Target::Socks,
        ),
    ];
    let expected = expected.map(|(is_remote, listen, target)| Forward {
        is_remote,
        listen,
        target,
    });
    assert_eq!(forwarding.list, expected);
    assert!(forwarding.gateway_ports && forwarding.mask == Some(0o177));
    assert_eq!(
        ask(&format!("{config}ClearAllForwardings yes\n")).forwarding.list,
        []
    );
}

#[test]
fn the_agent_is_forwarded_and_filled_only_as_configured() {
    assert_eq!(ask("").forwarding.agent, None);
    let agent = |text: &str| ask(&format!("ForwardAgent {text}\n")).forwarding.agent;
    assert_eq!(agent("yes"), Some(PathBuf::from("/run/agent")));
    assert_eq!(agent("no"), None);
    assert_eq!(agent("/run/other"), Some(PathBuf::from("/run/other")));
    assert_eq!(agent("$SSH_AUTH_SOCK"), Some(PathBuf::from("/run/agent")));
    assert_eq!(agent("$NOT_SET"), None);
    let add = |text: &str| ask(&format!("AddKeysToAgent {text}\n")).add_keys_to_agent;
    let yes = |confirm, seconds: Option<u64>| AddKeysToAgent::Yes {
        confirm,
        lifetime: seconds.map(Duration::from_secs),
    };
    for (text, expected) in [
        ("yes", yes(false, None)),
        ("no", AddKeysToAgent::No),
        ("ask", AddKeysToAgent::Ask),
        ("confirm", yes(true, None)),
        ("confirm 5m", yes(true, Some(300))),
        ("1h", yes(false, Some(3600))),
    ] {
        assert_eq!(add(text), expected, "{text}");
    }
}

#[test]
fn send_env_takes_what_its_patterns_name_and_nothing_else() {
    let sent = ask("SendEnv LC_* NOTHING\n").send_env;
    let expected = [("LC_ALL", "C"), ("LC_TIME", "de_DE")].map(|it| (it.0.to_owned(), it.1.to_owned()));
    assert_eq!(sent, expected);
    assert_eq!(ask("").send_env, []);
}

#[test]
fn every_effective_value_knows_the_line_that_decided_it() {
    let config = "Host box\n HostName real\n IdentityFile ~/a\n LocalForward 1 h:1\nHost *\n \
                  IdentityFile ~/b\n LocalForward 2 h:2\n HostName late\n Ciphers aes128-ctr\n";
    let resolved = Machine::with(&[("config", config)]).ask("box");
    let all = resolved.effective();
    let found = |keyword: &str| {
        let own = all.iter().filter(|it| it.keyword == keyword);
        let line =
            |it: &crate::config::Effective| (it.value.clone(), it.origin.as_ref().map_or(0, |it| it.line));
        own.map(line).collect::<Vec<_>>()
    };
    let lines = |expected: &[(&str, u32)]| {
        let own = expected.iter().map(|it| (it.0.to_owned(), it.1));
        own.collect::<Vec<_>>()
    };
    assert_eq!(found("hostname"), lines(&[("real", 2)]));
    assert_eq!(found("identityfile"), lines(&[("~/a", 3), ("~/b", 6)]));
    assert_eq!(found("localforward"), lines(&[("1 [h]:1", 4), ("2 [h]:2", 7)]));
    assert_eq!(found("ciphers"), lines(&[("aes128-ctr", 9)]));
    assert_eq!(found("port"), lines(&[("22", 0)]));
    let text: String = all
        .iter()
        .map(|it| format!("{} {}\n", it.keyword, it.value))
        .collect();
    assert_eq!(text, resolved.dump());
}

#[test]
fn limits_and_host_key_rules_are_typed() {
    let settings = ask(
        "RekeyLimit 1M 1h\nIPQoS ef cs1\nConnectionAttempts 3\nBindInterface eth7\n\
                        CheckHostIP yes\nRequiredRSASize 3072\nRevokedHostKeys ~/.ssh/revoked\n",
    );
    assert_eq!(settings.rekey_limit.bytes, Some(1 << 20));
    assert_eq!(settings.rekey_limit.time, Some(Duration::from_secs(3600)));
    let network = settings.network;
    assert_eq!((network.ip_qos, network.connection_attempts), (Some(0x20), 3));
    assert_eq!(network.bind_interface.as_deref(), Some("eth7"));
    let rules = settings.host_keys;
    assert!(rules.check_ip && rules.update == UpdateHostKeys::Yes && rules.required_rsa_size == 3072);
    assert_eq!(rules.revoked_files, [PathBuf::from("/home/me/.ssh/revoked")]);
    for (lines, expected) in [
        ("UserKnownHostsFile ~/elsewhere\n", UpdateHostKeys::No),
        (
            "UserKnownHostsFile ~/elsewhere\nUpdateHostKeys ask\n",
            UpdateHostKeys::Ask,
        ),
        ("UpdateHostKeys no\n", UpdateHostKeys::No),
    ] {
        assert_eq!(ask(lines).host_keys.update, expected, "{lines}");
    }
}

#[test]
fn no_file_is_read_when_it_is_named_none() {
    assert_eq!(Sources::file("none"), Sources::none());
    assert_eq!(Sources::file("NONE"), Sources::none());
    assert_ne!(Sources::file("./none"), Sources::none());
}

#[test]
fn a_known_hosts_command_keeps_its_late_tokens_and_must_be_absolute() {
    let command = ask("KnownHostsCommand /bin/lookup --host %h \"%H key\" %t 100%%\n")
        .host_keys
        .command;
    let late = [('H', "name".to_owned()), ('t', "ssh-ed25519".to_owned())];
    let words = command.unwrap().expand(&late).unwrap();
    assert_eq!(
        words,
        ["/bin/lookup", "--host", "box", "name key", "ssh-ed25519", "100%"]
    );
    for bad in ["lookup %H", "/bin/lookup %z"] {
        let mut machine = Machine::with(&[("config", &format!("KnownHostsCommand {bad}\n"))]);
        let resolved = machine.ask("box");
        assert!(resolved.dump().contains(&format!("\nknownhostscommand {bad}\n")));
        assert!(resolved.refusal.is_some(), "nobody may connect: {bad}");
    }
}

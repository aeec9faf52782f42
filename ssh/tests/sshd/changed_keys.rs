//! `StrictHostKeyChecking no` with a host whose key has changed: whoever answers there may be anybody.

use std::fs;

use codex_ssh::{
    Answer, Class, WhenFull,
    config::settings::{Endpoint, Forward, HostSettings, StrictHostKeyChecking, Target},
};
use tokio::io::AsyncReadExt;

use crate::{
    agent::Agent,
    host::{Sshd, available, connect, connect_with, connector, free_port, keygen, refused},
};

/// Settings that know this server by another key, and go on nevertheless.
fn impostor(sshd: &Sshd) -> HostSettings {
    let mut settings = sshd.settings();
    if !sshd.path("other").exists() {
        keygen(&sshd.path("other"), "ed25519", "");
    }
    let other = fs::read_to_string(sshd.path("other.pub")).unwrap();
    let line = format!("[127.0.0.1]:{} {other}", sshd.port);
    fs::write(&settings.user_known_hosts_files[0], line).unwrap();
    settings.strict_host_key_checking = StrictHostKeyChecking::Off;
    settings
}

#[tokio::test]
async fn a_host_whose_key_has_changed_reaches_neither_the_agent_nor_a_forwarded_port() {
    if !available() {
        return;
    }
    const COMMAND: &str = "echo \"agent: $SSH_AUTH_SOCK\"";
    let sshd = Sshd::start("");
    let agent = Agent::start(sshd.dir.path());
    let forwards = |mut settings: HostSettings| {
        settings.forwarding.agent = Some(agent.socket.clone());
        let listen = |port| Endpoint::Tcp {
            host: Some("127.0.0.1".to_owned()),
            port,
        };
        let (host, port) = ("127.0.0.1".to_owned(), sshd.port);
        let target = Target::Tcp { host, port };
        settings.forwarding.list = [true, false]
            .map(|is_remote| Forward {
                is_remote,
                listen: listen(free_port()),
                target: target.clone(),
            })
            .to_vec();
        settings
    };
    for (make, number) in [(Sshd::settings as fn(&Sshd) -> HostSettings, 2), (impostor, 0)] {
        let settings = make(&sshd);
        let session = std::sync::Arc::new(connect(forwards(settings)).await.unwrap());
        let mut said = String::new();
        let mut process = session.exec(COMMAND).await.unwrap();
        process.read_to_string(&mut said).await.unwrap();
        assert_eq!(said.trim() != "agent:", number > 0, "{said}");
        let opened = session.forward(WhenFull::Cut).await;
        assert_eq!(opened.states().len(), number);
    }
}

#[tokio::test]
async fn a_host_whose_key_has_changed_gets_no_login_where_it_has_to_forward() {
    if !available() {
        return;
    }
    let (sshd, behind) = (Sshd::start(""), Sshd::start(""));
    let mut settings = impostor(&sshd);
    settings.forwarding.exit_on_failure = true;
    let error = refused(connect(settings).await);
    assert_eq!(error.class(), Class::HostKeyChanged);
    assert!(!sshd.saw_login());

    let hops = vec![impostor(&sshd), behind.settings()];
    let (result, _) = connect_with(&connector(), hops, |_| Answer::Refuse).await;
    let error = refused(result);
    assert_eq!((error.class(), error.index), (Class::HostKeyChanged, 0));
    assert!(!sshd.saw_login());

    // Nothing is taken from a jump host where nobody types, as in OpenSSH.
    let mut silent = impostor(&sshd);
    silent.password_authentication = false;
    silent.kbd_interactive_authentication = false;
    let hops = vec![silent, behind.settings()];
    let (result, _) = connect_with(&connector(), hops, |_| Answer::Refuse).await;
    result.unwrap();
}

#[tokio::test]
async fn a_revoked_key_is_refused_on_this_machine_too() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.host_keys.trust_localhost = true;
    settings.host_keys.revoked_files = vec![sshd.path("host.pub")];
    let error = refused(connect(settings.clone()).await);
    assert_eq!(error.class(), Class::HostKeyRevoked);
    settings.host_keys.revoked_files = vec![sshd.path("missing")];
    let error = refused(connect(settings.clone()).await);
    assert_eq!(error.class(), Class::Config, "{error}");
    assert!(!sshd.saw_login());

    let rsa = Sshd::with_key("rsa", "");
    let mut short = rsa.settings();
    short.host_keys.trust_localhost = true;
    short.host_keys.required_rsa_size = 4096;
    let error = refused(connect(short).await);
    assert!(error.to_string().contains("RequiredRSASize"), "{error}");
    assert!(!rsa.saw_login());
}

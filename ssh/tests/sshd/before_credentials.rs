//! No method of the login, not even `none`, is sent before the host's key is checked: on every hop, by its log.

use std::fs;

use codex_ssh::{
    Answer, Class,
    config::settings::{HostSettings, StrictHostKeyChecking, Via},
};

use crate::host::{Sshd, available, connect_with, connector, keygen, refused, until, write_config};

/// What is wrong with the key of the hop.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Unknown,
    /// Unknown, and the user says no.
    Declined,
    Changed,
    Revoked,
}

const WRONGS: [(Wrong, Class); 4] = [
    (Wrong::Unknown, Class::HostKeyUnknown),
    (Wrong::Declined, Class::HostKeyUnknown),
    (Wrong::Changed, Class::HostKeyChanged),
    (Wrong::Revoked, Class::HostKeyRevoked),
];

/// Settings to whom the key of this server is wrong; `name` is what it is known under.
fn distrust(sshd: &Sshd, mut settings: HostSettings, name: &str, wrong: Wrong) -> HostSettings {
    let own = fs::read_to_string(sshd.path("host.pub")).unwrap();
    let line = match wrong {
        Wrong::Unknown | Wrong::Declined => String::new(),
        Wrong::Changed => format!("{name} {}", fs::read_to_string(sshd.path("other.pub")).unwrap()),
        Wrong::Revoked => format!("{name} {own}@revoked * {own}"),
    };
    fs::write(&settings.user_known_hosts_files[0], line).unwrap();
    settings.strict_host_key_checking = match wrong {
        Wrong::Declined => StrictHostKeyChecking::Ask,
        _ => StrictHostKeyChecking::Yes,
    };
    // What is there to be sent too early: keys, an agent's place, a password.
    settings.password_authentication = true;
    settings.kbd_interactive_authentication = true;
    settings
}

/// The connections that came to the end of the key exchange, or were given up in it, by what sshd logged.
fn offered(log: &str) -> Option<&str> {
    const SIGNS: [&str; 6] = [
        "userauth-request",
        "receive packet: type 5 ",
        "receive packet: type 50",
        "SSH2_MSG_SERVICE_REQUEST",
        "Failed ",
        "Accepted ",
    ];
    log.lines()
        .find(|line| line.ends_with("receive packet: type 5") || SIGNS.iter().any(|it| line.contains(it)))
}

/// The connection is refused at this hop, whose sshd has then seen keys and nothing of a login.
async fn refuses(hops: Vec<HostSettings>, at: usize, class: Class, sshd: &Sshd) {
    let is_direct = hops[at].route == Via::Direct;
    let (result, _) = connect_with(&connector(), hops, |_| Answer::Refuse).await;
    let error = refused(result);
    assert_eq!((error.class(), error.index), (class, at), "{error}");
    if is_direct {
        // What was sent before the end is in the log by then. An sshd behind a proxy command ends with it.
        const ENDS: [&str; 3] = [
            "Connection closed by",
            "Connection reset by",
            "ssh_dispatch_run_fatal",
        ];
        until("sshd has seen the end", || {
            ENDS.iter().any(|it| sshd.log().contains(it))
        })
        .await;
    }
    let log = sshd.log();
    assert!(log.contains("SSH2_MSG_KEXINIT received"), "{log}");
    assert_eq!(offered(&log), None, "{log}");
}

#[tokio::test]
async fn a_wrong_host_key_gets_no_credential_on_any_hop() {
    if !available() {
        return;
    }
    let good = [Sshd::start(""), Sshd::start("")];
    for (wrong, class) in WRONGS {
        for at in 0..3 {
            let bad = Sshd::start("");
            keygen(&bad.path("other"), "ed25519", "");
            let name = format!("[127.0.0.1]:{}", bad.port);
            let mut hops: Vec<HostSettings> = good.iter().map(Sshd::settings).collect();
            hops.truncate(at);
            hops.push(distrust(&bad, bad.settings(), &name, wrong));
            // A hop behind it: what is refused first ends the way.
            if at < 2 {
                hops.push(good[1].settings());
            }
            refuses(hops, at, class, &bad).await;
        }
    }
    // The rig sees a login where there is one.
    assert!(good.iter().all(|it| offered(&it.log()).is_some()));
}

#[tokio::test]
async fn a_wrong_host_key_behind_a_proxy_command_gets_no_credential() {
    if !available() {
        return;
    }
    for (wrong, class) in WRONGS {
        let sshd = Sshd::start("");
        keygen(&sshd.path("other"), "ed25519", "");
        let config = write_config(sshd.dir.path(), sshd.port, "");
        let command = format!(
            "/usr/sbin/sshd -i -f {} -E {}",
            config.display(),
            sshd.path("log").display()
        );
        let mut settings = distrust(&sshd, sshd.settings(), "behind.proxy", wrong);
        settings.port = 22;
        settings.host_name = "behind.proxy".to_owned();
        settings.route = Via::Command(command);
        refuses(vec![settings], 0, class, &sshd).await;
    }
}

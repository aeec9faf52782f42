//! A connection that the user's own `ssh` holds open (`ControlMaster`) spares a login that only the user could repeat.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use codex_testkit::{
    AUTHENTICATOR_CODES, Alias, Client, Host, HostOptions, Login, Model, PASSWORD, Tmux, require, wait,
};

use crate::{
    serving::set_hosts,
    setting::{CODEX, Outcome, codex},
};

const SAY: [&str; 4] = ["exec", "--host", "devbox", "say hello"];

/// `ssh -M -N devbox`; dropping it ends it.
struct Master(Child);

impl Master {
    fn start(client: &Client) -> Master {
        let askpass = client.home().join("askpass");
        let (password, code) = (PASSWORD, AUTHENTICATOR_CODES[0]);
        let text = format!("#!/bin/sh\ncase $1 in *One-time*) echo {code} ;; *) echo {password} ;; esac\n");
        fs::write(&askpass, text).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = client.ssh();
        command
            .args(["-M", "-N", "devbox"])
            .env("SSH_ASKPASS", &askpass)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let master = Master(command.spawn().unwrap());
        wait::until("the master connection", wait::DEADLINE, || {
            let mut check = client.ssh();
            let checked = check.args(["-O", "check", "devbox"]).output().unwrap();
            checked.status.success().then_some(())
        });
        master
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host that asks for a password and a code, and a configuration that shares connections to it.
fn shared(client: &Client, model: &Model) -> Host {
    let host = Host::start(HostOptions::new().login(Login::TwoPrompts).model(model));
    let path = client.home().join("master-%C");
    let path = format!("ControlPath {}", path.display());
    client.add(&Alias::new("devbox", &host).line(&path));
    host
}

fn logins(host: &Host) -> usize {
    host.log().matches("Accepted ").count()
}

/// A failure because somebody would have to be asked.
fn wants_the_user(outcome: &Outcome) {
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("no terminal to ask on"), "{outcome:?}");
}

#[test]
fn a_connection_that_ssh_holds_open_is_used_where_the_user_would_be_asked() {
    require!(Ssh, Sshd, Pam, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = shared(&client, &model);
    wants_the_user(&codex(&client, &SAY));
    let master = Master::start(&client);
    assert_eq!(logins(&host), 1);
    let outcome = codex(&client, &SAY);
    let said = (outcome.code, outcome.stdout.as_str());
    assert_eq!(said, (Some(0), "hello\n"), "{outcome:?}");
    let notice = "no login was needed, through the connection that `ssh` holds open";
    assert!(outcome.stderr.contains(notice), "{outcome:?}");
    let doctor = codex(&client, &["doctor", "devbox"]);
    for word in [
        "a connection that `ssh` holds open spares it",
        "it holds a connection open",
    ] {
        assert!(doctor.stdout.contains(word), "{doctor:?}");
    }
    assert_eq!(logins(&host), 1, "{}", host.log());
    set_hosts(&client, "[hosts.devbox]\ntransport = \"builtin\"\n");
    wants_the_user(&codex(&client, &SAY));
    set_hosts(&client, "");
    drop(master);
    wants_the_user(&codex(&client, &SAY));
}

#[test]
fn a_connection_whose_process_or_host_is_stopped_is_gone_around_by_the_systems_ssh() {
    require!(Ssh, Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(HostOptions::new().authorize(client.key()).model(&model));
    let path = format!("ControlPath {}", client.home().join("master-%C").display());
    client.add(&Alias::new("devbox", &host).line(&path));
    set_hosts(&client, "[hosts.devbox]\ntransport = \"system\"\n");
    let says = |is_told: bool| {
        let outcome = codex(&client, &SAY);
        let said = (outcome.code, outcome.stdout.as_str());
        assert_eq!(said, (Some(0), "hello\n"), "{outcome:?}");
        let notice = "the connection that `ssh` holds open does not answer";
        assert_eq!(outcome.stderr.contains(notice), is_told, "{outcome:?}");
    };
    let logins = || host.log().matches("Accepted publickey ").count();
    let master = Master::start(&client);
    says(false);
    assert_eq!(logins(), 1, "{}", host.log());
    host.pause_sessions();
    says(true);
    assert_eq!(logins(), 2, "{}", host.log());
    let process = Pid::from_child(&master.0);
    kill_process(process, Signal::STOP).unwrap();
    says(true);
    assert_eq!(logins(), 3, "{}", host.log());
}

#[test]
fn a_connection_that_carries_nothing_any_more_is_not_waited_for() {
    require!(Ssh, Sshd, Pam, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let host = shared(&client, &model);
    let _master = Master::start(&client);
    host.pause_sessions();
    let words = [CODEX, "connect", "devbox"];
    let terminal = Tmux::start(&words, &client.environment(), 80, 24);
    terminal.wait_for_text("assword");
}

//! Starting the server on hosts of all kinds.

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Model, Shell, require};

use crate::setting::{codex, scripted};

const SAY: [&str; 4] = ["exec", "--host", "devbox", "say hello"];

fn says_hello(options: HostOptions) {
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(options.authorize(client.key()).model(&model));
    client.add(&Alias::new("devbox", &host));
    let outcome = codex(&client, &SAY);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "hello\n"),
        "{outcome:?}"
    );
}

#[test]
fn a_noisy_bashrc_does_no_harm() {
    require!(Sshd, Official);
    says_hello(
        HostOptions::new()
            .banner("Authorized use only\n")
            .rc("echo '{\"id\":0}'; echo noise >&2; printf tail"),
    );
}

#[test]
fn every_login_shell_starts_the_server() {
    require!(Sshd, Official, Fish, Zsh, Dash);
    for shell in [Shell::Fish, Shell::Zsh, Shell::Dash] {
        says_hello(HostOptions::new().shell(shell).rc("echo noise\n"));
    }
}

#[test]
fn a_codex_that_only_the_profile_knows_is_found() {
    require!(Sshd, Official);
    says_hello(HostOptions::new().codex(Codex::OfficialInProfile));
}

#[test]
fn a_host_without_codex_says_where_was_looked_and_what_to_install() {
    require!(Sshd);
    let client = Client::new();
    let host = Host::start(HostOptions::new().authorize(client.key()).codex(Codex::Absent));
    client.add(&Alias::new("devbox", &host));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    for part in [
        "there is no codex on devbox",
        "PATH",
        "npm install",
        "[not-installed]",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
}

#[test]
fn a_remote_command_of_the_configuration_is_not_run_and_that_is_said() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(HostOptions::new().authorize(client.key()).model(&model));
    client.add(&Alias::new("devbox", &host).line("RemoteCommand touch was-run"));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.stdout, "hello\n", "{outcome:?}");
    assert!(outcome.stderr.contains("RemoteCommand"), "{outcome:?}");
    assert!(host.read("was-run").is_none());
}

#[test]
fn a_server_that_does_not_start_shows_its_stderr() {
    require!(Sshd);
    let client = Client::new();
    let _host = scripted(
        &client,
        "devbox",
        "#!/bin/sh\necho 'GLIBC_9.9 not found' >&2\nexit 3\n",
    );
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    for part in ["[launch-failed]", "exit status 3", "GLIBC_9.9 not found"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
}

#[test]
fn a_forced_command_is_shown_for_what_it_is() {
    require!(Sshd);
    let client = Client::new();
    let options = HostOptions::new()
        .authorize(client.key())
        .sshd("ForceCommand echo only backups here");
    let host = Host::start(options);
    client.add(&Alias::new("devbox", &host));
    let outcome = codex(&client, &SAY);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("only backups here"), "{outcome:?}");
}

#[test]
fn the_server_ends_with_its_connection() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(HostOptions::new().authorize(client.key()).model(&model));
    client.add(&Alias::new("devbox", &host));
    assert_eq!(codex(&client, &SAY).code, Some(0));
    let gone = || {
        host.processes()
            .iter()
            .all(|it| !it.contains("codex"))
            .then_some(())
    };
    codex_testkit::wait::until("the end of the server", codex_testkit::wait::DEADLINE, gone);
}

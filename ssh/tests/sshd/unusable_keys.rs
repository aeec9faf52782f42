//! Agents and key files that do not log in: each says what is wrong with it, in the error itself.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::PathBuf,
    process::Command,
};

use codex_ssh::{
    Answer, Class, ConnectError, Zeroizing,
    config::settings::{HostSettings, IdentityAgent},
};

use crate::{
    agent::Agent,
    host::{Sshd, available, connect, connect_with, connector, refused},
};

async fn fails(settings: &HostSettings) -> ConnectError {
    let hops = vec![settings.clone()];
    let error = refused(connect_with(&connector(), hops, |_| Answer::Refuse).await.0);
    assert_eq!(error.class(), Class::Unauthorized, "{error}");
    error
}

fn by_agent(sshd: &Sshd, socket: PathBuf) -> HostSettings {
    HostSettings {
        identity_agent: IdentityAgent::Socket(socket),
        identity_files: Vec::new(),
        ..sshd.settings()
    }
}

/// Runs ssh-add(1), which reads a password from a program.
fn ssh_add(sshd: &Sshd, agent: &Agent, arguments: &[&str]) {
    let program = sshd.path("asks");
    fs::write(&program, "#!/bin/sh\necho password\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("ssh-add");
    command
        .args(arguments)
        .env("SSH_AUTH_SOCK", &agent.socket)
        .env("SSH_ASKPASS", &program)
        .env("SSH_ASKPASS_REQUIRE", "force");
    assert!(command.output().unwrap().status.success(), "{arguments:?}");
}

#[tokio::test]
async fn an_agent_that_is_dead_empty_locked_or_refuses_to_sign_says_so() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let dead = sshd.path("dead");
    drop(UnixListener::bind(&dead).unwrap());
    let agent = Agent::start(sshd.dir.path());
    for (socket, why) in [
        (dead, "Connection refused"),
        (sshd.path("nothing"), "No such file"),
        (sshd.path("authorized"), "Connection refused"),
        (agent.socket.clone(), "it shows no keys"),
    ] {
        let error = fails(&by_agent(&sshd, socket.clone())).await;
        let expected = format!("agent {}: {why}", socket.display());
        assert!(error.to_string().contains(&expected), "{expected}: {error}");
        assert!(error.hint().unwrap().contains("ssh-add") || error.hint().unwrap().contains("says why"));
    }
    // Nobody is there to confirm.
    let key = sshd.path("user");
    ssh_add(&sshd, &agent, &["-q", "-c", key.to_str().unwrap()]);
    let settings = by_agent(&sshd, agent.socket.clone());
    let error = fails(&settings).await;
    assert!(error.to_string().contains("the agent refuses to sign"), "{error}");
    ssh_add(&sshd, &agent, &["-x"]);
    let error = fails(&settings).await;
    assert!(error.to_string().contains("`ssh-add -X` unlocks it"), "{error}");
    // None of them keeps a key file from being used.
    for agent in [agent.socket.clone(), sshd.path("dead")] {
        let mut both = sshd.settings();
        both.identity_agent = IdentityAgent::Socket(agent);
        connect(both).await.unwrap();
    }
    ssh_add(&sshd, &agent, &["-X"]);
    let mut none = settings;
    none.identity_agent = IdentityAgent::Off;
    let error = fails(&none).await;
    assert!(
        error.hint().unwrap().contains("there is none to offer"),
        "{:?}",
        error.hint()
    );
}

#[tokio::test]
async fn twenty_keys_in_an_agent_are_not_in_the_way_of_the_one_that_is_named() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxAuthTries 2");
    let agent = Agent::full(&sshd, 20);
    let mut settings = sshd.settings();
    settings.identity_agent = IdentityAgent::Socket(agent.socket.clone());
    settings.identities_only = true;
    // By the public half alone; the private one is the agent's.
    fs::create_dir(sshd.path("public")).unwrap();
    fs::copy(sshd.path("user.pub"), sshd.path("public/user.pub")).unwrap();
    for name in ["user", "public/user", "public/user.pub"] {
        settings.identity_files = vec![sshd.path(name)];
        let session = connect(settings.clone()).await;
        session.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(!sshd.log().contains("Failed publickey"), "{}", sshd.log());
}

#[tokio::test]
async fn key_files_that_are_none_say_what_they_are_instead() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let key = fs::read_to_string(sshd.path("user")).unwrap();
    let put = |name: &str, bytes: &[u8]| {
        fs::write(sshd.path(name), bytes).unwrap();
        fs::set_permissions(sshd.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    put("cut", &key.as_bytes()[..200]);
    put("binary", &[0xff; 300]);
    put("empty", b"");
    put("putty", b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n");
    put("rfc4716", b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n");
    put(
        "dsa",
        b"-----BEGIN DSA PRIVATE KEY-----\nMIIBugIBAAKBgQ==\n-----END DSA PRIVATE KEY-----\n",
    );
    fs::copy(sshd.path("user.pub"), sshd.path("public")).unwrap();
    put("open", key.as_bytes());
    fs::set_permissions(sshd.path("open"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(sshd.path("folder")).unwrap();
    for (name, why) in [
        ("cut", "may be cut"),
        ("binary", "it is no text"),
        ("empty", "the file is empty"),
        ("putty", "puttygen exports it"),
        ("rfc4716", "ssh-keygen -i imports it"),
        ("dsa", "a DSA key"),
        ("public", "only its public half is there"),
        ("user.pub", "only its public half is there"),
        ("open", "chmod 600"),
        ("folder", "Is a directory"),
        ("missing", "it is missing"),
    ] {
        let mut settings = sshd.settings();
        settings.identity_files = vec![sshd.path(name)];
        settings.identity_files_configured = true;
        let error = fails(&settings).await;
        let path = sshd.path(name).display().to_string();
        let text = error.to_string();
        assert!(text.contains(&path) && text.contains(why), "{name}: {error}");
        assert!(
            error.hint().unwrap().contains("says why"),
            "{name}: {:?}",
            error.hint()
        );
    }
    // A default that is not there is nothing to be named.
    let mut settings = sshd.settings();
    settings.identity_files = vec![sshd.path("missing")];
    settings.identity_files_configured = false;
    let error = fails(&settings).await;
    assert!(!error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn key_files_that_an_editor_went_through_log_in() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let key = fs::read_to_string(sshd.path("user")).unwrap();
    for (name, text) in [
        ("crlf", key.replace('\n', "\r\n")),
        ("no last newline", key.trim_end().to_owned()),
        ("byte order mark", format!("\u{feff}{key}")),
        ("blank lines", format!("\n\r\n  {key}\n\n")),
    ] {
        let path = sshd.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        let mut settings = sshd.settings();
        settings.identity_files = vec![path];
        let session = connect(settings).await;
        session.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn a_passphrase_that_is_wrong_three_times_is_said_in_every_format() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    for (kind, format) in [("rsa", "PEM"), ("ecdsa", "PKCS8"), ("ed25519", "RFC4716")] {
        let path = sshd.add_key(kind, kind, "open sesame");
        let mut rewrite = Command::new("ssh-keygen");
        rewrite.args([
            "-q",
            "-p",
            "-P",
            "open sesame",
            "-N",
            "open sesame",
            "-m",
            format,
            "-f",
        ]);
        assert!(rewrite.arg(&path).output().unwrap().status.success());
        let mut settings = sshd.settings();
        settings.identity_files = vec![path];
        let wrong = |_: &_| Answer::Secrets(vec![Zeroizing::new("wrong".to_owned())]);
        let (result, heard) = connect_with(&connector(), vec![settings], wrong).await;
        let error = refused(result);
        assert_eq!(
            (error.class(), heard.questions.len()),
            (Class::Unauthorized, 3),
            "{format}"
        );
        assert!(error.to_string().contains("wrong passphrase, 3 times"), "{error}");
        assert!(error.hint().unwrap().contains("says why"), "{:?}", error.hint());
    }
}

//! Agents, askpass programs, and the key that is offered first.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use codex_ssh::{
    Answer, Askpass, Class, Question, Zeroizing,
    config::settings::{AddKeysToAgent, IdentityAgent},
};
use codex_testkit::SecurityKey;

use crate::{
    agent::Agent,
    host::{Sshd, available, connect, connect_with, connector, keygen, refused},
};

fn secret(text: &str) -> Answer {
    Answer::Secrets(vec![Zeroizing::new(text.to_owned())])
}

#[tokio::test]
async fn keys_are_added_to_the_agent_as_the_configuration_wants() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let plain = AddKeysToAgent::Yes {
        confirm: false,
        lifetime: None,
    };
    let brief = AddKeysToAgent::Yes {
        confirm: true,
        lifetime: Some(Duration::from_secs(600)),
    };
    for (kind, wish, word, expected) in [
        ("ed25519", AddKeysToAgent::No, "", false),
        ("ed25519", plain, "", true),
        ("rsa", brief, "", true),
        ("ecdsa", AddKeysToAgent::Ask, "yes", true),
        ("ecdsa", AddKeysToAgent::Ask, "no", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::start(dir.path());
        let name = format!("key-{kind}-{}", dir.path().file_name().unwrap().display());
        let mut settings = sshd.settings();
        settings.identity_files = vec![sshd.add_key(&name, kind, "open sesame")];
        settings.identity_agent = IdentityAgent::Socket(agent.socket.clone());
        settings.add_keys_to_agent = wish;
        let (session, heard) = connect_with(&connector(), vec![settings.clone()], |it| match it {
            Question::KeyboardInteractive { .. } => secret(word),
            _ => secret("open sesame"),
        })
        .await;
        session.unwrap();
        assert_eq!(heard.notices, [""; 0]);
        let listed = agent.list();
        assert_eq!(
            listed.contains(" a test key "),
            expected,
            "{kind} {wish:?} {word}: {listed}"
        );
        if expected && wish != brief {
            // From here on the agent logs in, and nobody is asked.
            connect(settings).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_key_without_a_comment_is_added_by_the_name_of_its_file() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let agent = Agent::start(sshd.dir.path());
    let mut settings = sshd.settings();
    let bare = Command::new("ssh-keygen")
        .args(["-q", "-c", "-C", "", "-P", "", "-f"])
        .arg(sshd.path("user"))
        .status();
    assert!(bare.unwrap().success());
    settings.identity_agent = IdentityAgent::Socket(agent.socket.clone());
    settings.add_keys_to_agent = AddKeysToAgent::Yes {
        confirm: false,
        lifetime: None,
    };
    connect(settings).await.unwrap();
    let (listed, path) = (agent.list(), sshd.path("user").display().to_string());
    assert!(listed.contains(&path), "{listed}");
}

#[tokio::test]
async fn a_security_key_in_the_agent_logs_in() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let token = SecurityKey::start(sshd.dir.path());
    fs::write(sshd.path("authorized"), token.key().public()).unwrap();
    let mut settings = sshd.settings();
    settings.identity_files.clear();
    settings.identity_agent = IdentityAgent::Socket(token.socket().to_owned());
    connect(settings.clone()).await.unwrap();
    settings.pubkey_accepted_algorithms = Some("-sk-*".to_owned());
    let error = refused(connect(settings).await);
    assert!(
        error.to_string().contains("PubkeyAcceptedAlgorithms excludes it"),
        "{error}"
    );
}

#[tokio::test]
async fn the_key_that_was_taken_is_offered_first_the_next_time() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxAuthTries 4");
    let mut settings = sshd.settings();
    settings.identity_files.clear();
    for number in 0..3 {
        let path = sshd.path(&format!("wrong{number}"));
        keygen(&path, "ed25519", "");
        settings.identity_files.push(path);
    }
    settings.identity_files.push(sshd.path("user"));
    let refusals = || sshd.log().matches("Failed publickey").count();
    let file = sshd.path("memory");
    let first = connector().with_memory(file.clone());
    for at in 0..3 {
        // The last one has only the file.
        let connector = match at {
            2 => &connector().with_memory(file.clone()),
            _ => &first,
        };
        let (session, _) = connect_with(connector, vec![settings.clone()], |_| Answer::Refuse).await;
        session.unwrap();
        assert_eq!(refusals(), 3);
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // One that the host does not take any more costs one offer.
    fs::copy(sshd.path("wrong1.pub"), sshd.path("authorized")).unwrap();
    let (session, _) = connect_with(&first, vec![settings], |_| Answer::Refuse).await;
    session.unwrap();
    assert_eq!(refusals(), 3 + 2);
}

#[tokio::test]
async fn an_askpass_program_is_asked_in_place_of_the_listener() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    fs::write(&settings.user_known_hosts_files[0], "").unwrap();
    settings.identity_files = vec![sshd.add_key("locked", "ed25519", "open sesame")];
    let (program, asked) = (sshd.path("askpass"), sshd.path("asked"));
    let script = format!(
        "#!/bin/sh\necho \"$1\" >> {}\ncase \"$1\" in *yes/no*) echo yes ;; *) echo open sesame ;; esac\n",
        asked.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let name = program.display().to_string();
    let env = |variable: &str| match variable {
        "SSH_ASKPASS" => Some(name.clone()),
        "SSH_ASKPASS_REQUIRE" => Some("force".to_owned()),
        _ => None,
    };
    let askpass = Askpass::from_env(env, true);
    let asking = connector().with_askpass(askpass.clone());
    let (session, heard) = connect_with(&asking, vec![settings.clone()], |_| Answer::Refuse).await;
    session.unwrap();
    assert_eq!(heard.questions, []);
    let asked = fs::read_to_string(&asked).unwrap();
    assert!(
        asked.contains("Enter passphrase for key") && asked.contains("SHA256:"),
        "{asked}"
    );

    fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
    let asking = connector().with_askpass(askpass);
    let (result, _) = connect_with(&asking, vec![settings], |_| Answer::Refuse).await;
    assert_eq!(refused(result).class(), Class::Cancelled);
}
